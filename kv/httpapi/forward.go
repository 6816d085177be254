package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

const (
	dialTimeout  = time.Second
	maxIdlePeers = 256
	idlePeer     = 90 * time.Second
)

// newTransport returns the transport to other nodes: what connects them is their
// own business, so no proxy of the environment stands between.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConnsPerHost: maxIdlePeers,
		IdleConnTimeout:     idlePeer,
		DisableCompression:  true,
	}
}

// lost is the error of a request to a peer that has brought no answer.
type lost struct {
	to    peer
	sent  bool // the peer may have got it
	cause error
}

// Error implements error.
func (l *lost) Error() string {
	if !l.sent {
		return fmt.Sprintf("node %s at %s cannot be reached: %v", l.to.id, l.to.address, l.cause)
	}
	return fmt.Sprintf("node %s at %s has not answered: %v", l.to.id, l.to.address, l.cause)
}

// Unwrap returns the cause.
func (l *lost) Unwrap() error { return l.cause }

// forward has the leader serve the request, once. An error is an again if that
// is certain to have changed nothing.
func (s *Server) forward(ctx context.Context, q *request, to peer) (answer, error) {
	if q.writes() {
		a, err := s.exchange(ctx, to, q.Method, q.URL.EscapedPath(), q)
		return a, settle(err)
	}
	ctx, cancel := halfTheTime(ctx)
	defer cancel()
	before := q.share.held
	a, err := s.exchange(ctx, to, http.MethodGet, q.URL.EscapedPath(), q) // of HEAD, respond drops the body
	if err != nil {
		q.share.shrink(before)
	}
	if err == nil && a.status >= http.StatusInternalServerError {
		err = fmt.Errorf("node %s: %s", to.id, a.body)
	}
	return a, readAgain(err)
}

// settle makes an error of exchange that of a write: an again or, once it was
// sent, a core.ErrOutcomeUnknown.
func settle(err error) error {
	var l *lost
	switch {
	case !errors.As(err, &l):
		return err
	case l.sent:
		return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	case errors.Is(err, context.DeadlineExceeded):
		return &again{code: api.CodeTimeout, cause: err}
	default:
		return &again{code: api.CodeNoLeader, cause: err}
	}
}

// readAgain makes an error of a read an again.
func readAgain(err error) error {
	var l *lost
	switch {
	case err == nil, errors.As(err, new(*again)), errors.As(err, new(*problem)):
		return err
	case errors.As(err, &l) && !l.sent && !errors.Is(err, context.DeadlineExceeded):
		return &again{code: api.CodeNoLeader, cause: err}
	default:
		return &again{code: api.CodeTimeout, cause: err}
	}
}

// halfTheTime bounds one try of a read at a peer: if that hangs, there is time to
// ask another.
func halfTheTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline() // dispatch has set one
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// askReadIndex gets a read index from the leader.
func (s *Server) askReadIndex(ctx context.Context, to peer) (uint64, error) {
	ctx, cancel := halfTheTime(ctx)
	defer cancel()
	a, err := s.exchange(ctx, to, http.MethodGet, readIndexPath, nil)
	if err != nil {
		return 0, err
	}
	var index api.ReadIndex
	if a.status != http.StatusOK {
		return 0, fmt.Errorf("node %s: read index: %.200s", to.id, a.body)
	}
	if err := json.Unmarshal(a.body, &index); err != nil {
		return 0, fmt.Errorf("node %s: read index: %w", to.id, err)
	}
	return index.Index, nil
}

// exchange sends a request to the peer and reads the answer; body, query and
// headers are those of q, unless it is nil. Errors are *lost, an *again where the peer
// answered that it did nothing, or a *problem that ends the request.
func (s *Server) exchange(ctx context.Context, to peer, method, path string, q *request) (answer, error) {
	var sent atomic.Bool
	r, err := s.outgoing(trace(ctx, &sent), to, method, path, q)
	if err != nil {
		s.metrics.forwarded.WithLabelValues(forwardUnreachable).Inc()
		return answer{}, &lost{to: to, cause: err}
	}
	a, err := roundTrip(s.peers, r, to, q)
	switch {
	case errors.As(err, new(*again)):
		s.metrics.forwarded.WithLabelValues(forwardRefused).Inc()
		return answer{}, err
	case errors.As(err, new(*problem)): // this node has no room for the answer
		s.metrics.forwarded.WithLabelValues(forwardAnswered).Inc()
		return answer{}, err
	case err == nil && a.status == http.StatusServiceUnavailable: // whatever the code: it has done nothing
		s.metrics.forwarded.WithLabelValues(forwardRefused).Inc()
		return answer{}, refusal(to, a, q)
	case err == nil:
		s.metrics.forwarded.WithLabelValues(forwardAnswered).Inc()
		return a, nil
	case sent.Load():
		s.metrics.forwarded.WithLabelValues(forwardLost).Inc()
	default:
		s.metrics.forwarded.WithLabelValues(forwardUnreachable).Inc()
	}
	return answer{}, &lost{to: to, sent: sent.Load(), cause: err}
}

