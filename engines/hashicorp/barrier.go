package hashicorp

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// ReadBarrier implements core.Replica by the ReadIndex protocol (Raft
// dissertation, §6.4):
//
//  1. A leader knows the commit index of its predecessors only once an entry of
//     its own term is committed. The library's no-op does that, but does not
//     tell when; so the first read of each term writes one barrier entry.
//  2. The commit index is taken.
//  3. A majority confirms that this replica is still the leader (VerifyLeader
//     sends a round of heartbeats, and rounds sees that it was this round that
//     was answered), so the index covers all that was acknowledged before the
//     call. If the term has moved on meanwhile, step 1 did not hold for it: once
//     more.
//  4. The state machine catches up with that index. All entries up to it are
//     commands and configurations, which advance r.applied, barriers, which do
//     so when their call returns, or no-ops that a barrier follows.
func (r *replica) ReadBarrier(ctx context.Context) error {
	const op = "read barrier"
	for {
		deposed := r.deposed.channel() // before the state: see Propose
		if r.raft.State() != raft.Leader {
			return r.translate(op, raft.ErrNotLeader)
		}
		term := r.raft.CurrentTerm()
		if err := r.ensureBarrier(ctx, op, term); err != nil {
			return readFailed(op, err)
		}
		index := r.raft.CommitIndex()
		begun := r.rounds.next()
		if _, err := r.await(ctx, op, r.raft.VerifyLeader); err != nil {
			return readFailed(op, err)
		}
		if r.raft.CurrentTerm() != term {
			continue
		}
		if err := r.awaitRound(ctx, term, begun, deposed); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if err := r.applied.wait(ctx, index, r.done, func() error { return r.stopped(op) }); err != nil {
			return fmt.Errorf("%s: wait for index %d: %w", op, index, err)
		}
		return nil
	}
}

// ensureBarrier writes a barrier entry unless term has one.
func (r *replica) ensureBarrier(ctx context.Context, op string, term uint64) error {
	if r.barrierTerm.Load() == term {
		return nil
	}
	r.barrierMu.Lock()
	defer r.barrierMu.Unlock()
	if r.barrierTerm.Load() == term {
		return nil
	}
	if _, err := r.await(ctx, op, func() raft.Future { return barrier{r.raft.Barrier(0), r.applied} }); err != nil {
		return err
	}
	r.barrierTerm.Store(term)
	return nil
}

// barrier is a barrier entry that counts as applied once it is, whether or not
// its caller has left: the next read would wait for it in vain.
type barrier struct {
	raft.Future
	applied *progress
}

// Error implements raft.Future.
func (b barrier) Error() error {
	err := b.Future.Error()
	if indexed, ok := b.Future.(raft.IndexFuture); ok && err == nil { // the library's barrier is a log future
		b.applied.advance(indexed.Index())
	}
	return err
}

// readFailed makes a plain failure of an unknown outcome: a read that did not
// finish has no effect to be unsure of.
func readFailed(op string, err error) error {
	if errors.Is(err, raft.ErrLeadershipLost) {
		return fmt.Errorf("%s: %w", op, &core.NotLeaderError{})
	}
	return err
}
