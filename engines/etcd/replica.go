package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/links"
	"github.com/themilchenko/raftlab/engines/internal/offline"
	"github.com/themilchenko/raftlab/internal/sharing"
)

var (
	_ core.Replica    = (*replica)(nil)
	_ core.Campaigner = (*replica)(nil)
	_ core.Prober     = (*replica)(nil)
	_ core.Acquainted = (*replica)(nil)
	_ core.Proposer   = (*replica)(nil)
)

// replica is a core.Replica on etcd/raft. What the library is asked, its driver asks.
type replica struct {
	*failstop.Ending
	self      *identity.Self
	number    uint64 // as the library knows it
	address   string
	options   Options
	set       settings
	fsm       core.FSM
	store     *failstop.Store
	snapshots hraft.SnapshotStore
	logger    *slog.Logger
	trace     *tracer // nil: off
	votesFrom time.Time

	log     *log
	driver  *driver
	applier *applier
	peers   *peers
	door    *links.Door

	proposals *proposals
	reads     sharing.Rounds
	stalls    sharing.Event // a write takes longer than it may
	contacts  contacts
	receiving sync.Mutex // a snapshot

	view        atomic.Pointer[view]
	applied     sharing.Progress
	appliedTerm atomic.Uint64 // of the last entry that is applied
	committed   atomic.Uint64
	lastIndex   atomic.Uint64
	lastContact atomic.Int64 // when a leader was last heard, Unix nanoseconds; 0: never

	working  sync.WaitGroup // all goroutines but the driver's and the watchdog's
	driving  sync.WaitGroup
	started  chan struct{} // closed once all run
	aborted  chan struct{} // closed if the start has failed
	entering sync.RWMutex  // held for reading by who adds to working from outside
	left     bool          // under entering: nobody may any more
}

// view is what the driver last made known of the library's state. It is never changed.
type view struct {
	role        core.Role
	term        uint64
	lead        uint64
	members     *configuration
	voters      []uint64
	transferred bool
	expelled    bool
}

// start runs the replica's goroutines.
func (r *replica) start() {
	r.door = links.Open(r.peers.wire, r.self, r.logger, r.serve)
	r.driving.Go(func() { r.failed(r.driver.run(r.Begun())) })
	r.driving.Go(func() { r.failed(r.driver.writer.run(r.Begun())) })
	r.working.Go(func() { r.failed(r.applier.run(r.Begun())) })
	r.Guard(r.store, r.stalls.Happened)
	close(r.started)
}

// storeFailed is called, once, on the goroutine whose call failed.
func (r *replica) storeFailed(err error) {
	go func() {
		select {
		case <-r.started:
			r.failed(err)
		case <-r.aborted: // Start tells
		}
	}()
}

// failed stops the replica after an error of one of its goroutines.
func (r *replica) failed(err error) {
	if err == nil {
		return
	}
	<-r.started                                  // what is to be waited for runs
	if cause := r.store.Failed(); cause != nil { // what the library makes of it says less
		err = cause
	}
	r.logger.Error("the replica stops", "error", err)
	r.stop(err)
}

// call has the driver run a task, and waits for that.
func (r *replica) call(ctx context.Context, op string, task func(*driver)) error {
	ran := make(chan struct{})
	if !r.driver.post(func(d *driver) { task(d); close(ran) }) {
		return r.stopped(op)
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.Done():
		return r.stopped(op)
	}
}

// refuse returns an error where the replica does not lead, cannot serve as the leader, or is
// closed.
func (r *replica) refuse(op string) error {
	if r.Ends() {
		return r.stopped(op)
	}
	if v := r.view.Load(); v.role != core.Leader {
		return r.notLeader(op)
	}
	if age := r.store.Watch.Stalled(); age > 0 {
		return fmt.Errorf("%s: %w: %w: a write of %s has not returned for %s", op, &core.NotLeaderError{}, core.ErrStalled, r.self.ID, age.Round(time.Millisecond))
	}
	return nil
}

// notLeader says who leads, as far as it is known.
func (r *replica) notLeader(op string) error {
	id, address := r.leader(r.view.Load())
	if id == r.self.ID { // it gives leadership away
		id, address = "", ""
	}
	return fmt.Errorf("%s: %w", op, &core.NotLeaderError{LeaderID: id, LeaderAddress: address})
}

