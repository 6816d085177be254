package client

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

var errGivenUp = errors.New("the request was given up")

// conn counts the writes to a connection, so that after a failure it is certain
// whether anything of a request left this process.
type conn struct {
	net.Conn

	mu     sync.Mutex
	writes int // that moved bytes, or may
	closed bool
}

// Write implements net.Conn. It counts before it writes: a write under way may
// have moved bytes.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, errGivenUp
	}
	c.writes++
	c.mu.Unlock()

	n, err := c.Conn.Write(b)
	if n == 0 {
		c.mu.Lock()
		c.writes--
		c.mu.Unlock()
	}
	return n, err
}

func (c *conn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// giveUp lets nothing more through and returns the final count.
func (c *conn) giveUp() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.writes
}

// sending follows one request to the connection it goes out on.
type sending struct {
	mu     sync.Mutex
	conn   *conn // nil: it has none yet
	before int   // the connection's count when it got it
}

// trace returns a context whose request is followed. The transport moves a
// request to another connection only as long as nothing of it was written; the
// last one counts.
func (s *sending) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			c := info.Conn.(*conn) // the transport dials no others
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conn, s.before = c, c.count()
		},
	})
}

// stop ends the sending, of which the transport has reported a failure, and
// returns whether anything was sent. The connection is of no use afterwards, as
// it is for the transport.
func (s *sending) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && s.conn.giveUp() > s.before
}
