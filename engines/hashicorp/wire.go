package hashicorp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
)

// Defaults of [FrameOptions].
const (
	DefaultFrameTimeout = 10 * time.Second
	DefaultMaxPool      = 3 // as Consul and Nomad have it
	// DefaultMaxRequestBytes leaves room for one command of 64 MiB; trim keeps messages
	// with more than one entry far below it.
	DefaultMaxRequestBytes = 72 << 20
)

// FrameOptions are the settings of the framing. The zero value has the defaults.
type FrameOptions struct {
	// MaxInFlight is how many AppendEntries messages may be under way in one
	// pipeline. 1 turns pipelining off; less means raft.DefaultMaxRPCsInFlight.
	MaxInFlight int
	// MaxPool is how many idle connections are kept per peer; less than 1 means
	// DefaultMaxPool. Heartbeats and replication to one peer use one each.
	MaxPool int
	// Timeout bounds every step of a call on the wire; a snapshot has that long
	// per 256 KiB. Not above 0 means DefaultFrameTimeout.
	Timeout time.Duration
	// MaxRequestBytes bounds what comes in as one request, but for the snapshot behind
	// it; less than 1 means DefaultMaxRequestBytes.
	MaxRequestBytes int
	// Logger takes the library's log lines. Nil is quiet.
	Logger hclog.Logger

	self *persona // nil: nobody is introduced
}

// Bounds of what comes in: whoever reaches the port can send anything.
const (
	// introduction is how long a connection may take until it is known whose it is.
	introduction = 5 * time.Second
	// maxUnknown is how many connections may be in that time, and maxPerMember how many
	// a member may have beyond it. The oldest goes, of a member the one longest idle: a
	// healthy one has a handful.
	maxUnknown   = 32
	maxPerMember = 16
)

// Frame puts the framing of hashicorp/raft's NetworkTransport (a type byte and
// MessagePack) on a wire, which the transport then owns.
//
// The library's own Close leaves pooled and accepted connections open, and with
// them their goroutines and the calls that are out. Here Close closes every
// connection and pipeline, and waits for the handlers of accepted connections;
// a handler of heartbeats must therefore not call it. One flaw stays: with more
// than two messages in flight, a future of a pipeline that was closed may never
// get an answer, so wait for what Consumer delivers.
func Frame(wire core.Wire, opts FrameOptions) core.Transport {
	if opts.MaxInFlight < 1 {
		opts.MaxInFlight = raft.DefaultMaxRPCsInFlight
	}
	if opts.MaxPool < 1 {
		opts.MaxPool = DefaultMaxPool
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultFrameTimeout
	}
	if opts.MaxRequestBytes < 1 {
		opts.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	tracked := &trackedWire{Wire: wire, self: opts.self, maxRequestBytes: opts.MaxRequestBytes, logger: opts.Logger, live: make(map[*trackedConn]struct{})}
	return &framed{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Logger:          opts.Logger,
			Stream:          tracked,
			MaxPool:         opts.MaxPool,
			MaxRPCsInFlight: opts.MaxInFlight,
			Timeout:         opts.Timeout,
			// Both formats keep an AppendedAt exactly; the old one, which is the
			// library's default, encodes and decodes faster.
			MsgpackUseNewTimeFormat: false,
		}),
		wire:      tracked,
		pipelines: make(map[*framedPipeline]struct{}),
	}
}

var _ core.Transport = (*framed)(nil)

// framed is a NetworkTransport that closes all that it has opened.
type framed struct {
	*raft.NetworkTransport
	wire    *trackedWire
	closing sync.Once
	failure error // of Close

	mu        sync.Mutex
	closed    bool
	pipelines map[*framedPipeline]struct{} // open ones
}

// meant is a member where it is to be reached. The library keeps connections by
// address, and dials without saying for whom: so each call gives it both.
func (f *framed) meant(id raft.ServerID, at raft.ServerAddress) raft.ServerAddress {
	if f.wire.self == nil {
		return at
	}
	return at + "\x00" + raft.ServerAddress(id)
}

