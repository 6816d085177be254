package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/sharing"
)

// ReadBarrier implements core.Replica.
func (r *replica) ReadBarrier(ctx context.Context) error {
	_, err := r.ReadIndex(ctx)
	return err
}

// WaitApplied implements core.Replica for the indexes that ReadIndex returns:
// those that every member's state machine gets to see.
func (r *replica) WaitApplied(ctx context.Context, index uint64) error {
	return r.waitFor(ctx, "wait until applied", &r.seen, index)
}

func (r *replica) waitFor(ctx context.Context, op string, p *sharing.Progress, index uint64) error {
	err := p.Wait(ctx, index, r.Done(), func() error { return r.stopped(op) })
	if err != nil {
		return fmt.Errorf("%s: index %d: %w", op, index, err)
	}
	return nil
}

// ReadIndex implements core.Replica by the ReadIndex protocol (Raft dissertation,
// §6.4):
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
//
// What is returned is the last command or configuration by then: a follower does
// not learn when it has passed a barrier or a no-op, and nothing is to be read there.
func (r *replica) ReadIndex(ctx context.Context) (uint64, error) {
	return r.reads.Share(ctx, r.confirmedIndex)
}

func (r *replica) confirmedIndex(ctx context.Context) (uint64, error) {
	const op = "read index"
	for {
		if err := r.refuseStalled(op); err != nil {
			return 0, err
		}
		deposed := r.deposed.Channel() // before the state: see Propose
		if r.raft.State() != raft.Leader {
			return 0, r.translate(op, raft.ErrNotLeader)
		}
		term := r.raft.CurrentTerm()
		if err := r.ensureBarrier(ctx, op, term); err != nil {
			return 0, readFailed(op, err)
		}
		index := r.raft.CommitIndex()
		begun := r.rounds.next()
		if err := r.awaitRead(ctx, op, r.raft.VerifyLeader); err != nil {
			return 0, readFailed(op, err)
		}
		if r.raft.CurrentTerm() != term {
			continue
		}
		if err := r.awaitRound(ctx, term, begun, deposed); err != nil {
			return 0, fmt.Errorf("%s: %w", op, err)
		}
		if err := r.waitFor(ctx, op, &r.applied, index); err != nil {
			return 0, err
		}
		return r.seen.Load(), nil
	}
}

// LeaseBarrier implements core.Replica. A follower keeps to its leader for a heartbeat
// timeout from a message on, so the lease, which is no longer, counts from when that
// was sent. The library steps down when its lease is over, but counts from when the
// answer arrived, which may be late; so rounds is asked, and where that does not know
// of enough answers, the others are.
//
// What this term acknowledged was applied here first; what earlier terms did, the
// term's barrier entry has brought in.
//
// A transfer of leadership breaks the lease: the successor is elected without
// anyone waiting for it to run out (Raft dissertation, §6.4.1), and may have
// acknowledged writes before this replica hears of it. From the beginning of a
// transfer on, until one succeeds, the others are asked.
func (r *replica) LeaseBarrier(ctx context.Context) error {
	const op = "lease barrier"
	if err := r.refuseStalled(op); err != nil {
		return err
	}
	if r.transferring.Load() {
		return r.ReadBarrier(ctx)
	}
	term := r.raft.CurrentTerm()
	if r.raft.State() != raft.Leader {
		return r.translate(op, raft.ErrNotLeader)
	}
	if err := r.ensureBarrier(ctx, op, term); err != nil {
		return readFailed(op, err)
	}
	if r.raft.State() != raft.Leader || r.raft.CurrentTerm() != term {
		return r.translate(op, raft.ErrNotLeader)
	}
	servers := r.raft.GetConfiguration().Configuration().Servers
	if !r.rounds.leased(servers, r.self.server, term, time.Now().Add(-r.lease)) {
		return r.ReadBarrier(ctx)
	}
	return nil
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
	if err := r.awaitRead(ctx, op, func() raft.Future { return barrier{r.raft.Barrier(0), &r.applied} }); err != nil {
		return err
	}
	r.barrierTerm.Store(term)
	return nil
}

