// Package links is how members reach each other over a core.Wire, whatever they say there:
// who is let in, and where a member is to be found. It knows no message of any engine.
package links

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// Bounds of what comes in: whoever reaches the port can connect.
const (
	// introduction is how long a connection may take until it is known whose it is.
	introduction = 5 * time.Second
	// maxUnknown is how many connections may be in that time, and MaxPerMember how many
	// a member may have beyond it. The oldest goes, of a member the one longest idle: a
	// healthy one has a handful.
	maxUnknown   = 32
	MaxPerMember = 16
)

// The pauses after an accept that failed.
const minAcceptPause, maxAcceptPause = 5 * time.Millisecond, time.Second

// Logger is what a door tells of connections.
type Logger interface {
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// Door takes the connections that others make to a wire, finds out whose they are, and has
// each served by a goroutine of its own. Make one with [Open].
type Door struct {
	wire   core.Wire
	self   *identity.Self // nil: nobody is introduced
	logger Logger
	serve  func(*Conn) error
	done   chan struct{} // closed once it is shut

	serving sync.WaitGroup // accept, and a handler for each connection

	mu    sync.Mutex
	shut  bool
	conns map[*Conn]struct{}
}

// Conn is a connection of somebody else. Its handler alone reads and writes.
type Conn struct {
	net.Conn
	Peer core.Identity // who has dialled; empty where nobody is introduced

	used    atomic.Int64 // when bytes last came, in nanoseconds
	name    string       // of the peer; empty while that is not known. The door's lock guards it,
	dropped bool         // and this: closed to make room
}

// Open begins to take connections. serve is called with each; the connection is closed when
// it returns, and its error logged, unless that is io.EOF or the door is shut.
func Open(wire core.Wire, self *identity.Self, logger Logger, serve func(*Conn) error) *Door {
	d := &Door{wire: wire, self: self, logger: logger, serve: serve, done: make(chan struct{}), conns: map[*Conn]struct{}{}}
	d.serving.Go(d.accept)
	return d
}

// Shut closes the wire and every connection. It waits for nothing: see [Door.Wait].
func (d *Door) Shut() error {
	d.mu.Lock()
	already := d.shut
	d.shut = true
	open := make([]*Conn, 0, len(d.conns))
	for c := range d.conns {
		open = append(open, c)
	}
	d.mu.Unlock()
	if already {
		return nil
	}
	close(d.done)
	err := d.wire.Close()
	for _, c := range open {
		c.Close() // one that was dead already is no failure
	}
	return err
}

// Wait returns once all handlers have, after Shut.
func (d *Door) Wait() { d.serving.Wait() }

// Done is closed once the door is shut.
func (d *Door) Done() <-chan struct{} { return d.done }

func (d *Door) accept() {
	pause := minAcceptPause
	for {
		conn, err := d.wire.Accept()
		if err == nil {
			pause = minAcceptPause
			if c, ok := d.take(conn); ok {
				d.serving.Go(func() { d.handle(c) })
			}
			continue
		}
		select {
		case <-d.done:
			return
		default:
		}
		d.logger.Error("accept a connection", "error", err)
		select {
		case <-d.done:
			return
		case <-time.After(pause):
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

// take makes a new connection known, unless the door is shut.
func (d *Door) take(conn net.Conn) (*Conn, bool) {
	c := &Conn{Conn: conn}
	c.touch()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		conn.Close()
		return nil, false
	}
	d.conns[c] = struct{}{}
	if d.self != nil {
		d.makeRoom("", maxUnknown)
	}
	return c, true
}

// makeRoom closes the connection of a member, "" of nobody known, that has been idle for
// longest, if there are more than limit. The lock is held.
func (d *Door) makeRoom(name string, limit int) {
	var oldest *Conn
	n := 0
	for c := range d.conns {
		if c.dropped || c.name != name {
			continue
		}
		n++
		if oldest == nil || c.used.Load() < oldest.used.Load() {
			oldest = c
		}
	}
	if n > limit {
		oldest.dropped = true
		oldest.Close() // its handler sees that, and does the rest
	}
}

func (c *Conn) touch() { c.used.Store(time.Now().UnixNano()) }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.touch()
	return n, err
}

// handle has a connection introduced and served.
func (d *Door) handle(c *Conn) {
	err := d.introduce(c)
	if err == nil {
		err = d.serve(c)
	}
	c.Close()
	d.mu.Lock()
	delete(d.conns, c)
	expected := err == nil || err == io.EOF || d.shut || c.dropped
	d.mu.Unlock()
	if !expected {
		d.logger.Error("serve a connection", "from", c.RemoteAddr(), "error", err)
	}
}

// introduce finds out which member has dialled. Why one is refused is logged once: it
// tries again and again.
func (d *Door) introduce(c *Conn) error {
	if d.self == nil {
		return nil
	}
	peer, err := handshake.Accept(c.Conn, time.Now().Add(introduction), d.self.Identity(), nil)
	if err != nil {
		if peer.ID == "" {
			peer.ID, _, _ = net.SplitHostPort(c.RemoteAddr().String())
		}
		select {
		case <-d.done:
		default:
			d.self.Refusals.Say(d.logger, peer, err)
		}
		return io.EOF
	}
	c.touch()
	d.self.Meets(peer)
	c.Peer = peer
	d.mu.Lock()
	defer d.mu.Unlock()
	c.name = identity.Name(peer.ID, peer.Incarnation)
	d.makeRoom(c.name, MaxPerMember)
	return nil
}
