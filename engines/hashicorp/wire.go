package hashicorp

import (
	"errors"
	"fmt"
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
	var to core.Identity
	to.ID, to.Incarnation = memberID(raft.ServerID(server))
	peer, err := handshake.Dial(conn, deadline, w.self.identity(), to)
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
	server   raft.ServerID // who has dialled; empty while that is not known. The wire's lock guards it,
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

func (c *trackedConn) introduce() error {
	peer, err := handshake.Accept(c.Conn, time.Now().Add(introduction), c.wire.self.identity(), nil)
	if err != nil {
		var refused *handshake.RefusedError
		if errors.As(err, &refused) {
			c.wire.self.refusals.say(c.wire.logger, peer, err)
		}
		return fmt.Errorf("from %s: %w", c.RemoteAddr(), err)
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
