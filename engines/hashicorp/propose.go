package hashicorp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Propose implements core.Replica.
//
// A future of the library cannot be waited for together with a context, and a
// goroutine for each costs wake-ups that show in the latency. So the result
// comes another way: the state machine hands it to the caller as it applies the
// entry (see proposals), and the future is looked at only when this replica has
// lost leadership, so that the entry may never be applied here.
//
// The library also refuses proposals while it transfers leadership, and goes on
// with that when a transfer has failed or its caller has left. From the beginning
// of a transfer on, until one succeeds, every proposal waits for its future.
func (r *replica) Propose(ctx context.Context, command []byte) (core.Applied, error) {
	const op = "propose"
	if err := ctx.Err(); err != nil {
		return core.Applied{}, fmt.Errorf("%s: %w", op, err)
	}
	if err := r.refuseStalled(op); err != nil {
		return core.Applied{}, err
	}
	command = slices.Clone(command) // the library keeps it, and its address names the proposal
	timeout, bounded := queueTimeout(ctx)
	// Taken before the state is looked at: a loss of leadership that follows is
	// not missed, whether it comes before the proposal is queued or after.
	deposed := r.deposed.channel()
	if len(command) == 0 || !bounded || r.transferring.Load() || r.raft.State() != raft.Leader {
		return r.proposeSlowly(ctx, op, command)
	}
	if !r.enter() {
		return core.Applied{}, r.stopped(op)
	}
	defer r.callDone()
	result := r.proposals.expect(command)
	future := r.raft.Apply(command, timeout)
	select {
	case applied := <-result:
		return applied, nil
	case <-deposed:
		defer r.proposals.forget(command)
		return r.settle(ctx, op, future, result)
	case <-ctx.Done():
		r.proposals.forget(command)
		return core.Applied{}, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, ctx.Err())
	case <-r.done:
		return core.Applied{}, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, r.stopped(op))
	}
}

// queueTimeout is how long the library may take to queue a proposal, 0 meaning
// any time. A leader takes none while it waits for its disk, and the library
// only knows timeouts there: a context that can end but has no deadline is not
// bounded by one.
func queueTimeout(ctx context.Context) (timeout time.Duration, bounded bool) {
	end, ok := ctx.Deadline()
	if !ok {
		return 0, ctx.Done() == nil
	}
	return max(time.Until(end), time.Nanosecond), true
}

// proposeSlowly waits for the library's future.
func (r *replica) proposeSlowly(ctx context.Context, op string, command []byte) (core.Applied, error) {
	f, err := r.await(ctx, op, func() raft.Future { return r.raft.Apply(command, 0) })
	if err != nil {
		return core.Applied{}, err
	}
	applied := f.(raft.ApplyFuture)
	return core.Applied{Index: applied.Index(), Result: applied.Response()}, nil
}

// settle finds out what became of a proposal that may have been refused or whose
// leader was deposed: the library answers the future once it has stepped down,
// unless the entry had been committed by then and is still on its way to the
// state machine.
func (r *replica) settle(ctx context.Context, op string, future raft.ApplyFuture, result <-chan core.Applied) (core.Applied, error) {
	settled := make(chan error, 1)
	go func() { settled <- future.Error() }()
	select {
	case applied := <-result:
		return applied, nil
	case err := <-settled:
		if err != nil {
			return core.Applied{}, r.translate(op, err)
		}
		return core.Applied{Index: future.Index(), Result: future.Response()}, nil
	case <-ctx.Done():
		return core.Applied{}, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, ctx.Err())
	case <-r.done:
		return core.Applied{}, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, r.stopped(op))
	}
}

// proposals are the commands that callers wait for on this replica. A command is
// known by the address of its first byte: the leader applies the very bytes that
// were proposed to it, and no two proposals share theirs.
type proposals struct {
	mu      sync.Mutex
	waiting map[*byte]chan core.Applied
	found   []found // reused: entries are applied from one goroutine
}

type found struct {
	entry  int
	result chan core.Applied
}

// expect returns where the result of command will come.
func (p *proposals) expect(command []byte) <-chan core.Applied {
	result := make(chan core.Applied, 1) // never blocks the state machine
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[unsafe.SliceData(command)] = result
	return result
}

func (p *proposals) forget(command []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, unsafe.SliceData(command))
}

// applied hands over the results of entries, to those who wait for them.
func (p *proposals) applied(entries []core.BatchEntry) {
	for _, f := range p.find(entries) { // not under the lock, which the caller that wakes up may want
		e := entries[f.entry]
		f.result <- core.Applied{Index: e.Index, Result: e.Result}
	}
}

func (p *proposals) find(entries []core.BatchEntry) []found {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = p.found[:0]
	if len(p.waiting) == 0 {
		return nil
	}
	for i, e := range entries {
		key := unsafe.SliceData(e.Command)
		if result, ok := p.waiting[key]; ok {
			delete(p.waiting, key)
			p.found = append(p.found, found{i, result})
		}
	}
	return p.found
}

// watchLeadership tells waiting proposals when this replica is no longer the
// leader. It ends when quit is closed, which must be after the library is shut
// down: the library waits for its notifications to be taken.
func (r *replica) watchLeadership(notify <-chan bool, quit <-chan struct{}) {
	for {
		select {
		case leads := <-notify:
			if !leads {
				r.deposed.happened()
			}
		case <-quit:
			r.deposed.happened()
			return
		}
	}
}