// AppendEntries implements raft.Transport.
func (f *framed) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return f.NetworkTransport.AppendEntries(id, f.meant(id, target), req, resp)
}

// RequestVote implements raft.Transport.
func (f *framed) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return f.NetworkTransport.RequestVote(id, f.meant(id, target), req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (f *framed) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return f.NetworkTransport.RequestPreVote(id, f.meant(id, target), req, resp)
}

// InstallSnapshot implements raft.Transport.
func (f *framed) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return f.NetworkTransport.InstallSnapshot(id, f.meant(id, target), req, resp, data)
}

// TimeoutNow implements raft.Transport.
func (f *framed) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return f.NetworkTransport.TimeoutNow(id, f.meant(id, target), req, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (f *framed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := f.NetworkTransport.AppendEntriesPipeline(id, f.meant(id, target))
	if err != nil {
		return nil, err
	}
	p := &framedPipeline{AppendPipeline: inner, owner: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.Join(closedError("open a pipeline", target), inner.Close())
	}
	f.pipelines[p] = struct{}{}
	return p, nil
}

// Close implements raft.WithClose.
func (f *framed) Close() error {
	f.closing.Do(func() {
		f.mu.Lock()
		f.closed = true
		open := f.pipelines
		f.pipelines = nil
		f.mu.Unlock()

		// First the library's: what fails from here on, it does not log.
		f.failure = f.NetworkTransport.Close()
		f.failure = errors.Join(f.failure, f.wire.closeAll())
		for p := range open {
			p.AppendPipeline.Close()
		}
		f.wire.handlers.Wait()
	})
	return f.failure
}

// framedPipeline is a pipeline that its transport closes.
type framedPipeline struct {
	raft.AppendPipeline
	owner *framed
}

// Close implements raft.AppendPipeline.
func (p *framedPipeline) Close() error {
	p.owner.mu.Lock()
	delete(p.owner.pipelines, p)
	p.owner.mu.Unlock()
	return p.AppendPipeline.Close()
}

func closedError(op string, at raft.ServerAddress) error {
	return fmt.Errorf("hashicorp: %s to %s: %w", op, at, core.ErrClosed)
}

// trackedWire knows the connections that live.
type trackedWire struct {
	core.Wire
	self   *persona // nil: nobody is introduced
	logger hclog.Logger

	maxRequestBytes int

	closing sync.Once
	failure error // of Close

	mu       sync.Mutex
	closed   bool
	live     map[*trackedConn]struct{}
	handlers sync.WaitGroup // accepted connections until their handler closes them, and Accept itself
}

// Accept implements net.Listener.
func (w *trackedWire) Accept() (net.Conn, error) {
	if err := w.enter(); err != nil {
		return nil, err
	}
	conn, err := w.Wire.Accept()
	if err == nil {
		conn, err = w.track(conn, true)
	}
	if err != nil {
		w.handlers.Done()
		return nil, err
	}
	return conn, nil // its Close ends what enter began
}

// enter counts a handler, unless the wire is closed.
func (w *trackedWire) enter() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("hashicorp: accept at %s: %w", w.Addr(), core.ErrClosed)
	}
	w.handlers.Add(1)
	return nil
}

// Dial implements core.Wire. The target is what framed.meant has made.
func (w *trackedWire) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	address, server, introduced := strings.Cut(string(target), "\x00")
	target = raft.ServerAddress(address)
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return nil, closedError("dial", target)
	}
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	conn, err := w.Wire.Dial(target, timeout)
	if err == nil {
		conn, err = w.track(conn, false)
	}
	if err != nil || !introduced {
		return conn, err
	}
	peer, err := handshake.Dial(conn, deadline, w.self.identity(), identityOf(raft.ServerID(server)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hashicorp: %s: %w", address, err), conn.Close())
	}
	w.self.meets(peer)
	return conn, nil
}