// barrier is a barrier entry that counts as applied once it is, whether or not
// its caller has left: the next read would wait for it in vain.
type barrier struct {
	raft.Future
	applied *sharing.Progress
}

// Error implements raft.Future.
func (b barrier) Error() error {
	err := b.Future.Error()
	if indexed, ok := b.Future.(raft.IndexFuture); ok && err == nil { // the library's barrier is a log future
		b.applied.Advance(indexed.Index())
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

// rounds knows when this replica's peers last agreed that it leads.
//
// The library's VerifyLeader takes any answer that comes after the call, also
// one that was sent before it, and that of a non-voter. Neither shows that no
// other leader has acknowledged a write meanwhile; what does is an answer of a
// majority of the voters to messages sent after the read began.
type rounds struct {
	clock atomic.Uint64 // orders sends and the beginnings of reads
	moved sharing.Event // agreements has changed

	mu         sync.Mutex
	agreements map[raft.ServerID]agreement
}

// agreement is the newest message of the newest term that a peer agreed to, and
// what it said of itself.
type agreement struct {
	term, sent uint64
	lastIndex  uint64
	begun, at  time.Time // when it was sent, and answered
	address    raft.ServerAddress
}

func newRounds() *rounds {
	return &rounds{agreements: map[raft.ServerID]agreement{}}
}

// next returns a point in time, later than all that were returned before.
func (r *rounds) next() uint64 { return r.clock.Add(1) }

func (r *rounds) agreed(id raft.ServerID, a agreement) {
	r.mu.Lock()
	old := r.agreements[id]
	if a.term > old.term || a.term == old.term && a.sent > old.sent {
		r.agreements[id] = a
	}
	r.mu.Unlock()
	r.moved.Happened()
}

// followers returns what the members other than self have said in term. What others
// have said is forgotten: they are members no more.
func (r *rounds) followers(members []core.Member, self raft.ServerID, term uint64) []core.FollowerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	var followers []core.FollowerStatus
	current := map[raft.ServerID]agreement{}
	for _, m := range members {
		server := serverID(m.ID, m.Incarnation)
		if server == self {
			continue
		}
		f := core.FollowerStatus{ID: m.ID}
		a, said := r.agreements[server]
		if said {
			current[server] = a
		}
		if a.term == term {
			f.LastIndex, f.LastContact, f.Address = a.lastIndex, a.at, string(a.address)
		}
		followers = append(followers, f)
	}
	r.agreements = current
	return followers
}

// majority says whether more than half of the voters, self included, have agreed
// to a message of term that was sent after since.
func (r *rounds) majority(servers []raft.Server, self raft.ServerID, term, since uint64) bool {
	return r.most(servers, self, func(a agreement) bool { return a.term == term && a.sent > since })
}

// leased is majority for messages sent not before since.
func (r *rounds) leased(servers []raft.Server, self raft.ServerID, term uint64, since time.Time) bool {
	return r.most(servers, self, func(a agreement) bool { return a.term == term && !a.begun.Before(since) })
}

func (r *rounds) most(servers []raft.Server, self raft.ServerID, agrees func(agreement) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	voters, agree := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == self || agrees(r.agreements[s.ID]) {
			agree++
		}
	}
	return agree > voters/2
}

// awaitRound waits until a majority of the voters, itself included, has agreed to
// messages of term sent after since. The library must have been made to send some.
func (r *replica) awaitRound(ctx context.Context, term, since uint64, deposed <-chan struct{}) error {
	for {
		moved := r.rounds.moved.Channel()
		servers := r.raft.GetConfiguration().Configuration().Servers
		if r.rounds.majority(servers, r.self.server, term, since) {
			return nil
		}
		select {
		case <-moved:
		case <-deposed: // or only told to look
			deposed = r.deposed.Channel()
			if r.raft.State() != raft.Leader || r.raft.CurrentTerm() != term {
				return &core.NotLeaderError{}
			}
			if err := r.refuseStalled("verify leadership"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-r.Done():
			return r.stopped("verify leadership")
		}
	}
}
