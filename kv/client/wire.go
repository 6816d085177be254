package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

const (
	dialTimeout = time.Second
	// idleTimeout is shorter than a kvnode keeps an idle connection, so that a
	// write seldom meets one that is just being closed.
	idleTimeout = 30 * time.Second
	// defaultIdle is how many idle connections are kept to a node, if nothing else is said.
	defaultIdle = 512
	// answerTime is how much earlier than the sender a node gives up, at most.
	answerTime = 100 * time.Millisecond
	// smallBody is up to how many bytes a body goes out with the head, by one write.
	smallBody = 64 << 10
	// maxHeadBytes bounds the head of an answer, and maxInterim how many of 1xx come before.
	maxHeadBytes = 1 << 20
	maxInterim   = 8
	// maxStatusBytes bounds a status.
	maxStatusBytes = 4 << 20
)

// Sender sends requests to nodes over HTTP/1.1, and knows of one that brought no answer
// whether the node may have seen it. It chooses no node. What connects nodes is their own
// business, so no proxy of the environment stands between. Safe for concurrent use.
//
// net/http's Transport has two goroutines for each connection, and a request goes through
// both: here the caller writes and reads by itself, which is a third less work for a small
// request, and lets it know for certain what has been sent.
type Sender struct {
	keep   int          // idle connections to an endpoint, at most
	opened atomic.Int64 // connections

	mu    sync.Mutex
	idle  map[string][]*link // by endpoint; the one that was used last at the end
	sweep *time.Timer        // runs while there may be idle ones
}

// NewSender returns a sender without connections.
func NewSender() *Sender { return &Sender{keep: defaultIdle, idle: map[string][]*link{}} }

// CloseIdle closes the connections that are idle. Call it once no request is under way.
func (s *Sender) CloseIdle() { s.closeIdle(math.MinInt64) }

// closeIdle closes the connections that have been idle for so long.
func (s *Sender) closeIdle(least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for endpoint, links := range s.idle {
		old := 0
		for old < len(links) && time.Since(links[old].since) >= least {
			_ = links[old].Close()
			old++
		}
		if s.idle[endpoint] = append(links[:0], links[old:]...); len(s.idle[endpoint]) == 0 {
			delete(s.idle, endpoint)
		}
	}
	if s.sweep != nil {
		s.sweep.Stop()
		s.sweep = nil
	}
	if len(s.idle) > 0 {
		s.sweepLater()
	}
}

func (s *Sender) sweepLater() {
	s.sweep = time.AfterFunc(idleTimeout/2, func() { s.closeIdle(idleTimeout) })
}

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

// Request is a request to one node. The node is told how long it may take: a little less
// than the sender waits, so that we learn what became of it.
type Request struct {
	Method   string
	Endpoint string      // host:port
	Path     string      // escaped
	Query    url.Values  // beside timeout
	Header   http.Header // by canonical names; only read
	Group    string      // that the node has to be in; empty: any
	Body     []byte      // only read
	Until    time.Time   // when to give up; zero: at the context's deadline, which it needs then
	// Idle is how long nothing may come of the answer's body; Until then bounds its head
	// only. 0: Until bounds all of it.
	Idle time.Duration
}

// Send sends a request. Without an answer the error is an *[Unanswered], not wrapped, and
// an [ErrInvalid] where the request cannot be sent to anybody. The caller closes the body
// of the answer, after the reading of which the connection can be used again.
//
// A request that meets a connection which the node has closed meanwhile goes out on
// another one, if nothing of it was written, or if it is a GET, which changes nothing.
func (s *Sender) Send(ctx context.Context, r *Request) (*http.Response, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	deadline, bounded := ctx.Deadline()
	until := r.Until
	if until.IsZero() || bounded && deadline.Before(until) {
		until = deadline
	}
	for {
		l, err := s.connection(ctx, r.Endpoint, until)
		if err != nil {
			return nil, &Unanswered{Endpoint: r.Endpoint, Cause: causeOf(ctx, err)}
		}
		try := attempt{Request: r, sender: s, link: l, ctx: ctx}
		resp, err := try.run(until)
		if err == nil {
			return resp, nil
		}
		_ = l.Close()
		stale := l.used && !try.answered && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded)
		if stale && (!try.sent || r.Method == http.MethodGet) {
			continue // of connections that were used before there are fewer each time
		}
		return nil, &Unanswered{Endpoint: r.Endpoint, Sent: try.sent, Cause: causeOf(ctx, err)}
	}
}

