package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

const (
	dialTimeout = time.Second
	// idleTimeout is shorter than a kvnode keeps an idle connection, so that a
	// write seldom meets one that is just being closed.
	idleTimeout  = 30 * time.Second
	maxIdleConns = 512 // per node
	// answerTime is how much earlier than the sender a node gives up, at most.
	answerTime = 100 * time.Millisecond
)

// Sender sends requests to nodes, and knows of one that brought no answer whether the
// node may have seen it. It chooses no node, and sends nothing twice. What connects nodes
// is their own business, so no proxy of the environment stands between. Safe for
// concurrent use.
type Sender struct{ transport *http.Transport }

// NewSender returns a sender without connections.
func NewSender() *Sender {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Sender{&http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		MaxIdleConnsPerHost: maxIdleConns,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
	}}
}

// CloseIdle closes the connections that are idle. Call it once no request is under way.
func (s *Sender) CloseIdle() { s.transport.CloseIdleConnections() }

// Unanswered is the error of a request that brought no answer.
type Unanswered struct {
	Endpoint string // host:port that it was for
	Sent     bool   // the node may have seen it: something of it has left this process
	Cause    error
}

// Error implements error.
func (e *Unanswered) Error() string {
	if e.Sent {
		return fmt.Sprintf("%s has not answered: %v", e.Endpoint, e.Cause)
	}
	return fmt.Sprintf("%s cannot be reached: %v", e.Endpoint, e.Cause)
}

// Unwrap returns the cause.
func (e *Unanswered) Unwrap() error { return e.Cause }

// Send sends a request of [NewRequest]. Without an answer the error is an *[Unanswered],
// not wrapped. The caller closes the body of the answer.
//
// The transport moves a request to another connection only while nothing of it was
// written, or for methods that change nothing (net/http: a request with an
// Idempotency-Key would be such, too).
func (s *Sender) Send(r *http.Request) (*http.Response, error) {
	w := &sending{}
	resp, err := s.transport.RoundTrip(r.WithContext(w.trace(r.Context())))
	if err != nil {
		return nil, &Unanswered{Endpoint: r.URL.Host, Sent: w.stop(), Cause: err}
	}
	return resp, nil
}

// NewRequest makes a request to the node at an endpoint, host:port. The path is escaped.
// The node is told how long it may take: a little less than ctx, which needs a deadline,
// so that we learn what became of it.
func NewRequest(ctx context.Context, method, endpoint, path string, query url.Values, body []byte) (*http.Request, error) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	asked := url.Values{"timeout": {max(min(left-min(left/10, answerTime), api.MaxTimeout), time.Millisecond).String()}}
	for name, values := range query {
		if name != "timeout" {
			asked[name] = values
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+endpoint+path+"?"+asked.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w request: %w", ErrInvalid, err)
	}
	return r, nil
}

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
