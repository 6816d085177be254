package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// retryInterval is how often a call is tried again that the library was not ready for.
const retryInterval = 10 * time.Millisecond

// Add implements core.Replica.
func (r *replica) Add(ctx context.Context, m core.Member) error {
	op := "add non-voter " + m.ID
	if m.Voter {
		op = "add voter " + m.ID
	}
	return r.reconfigure(ctx, op, func(now *configuration) ([]byte, error) {
		to := m
		if known, ok := now.find(m.ID); ok {
			if known.Incarnation != m.Incarnation {
				return nil, fmt.Errorf("%s: remove %s first: %w", op, m.ID, core.ErrReplaced)
			}
			to.Voter = m.Voter || known.Voter
		}
		return now.encode(changeSet, to)
	})
}

// Remove implements core.Replica.
func (r *replica) Remove(ctx context.Context, id string) error {
	op := "remove " + id
	return r.reconfigure(ctx, op, func(now *configuration) ([]byte, error) {
		m, ok := now.find(id)
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: %w: no such member", op, core.ErrNotFound)
		case m.Voter && len(now.voters()) == 1:
			return nil, fmt.Errorf("%s: %w: it is the only voter; give another member a vote first", op, core.ErrInvalid)
		}
		return now.encode(changeRemove, m)
	})
}

// reconfigure proposes a change, again while another one is under way, and waits for it.
func (r *replica) reconfigure(ctx context.Context, op string, change func(*configuration) ([]byte, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if err := r.refuse(op); err != nil {
			return err
		}
		w := waiter{make(chan outcome, 1)}
		if !r.proposals.add(&proposal{change: change, to: w}, ctx.Done()) {
			if r.Ends() {
				return r.stopped(op)
			}
			continue // the context has ended
		}
		select {
		case o := <-w.outcome:
			if !errors.Is(o.err, errChangePending) {
				return o.err
			}
		case <-ctx.Done():
			return unknown(op, ctx.Err())
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
}

// transfer is leadership that is being given away.
type transfer struct {
	to    uint64
	term  uint64 // of this replica's leadership
	until int    // tick at which it is given up
	done  chan error
}

// TransferLeadership implements core.Replica.
func (r *replica) TransferLeadership(ctx context.Context, id string) error {
	op := "transfer leadership"
	if id == "" {
		if id = r.successor(); id == "" {
			if err := r.refuse(op); err != nil {
				return err
			}
			return fmt.Errorf("%s: %w: no voter has answered lately", op, core.ErrUnavailable)
		}
	}
	op += " to " + id
	t := &transfer{done: make(chan error, 1)}
	if err := r.refuse(op); err != nil {
		return err
	}
	if err := r.call(ctx, op, func(d *driver) { d.beginTransfer(t, id) }); err != nil {
		return err
	}
	select {
	case err := <-t.done:
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	case <-ctx.Done():
		return unknown(op, ctx.Err())
	case <-r.Begun():
		return unknown(op, r.stopped(op))
	}
}

// successor returns the most up-to-date of the voters that have answered lately, or "".
func (r *replica) successor() (id string) {
	s := r.Status()
	var best core.FollowerStatus
	for _, f := range s.Followers {
		if m, ok := s.Member(f.ID); !ok || !m.Voter || time.Since(f.LastContact) > 2*r.set.HeartbeatTimeout {
			continue
		}
		if id == "" || cmp.Or(cmp.Compare(f.LastIndex, best.LastIndex), f.LastContact.Compare(best.LastContact)) > 0 {
			id, best = f.ID, f
		}
	}
	return id
}

func (d *driver) beginTransfer(t *transfer, id string) {
	m, ok := d.members.find(id)
	t.to, t.term, t.until = number(m), d.term, d.ticks+2*ticksPerTimeout
	switch {
	case d.role != core.Leader:
		t.done <- d.r.notLeader("transfer leadership")
	case !ok:
		t.done <- fmt.Errorf("%w: no such member", core.ErrNotFound)
	case !m.Voter:
		t.done <- fmt.Errorf("%w: it has no vote", core.ErrInvalid)
	case t.to == d.r.number:
		t.done <- fmt.Errorf("%w: it is the leader", core.ErrInvalid)
	case d.transfer != nil:
		t.done <- fmt.Errorf("%w: another transfer is under way", core.ErrUnavailable)
	default:
		d.transfer = t
		d.node.TransferLeader(t.to)
	}
}

// settleTransfer looks whether another member leads by now.
func (d *driver) settleTransfer() {
	t := d.transfer
	if t == nil || d.term <= t.term || d.lead == 0 {
		return
	}
	d.transfer = nil
	if d.lead == t.to {
		t.done <- nil
	} else {
		t.done <- errors.New("another member was elected")
	}
}

func (d *driver) tickTransfer() {
	if t := d.transfer; t != nil && d.ticks >= t.until {
		d.transfer = nil
		t.done <- errors.New("it has not taken over in time")
	}
}

// Campaign implements core.Campaigner: as the target of a transfer, without asking first
// whether the others would agree.
func (r *replica) Campaign(ctx context.Context) error {
	const op = "campaign"
	for {
		var stands bool
		var vote bool
		err := r.call(ctx, op, func(d *driver) {
			m, ok := d.members.numbered(d.r.number)
			if vote = ok && m.Voter; vote {
				stands = d.campaign()
			}
		})
		switch {
		case err != nil || stands:
			return err
		case !vote:
			return fmt.Errorf("%s: %w: %s has no vote", op, core.ErrInvalid, r.self.ID)
		}
		select { // it has changes of the configuration to apply first
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", op, ctx.Err())
		}
	}
}

// Snapshot implements core.Replica.
func (r *replica) Snapshot(ctx context.Context) error {
	const op = "snapshot"
	written := make(chan error, 1)
	r.applier.add(job{save: func(err error) { written <- err }})
	select {
	case err := <-written:
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.Done():
		return r.stopped(op)
	}
}