func (w *trackedWire) track(conn net.Conn, accepted bool) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.Join(closedError("connect", raft.ServerAddress(conn.RemoteAddr().String())), conn.Close())
	}
	c := &trackedConn{Conn: conn, wire: w, accepted: accepted, strange: accepted && w.self != nil}
	c.touch()
	w.live[c] = struct{}{}
	if c.strange {
		w.makeRoom("", maxUnknown)
	}
	return c, nil
}

// makeRoom closes the accepted connection of a member, "" of nobody known, that has
// been idle for longest, if there are more than limit. The lock is held.
func (w *trackedWire) makeRoom(server raft.ServerID, limit int) {
	var oldest *trackedConn
	n := 0
	for c := range w.live {
		if !c.accepted || c.dropped || c.server != server {
			continue
		}
		n++
		if oldest == nil || c.used.Load() < oldest.used.Load() {
			oldest = c
		}
	}
	if n > limit {
		oldest.dropped = true
		oldest.Conn.Close() // its handler sees that, and does the rest
	}
}

// Close implements net.Listener. The library calls it when it closes.
func (w *trackedWire) Close() error {
	w.closing.Do(func() {
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		w.failure = w.Wire.Close()
	})
	return w.failure
}

// closeAll closes the wire and every connection on it, but leaves it to the
// users of the connections to say, by closing them too, that they are done.
func (w *trackedWire) closeAll() error {
	err := w.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		c.Conn.Close() // a connection that was dead already is no failure
	}
	return err
}

// trackedConn is a connection of a trackedWire.
type trackedConn struct {
	net.Conn
	wire     *trackedWire
	accepted bool
	server   raft.ServerID // that has dialled; empty while that is not known. The wire's lock guards it,
	dropped  bool          // and this: closed to make room
	used     atomic.Int64  // when bytes last came or went, in nanoseconds

	// Of an accepted connection; its handler alone reads and writes.
	strange  bool // nobody has been introduced yet
	request  int  // bytes that have come since the last answer
	snapshot bool // they are a snapshot, which may be large
}

func (c *trackedConn) touch() { c.used.Store(time.Now().UnixNano()) }

// Read implements net.Conn. On an accepted connection the first has the other side
// introduced, and each bounds the request that it is part of.
func (c *trackedConn) Read(p []byte) (int, error) {
	if !c.accepted {
		return c.Conn.Read(p)
	}
	if c.strange {
		if err := c.introduce(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.touch()
	if c.request == 0 && n > 0 {
		c.snapshot = p[0] == installSnapshot
	}
	c.request += n
	if limit := c.wire.maxRequestBytes; c.request > limit && !c.snapshot {
		return 0, fmt.Errorf("%w: a request of more than %d bytes", core.ErrInvalid, limit)
	}
	return n, err
}

// installSnapshot is the byte with which the library begins such a request.
const installSnapshot = 2

// Write implements net.Conn. The handler writes when it has dealt with a request.
func (c *trackedConn) Write(p []byte) (int, error) {
	c.request = 0
	c.touch()
	return c.Conn.Write(p)
}

// introduce finds out which member has dialled. The library logs every error but io.EOF, each
// time; whoever is refused tries again and again.
func (c *trackedConn) introduce() error {
	peer, err := handshake.Accept(c.Conn, time.Now().Add(introduction), c.wire.self.identity(), nil)
	if err != nil {
		if peer.ID == "" {
			peer.ID, _, _ = net.SplitHostPort(c.RemoteAddr().String())
		}
		c.wire.self.refusals.say(c.wire.logger, peer, err)
		return io.EOF
	}
	c.strange = false
	c.wire.self.meets(peer)
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.server = serverID(peer.ID, peer.Incarnation)
	c.wire.makeRoom(c.server, maxPerMember)
	return nil
}

// Close implements net.Conn. For an accepted connection, it is the last thing
// that its handler does.
func (c *trackedConn) Close() error {
	c.wire.mu.Lock()
	_, live := c.wire.live[c]
	delete(c.wire.live, c)
	c.wire.mu.Unlock()
	if !live {
		return net.ErrClosed
	}
	err := c.Conn.Close()
	if c.accepted {
		c.wire.handlers.Done()
	}
	return err
}
