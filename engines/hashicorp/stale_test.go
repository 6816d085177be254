package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	meminet "github.com/themilchenko/raftlab/transports/inmem"
)

// lateNetwork is a transport whose answers to AppendEntries can be kept back and
// that can lose what goes to one address.
type lateNetwork struct {
	core.Transport
	keep   atomic.Pointer[chan struct{}] // answers that come meanwhile wait for its end
	kept   atomic.Int64
	cut    atomic.Pointer[raft.ServerAddress]
	votes  atomic.Pointer[chan struct{}] // answers to RequestVote wait for its end
	hang   atomic.Pointer[chan struct{}] // no TimeoutNow is answered before its end
	deafen atomic.Bool                   // nothing is sent any more
	deaf   atomic.Pointer[chan struct{}] // what keep becomes once a TimeoutNow goes out

	lostEntries atomic.Int64 // messages with entries that were cut
	largest     atomic.Int64 // bytes of commands in one message of several entries
}

var errCut = errors.New("cut off")

func (l *lateNetwork) lost(target raft.ServerAddress) bool {
	cut := l.cut.Load()
	return cut != nil && *cut == target
}

func (l *lateNetwork) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if l.lost(target) || l.deafen.Load() {
		if len(req.Entries) > 0 {
			l.lostEntries.Add(1)
		}
		return errCut
	}
	if size := commandBytes(req); len(req.Entries) > 1 && size > l.largest.Load() {
		l.largest.Store(size) // one peer is sent entries from one goroutine
	}
	keep := l.keep.Load()
	err := l.Transport.AppendEntries(id, target, req, resp)
	if keep != nil {
		l.kept.Add(1)
		<-*keep
	}
	return err
}

func commandBytes(req *raft.AppendEntriesRequest) (size int64) {
	for _, e := range req.Entries {
		size += int64(len(e.Data))
	}
	return size
}

func (l *lateNetwork) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (l *lateNetwork) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if l.lost(target) {
		return errCut
	}
	err := l.Transport.RequestVote(id, target, req, resp)
	if votes := l.votes.Load(); votes != nil {
		l.kept.Add(1)
		<-*votes
	}
	return err
}

// TimeoutNow gets no answer while hang is set, as from a peer that has stalled.
func (l *lateNetwork) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if hang := l.hang.Load(); hang != nil {
		<-*hang
		return errCut
	}
	if deaf := l.deaf.Load(); deaf != nil {
		l.keep.Store(deaf)
	}
	return l.Transport.TimeoutNow(id, target, req, resp)
}

func lateGroup(t *testing.T, tuning core.Tuning, own ...hashicorp.Options) ([]*member, []*lateNetwork) {
	t.Helper()
	network := meminet.New(meminet.Options{})
	var members []*member
	var late []*lateNetwork
	var configuration []core.Member
	for i := range 3 {
		m := newMember(t, network, fmt.Sprintf("n%d", i+1), inmem.New(), tuning)
		for _, o := range own {
			m.engine.Options = o
		}
		l := &lateNetwork{Transport: m.cfg.Link.Transport}
		m.cfg.Link.Transport = l
		members, late = append(members, m), append(late, l)
		configuration = append(configuration, core.Member{ID: m.cfg.ID, Address: m.cfg.Link.Address(), Voter: true})
	}
	for _, m := range members {
		m.start(t, configuration)
	}
	if err := members[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first member leads", func() bool { return members[0].Status().Role == core.Leader })
	return members, late
}

// TestProposeDuringAnAbandonedTransfer: the library refuses proposals for as long
// as a transfer is under way, also if its caller has given up or been told of its
// failure. The refusal must arrive well before the proposal's deadline.
func TestProposeDuringAnAbandonedTransfer(t *testing.T) {
	members, late := lateGroup(t, core.Tuning{})
	put(t, members[0], "k", "v")
	never := make(chan struct{})
	defer close(never)
	late[0].hang.Store(&never)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := members[0].TransferLeadership(ctx, "n2"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("transfer to a member that does not answer: %v", err)
	}
	_, err := members[0].Propose(deadline(t), kv.EncodeSet("k", nil))
	if !errors.Is(err, core.ErrNotLeader) {
		t.Fatalf("propose while the library transfers leadership: %v", err)
	}
}

// TestLeaseBarrierDuringATransfer: the successor does not wait for the lease to
// run out, and may have acknowledged a write before the old leader hears of it.
func TestLeaseBarrierDuringATransfer(t *testing.T) {
	members, late := lateGroup(t, core.Tuning{HeartbeatTimeout: 2 * time.Second, LeaderLeaseTimeout: 2 * time.Second})
	old, next := members[0], members[1]
	put(t, old, "k", "old")
	if err := old.LeaseBarrier(deadline(t)); err != nil {
		t.Fatal(err)
	}
	address := raft.ServerAddress(old.cfg.Link.Address())
	late[1].cut.Store(&address)
	late[2].cut.Store(&address)
	arrive := make(chan struct{})
	late[0].deaf.Store(&arrive)
	transferred := make(chan struct{})
	go func() {
		defer close(transferred)
		_ = old.TransferLeadership(deadline(t), "n2")
	}()
	defer func() { close(arrive); <-transferred }()
	eventually(t, "n2 leads", func() bool { return next.Status().Role == core.Leader })
	put(t, next, "k", "new")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := old.LeaseBarrier(ctx); err == nil && old.has("k", "old") {
		t.Error("a read by the lease misses a write that the successor has acknowledged")
	}
}

// TestLargeEntriesReachAFollowerThatLags: in messages that a slow network can
// carry, however many entries are waiting.
func TestLargeEntriesReachAFollowerThatLags(t *testing.T) {
	members, late := lateGroup(t, core.Tuning{}, hashicorp.Options{LogCache: -1})
	address := raft.ServerAddress(members[2].cfg.Link.Address())
	late[0].cut.Store(&address)
	value := string(make([]byte, 3<<20))
	for i := range 8 {
		put(t, members[0], fmt.Sprintf("k%d", i), value)
	}
	late[0].largest.Store(0)
	late[0].cut.Store(nil)
	eventually(t, "n3 has all", func() bool { return members[2].kv.Len() == 8 })
	if got := late[0].largest.Load(); got == 0 || got > 8<<20 {
		t.Errorf("a message carried %d bytes of commands", got)
	}
}
