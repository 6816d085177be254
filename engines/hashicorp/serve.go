package hashicorp

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core/handshake"
)

// Bounds of what comes in: whoever reaches the port can send anything.
const (
	// introduction is how long a connection may take until it is known whose it is.
	introduction = 5 * time.Second
	// maxUnknown is how many connections may be in that time, and maxPerMember how many
	// a member may have beyond it. The oldest goes, of a member the one longest idle: a
	// healthy one has a handful.
	maxUnknown   = 32
	maxPerMember = 16

	requestBuffer = 64 << 10 // bytes read at once of requests
)

// The bytes with which requests begin.
const (
	appendEntries byte = iota
	requestVote
	installSnapshot
	timeoutNow
	requestPreVote
)

// The pauses after an accept that failed.
const minAcceptPause, maxAcceptPause = 5 * time.Millisecond, time.Second

// accept takes connections until the transport is closed.
func (f *framed) accept() {
	pause := minAcceptPause
	for {
		conn, err := f.wire.Accept()
		if err == nil {
			pause = minAcceptPause
			if c, ok := f.take(conn); ok {
				f.serving.Go(c.serve)
			}
			continue
		}
		select {
		case <-f.done:
			return
		default:
		}
		f.opts.Logger.Error("accept a connection", "error", err)
		select {
		case <-f.done:
			return
		case <-time.After(pause):
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

// accepted is a connection of somebody else. Its handler alone reads and writes.
type accepted struct {
	net.Conn
	owner *framed
	in    *source
	out   drain
	used  atomic.Int64 // when bytes last came, in nanoseconds

	server  raft.ServerID // that has dialled; empty while that is not known. The transport's lock guards it,
	dropped bool          // and this: closed to make room
}

// take makes a new connection known, unless the transport is closed.
func (f *framed) take(conn net.Conn) (*accepted, bool) {
	c := &accepted{Conn: conn, owner: f, out: drain{conn: conn}}
	c.in = newSource(c, requestBuffer, f.opts.Timeout)
	c.touch()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		conn.Close()
		return nil, false
	}
	f.accepted[c] = struct{}{}
	if f.opts.self != nil {
		f.makeRoom("", maxUnknown)
	}
	return c, true
}

// makeRoom closes the accepted connection of a member, "" of nobody known, that has
// been idle for longest, if there are more than limit. The lock is held.
func (f *framed) makeRoom(server raft.ServerID, limit int) {
	var oldest *accepted
	n := 0
	for c := range f.accepted {
		if c.dropped || c.server != server {
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

func (c *accepted) touch() { c.used.Store(time.Now().UnixNano()) }

// Read implements net.Conn.
func (c *accepted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.touch()
	return n, err
}

// serve answers the requests of a connection, one after the other.
func (c *accepted) serve() {
	f := c.owner
	err := c.introduce()
	for err == nil {
		err = c.serveOne()
	}
	c.Close()
	f.mu.Lock()
	delete(f.accepted, c)
	expected := err == io.EOF || f.closed || c.dropped
	f.mu.Unlock()
	if !expected {
		f.opts.Logger.Error("serve a connection", "from", c.RemoteAddr(), "error", err)
	}
}

// introduce finds out which member has dialled. Why one is refused is logged once: it
// tries again and again.
func (c *accepted) introduce() error {
	f := c.owner
	self := f.opts.self
	if self == nil {
		return nil
	}
	peer, err := handshake.Accept(c.Conn, time.Now().Add(introduction), self.Identity(), nil)
	if err != nil {
		if peer.ID == "" {
			peer.ID, _, _ = net.SplitHostPort(c.RemoteAddr().String())
		}
		select {
		case <-f.done:
		default:
			self.Refusals.Say(f.opts.Logger, peer, err)
		}
		return io.EOF
	}
	c.touch()
	self.Meets(peer)
	f.mu.Lock()
	defer f.mu.Unlock()
	c.server = serverID(peer.ID, peer.Incarnation)
	f.makeRoom(c.server, maxPerMember)
	return nil
}

// serveOne waits for a request and answers it.
func (c *accepted) serveOne() error {
	f := c.owner
	answer := make(chan raft.RPCResponse, 1) // one each: nobody can answer the next request with it
	rpc := raft.RPC{RespChan: answer}
	c.in.begin(f.opts.MaxRequestBytes)
	kind := c.in.byte()
	rpc.Command = c.in.request(kind)
	if c.in.err != nil {
		return c.in.err
	}
	var snapshot *io.LimitedReader
	if r, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok {
		snapshot = c.in.body(r.Size)
		rpc.Reader = snapshot
	}
	if !f.deliver(rpc) {
		return closedError("answer", raft.ServerAddress(c.RemoteAddr().String()))
	}
	select {
	case a := <-answer:
		if snapshot != nil { // what nobody has read stands in the way of the next request
			if _, err := io.Copy(io.Discard, snapshot); err != nil {
				return err
			}
		}
		c.in.end()
		return c.respond(a)
	case <-f.done:
		return closedError("answer", raft.ServerAddress(c.RemoteAddr().String()))
	}
}

// request reads what follows the byte kind.
func (s *source) request(kind byte) any {
	switch kind {
	case appendEntries:
		req := new(raft.AppendEntriesRequest)
		s.appendEntries(req)
		return req
	case requestVote:
		return readRare(s, new(raft.RequestVoteRequest))
	case requestPreVote:
		return readRare(s, new(raft.RequestPreVoteRequest))
	case installSnapshot:
		return readRare(s, new(raft.InstallSnapshotRequest))
	case timeoutNow:
		return readRare(s, new(raft.TimeoutNowRequest))
	}
	s.failf("%#x begins no request", kind)
	return nil
}

func readRare(s *source, message any) any {
	s.rare(message)
	return message
}

// deliver hands a request to who deals with it, and says false if the transport is closed.
func (f *framed) deliver(rpc raft.RPC) bool {
	if f.opts.intercept != nil && f.opts.intercept(&rpc) {
		return true
	}
	if beat := f.beats.Load(); beat != nil && beats(&rpc) {
		(*beat)(rpc)
		return true
	}
	select {
	case f.consumer <- rpc:
		return true
	case <-f.done:
		return false
	}
}

// beats says whether a request is a heartbeat, as core.Transport has it.
func beats(rpc *raft.RPC) bool {
	req, ok := rpc.Command.(*raft.AppendEntriesRequest)
	return ok && isHeartbeat(req) && req.Term != 0 && (len(req.Addr) > 0 || req.Leader != nil)
}

// respond sends an answer.
func (c *accepted) respond(a raft.RPCResponse) error {
	text := ""
	if a.Error != nil {
		text = a.Error.Error()
	}
	c.out.buf = appendText(c.out.buf, text)
	c.out.message(a.Response)
	if err := c.out.flush(); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