// Status asks the node at the endpoint, whatever group it is in, for its status. ctx needs
// a deadline.
func (s *Sender) Status(ctx context.Context, endpoint string) (status api.Status, err error) {
	resp, err := s.Send(ctx, &Request{Method: http.MethodGet, Endpoint: endpoint, Path: "/status"})
	if err != nil {
		return status, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !ofNode(resp.Header) {
		return status, readError(endpoint, resp)
	}
	return status, json.NewDecoder(io.LimitReader(resp.Body, maxStatusBytes)).Decode(&status)
}

// causeOf says of a failure that came with the end of the context or of the time that it
// did.
func causeOf(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	}
	return err
}

// connection returns one to the endpoint: the one that was used last, if it still stands.
func (s *Sender) connection(ctx context.Context, endpoint string, until time.Time) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for l := s.take(endpoint); l != nil; l = s.take(endpoint) {
		if l.SetDeadline(until) == nil && alive(l.Conn) {
			return l, nil
		}
		_ = l.Close()
	}
	l, err := s.dial(ctx, endpoint, until)
	if err != nil {
		return nil, err
	}
	return l, l.SetDeadline(until)
}

func (s *Sender) dial(ctx context.Context, endpoint string, until time.Time) (*link, error) {
	dialer := net.Dialer{Timeout: dialTimeout, Deadline: until}
	c, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	s.opened.Add(1)
	l := &link{Conn: c}
	l.in = bufio.NewReader(l)
	return l, nil
}

// connect opens connections until so many to the endpoint are idle.
func (s *Sender) connect(ctx context.Context, endpoint string, idle int) error {
	for {
		s.mu.Lock()
		there := len(s.idle[endpoint])
		s.mu.Unlock()
		if there >= idle {
			return nil
		}
		l, err := s.dial(ctx, endpoint, time.Time{})
		if err != nil {
			return &Unanswered{Endpoint: endpoint, Cause: causeOf(ctx, err)}
		}
		s.giveBack(endpoint, l)
	}
}

func (s *Sender) take(endpoint string) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := s.idle[endpoint]
	last := len(links) - 1
	if last < 0 {
		return nil
	}
	l := links[last]
	links[last] = nil
	s.idle[endpoint] = links[:last]
	return l
}

// giveBack takes in a connection that is idle.
func (s *Sender) giveBack(endpoint string, l *link) {
	l.used, l.since = true, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle[endpoint]) >= s.keep {
		_ = l.Close()
		return
	}
	s.idle[endpoint] = append(s.idle[endpoint], l)
	if s.sweep == nil {
		s.sweepLater()
	}
}

// link is a connection to a node. One request at a time goes out on it.
type link struct {
	net.Conn
	in    *bufio.Reader // reads from the link
	left  int64         // how much may be read for the head of an answer
	out   []byte        // reused
	used  bool          // an answer has come on it
	since time.Time     // it is idle
}

// Read implements net.Conn, within the limit for the head of an answer.
func (l *link) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the head of the answer is longer than %d bytes", maxHeadBytes)
	}
	n, err := l.Conn.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// attempt is a request on one connection. Its fields after ctx say how far it has come.
