package hashicorp

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/engines/internal/links"
)

const requestBuffer = 64 << 10 // bytes read at once of requests

// The bytes with which requests begin.
const (
	appendEntries byte = iota
	requestVote
	installSnapshot
	timeoutNow
	requestPreVote
)

// accepted is a connection of somebody else.
type accepted struct {
	*links.Conn
	owner *framed
	in    *source
	out   drain
}

// serve answers the requests of a connection, one after the other.
func (f *framed) serve(conn *links.Conn) error {
	c := &accepted{Conn: conn, owner: f, in: newSource(conn, requestBuffer, f.opts.Timeout), out: drain{conn: conn}}
	for {
		if err := c.serveOne(); err != nil {
			return err
		}
	}
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
