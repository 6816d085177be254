package hashicorp_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is one replica with its parts.
type member struct {
	core.Replica
	engine hashicorp.Engine
	cfg    core.ReplicaConfig
	kv     *kv.Store
}

// options change how a group is made.
type options struct {
	nodes  int
	store  func(node int) core.LogStore // default: in memory
	tuning core.Tuning
	own    hashicorp.Options
	trace  func(id string) core.Trace // nil: off
}

// fast are timeouts for tests that wait for elections.
var fast = core.Tuning{
	HeartbeatTimeout: 150 * time.Millisecond, LeaderLeaseTimeout: 100 * time.Millisecond, StallTimeout: 150 * time.Millisecond,
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := deadline(t)
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func newMember(t *testing.T, network core.Network, id string, logs core.LogStore, tuning core.Tuning) *member {
	t.Helper()
	link, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{kv: kv.New()}
	m.cfg = core.ReplicaConfig{ID: id, FSM: m.kv, Logs: logs, Link: link, Tuning: tuning}
	return m
}

func (m *member) start(t *testing.T, bootstrap []core.Member) {
	t.Helper()
	m.cfg.Bootstrap = bootstrap
	var err error
	if m.Replica, err = m.engine.Start(m.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close %s: %v", m.cfg.ID, err)
		}
	})
}

