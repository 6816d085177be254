package hashicorp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Defaults of [FrameOptions].
const (
	DefaultFrameTimeout = 10 * time.Second
	DefaultMaxPool      = 3 // as Consul and Nomad have it
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
	// Logger takes the library's log lines. Nil is quiet.
	Logger hclog.Logger
}

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
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	tracked := &trackedWire{Wire: wire, live: make(map[*trackedConn]struct{})}
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

// AppendEntriesPipeline implements raft.Transport.
func (f *framed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := f.NetworkTransport.AppendEntriesPipeline(id, target)
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

// trackedWire knows the connections that live.
type trackedWire struct {
	core.Wire
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

// Dial implements core.Wire.
func (w *trackedWire) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return nil, closedError("dial", target)
	}
	conn, err := w.Wire.Dial(target, timeout)
	if err != nil {
		return nil, err
	}
	return w.track(conn, false)
}

func (w *trackedWire) track(conn net.Conn, accepted bool) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errors.Join(closedError("connect", raft.ServerAddress(conn.RemoteAddr().String())), conn.Close())
	}
	c := &trackedConn{Conn: conn, wire: w, accepted: accepted}
	w.live[c] = struct{}{}
	return c, nil
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

func closedError(op string, at raft.ServerAddress) error {
	return fmt.Errorf("hashicorp: %s to %s: %w", op, at, core.ErrClosed)
}
