package hashicorp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
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

// replica is a core.Replica on hashicorp/raft.
type replica struct {
	*failstop.Ending
	self      *persona
	address   string
	raft      *raft.Raft
	logs      *guard
	overlap   *overlap      // nil: persistence is serial
	log       core.LogStore // what the library writes to: the overlap, or the guard itself
	tail      *tail
	transport core.Transport
	applied   sharing.Progress // all entries but no-ops
	seen      sharing.Progress // those that state machines see: commands and configurations
	trace     *tracer          // nil: off
	logger    hclog.Logger
	muted     *atomic.Bool // stops the log: connections that break while stopping are no news

	barrierTerm atomic.Uint64 // the term for which a barrier entry was applied here
	barrierMu   sync.Mutex    // one barrier entry at a time
	gate        *gate
	rounds      *rounds
	routes      *routes
	outages     *outages
	missed      *missed
	reads       sharing.Rounds

	proposals    proposals
	deposed      sharing.Event  // leadership was lost
	transferring atomic.Bool    // a transfer of leadership has begun and none has succeeded since
	working      sync.WaitGroup // watchLeadership, and pump
	quit         chan struct{}  // ends both

	calls atomic.Int64  // calls of the library being waited for
	idle  chan struct{} // told when calls falls to 0 once the replica ends
	lease time.Duration // from when a message was sent that a majority agreed to
	grace time.Duration // how long a stop waits for calls that are out, and a member may be silent that is to lead
}

// await runs start and waits for the future it returns, for ctx and for the
// replica's end. The library's futures cannot be abandoned and some are never
// answered once it has shut down, so a goroutine of its own waits for each; stop
// gives them time before it shuts the library down.
func (r *replica) await(ctx context.Context, op string, start func() raft.Future) (raft.Future, error) {
	return r.awaitOr(ctx, op, nil, start)
}

// awaitRead is await for what has no effect: it is given up once the log store has
// stalled.
func (r *replica) awaitRead(ctx context.Context, op string, start func() raft.Future) error {
	_, err := r.awaitOr(ctx, op, r.refuseStalled, start)
	return err
}

// awaitOr also returns once giveUp, which may be nil, gives an error; it is asked
// whenever leadership may have been lost.
func (r *replica) awaitOr(ctx context.Context, op string, giveUp func(op string) error, start func() raft.Future) (raft.Future, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if !r.enter() {
		return nil, r.stopped(op)
	}
	type outcome struct {
		future raft.Future
		err    error
	}
	answer := make(chan outcome, 1)
	go func() {
		defer r.callDone()
		f := start()
		answer <- outcome{f, f.Error()}
	}()
	for {
		var look <-chan struct{}
		if giveUp != nil {
			look = r.deposed.Channel()
			if err := giveUp(op); err != nil {
				return nil, err
			}
		}
		select {
		case a := <-answer:
			return a.future, r.translate(op, a.err)
		case <-look:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, ctx.Err())
		case <-r.Done():
			return nil, fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, r.stopped(op))
		}
	}
}

// enter counts a call that is out, unless the replica ends. callDone ends it.
func (r *replica) enter() bool {
	r.calls.Add(1)
	if r.Ends() {
		r.callDone()
		return false
	}
	return true
}

func (r *replica) callDone() {
	if r.calls.Add(-1) == 0 && r.Ends() {
		select {
		case r.idle <- struct{}{}:
		default:
		}
	}
}

// translate gives the library's errors the kinds of package core.
func (r *replica) translate(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		address, id := r.leader()
		if id == r.self.ID {
			address, id = "", "" // it is handing leadership over
		}
		return fmt.Errorf("%s: %w", op, &core.NotLeaderError{LeaderID: id, LeaderAddress: address})
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown),
		errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, cmp.Or(r.logs.Failed(), err))
	case r.logs.Failed() != nil: // the library turns the store's error into text
		return fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, r.logs.Failed())
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
}

// leader returns the member that this replica takes for the leader.
func (r *replica) leader() (address, id string) {
	at, server := r.raft.LeaderWithID()
	id, _ = memberID(server)
	return string(at), id
}

func (r *replica) stopped(op string) error { return r.Stopped(op, r.self.ID) }

