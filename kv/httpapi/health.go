package httpapi

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// readyWait is how long /readyz waits for the leader and for the map to catch up:
// who asks wants to know now.
const readyWait = 100 * time.Millisecond

// readiness is whether the node has, since its start, once caught up with what a
// leader had committed: the index that the first leader it reached told. It stays
// so.
type readiness struct {
	own   uint64                 // last index of the node's own log when it started; 0: it was empty
	index atomic.Pointer[uint64] // what to apply; nil: no leader has told it yet
	done  atomic.Bool
}

// healthz is GET /healthz.
func (s *Server) healthz(context.Context, *request) (answer, error) {
	if s.stopped() {
		return answer{}, s.stoppedProblem()
	}
	if err := s.stalledProblem(); err != nil {
		return answer{}, err
	}
	return done(nil)
}

// stalledProblem is an error while the log store does not answer.
func (s *Server) stalledProblem() error {
	stalled := s.cfg.Replica.Status().Stalled
	if stalled == 0 {
		return nil
	}
	return unavailable(api.CodeNotReady, "node %s has stalled: a write to its log store has not returned for %s: look at its disk; it goes on when the disk does, and stops at raft.stall_limit",
		s.id, stalled.Round(time.Millisecond))
}

// readyz is GET /readyz.
func (s *Server) readyz(ctx context.Context, q *request) (answer, error) {
	if s.stopped() {
		return answer{}, s.stoppedProblem()
	}
	if err := s.stalledProblem(); err != nil {
		return answer{}, err
	}
	if s.look().leader == "" {
		return answer{}, unavailable(api.CodeNotReady, "node %s knows no leader", s.id)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := s.catchUp(ctx, q); err != nil {
		return answer{}, err
	}
	return done(nil)
}

// catchUp returns nil once the node is as far as readiness asks for.
func (s *Server) catchUp(ctx context.Context, q *request) error {
	if s.caught.done.Load() {
		return nil
	}
	if s.caught.index.Load() == nil {
		index, err := s.leaderIndex(ctx, q)
		if err != nil {
			return unavailable(api.CodeNotReady, "how far node %s has to catch up is not known yet: %v", s.id, err)
		}
		s.caught.index.CompareAndSwap(nil, &index)
	}
	index := *s.caught.index.Load()
	if err := s.cfg.Replica.WaitApplied(ctx, index); err != nil {
		applied := s.cfg.Replica.Status().AppliedIndex
		return unavailable(api.CodeNotReady, "node %s is catching up: it has applied index %d of %d", s.id, applied, index)
	}
	s.caught.done.Store(true)
	return nil
}

// hasCaughtUp refuses stale reads of a map that may hold less than it did before the
// node was restarted: a key that is there would seem not to be. Which entries of its log
// are committed a node learns from a leader only; once it has applied all that it held
// at its start, or as much as the first leader it reached told, it goes on to answer
// also without one.
func (s *Server) hasCaughtUp(ctx context.Context, q *request) error {
	if s.caught.done.Load() {
		return nil
	}
	if own := s.caught.own; own > 0 && s.cfg.Replica.Status().AppliedIndex >= own {
		s.caught.done.Store(true)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	return s.catchUp(ctx, q)
}

// leaderIndex asks the leader, once, how far it is.
func (s *Server) leaderIndex(ctx context.Context, q *request) (uint64, error) {
	to, err := s.leader(q)
	switch {
	case err != nil:
		return 0, err
	case to == nil:
		return s.cfg.Replica.ReadIndex(ctx)
	}
	return s.askReadIndex(ctx, *to)
}

// scrape is GET /metrics.
func (s *Server) scrape(_ context.Context, q *request) (answer, error) {
	return s.metrics.scrape(q.Request)
}
