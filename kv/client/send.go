package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
)

const (
	backoffMin = 10 * time.Millisecond
	backoffMax = 200 * time.Millisecond
	// maxErrorBytes bounds what is read of an answer that is an error.
	maxErrorBytes = 64 << 10
	// streamIdle is how long nothing may come of a stream that has begun.
	streamIdle = 30 * time.Second
)

// call is one request, wherever it is sent.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	header http.Header // by canonical names
	body   []byte
	write  bool // sent again only if it was not taken for certain
	leader bool // the leader is asked first
	pinned bool // only nodes of the client's group may serve it
	// vacant says of a success that the node that gave it knows nothing of a group, so that
	// another node may know more. Nil: any success will do.
	vacant func(body []byte) bool
	stream bool // the body of a success is the caller's to read, for as long as it comes
}

// answer is a success.
type answer struct {
	endpoint string
	header   http.Header
	body     []byte
	stream   io.ReadCloser // in place of body, of a call that streams
}

// do sends the call to one node after the other until one serves it, the deadline
// has come or it would not be safe to go on. A vacant answer is for when nobody has
// another one.
func (c *Client) do(ctx context.Context, k call) (answer, error) {
	unbound := ctx // of a stream only the beginning has to come in time
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
		of := ctx
		if k.stream {
			of = unbound
		}
		a, err := c.try(of, endpoint, k, c.share(k))
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
	if !k.stream {
		bound, cancel := c.bound(ctx)
		defer cancel()
		ctx = bound
	}
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
		return e.Status == http.StatusServiceUnavailable && e.Code.NotDone() || e.Code == api.CodeTimeout
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
		if k.write && !e.Code.NotDone() && e.Code != api.CodeOutcomeUnknown { // of that it is one already
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
	r := Request{Method: k.method, Endpoint: endpoint, Path: k.path, Query: k.query, Header: k.header, Body: k.body}
	if k.stream {
		r.Until, r.Idle = time.Now().Add(c.timeout/time.Duration(share)), streamIdle
	} else if share > 1 {
		deadline, _ := ctx.Deadline() // bound has seen to it
		r.Until = time.Now().Add(time.Until(deadline) / time.Duration(share))
	}
	if group := c.group.Load(); k.pinned && group != nil {
		r.Group = *group
	}
	resp, err := c.sender.Send(ctx, &r)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // that would not be the node's fault
			c.endpoints.fails(endpoint)
		}
		return answer{}, err
	}
	streams := false
	defer func() {
		if !streams {
			_ = resp.Body.Close()
		}
	}()
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
	if k.stream {
		streams = true
		return answer{endpoint: endpoint, header: resp.Header, stream: resp.Body}, nil
	}
	body, err := readAll(resp)
	if err != nil && !k.write { // a write has succeeded whatever follows the status
		return answer{}, &Unanswered{Endpoint: endpoint, Sent: true, Cause: fmt.Errorf("read the answer: %w", err)}
	}
	return answer{endpoint: endpoint, header: resp.Header, body: body}, nil
}

// readAll reads the body of an answer. Room for what it claims to be is made at once only
// where that is little.
func readAll(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n >= 0 && n <= maxErrorBytes {
		body := make([]byte, n)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	return io.ReadAll(resp.Body)
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
