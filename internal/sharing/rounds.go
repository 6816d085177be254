// Package sharing has callers that wait for the same thing wait for it together: a question
// whose answer must not be older than the caller, such as the read index of a leader; an
// index that grows; something that happens. It asks nothing by itself, and starts no goroutine.
package sharing

import (
	"context"
	"fmt"
	"sync"
)

// Rounds lets callers that come while a round is under way share the next one: a caller
// needs a round that begins after it came, but not one of its own (for read indexes:
// Raft dissertation, §6.4, where the leader gathers reads for one round of heartbeats).
// The zero value is ready. Safe for concurrent use.
type Rounds struct {
	mu      sync.Mutex
	running *round
	next    *round // gathers callers while running runs
}

// round is one question and its answer. The caller that made it carries it through; the
// others wait.
type round struct {
	done      chan struct{} // closed once the fields below are set
	index     uint64
	err       error
	abandoned bool // its maker's context ended: it says nothing to the others
}

// Share returns what ask gives in a round that begins after the call: a call of ask with the
// context of one of those who share it. The end of that context fails nobody else.
func (q *Rounds) Share(ctx context.Context, ask func(context.Context) (uint64, error)) (uint64, error) {
	for {
		mine, others, previous := q.join()
		if mine != nil {
			return q.carry(ctx, mine, previous, ask)
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
func (q *Rounds) join() (mine, others, previous *round) {
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

func (q *Rounds) carry(ctx context.Context, r, previous *round, ask func(context.Context) (uint64, error)) (uint64, error) {
	if previous != nil {
		select {
		case <-previous.done: // r is the running one since
		case <-ctx.Done():
			err := fmt.Errorf("read index: %w", ctx.Err())
			q.finish(r, 0, err, true)
			return 0, err
		}
	}
	index, err := ask(ctx)
	q.finish(r, index, err, err != nil && ctx.Err() != nil)
	return index, err
}

// finish ends r and, if it was running, lets the next one run.
func (q *Rounds) finish(r *round, index uint64, err error, abandoned bool) {
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