func (r *replica) leader(v *view) (id, address string) {
	if v.lead == r.number {
		return r.self.ID, r.address
	}
	m, ok := v.members.numbered(v.lead)
	if !ok {
		who, ok := r.peers.who(v.lead)
		if !ok {
			return "", ""
		}
		m.ID = who.ID
	}
	return m.ID, cmp.Or(r.peers.at(v.lead), m.Address)
}

func (r *replica) stopped(op string) error { return r.Stopped(op, r.self.ID) }

// Status implements core.Replica.
func (r *replica) Status() core.Status {
	self, v := r.self.Identity(), r.view.Load()
	id, address := r.leader(v)
	applied, committed := r.applied.Load(), r.committed.Load() // before what they are at most
	s := core.Status{
		ID: self.ID, Incarnation: self.Incarnation, Group: self.Group, Address: r.address,
		Role: v.role, Term: v.term, LeaderID: id, LeaderAddress: address,
		LastIndex: r.lastIndex.Load(), CommitIndex: committed, AppliedIndex: applied,
		SnapshotIndex: r.log.snapshotIndex(), Members: slices.Clone(v.members.members), Stalled: r.store.Watch.Stalled(),
	}
	switch {
	case r.Ends() || v.expelled:
		s.Role = core.Stopped
	case v.role == core.Leader:
		s.Followers = r.contacts.followers(v, r.number, r.peers.at)
	default:
		if at := r.lastContact.Load(); at != 0 {
			s.LastContact = time.Unix(0, at)
		}
	}
	return s
}

// Close implements core.Replica.
func (r *replica) Close() error {
	r.stop(nil)
	return r.Ended()
}

// stop begins to shut everything down, which ends when Done tells it.
func (r *replica) stop(cause error) {
	r.End(cause, func() error {
		err := r.Shut(r.store, 2*r.set.HeartbeatTimeout, r.closeAll)
		r.driver.leave() // again, or at last
		for _, p := range r.proposals.close() {
			p.fail(r.stopped(opPropose))
		}
		if err != nil {
			return fmt.Errorf("close replica %s: %w", r.self.ID, err)
		}
		return nil
	})
}

func (r *replica) closeAll() error {
	err := r.door.Shut()
	r.peers.shut()
	r.driving.Wait()
	r.driver.leave()
	r.door.Wait()
	r.peers.running.Wait()
	r.entering.Lock()
	r.left = true // nobody adds to what is waited for now
	r.entering.Unlock()
	r.working.Wait()
	if r.Cause() == nil {
		offline.KeepCommitted(r.store, r.committed.Load(), r.logger.Warn)
	}
	return errors.Join(err, r.store.Close())
}

// Acquaintance implements core.Acquainted.
func (r *replica) Acquaintance(id string) (core.Identity, bool) {
	m, ok := r.view.Load().members.find(id)
	if !ok {
		return core.Identity{}, false
	}
	return r.self.Met(identity.Name(m.ID, m.Incarnation))
}

// enter runs work that closing waits for; false: the replica is closed.
func (r *replica) enter(work func()) bool {
	r.entering.RLock()
	defer r.entering.RUnlock()
	if r.left || r.Ends() {
		return false
	}
	r.working.Go(work)
	return true
}

// Probe implements core.Prober: it makes a connection, and says nothing on it.
func (r *replica) Probe(ctx context.Context, m core.Member) (core.Identity, error) {
	op := "probe " + m.ID + " at " + m.Address
	type outcome struct {
		peer core.Identity
		err  error
	}
	answer := make(chan outcome, 1)
	if !r.enter(func() { // ends soon after the replica is closed
		who := core.Identity{ID: m.ID, Incarnation: m.Incarnation}
		conn, err := r.peers.introduce(who, m.Address, time.Now().Add(r.peers.silence))
		if err == nil {
			r.peers.discard(conn)
			who, _ = r.self.Met(identity.Name(m.ID, m.Incarnation))
		}
		answer <- outcome{who, err}
	}) {
		return core.Identity{}, r.stopped(op)
	}
	select {
	case a := <-answer:
		if a.err != nil {
			return core.Identity{}, fmt.Errorf("%s: %w", op, a.err)
		}
		return a.peer, nil
	case <-ctx.Done():
		return core.Identity{}, fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.Begun():
		return core.Identity{}, r.stopped(op)
	}
}
