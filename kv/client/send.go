package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
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

// Status asks the node at the endpoint, whatever group it is in, for its status. ctx needs
// a deadline.
func (s *Sender) Status(ctx context.Context, endpoint string) (status api.Status, err error) {
	r, err := NewRequest(ctx, http.MethodGet, endpoint, "/status", nil, nil)
	if err != nil {
		return status, err
	}
	resp, err := s.Send(r)
	if err != nil {
		return status, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !ofNode(resp.Header) {
		return status, readError(endpoint, resp)
	}
	return status, json.NewDecoder(io.LimitReader(resp.Body, maxStatusBytes)).Decode(&status)
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

const (
	backoffMin = 10 * time.Millisecond
	backoffMax = 200 * time.Millisecond
	// maxErrorBytes bounds what is read of an answer that is an error.
	maxErrorBytes = 64 << 10
	// maxStatusBytes bounds a status.
	maxStatusBytes = 4 << 20
)

// call is one request, wherever it is sent.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	header map[string]string
	body   []byte
	write  bool // sent again only if it was not taken for certain
	leader bool // the leader is asked first
	pinned bool // only nodes of the client's group may serve it
	// vacant says of a success that the node that gave it knows nothing of a group, so that
	// another node may know more. Nil: any success will do.
	vacant func(body []byte) bool
}

// answer is a success.
type answer struct {
	endpoint string
	header   http.Header
	body     []byte
}

// do sends the call to one node after the other until one serves it, the deadline
// has come or it would not be safe to go on. A vacant answer is for when nobody has
// another one.
func (c *Client) do(ctx context.Context, k call) (answer, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	k.pinned = true
	var last error
	var tried []string
	answered, strangers := false, 0
	var vacant *answer
	for wait := backoffMin; ; {
		endpoint, ok := c.endpoints.pick(k.leader, tried)
		if vacant != nil && (!ok || ctx.Err() != nil) {
			return *vacant, nil
		}
		if ctx.Err() != nil {
			return answer{}, gaveUp(ctx, answered, last)
		}
		if !ok { // all of them
			if strangers == len(tried) { // no waiting makes nodes of them
				return answer{}, last
			}
			_ = poll.Sleep(ctx, wait/2+rand.N(wait/2)) // the loop looks at ctx next
			wait = min(2*wait, backoffMax)
			tried, strangers = tried[:0], 0
			continue
		}
		tried = append(tried, endpoint)
		a, err := c.try(ctx, endpoint, k, c.share(k))
		if err == nil && k.vacant != nil && k.vacant(a.body) {
			vacant = &a
			continue
		}
		if err == nil || !k.mayRepeat(err) {
			return a, k.settle(err)
		}
		e, ok := err.(*Error)
		if ok || !answered { // an answer tells more than a failed try
			answered, last = ok, err
		}
		if ok && e.stranger() {
			strangers++
		}
	}
}

// doAt sends the call to one node, once.
func (c *Client) doAt(ctx context.Context, endpoint string, k call) (answer, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	a, err := c.try(ctx, endpoint, k, 1)
	return a, k.settle(err)
}

// share is into how many parts the time that is left is divided, one of which a
// try gets. A read can leave a node that hangs; a write cannot, once it is sent.
func (c *Client) share(k call) int {
	if k.write || len(c.endpoints.given) == 1 {
		return 1
	}
	return 2
}

// mayRepeat reports whether sending the call again cannot do harm and may help.
func (k call) mayRepeat(err error) bool {
	switch e := err.(type) {
	case *Unanswered:
		return !k.write || !e.Sent
	case *Error:
		if !k.write {
			return e.Status >= http.StatusInternalServerError || e.stranger()
		}
		return e.Status == http.StatusServiceUnavailable && e.notTaken() || e.Code == api.CodeTimeout
	}
	return false
}

// settle gives the error of a call that ends with it its kind: of a write whose
// fate is open, ErrOutcomeUnknown.
func (k call) settle(err error) error {
	kind := error(nil)
	switch e := err.(type) {
	case *Unanswered:
		if kind = ErrUnreachable; k.write && e.Sent {
			kind = ErrOutcomeUnknown
		}
	case *Error:
		if k.write && !e.notTaken() && e.Code != api.CodeOutcomeUnknown { // of that it is one already
			kind = ErrOutcomeUnknown
		}
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// gaveUp is the error of a call whose context ended before a node served it.
func gaveUp(ctx context.Context, answered bool, last error) error {
	cause := context.Cause(ctx)
	switch {
	case last == nil:
		return fmt.Errorf("nothing was sent: %w", cause)
	case !answered && errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w; last try: %w", ErrUnreachable, cause, last)
	}
	return fmt.Errorf("%w; last try: %w", cause, last)
}

// try sends the call to one node and reads its answer. The error of a call that
// could be sent is an *Error or an *Unanswered, not wrapped.
func (c *Client) try(ctx context.Context, endpoint string, k call, share int) (answer, error) {
	if c.closed.Load() {
		return answer{}, fmt.Errorf("client: %w", ErrClosed)
	}
	deadline, _ := ctx.Deadline() // bound has seen to it
	left := time.Until(deadline) / time.Duration(share)
	tryCtx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	req, err := NewRequest(tryCtx, k.method, endpoint, k.path, k.query, k.body)
	if err != nil {
		return answer{}, err
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	if group := c.group.Load(); k.pinned && group != nil {
		req.Header.Set(api.HeaderGroup, *group)
	}
	resp, err := c.sender.Send(req)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // that would not be the node's fault
			c.endpoints.fails(endpoint)
		}
		return answer{}, err
	}
	defer resp.Body.Close()
	busy := resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout
	if busy || !ofNode(resp.Header) {
		c.endpoints.fails(endpoint)
	} else {
		c.endpoints.works(endpoint)
	}
	if k.pinned {
		c.pin(resp.Header.Get(api.HeaderGroup))
		if !c.isOurs(resp.Header) {
			return answer{}, otherGroup(endpoint, resp)
		}
	}
	c.endpoints.leads(resp.Header.Get(api.HeaderLeader))
	if resp.StatusCode != http.StatusOK || !ofNode(resp.Header) {
		return answer{}, readError(endpoint, resp)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil && !k.write { // a write has succeeded whatever follows the status
		return answer{}, &Unanswered{Endpoint: endpoint, Sent: true, Cause: fmt.Errorf("read the answer: %w", err)}
	}
	return answer{endpoint: endpoint, header: resp.Header, body: body}, nil
}

// isOurs reports whether an answer is of a node of the client's group, or of none. A node
// of another has refused the request, unless its group was not known when it was sent.
func (c *Client) isOurs(h http.Header) bool {
	group := h.Get(api.HeaderGroup)
	return group == "" || group == *c.group.Load()
}

// otherGroup is the error of an answer of another group. What that has done, it has not
// done for this client's.
func otherGroup(endpoint string, resp *http.Response) error {
	return &Error{
		Endpoint: endpoint, Node: resp.Header.Get(api.HeaderNode), Status: http.StatusServiceUnavailable, Code: api.CodeOtherGroup,
		Message: fmt.Sprintf("it is of group %.40s, and other nodes that this client was given are not: two groups are mixed up; leave the addresses of one of them out",
			resp.Header.Get(api.HeaderGroup)),
	}
}

// ofNode reports whether an answer has a header that kvnodes give, and nobody else.
func ofNode(h http.Header) bool { return h.Get(api.HeaderNode) != "" || h.Get(api.HeaderIndex) != "" }

// readError reads an answer that is not a success, or not a node's.
func readError(endpoint string, resp *http.Response) error {
	e := &Error{
		Endpoint: endpoint,
		Node:     resp.Header.Get(api.HeaderNode),
		Status:   resp.StatusCode,
		Index:    indexOf(resp.Header),
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if resp.StatusCode == http.StatusOK {
		e.Message = fmt.Sprintf("no header %s: look whether a kvnode listens there", api.HeaderNode)
		return e
	}
	var wire api.Error
	if err == nil && json.Unmarshal(body, &wire) == nil && wire.Code != "" {
		e.Code, e.Message = wire.Code, wire.Error
		return e
	}
	e.Message = fmt.Sprintf("%.100q", body)
	return e
}

// indexOf returns the log index in the ETag, which that of bare bytes says more after;
// 0: there is none.
func indexOf(h http.Header) uint64 {
	index, _, _ := strings.Cut(strings.Trim(h.Get("ETag"), `"`), "-")
	n, err := strconv.ParseUint(index, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