type attempt struct {
	*Request
	sender *Sender
	link   *link
	ctx    context.Context

	stop     func() bool // ends the watch of ctx; false: ctx has ended, and with it the link
	sent     bool        // something of the request may have left this process
	answered bool        // something of the answer has come
	spent    bool        // the link is of no use for another request
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// run sends the request and reads the head of the answer.
func (a *attempt) run(until time.Time) (resp *http.Response, err error) {
	l := a.link
	a.stop = context.AfterFunc(a.ctx, func() { _ = l.SetDeadline(past) })
	defer func() {
		if err != nil {
			a.stop()
		}
	}()
	l.out = a.appendHead(l.out[:0], time.Until(until))
	if len(a.Body) > smallBody {
		return a.runLarge()
	}
	l.out = append(l.out, a.Body...)
	n, err := l.Write(l.out)
	a.sent = n > 0
	if err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return a.readHead()
}

// runLarge is run for a body that a node may refuse before it has taken all of it: the
// answer is read meanwhile.
func (a *attempt) runLarge() (*http.Response, error) {
	var n int64
	written := make(chan error, 1)
	go func() {
		var err error
		parts := net.Buffers{a.link.out, a.Body}
		n, err = parts.WriteTo(a.link.Conn)
		written <- err
	}()
	resp, err := a.readHead()
	_ = a.link.SetWriteDeadline(past) // ends a write that the node takes no more of, and no other
	a.spent = <-written != nil
	a.sent = n > 0
	return resp, err
}

// readHead reads the answer up to its body.
func (a *attempt) readHead() (*http.Response, error) {
	l := a.link
	l.left = maxHeadBytes
	if _, err := l.in.Peek(1); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	a.answered = true
	var of *http.Request // of a GET, or what has an answer of the same form
	if a.Method == http.MethodHead {
		of = &http.Request{Method: a.Method}
	}
	for range maxInterim {
		resp, err := http.ReadResponse(l.in, of)
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if resp.StatusCode >= http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols {
			a.spent = a.spent || resp.Close || resp.StatusCode == http.StatusSwitchingProtocols
			l.left = math.MaxInt64
			resp.Body = a.body(resp)
			return resp, nil
		}
	}
	return nil, errors.New("read the answer: the node goes on telling that there will be one")
}

// body gives the connection back with the end of the answer.
func (a *attempt) body(resp *http.Response) io.ReadCloser {
	b := &body{from: resp.Body, attempt: a}
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		b.end(true)
	}
	return b
}

// body is that of an answer.
type body struct {
	from io.ReadCloser
	*attempt
	ended bool
}

// Read implements io.Reader.
func (b *body) Read(to []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if b.Idle > 0 {
		_ = b.link.SetDeadline(time.Now().Add(b.Idle))
		if b.ctx.Err() != nil { // its end may have come just before
			_ = b.link.SetDeadline(past)
		}
	}
	n, err := b.from.Read(to)
	switch {
	case errors.Is(err, io.EOF):
		b.end(true)
	case err != nil:
		if err = causeOf(b.ctx, err); b.Idle > 0 && b.ctx.Err() == nil {
			err = fmt.Errorf("%s sends no more: %w", b.Endpoint, err)
		}
		b.end(false)
	}
	return n, err
}

// Close implements io.Closer. What has not been read by then is lost with the connection.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(complete bool) {
	if b.ended {
		return
	}
	b.ended = true
	if b.stop() && complete && !b.spent && b.link.in.Buffered() == 0 {
		b.sender.giveBack(b.Endpoint, b.link)
		return
	}
	_ = b.link.Close()
}

// check refuses what would not arrive as what it is.
func (r *Request) check() error {
	for name, values := range r.Header {
		for _, v := range values {
			if !printable(v) {
				return fmt.Errorf("%w request: header %s: %.40q has control characters", ErrInvalid, name, v)
			}
		}
	}
	if !printable(r.Group) {
		return fmt.Errorf("%w request: group %.40q has control characters", ErrInvalid, r.Group)
	}
	if !printable(r.Path) || strings.ContainsAny(r.Path, " ?#") {
		return fmt.Errorf("%w request: path %.40q is not escaped", ErrInvalid, r.Path)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendHead appends the request up to its body.
func (r *Request) appendHead(b []byte, left time.Duration) []byte {
	asked := max(min(left-min(left/10, answerTime), api.MaxTimeout), time.Millisecond)
	b = append(append(append(b, r.Method...), ' '), r.Path...)
	b = append(append(b, "?timeout="...), asked.String()...)
	for name, values := range r.Query {
		for _, v := range values {
			if name != "timeout" {
				b = append(append(append(append(b, '&'), url.QueryEscape(name)...), '='), url.QueryEscape(v)...)
			}
		}
	}
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendHeader(b, "Host", r.Endpoint)
	if r.Group != "" {
		b = appendHeader(b, api.HeaderGroup, r.Group)
	}
	for name, values := range r.Header {
		for _, v := range values {
			b = appendHeader(b, name, v)
		}
	}
	if len(r.Body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.Body)), 10), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}
