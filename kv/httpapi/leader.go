package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// pollInterval is how long a request that found no leader waits until it looks
// again.
const pollInterval = 20 * time.Millisecond

// shortestTry is the time that has to be left for another try: a write that was sent
// when its answer could not come any more would have an open fate for nothing.
const shortestTry = 50 * time.Millisecond

// again is why a try came to nothing. Nothing took effect, and another try may do
// better; if there is none, code is what the client is told.
type again struct {
	code  api.Code // CodeNoLeader or CodeTimeout
	cause error
}

// Error implements error.
func (a *again) Error() string { return a.cause.Error() }

// Unwrap returns the cause.
func (a *again) Unwrap() error { return a.cause }

func noLeader(format string, args ...any) error {
	return &again{code: api.CodeNoLeader, cause: fmt.Errorf(format, args...)}
}

// gaveUp is the problem of a request that has no time for another try.
func (a *again) gaveUp() error {
	if a.code == api.CodeTimeout {
		return timedOut("gave up at the deadline: %v", a.cause)
	}
	return unavailable(a.code, "no leader served the request before its deadline: %v", a.cause)
}

// retry calls try until its error is no again, the deadline is near, or this node
// stops.
func (s *Server) retry(ctx context.Context, try func() error) error {
	var last *again
	for {
		err := try()
		var a *again
		if !errors.As(err, &a) {
			return err
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) { // that tells the least
			last = a
		}
		s.lookAgain()
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

// peer is another member, to send a request to. Whoever answers has to prove to be
// that one, of this node's group.
type peer struct{ id, incarnation, address string }

// leader tells who is to serve what only a leader can: the peer, or this node if
// that is nil. A request that was forwarded here is this node's or nobody's.
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
	return &problem{
		status:  http.StatusServiceUnavailable,
		code:    api.CodeNotLeader,
		message: fmt.Sprintf(format, args...),
		leader:  s.look().leader,
		header:  http.Header{"Retry-After": {"1"}},
	}
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
	if !errors.Is(err, core.ErrNotLeader) {
		return err
	}
	s.lookAgain()
	if q.forwarder != "" {
		return s.notLeader("%v", err)
	}
	if errors.Is(err, core.ErrStalled) { // it does not hear of the next leader either: another node may
		return unavailable(api.CodeNoLeader, "%v", err)
	}
	return noLeader("%w", err)
}
