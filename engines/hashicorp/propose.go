package hashicorp

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

const opPropose = "propose"

// Propose implements core.Replica: it begins a proposal and waits for it.
func (r *replica) Propose(ctx context.Context, command []byte) (core.Applied, error) {
	if err := ctx.Err(); err != nil {
		return core.Applied{}, fmt.Errorf("%s: %w", opPropose, err)
	}
	command = append(make([]byte, 0, len(command)+1), command...)
	w := waiter{make(chan outcome, 1)} // never blocks the state machine
	if timeout, bounded := queueTimeout(ctx); bounded {
		r.begin(command, timeout, w)
	} else {
		go r.begin(command, 0, w)
	}
	select {
	case o := <-w.outcome:
		return o.applied, o.err
	case <-ctx.Done():
		if _, ok := r.proposals.take(keyOf(command)); ok {
			r.callDone()
		}
		return core.Applied{}, fmt.Errorf("%s: %w: %w", opPropose, core.ErrOutcomeUnknown, ctx.Err())
	}
}

// waiter is the completion of a caller that waits.
type waiter struct{ outcome chan outcome }

type outcome struct {
	applied core.Applied
	err     error
}

// Complete implements core.Completion.
func (w waiter) Complete(applied core.Applied, err error) { w.outcome <- outcome{applied, err} }

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

// Begin implements core.Proposer.
func (r *replica) Begin(command []byte, c core.Completion) {
	if cap(command) == 0 {
		command = make([]byte, 0, 1) // with an address of its own
	}
	r.begin(command, 0, c)
}

// begin queues a command.
//
// To wait for a future of the library takes a goroutine, whose wake-ups show in the
// latency. So the result comes another way: the state machine hands it over as it
// applies the entry (see proposals), and the future is looked at only when this replica
// has lost leadership, so that the entry may never be applied here.
//
// The library also refuses proposals while it transfers leadership, and goes on
// with that when a transfer has failed or its caller has left. From the beginning
// of a transfer on, until one succeeds, the future of every proposal is looked at.
func (r *replica) begin(command []byte, timeout time.Duration, c core.Completion) {
	if !r.enter() {
		c.Complete(core.Applied{}, r.stopped(opPropose))
		return
	}
	if err := r.refuseStalled(opPropose); err != nil {
		r.callDone()
		c.Complete(core.Applied{}, err)
		return
	}
	// Counted before the state is looked at: a loss of leadership that follows is
	// not missed, whether it comes before the proposal is queued or after.
	losses, open := r.proposals.expect(command, c)
	if !open {
		r.callDone()
		c.Complete(core.Applied{}, r.stopped(opPropose))
		return
	}
	doubtful := len(command) == 0 || r.transferring.Load() || r.raft.State() != raft.Leader
	future := r.raft.Apply(command, timeout)
	if r.proposals.queued(command, future, losses, doubtful) {
		go r.settle(keyOf(command), future)
	}
}

// settle finds out what became of a proposal that may have been refused or whose
// leader was deposed: the library answers the future once it has stepped down,
// unless the entry had been committed by then and is still on its way to the
// state machine.
func (r *replica) settle(key *byte, future raft.ApplyFuture) {
	err := future.Error()
	c, ok := r.proposals.take(key)
	if !ok {
		return
	}
	r.callDone()
	if err != nil {
		c.Complete(core.Applied{}, r.translate(opPropose, err))
		return
	}
	c.Complete(core.Applied{Index: future.Index(), Result: future.Response()}, nil)
}

// lookAgain has all that wait look whether this replica still leads.
func (r *replica) lookAgain() {
	r.deposed.Happened()
	for key, future := range r.proposals.lost() {
		go r.settle(key, future)
	}
}

// giveUpProposals completes those whose fate nobody tells any more.
func (r *replica) giveUpProposals() {
	err := fmt.Errorf("%s: %w: replica %s: %w", opPropose, core.ErrOutcomeUnknown, r.self.ID, core.ErrClosed)
	if r.Cause() != nil {
		err = fmt.Errorf("%w: %w", err, r.Cause())
	}
	for _, p := range r.proposals.close() {
		r.callDone()
		p.to.Complete(core.Applied{}, err)
	}
}

// proposals are the commands whose outcome is waited for on this replica. A command is
// known by the address of its first byte: the leader applies the very bytes that
// were proposed to it, and no two proposals share theirs. Who takes a proposal out
// completes it.
type proposals struct {
	mu      sync.Mutex
	waiting map[*byte]proposal
	losses  int     // how often leadership may have been lost
	closed  bool    // none is taken in any more
	found   []found // reused: entries are applied from one goroutine
}

type proposal struct {
	to       core.Completion
	future   raft.ApplyFuture // nil: not queued yet
	settling bool             // somebody waits for the future: only one may
}

type found struct {
	entry int
	to    core.Completion
}

func keyOf(command []byte) *byte { return unsafe.SliceData(command) }

// expect takes in a command that is about to be queued.
func (p *proposals) expect(command []byte, c core.Completion) (losses int, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.waiting[keyOf(command)] = proposal{to: c}
	}
	return p.losses, !p.closed
}

// queued takes in the future of a command, and reports whether the caller has to settle
// it: the command is doubtful, or leadership was lost since expect.
func (p *proposals) queued(command []byte, future raft.ApplyFuture, losses int, doubtful bool) (settle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, ok := p.waiting[keyOf(command)]
	if !ok { // it is complete
		return false
	}
	is.future, is.settling = future, doubtful || losses != p.losses
	p.waiting[keyOf(command)] = is
	return is.settling
}

// lost counts a loss of leadership and returns the futures that are to be settled.
func (p *proposals) lost() map[*byte]raft.ApplyFuture {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.losses++
	settle := map[*byte]raft.ApplyFuture{}
	for key, is := range p.waiting {
		if is.future != nil && !is.settling {
			is.settling = true
			p.waiting[key] = is
			settle[key] = is.future
		}
	}
	return settle
}

// take takes a proposal out.
func (p *proposals) take(key *byte) (core.Completion, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, ok := p.waiting[key]
	delete(p.waiting, key)
	return is.to, ok
}

func (p *proposals) close() map[*byte]proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.waiting
	p.waiting, p.closed = nil, true
	return left
}

// applied hands over the results of entries, to those who wait for them, and returns how
// many did.
func (p *proposals) applied(entries []core.BatchEntry) int {
	found := p.find(entries)
	for _, f := range found { // not under the lock, which those that are woken may want
		e := entries[f.entry]
		f.to.Complete(core.Applied{Index: e.Index, Result: e.Result}, nil)
	}
	n := len(found)
	clear(found)
	return n
}

func (p *proposals) find(entries []core.BatchEntry) []found {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = p.found[:0]
	if len(p.waiting) == 0 {
		return nil
	}
	for i, e := range entries {
		key := keyOf(e.Command)
		if is, ok := p.waiting[key]; ok {
			delete(p.waiting, key)
			p.found = append(p.found, found{i, is.to})
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
				r.lookAgain()
			}
		case <-quit:
			r.lookAgain()
			return
		}
	}
}