// Add implements core.Replica.
func (r *replica) Add(ctx context.Context, m core.Member) error {
	op, add := "add non-voter "+m.ID, r.raft.AddNonvoter
	if m.Voter {
		op, add = "add voter "+m.ID, r.raft.AddVoter
	}
	f := r.raft.GetConfiguration()
	if known, ok := r.member(m.ID); ok && known.Incarnation != m.Incarnation {
		return fmt.Errorf("%s: remove %s first: %w", op, m.ID, core.ErrReplaced)
	}
	// The index: what was just looked at must not change meanwhile.
	_, err := r.await(ctx, op, func() raft.Future {
		return add(serverID(m.ID, m.Incarnation), raft.ServerAddress(m.Address), f.Index(), 0)
	})
	return err
}

// Remove implements core.Replica.
func (r *replica) Remove(ctx context.Context, id string) error {
	m, ok := r.member(id)
	if !ok {
		m.ID = id // the library knows what to say
	}
	server := serverID(m.ID, m.Incarnation)
	_, err := r.await(ctx, "remove "+id, func() raft.Future { return r.raft.RemoveServer(server, 0, 0) })
	return err
}

// TransferLeadership implements core.Replica.
func (r *replica) TransferLeadership(ctx context.Context, id string) error {
	op, transfer := "transfer leadership", r.raft.LeadershipTransfer
	if id == "" {
		id = r.successor()
	}
	if id != "" {
		target, ok := r.member(id)
		if !ok {
			return fmt.Errorf("transfer leadership to %s: %w: no such member", id, core.ErrNotFound)
		}
		if !target.Voter { // the library would have it tried, and the group lose its leader
			return fmt.Errorf("transfer leadership to %s: %w: it has no vote", id, core.ErrInvalid)
		}
		op += " to " + id
		transfer = func() raft.Future {
			return r.raft.LeadershipTransferToServer(serverID(id, target.Incarnation), raft.ServerAddress(target.Address))
		}
	}
	r.transferring.Store(true)
	_, err := r.await(ctx, op, transfer)
	if err == nil {
		r.transferring.Store(false)
	}
	r.lookAgain() // proposals may have been refused meanwhile
	return err
}

// successor returns the most up-to-date of the voters that have answered lately, or "".
// The library, if it is left the choice, also takes one that is gone.
func (r *replica) successor() (id string) {
	s := r.Status()
	var best core.FollowerStatus
	for _, f := range s.Followers {
		i := slices.IndexFunc(s.Members, func(m core.Member) bool { return m.ID == f.ID })
		if i < 0 || !s.Members[i].Voter || time.Since(f.LastContact) > r.grace {
			continue
		}
		if id == "" || cmp.Or(cmp.Compare(f.LastIndex, best.LastIndex), f.LastContact.Compare(best.LastContact)) > 0 {
			id, best = f.ID, f
		}
	}
	return id
}

func (r *replica) member(id string) (core.Member, bool) {
	for _, m := range r.members() {
		if m.ID == id {
			return m, true
		}
	}
	return core.Member{}, false
}

// configurationPatience is how long a snapshot waits until the newest configuration is
// applied, without which the library takes none. That configuration may never be committed.
const configurationPatience = time.Second

// Snapshot implements core.Replica.
func (r *replica) Snapshot(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, configurationPatience)
	_ = r.seen.Wait(patient, r.raft.GetConfiguration().Index(), r.Done(), func() error { return nil }) // the library refuses if it must
	cancel()
	_, err := r.await(ctx, "snapshot", func() raft.Future { return r.raft.Snapshot() })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Campaign implements core.Campaigner: the replica sends itself the message that
// ends a leadership transfer, over its own transport.
func (r *replica) Campaign(ctx context.Context) error {
	_, err := r.await(ctx, "campaign", func() raft.Future {
		request := raft.TimeoutNowRequest{RPCHeader: addressed(r.header(), r.self.server)}
		var response raft.TimeoutNowResponse
		return settled{r.transport.TimeoutNow(r.self.server, raft.ServerAddress(r.address), &request, &response)}
	})
	return err
}

// header is that of the library's own messages.
func (r *replica) header() raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(r.self.server),
		Addr:            r.self.header(r.transport, r.self.server, raft.ServerAddress(r.address)),
	}
}