// group starts nodes over TCP; the first one leads.
func group(t *testing.T, o options) []*member {
	t.Helper()
	network := tcp.New(tcp.Options{})
	var members []*member
	var configuration []core.Member
	for i := range o.nodes {
		var logs core.LogStore = inmem.New()
		if o.store != nil {
			logs = o.store(i)
		}
		m := newMember(t, network, fmt.Sprintf("n%d", i+1), logs, o.tuning)
		m.engine.Options = o.own
		if o.trace != nil {
			m.cfg.Trace = o.trace(m.cfg.ID)
		}
		members = append(members, m)
		configuration = append(configuration, core.Member{ID: m.cfg.ID, Address: m.cfg.Link.Address(), Voter: true})
	}
	for _, m := range members {
		m.start(t, configuration)
	}
	if err := members[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first member leads", func() bool { return members[0].Status().Role == core.Leader })
	return members
}

func put(t *testing.T, m *member, key, value string) core.Applied {
	t.Helper()
	applied, err := m.Propose(deadline(t), kv.EncodeSet(key, []byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	if r := applied.Result.(kv.Result); r.Err != nil {
		t.Fatal(r.Err)
	}
	return applied
}

func (m *member) has(key, value string) bool {
	v, _, ok := m.kv.Get(key)
	return ok && string(v) == value
}

func TestProposeReachesEveryMember(t *testing.T) {
	members := group(t, options{nodes: 3})
	put(t, members[0], "k", "v")
	for _, m := range members {
		eventually(t, m.cfg.ID+" has the write", func() bool { return m.has("k", "v") })
	}
}

func TestProposeOnFollowerNamesTheLeader(t *testing.T) {
	members := group(t, options{nodes: 3})
	put(t, members[0], "k", "v")
	eventually(t, "the follower knows the leader", func() bool { return members[1].Status().LeaderID == "n1" })
	_, err := members[1].Propose(deadline(t), kv.EncodeSet("k", nil))
	var notLeader *core.NotLeaderError
	if !errors.As(err, &notLeader) || !errors.Is(err, core.ErrNotLeader) || notLeader.LeaderID != "n1" ||
		notLeader.LeaderAddress != members[0].cfg.Link.Address() {
		t.Fatalf("propose on a follower: %v", err)
	}
	if errors.Is(err, core.ErrOutcomeUnknown) {
		t.Fatal("a command that was not appended is said to be in doubt")
	}
	if err := members[1].ReadBarrier(deadline(t)); !errors.Is(err, core.ErrNotLeader) {
		t.Fatalf("read barrier on a follower: %v", err)
	}
}

// TestProposeWithoutQuorum: what was appended but not committed is in doubt.
func TestProposeWithoutQuorum(t *testing.T) {
	members := group(t, options{nodes: 3})
	put(t, members[0], "k", "v")
	for _, m := range members[1:] {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := members[0].Propose(ctx, kv.EncodeSet("k", []byte("w")))
	if !errors.Is(err, core.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("propose without a quorum: %v", err)
	}
	// Without a deadline the leader gives up once its lease has run out.
	if _, err = members[0].Propose(t.Context(), kv.EncodeSet("k", []byte("x"))); err == nil {
		t.Fatal("committed without a quorum")
	}
	if err := members[0].ReadBarrier(deadline(t)); err == nil {
		t.Fatal("a read barrier without a quorum")
	}
}

func TestProposeAfterClose(t *testing.T) {
	m := group(t, options{nodes: 1})[0]
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Propose(deadline(t), kv.EncodeSet("k", nil)); !errors.Is(err, core.ErrClosed) {
		t.Fatalf("propose after close: %v", err)
	}
	if err := m.Err(); err != nil {
		t.Fatalf("an orderly close has a cause: %v", err)
	}
}

// TestReadBarrierWritesOneEntryPerTerm: reads go by ReadIndex.
func TestReadBarrierWritesOneEntryPerTerm(t *testing.T) {
	members := group(t, options{nodes: 3})
	ctx := deadline(t)
	if err := members[0].ReadBarrier(ctx); err != nil {
		t.Fatal(err)
	}
	before := members[0].Status().LastIndex
	for range 20 {
		if err := members[0].ReadBarrier(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if after := members[0].Status().LastIndex; after != before {
		t.Fatalf("20 read barriers wrote %d entries", after-before)
	}
}

// TestFollowerReads asks the leader for an index and reads on the followers, also
// right after a restart, when barriers and no-ops are all there is in the new term,
// and on one that has its state from a snapshot.
func TestFollowerReads(t *testing.T) {
	members := group(t, options{nodes: 3, tuning: fast, own: hashicorp.Options{TrailingLogs: 1}})
	leader := members[0]
	readEverywhere := func(value string) {
		t.Helper()
		ctx := deadline(t)
		for _, m := range members {
			index, err := leader.ReadIndex(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.WaitApplied(ctx, index); err != nil {
				t.Fatalf("%s: %v", m.cfg.ID, err)
			}
			if !m.has("k", value) {
				t.Fatalf("%s has not applied index %d", m.cfg.ID, index)
			}
		}
	}
	for i := range 20 {
		value := fmt.Sprint(i)
		put(t, leader, "k", value)
		readEverywhere(value)
	}
	if err := leader.TransferLeadership(deadline(t), "n2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 leads", func() bool { return members[1].Status().Role == core.Leader })
	leader = members[1]
	readEverywhere("19") // the term has a no-op and a barrier only

	if err := leader.Snapshot(deadline(t)); err != nil {
		t.Fatal(err)
	}
	late := newMember(t, tcp.New(tcp.Options{}), "n4", inmem.New(), fast)
	late.start(t, nil)
	if err := leader.Add(deadline(t), core.Member{ID: "n4", Address: late.cfg.Link.Address(), Voter: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n4 has a snapshot", func() bool { return late.Status().SnapshotIndex > 0 })
	members = append(members, late)
	readEverywhere("19")
	eventually(t, "the leader knows how far n4 is", func() bool {
		for _, f := range leader.Status().Followers {
			if f.ID == "n4" {
				return f.LastIndex == leader.Status().LastIndex && !f.LastContact.IsZero()
			}
		}
		return false
	})
}

// TestReadsShareRounds lets many read at once; each must see the write before it,
// and a reader that leaves must not take the others with it.
func TestReadsShareRounds(t *testing.T) {
	members := group(t, options{nodes: 3})
	leader := members[0]
	ctx := deadline(t)
	var readers sync.WaitGroup
	for r := range 16 {
		readers.Go(func() {
			key := fmt.Sprint(r)
			for i := range 30 {
				value := fmt.Sprint(i)
				if _, err := leader.Propose(ctx, kv.EncodeSet(key, []byte(value))); err != nil {
					t.Error(err)
					return
				}
				if r%4 == 0 {
					left, cancel := context.WithCancel(ctx)
					cancel()
					if _, err := leader.ReadIndex(left); !errors.Is(err, context.Canceled) {
						t.Errorf("a read without time: %v", err)
					}
				}
				if err := leader.ReadBarrier(ctx); err != nil {
					t.Error(err)
					return
				}
				if !leader.has(key, value) {
					t.Errorf("read of %s misses write %d", key, i)
				}
			}
		})
	}
	readers.Wait()
}

func TestLeaseBarrier(t *testing.T) {
	members := group(t, options{nodes: 3, tuning: fast})
	put(t, members[0], "k", "v")
	if err := members[0].LeaseBarrier(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := members[1].LeaseBarrier(deadline(t)); !errors.Is(err, core.ErrNotLeader) {
		t.Fatalf("on a follower: %v", err)
	}
	for _, m := range members[1:] {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the lease runs out", func() bool {
		return errors.Is(members[0].LeaseBarrier(deadline(t)), core.ErrNotLeader)
	})
}

// TestReadBarrierSeesAcknowledgedWrites hands leadership round; each new leader
// must serve what was acknowledged under the ones before.
func TestReadBarrierSeesAcknowledgedWrites(t *testing.T) {
	members := group(t, options{nodes: 3, tuning: fast})
	leader := members[0]
	for round := range 6 {
		value := fmt.Sprint(round)
		put(t, leader, "k", value)
		next := members[(round+1)%3]
		if err := leader.TransferLeadership(deadline(t), next.cfg.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, next.cfg.ID+" serves reads", func() bool { return next.ReadBarrier(deadline(t)) == nil })
		if !next.has("k", value) {
			v, _, _ := next.kv.Get("k")
			t.Fatalf("round %d: after the barrier %s reads %q", round, next.cfg.ID, v)
		}
		leader = next
	}
}

func TestMembership(t *testing.T) {
	network := tcp.New(tcp.Options{})
	first := newMember(t, network, "n1", inmem.New(), fast)
	first.start(t, []core.Member{{ID: "n1", Address: first.cfg.Link.Address(), Voter: true}})
	eventually(t, "n1 leads itself", func() bool { return first.Status().Role == core.Leader })
	put(t, first, "k", "v")

	second := newMember(t, network, "n2", inmem.New(), fast)
	second.start(t, nil)
	if err := first.Add(deadline(t), core.Member{ID: "n2", Address: second.cfg.Link.Address()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 has the data", func() bool { return second.has("k", "v") })
	if got := first.Status().Members; len(got) != 2 || got[1].Voter {
		t.Fatalf("members: %+v", got)
	}
	if err := first.Add(deadline(t), core.Member{ID: "n2", Address: second.cfg.Link.Address(), Voter: true}); err != nil {
		t.Fatal(err)
	}
	if got := first.Status().Members; !got[1].Voter {
		t.Fatalf("members: %+v", got)
	}
	if err := first.TransferLeadership(deadline(t), "nobody"); !errors.Is(err, core.ErrNotFound) {
		t.Fatalf("transfer to nobody: %v", err)
	}
	if err := first.Remove(deadline(t), "n2"); err != nil {
		t.Fatal(err)
	}
	if got := first.Status().Members; len(got) != 1 {
		t.Fatalf("members: %+v", got)
	}
}

// TestRestart closes a member with BoltDB and snapshots on disk and starts it
// again: everything acknowledged is there, from the snapshot and from the log.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	open := func() *member {
		logs, err := bolt.Open(filepath.Join(dir, "log"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := newMember(t, tcp.New(tcp.Options{}), "n1", logs, fast)
		m.engine.Options.TrailingLogs = 1
		m.cfg.SnapshotDir = dir
		m.start(t, []core.Member{{ID: "n1", Address: m.cfg.Link.Address(), Voter: true}})
		eventually(t, "n1 leads itself", func() bool { return m.Status().Role == core.Leader })
		return m
	}
	m := open()
	for i := range 20 {
		put(t, m, fmt.Sprint(i), "old")
	}
	if err := m.Snapshot(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.Snapshot(deadline(t)); err != nil {
		t.Fatalf("a snapshot with nothing new: %v", err)
	}
	if s := m.Status(); s.SnapshotIndex == 0 {
		t.Fatalf("no snapshot: %+v", s)
	}
	last := put(t, m, "0", "new")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	m = open()
	if err := m.ReadBarrier(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if !m.has("0", "new") || !m.has("19", "old") || m.kv.Len() != 20 {
		t.Fatalf("after the restart: %d keys", m.kv.Len())
	}
	if s := m.Status(); s.AppliedIndex < last.Index || s.CommitIndex < last.Index {
		t.Fatalf("status after the restart: %+v", s)
	}
}

func TestBadTuning(t *testing.T) {
	m := newMember(t, tcp.New(tcp.Options{}), "n1", inmem.New(), core.Tuning{
		HeartbeatTimeout: 100 * time.Millisecond, LeaderLeaseTimeout: time.Second})
	defer m.cfg.Link.Close()
	if _, err := (hashicorp.Engine{}).Start(m.cfg); !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("a lease longer than the heartbeat timeout: %v", err)
	}
}
