package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/sharing"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// viewAge is how long a view is used. A Status costs about as much as all else
// that a short request needs. An old view does no harm: a node that is
// wrongly taken for the leader says so.
const viewAge = 10 * time.Millisecond

// view is which node leads, as far as this one knew at a moment.
type view struct {
	at     time.Time
	group  string      // that this node is in; empty: none
	leader string      // id; empty: none known
	self   bool        // this node leads
	member core.Member // the leader, if the node has it in its configuration
}

// look returns a view that is at most viewAge old.
func (s *Server) look() view {
	now := time.Now()
	if v := s.view.Load(); v != nil && now.Sub(v.at) < viewAge {
		return *v
	}
	status := s.cfg.Replica.Status()
	v := view{at: now, group: status.Group, leader: status.LeaderID, self: status.Role == core.Leader}
	switch {
	case v.self:
		v.leader = s.id
	case v.leader == s.id: // it has just stepped down
		v.leader = ""
	}
	v.member, _ = status.Member(v.leader)
	s.view.Store(&v)
	return v
}

// refresh makes the next look read the status anew.
func (s *Server) refresh() { s.view.Store(nil) }

// pollInterval is how long a request that found no leader waits until it looks
// again.
const pollInterval = 20 * time.Millisecond

// shortestTry is the time that has to be left for another try: a write that was sent
// when its answer could not come any more would have an open fate for nothing.
const shortestTry = 50 * time.Millisecond

// retryable is the error of a try that has changed nothing: another one may do better.
// If there is none, code is what the client is told.
type retryable struct {
	code  api.Code // CodeNoLeader or CodeTimeout
	cause error
}

// Error implements error.
func (r *retryable) Error() string { return r.cause.Error() }

// Unwrap returns the cause.
func (r *retryable) Unwrap() error { return r.cause }

func noLeader(format string, args ...any) error {
	return &retryable{code: api.CodeNoLeader, cause: fmt.Errorf(format, args...)}
}

// gaveUp is the problem of a request that has no time for another try.
func (r *retryable) gaveUp() error {
	if r.code == api.CodeTimeout {
		return timedOut("gave up at the deadline: %v", r.cause)
	}
	return refuse(r.code, "no leader served the request before its deadline: %v", r.cause)
}

// retry calls try until its error is not retryable, the deadline is near, or this node
// stops.
func (s *Server) retry(ctx context.Context, try func() error) error {
	var last *retryable
	for {
		err := try()
		var r *retryable
		if !errors.As(err, &r) {
			return err
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) { // that tells the least
			last = r
		}
		s.refresh()
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pollInterval+shortestTry {
			return last.gaveUp()
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return last.gaveUp()
		case <-s.cfg.Replica.Done():
			return s.stoppedProblem()
		}
	}
}

// peer is another member, to send a request to. What answers has to prove to be
// that one, of this node's group.
type peer struct{ id, incarnation, address string }

// leader returns the node that is to serve what only a leader can: the peer, or this
// node if that is nil. A request that was forwarded here is this node's or nobody's.
func (s *Server) leader(q *request) (*peer, error) {
	v := s.look()
	switch {
	case v.self:
		return nil, nil
	case q.forwarder != "":
		return nil, s.notLeader("node %s is not the leader", s.id)
	case v.leader == "":
		return nil, noLeader("node %s knows no leader", s.id)
	}
	if v.member.ID == "" {
		return nil, noLeader("node %s does not have the leader %s in its configuration yet", s.id, v.leader)
	}
	address, ok := s.address(v.leader)
	if !ok {
		return nil, noLeader("the leader %s has announced no HTTP address", v.leader)
	}
	return &peer{id: v.leader, incarnation: v.member.Incarnation, address: address}, nil
}

// notLeader refuses a forwarded request: it is not forwarded again, so that it
// cannot go in circles.
func (s *Server) notLeader(format string, args ...any) error {
	p := refuse(api.CodeNotLeader, format, args...)
	p.leader = s.look().leader
	return p
}

// onLeader answers with what the leader does: serve, if that is this node, or what
// the peer answers to the same request. serve returns a core.ErrNotLeader, and has
// then changed nothing, where this node does not lead.
func (s *Server) onLeader(ctx context.Context, q *request, serve func() (answer, error)) (answer, error) {
	var a answer
	err := s.retry(ctx, func() error {
		to, err := s.leader(q)
		if err != nil {
			return err
		}
		if to != nil {
			a, err = s.forward(ctx, q, *to)
			return err
		}
		a, err = serve()
		return s.deposed(q, err)
	})
	return a, err
}

// deposed makes of a core.ErrNotLeader what is to follow from it; other errors
// stay.
func (s *Server) deposed(q *request, err error) error {
	if !errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) {
		return err
	}
	s.refresh()
	if q.forwarder != "" {
		return s.notLeader("%v", err)
	}
	if errors.Is(err, core.ErrStalled) { // it does not hear of the next leader either: another node may
		return refuse(api.CodeNoLeader, "%v", err)
	}
	return noLeader("%w", err)
}

