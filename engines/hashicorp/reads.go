package hashicorp

import (
	"context"
	"fmt"
	"sync"
)

// reads lets reads that come while a round is under way share the next one: a
// read needs a round that begins after it, but not one of its own. The zero
// value is ready.
type reads struct {
	mu      sync.Mutex
	running *round
	next    *round // gathers callers while running runs
}

// round is one confirmation of the leader and what it gave. The caller that made
// it carries it through; the others wait.
type round struct {
	done      chan struct{} // closed once the fields below are set
	index     uint64
	err       error
	abandoned bool // its maker's context ended: it says nothing to the others
}

// share returns what confirm gives in a round that begins after the call.
func (q *reads) share(ctx context.Context, confirm func(context.Context) (uint64, error)) (uint64, error) {
	for {
		mine, others, previous := q.join()
		if mine != nil {
			return q.carry(ctx, mine, previous, confirm)
		}
		select {
		case <-others.done:
			if !others.abandoned {
				return others.index, others.err
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("read index: %w", ctx.Err())
		}
	}
}

// join returns a round that the caller is to carry through once previous is done,
// or that of another caller.
func (q *reads) join() (mine, others, previous *round) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.running == nil:
		q.running = &round{done: make(chan struct{})}
		return q.running, nil, nil
	case q.next == nil:
		q.next = &round{done: make(chan struct{})}
		return q.next, nil, q.running
	default:
		return nil, q.next, nil
	}
}

func (q *reads) carry(ctx context.Context, r, previous *round, confirm func(context.Context) (uint64, error)) (uint64, error) {
	if previous != nil {
		select {
		case <-previous.done: // r is the running one since
		case <-ctx.Done():
			err := fmt.Errorf("read index: %w", ctx.Err())
			q.finish(r, 0, err, true)
			return 0, err
		}
	}
	index, err := confirm(ctx)
	q.finish(r, index, err, err != nil && ctx.Err() != nil)
	return index, err
}

// finish ends r and, if it was running, lets the next one run.
func (q *reads) finish(r *round, index uint64, err error, abandoned bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running == r {
		q.running, q.next = q.next, nil
	} else {
		q.next = nil
	}
	r.index, r.err, r.abandoned = index, err, abandoned
	close(r.done)
}