// sendsTo says whether this replica still leads in term and has the server in its group.
func (r *replica) sendsTo(server raft.ServerID, term uint64) bool {
	return r.raft.State() == raft.Leader && r.raft.CurrentTerm() == term &&
		slices.ContainsFunc(r.raft.GetConfiguration().Configuration().Servers, func(s raft.Server) bool { return s.ID == server })
}

// settled is a future that has its outcome.
type settled struct{ err error }

// Error implements raft.Future.
func (s settled) Error() error { return s.err }

// Status implements core.Replica.
func (r *replica) Status() core.Status {
	self := r.self.Identity()
	address, id := r.leader()
	snapshotIndex, _ := strconv.ParseUint(r.raft.Stats()["last_snapshot_index"], 10, 64)
	s := core.Status{
		ID:            self.ID,
		Incarnation:   self.Incarnation,
		Group:         self.Group,
		Address:       r.address,
		Role:          r.role(),
		Term:          r.raft.CurrentTerm(),
		LeaderID:      id,
		LeaderAddress: address,
		LastIndex:     r.overlap.until(r.raft.LastIndex()),
		CommitIndex:   r.raft.CommitIndex(),
		AppliedIndex:  r.appliedIndex(snapshotIndex),
		SnapshotIndex: snapshotIndex,
		Members:       r.members(),
		Stalled:       r.logs.Watch.Stalled(),
	}
	if s.Role == core.Leader {
		s.Followers = r.rounds.followers(s.Members, r.self.server, s.Term)
	} else {
		s.LastContact = r.raft.LastContact()
	}
	return s
}

func (r *replica) members() []core.Member {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return identity.Members(f.Configuration())
}

// role asks done first: the library, told to stop while it changes its state, may end in
// another one than raft.Shutdown.
func (r *replica) role() core.Role {
	select {
	case <-r.Done():
		return core.Stopped
	default:
	}
	switch r.raft.State() {
	case raft.Leader:
		return core.Leader
	case raft.Candidate:
		return core.Candidate
	case raft.Shutdown:
		return core.Stopped
	default:
		return core.Follower
	}
}

// Close implements core.Replica.
func (r *replica) Close() error {
	r.stop(nil)
	return r.Ended()
}

// storeFailed is called, once, on the goroutine whose call failed: it must not
// wait for the library, which waits for that goroutine.
func (r *replica) storeFailed(err error) {
	r.logger.Error("log store failed, stopping the replica", "error", err)
	r.overlap.abandon()
	if r.logs.phase.CompareAndSwap(starting, startFailed) {
		return // Start returns the error
	}
	go r.stop(err)
}

// stop lets the calls that are out finish, then shuts everything down.
func (r *replica) stop(cause error) {
	r.End(cause, func() error {
		if cause != nil && r.overlap != nil {
			// The library does not know yet. It steps down when a write of its own is refused.
			r.working.Go(func() { r.raft.Barrier(r.grace) })
		}
		r.drain()
		r.muted.Store(true)
		err := r.Shut(r.logs.Store, r.grace, r.closeAll)
		r.giveUpProposals()
		if err != nil {
			return fmt.Errorf("close replica %s: %w", r.self.ID, err)
		}
		return nil
	})
}

func (r *replica) closeAll() error {
	shutdown := r.raft.Shutdown()
	close(r.gate.closed)
	// Before the library's goroutines are waited for: some wait for the answers
	// of peers, which may be slow to come. Closing ends these calls.
	errTransport := r.transport.Close()
	errShutdown := shutdown.Error()
	close(r.quit)
	r.working.Wait()
	if r.Cause() == nil {
		offline.KeepCommitted(r.log, r.raft.CommitIndex(), r.logger.Warn)
	}
	return errors.Join(errShutdown, errTransport, r.log.Close())
}

// drain waits until no call is out: a leader that still has its quorum answers
// them, one without gives them up when its lease runs out. A stalled disk can
// keep one longer than the grace; it is then told core.ErrOutcomeUnknown.
func (r *replica) drain() {
	deadline := time.NewTimer(r.grace)
	defer deadline.Stop()
	for r.calls.Load() > 0 {
		select {
		case <-r.idle:
		case <-deadline.C:
			return
		}
	}
}