// forward has the leader serve the request, once. An error is a retryable if it
// is certain that nothing has changed.
func (s *Server) forward(ctx context.Context, q *request, to peer) (answer, error) {
	if q.writes() {
		a, err := s.exchange(ctx, to, q.Method, q.URL.EscapedPath(), q)
		return a, settle(err, true)
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
	return a, settle(err, false)
}

// settle gives an error of exchange its meaning: a write that may have got there is a
// core.ErrOutcomeUnknown, all else may be tried again.
func settle(err error, write bool) error {
	var unanswered *client.Unanswered
	switch sent := errors.As(err, &unanswered) && unanswered.Sent; {
	case err == nil, errors.As(err, new(*retryable)), errors.As(err, new(*problem)):
		return err
	case write && sent:
		return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	case unanswered == nil, sent, errors.Is(err, context.DeadlineExceeded):
		return &retryable{code: api.CodeTimeout, cause: err}
	default:
		return &retryable{code: api.CodeNoLeader, cause: err}
	}
}

// halfTheTime bounds one try of a read at a peer: if that hangs, there is time to
// ask another.
func halfTheTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline() // dispatch has set one
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// questions are those for the read index of one leader.
type questions struct {
	to     peer
	rounds sharing.Rounds
}

// askReadIndex gets a read index from the leader. Reads that wait at the same time share
// one question, which is asked after all of them have come. Each waits half of its own
// time; another leader is asked at once, though the last one may still owe an answer.
func (s *Server) askReadIndex(ctx context.Context, to peer) (uint64, error) {
	ctx, cancel := halfTheTime(ctx)
	defer cancel()
	q := s.questions.Load()
	if q == nil || q.to != to {
		q = &questions{to: to}
		s.questions.Store(q)
	}
	return q.rounds.Share(ctx, func(ctx context.Context) (uint64, error) { return s.readIndexOf(ctx, to) })
}

// readIndexOf asks the leader for a read index.
func (s *Server) readIndexOf(ctx context.Context, to peer) (uint64, error) {
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

// exchange sends a request to the peer and reads the answer; body, query and headers
// are those of q, unless it is nil. Errors are *client.Unanswered, a *retryable where the
// peer answered that it did nothing, or a *problem that ends the request: this node has
// no room for the answer.
func (s *Server) exchange(ctx context.Context, to peer, method, path string, q *request) (answer, error) {
	a, err := s.ask(ctx, to, method, path, q)
	var unanswered *client.Unanswered
	outcome := forwardAnswered
	switch {
	case errors.As(err, &unanswered):
		err = fmt.Errorf("node %s at %w", to.id, err)
		if outcome = forwardUnreachable; unanswered.Sent {
			outcome = forwardLost
		}
	case errors.As(err, new(*retryable)):
		outcome = forwardRefused
	case err == nil && a.status == http.StatusServiceUnavailable: // whatever the code: it has done nothing
		outcome = forwardRefused
		a, err = answer{}, refusal(to, a, q)
	}
	s.metrics.forwarded.WithLabelValues(outcome).Inc()
	return a, err
}

// ask sends the request and reads the answer, which has to be that peer's: the member
// with these data, of the group for which the request is. Only the headers that mean
// something are passed on: an Idempotency-Key, for one, would have a write sent twice. An
// error that is a *retryable says that another node has refused it.
func (s *Server) ask(ctx context.Context, to peer, method, path string, q *request) (answer, error) {
	query, header, body := url.Values(nil), http.Header{}, []byte(nil)
	hold := func(int) error { return nil } // what a write is answered is short, and has to be told
	if q != nil {
		query, body = q.query, q.body
		copyHeaders(header, q.Header, "Accept", "Content-Type", "If-Match", "If-None-Match")
		if !q.writes() {
			hold = q.share.take
		}
	}
	group := s.look().group
	header.Set(api.HeaderForwarded, s.id)
	header.Set(api.HeaderLeaderID, to.id)
	header.Set(api.HeaderIncarnation, to.incarnation)
	resp, err := s.peers.Send(ctx, &client.Request{
		Method: method, Endpoint: to.address, Path: path, Query: query, Header: header, Group: group, Body: body,
	})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if err := meant(to, group, resp); err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: http.Header{}}
	copyHeaders(a.header, resp.Header, "Allow", "Content-Type", "Etag", "Retry-After", "Vary", headerEncoding, api.HeaderIndex)
	a.body, err = readAll(resp.Body, resp.ContentLength, hold)
	if err != nil && !errors.As(err, new(*problem)) {
		err = &client.Unanswered{Endpoint: to.address, Sent: true, Cause: fmt.Errorf("read the answer: %w", err)}
	}
	return a, err
}

func copyHeaders(to, from http.Header, names ...string) {
	for _, name := range names {
		if values := from.Values(name); len(values) > 0 {
			to[name] = slices.Clone(values)
		}
	}
}

// meant refuses the answer of another than the peer.
func meant(to peer, group string, resp *http.Response) error {
	h := resp.Header
	wanted := core.Identity{ID: to.id, Incarnation: to.incarnation}
	got := core.Identity{ID: h.Get(api.HeaderNode), Incarnation: h.Get(api.HeaderIncarnation)}
	if got == wanted && h.Get(api.HeaderGroup) == group {
		return nil
	}
	err := fmt.Errorf("what answers there is not node %s: status %d of %.100q, of %.40s", wanted, resp.StatusCode, got, groupName(h.Get(api.HeaderGroup)))
	if resp.StatusCode == http.StatusServiceUnavailable && got.ID != "" { // a node that knows that it was not meant
		return &retryable{code: api.CodeNoLeader, cause: err}
	}
	return &client.Unanswered{Endpoint: to.address, Sent: true, Cause: err}
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
		return refuse(e.Code, "%s", e.Error)
	}
	return noLeader("node %s: %s", to.id, a.body)
}