// trace follows a request: sent is whether a connection was got for it, so that
// bytes may have left. The transport gets another one only while nothing was
// written, or for reads.
func trace(ctx context.Context, sent *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
}

// outgoing makes the request. Only the headers that mean something are passed on:
// an Idempotency-Key, for one, would have the transport send a write twice.
func (s *Server) outgoing(ctx context.Context, to peer, method, path string, q *request) (*http.Request, error) {
	query, header, body := url.Values{}, http.Header{}, []byte(nil)
	if q != nil {
		maps.Copy(query, q.query)
		body = q.body
		for _, name := range []string{"Accept", "Content-Type", "If-Match", "If-None-Match"} {
			if values := q.Header.Values(name); len(values) > 0 {
				header[name] = slices.Clone(values)
			}
		}
	}
	deadline, _ := ctx.Deadline() // dispatch has set one
	left := time.Until(deadline)
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	// The peer gives up a little earlier, so that we learn what became of it.
	query.Set("timeout", (left - min(left/10, 50*time.Millisecond)).String())
	header.Set(api.HeaderForwarded, s.id)
	header.Set(api.HeaderLeaderID, to.id)
	header.Set(api.HeaderIncarnation, to.incarnation)
	header.Set(api.HeaderGroup, s.look().group)
	target := "http://" + to.address + path + "?" + query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	return r, nil
}

// refusal is the error of a peer's 503. Where the leader has no room, or waits for
// another node before it can change something, the client is told: to ask again on its
// behalf at once would add to it.
func refusal(to peer, a answer, q *request) error {
	var e api.Error
	if err := json.Unmarshal(a.body, &e); err != nil {
		return noLeader("node %s: %s", to.id, a.body)
	}
	switch {
	case e.Code == api.CodeOverloaded:
		return overloaded("node %s: %s", to.id, e.Error)
	case e.Code == api.CodeNotReady && q != nil && q.writes():
		return unavailable(e.Code, "%s", e.Error)
	}
	return noLeader("node %s: %s", to.id, a.body)
}

// roundTrip sends the request, for q, and reads the answer, which has to be that peer's:
// the member with these data, of the group for which the request is. An error that is
// an *again says that another node has refused it.
func roundTrip(via http.RoundTripper, r *http.Request, to peer, q *request) (answer, error) {
	resp, err := via.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	node := core.Identity{ID: resp.Header.Get(api.HeaderNode), Incarnation: resp.Header.Get(api.HeaderIncarnation)}
	group := resp.Header.Get(api.HeaderGroup)
	if meant := (core.Identity{ID: to.id, Incarnation: to.incarnation}); node != meant || group != r.Header.Get(api.HeaderGroup) {
		err := fmt.Errorf("who answers at %s is not node %s: status %d of %.100q, of %.40s", to.address, meant, resp.StatusCode, node, groupName(group))
		if resp.StatusCode == http.StatusServiceUnavailable && node.ID != "" { // a node that knows that it was not meant
			return answer{}, &again{code: api.CodeNoLeader, cause: err}
		}
		return answer{}, err
	}
	hold := func(int) error { return nil } // what a write is answered is short, and has to be told
	if q != nil && !q.writes() {
		hold = q.share.take
	}
	body, err := readAll(resp.Body, resp.ContentLength, hold)
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a := answer{status: resp.StatusCode, header: http.Header{}, body: body}
	for _, name := range []string{"Allow", "Content-Type", "Etag", "Retry-After", "Vary", headerEncoding, api.HeaderIndex} {
		if values := resp.Header.Values(name); len(values) > 0 {
			a.header[name] = values
		}
	}
	return a, nil
}
