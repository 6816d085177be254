package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/etcd"
	"github.com/themilchenko/raftlab/kv"
	mem "github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fast are timeouts for tests that wait for elections.
var fast = core.Tuning{HeartbeatTimeout: 200 * time.Millisecond}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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

// member is a replica whose data outlive it.
type member struct {
	core.Replica
	id, dir string
	engine  etcd.Engine
	network core.Network
	store   func(dir string) (core.LogStore, error)
	bind    string
	cfg     core.ReplicaConfig
	kv      *kv.Store
}

func (m *member) self() core.Member {
	return core.Member{ID: m.id, Incarnation: m.cfg.Incarnation, Address: m.bind, Voter: true}
}

// start runs the member on its data, at its address.
func (m *member) start(t *testing.T, bootstrap []core.Member) {
	t.Helper()
	logs, err := m.store(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	m.kv = kv.New()
	m.cfg.ID, m.cfg.FSM, m.cfg.Logs, m.cfg.Bootstrap = m.id, m.kv, logs, bootstrap
	eventually(t, "the address is free", func() bool {
		m.cfg.Link, err = m.network.Listen(m.bind)
		return err == nil
	})
	if m.Replica, err = m.engine.Start(m.cfg); err != nil {
		t.Fatal(err)
	}
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Errorf("close %s: %v", m.id, err)
	}
}

// onBolt opens a store on disk.
func onBolt(dir string) (core.LogStore, error) {
	return bolt.Open(filepath.Join(dir, "log"), bolt.Options{NoSync: true})
}

func onWAL(dir string) (core.LogStore, error) {
	return wal.Open(filepath.Join(dir, "log"), wal.Options{})
}

// newMember makes a member that does not run yet.
func newMember(t *testing.T, id string) *member {
	t.Helper()
	m := &member{id: id, dir: t.TempDir(), network: tcp.New(tcp.Options{}), store: onBolt}
	m.cfg.SnapshotDir, m.cfg.Tuning, m.cfg.Incarnation = m.dir, fast, core.NewIncarnation()
	link, err := m.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	m.bind = link.Address()
	if err := link.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.Replica != nil {
			m.stop(t)
		}
	})
	return m
}

// group starts a group under n1.
func group(t *testing.T, nodes int, change ...func(*member)) []*member {
	t.Helper()
	var all []*member
	var first []core.Member
	for i := range nodes {
		m := newMember(t, fmt.Sprintf("n%d", i+1))
		for _, c := range change {
			c(m)
		}
		all = append(all, m)
		first = append(first, m.self())
	}
	for _, m := range all {
		m.start(t, first)
	}
	lead(t, all[0])
	return all
}

// lead makes m the leader.
func lead(t *testing.T, m *member) {
	t.Helper()
	eventually(t, m.id+" leads", func() bool {
		if m.Status().Role == core.Leader && m.ReadBarrier(deadline(t)) == nil {
			return true
		}
		if m.Status().Role == core.Follower {
			_ = m.Replica.(core.Campaigner).Campaign(deadline(t))
		}
		return false
	})
}

// leader waits until one of the members leads and answers reads.
func leader(t *testing.T, members ...*member) (found *member) {
	t.Helper()
	eventually(t, "one of them leads", func() bool {
		for _, m := range members {
			if m.Status().Role == core.Leader && m.ReadBarrier(deadline(t)) == nil {
				found = m
			}
		}
		return found != nil
	})
	return found
}

func set(t *testing.T, m *member, key, value string) core.Applied {
	t.Helper()
	applied, err := m.Propose(deadline(t), kv.EncodeSet(key, []byte(value)))
	if err != nil {
		t.Fatalf("set %s on %s: %v", key, m.id, err)
	}
	return applied
}

// holds waits until m's map has the value.
func holds(t *testing.T, m *member, key, value string) {
	t.Helper()
	eventually(t, m.id+" holds "+key, func() bool {
		got, _, ok := m.kv.Get(key)
		return ok && string(got) == value
	})
}

func TestProposals(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("Async=%t", async), func(t *testing.T) {
			all := group(t, 3, func(m *member) { m.engine.Options.AsyncStorageWrites = async })
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					for j := range 20 {
						set(t, all[0], fmt.Sprintf("k%d-%d", i, j), "v")
					}
				})
			}
			wg.Wait()
			last := set(t, all[0], "last", "v")
			for _, m := range all {
				if err := m.WaitApplied(deadline(t), last.Index); err != nil {
					t.Fatal(err)
				}
				if n := m.kv.Applied(); n != 64*20+1 {
					t.Errorf("%s has applied %d commands", m.id, n)
				}
			}
			_, err := all[1].Propose(deadline(t), []byte("x"))
			var notLeader *core.NotLeaderError
			if !errors.As(err, &notLeader) || notLeader.LeaderID != "n1" || notLeader.LeaderAddress != all[0].bind {
				t.Errorf("%v", err)
			}
			if err := all[0].LeaseBarrier(deadline(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRestart: what was acknowledged is there again, with and without a snapshot.
func TestRestart(t *testing.T) {
	all := group(t, 3)
	for i := range 50 {
		set(t, all[0], fmt.Sprint("k", i), "v")
		if i == 20 {
			if err := all[0].Snapshot(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		for _, m := range all {
			m.stop(t)
		}
		for _, m := range all {
			m.start(t, nil)
		}
		m := leader(t, all...)
		for i := range 50 {
			if v, _, ok := m.kv.Get(fmt.Sprint("k", i)); !ok || string(v) != "v" {
				t.Fatalf("k%d is %q", i, v)
			}
		}
		set(t, m, "again", "v")
		for _, other := range all {
			holds(t, other, "again", "v")
		}
	}
}

// TestKilledLeader: another one is elected and has what was acknowledged.
func TestKilledLeader(t *testing.T) {
	all := group(t, 3)
	set(t, all[0], "before", "v")
	all[0].stop(t)
	next := leader(t, all[1], all[2])
	if v, _, _ := next.kv.Get("before"); string(v) != "v" {
		t.Fatalf("%q", v)
	}
	set(t, next, "after", "v")
	all[0].start(t, nil)
	holds(t, all[0], "after", "v")
}

// TestNewcomerGetsSnapshot: the log it would need is gone.
func TestNewcomerGetsSnapshot(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("Async=%t", async), func(t *testing.T) {
			change := func(m *member) {
				m.engine.Options.TrailingLogs, m.engine.Options.AsyncStorageWrites = 1, async
				if async {
					m.store = onWAL // it takes no gaps
				}
			}
			all := group(t, 2, change)
			for i := range 100 {
				set(t, all[0], fmt.Sprint("k", i), "v")
			}
			if err := all[0].Snapshot(deadline(t)); err != nil {
				t.Fatal(err)
			}
			m := newMember(t, "n3")
			change(m)
			m.start(t, nil)
			learner := m.self()
			learner.Voter = false
			if who, err := all[0].Replica.(core.Prober).Probe(deadline(t), learner); err != nil || who.ID != "n3" {
				t.Fatalf("%v, %v", who, err)
			}
			if err := all[0].Add(deadline(t), learner); err != nil {
				t.Fatal(err)
			}
			holds(t, m, "k99", "v")
			if m.Status().SnapshotIndex == 0 {
				t.Error("it got no snapshot")
			}
			if err := all[0].Add(deadline(t), m.self()); err != nil {
				t.Fatal(err)
			}
			set(t, all[0], "more", "v")
			holds(t, m, "more", "v")
			m.stop(t)
			set(t, all[0], "meanwhile", "v")
			m.start(t, nil)
			holds(t, m, "meanwhile", "v")
			holds(t, m, "k0", "v")
			eventually(t, "n3 knows all members", func() bool { return len(m.Status().Members) == 3 })
		})
	}
}

// TestMembership: one by one the members are replaced, down to the leader itself.
func TestMembership(t *testing.T) {
	all := group(t, 3)
	set(t, all[0], "k", "v")
	imposter := all[1].self()
	imposter.Incarnation = core.NewIncarnation()
	if err := all[0].Add(deadline(t), imposter); !errors.Is(err, core.ErrReplaced) {
		t.Errorf("%v", err)
	}
	if err := all[0].Remove(deadline(t), "n2"); err != nil {
		t.Fatal(err)
	}
	if s := all[0].Status(); len(s.Members) != 2 || len(s.Followers) != 1 {
		t.Errorf("%+v", s)
	}
	if err := all[0].TransferLeadership(deadline(t), ""); err != nil {
		t.Fatal(err)
	}
	n3 := leader(t, all[0], all[2])
	if n3.id != "n3" {
		t.Fatalf("%s leads", n3.id)
	}
	if err := n3.Remove(deadline(t), "n1"); err != nil {
		t.Fatal(err)
	}
	set(t, n3, "alone", "v")
	if err := n3.Remove(deadline(t), "n3"); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("%v", err)
	}
	n3.stop(t)
	n3.start(t, nil)
	if m := leader(t, n3); len(m.Status().Members) != 1 {
		t.Errorf("%+v", m.Status().Members)
	}
}

// TestLeaderLeaves: a leader that removes itself leads no more, and says so.
func TestLeaderLeaves(t *testing.T) {
	all := group(t, 3)
	if err := all[0].Remove(deadline(t), "n1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 is out", func() bool { return all[0].Status().Role == core.Stopped })
	set(t, leader(t, all[1], all[2]), "k", "v")
}

// forge has n1 believe that n2 sends it messages, and returns once it has taken them in.
func forge(t *testing.T, n1, n2 *member, messages ...*pb.Message) {
	t.Helper()
	link, err := n1.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	conn, err := link.Wire.Dial(raft.ServerAddress(n1.bind), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	from, to := n2.self(), n1.self()
	self := core.Identity{ID: from.ID, Incarnation: from.Incarnation, Group: n1.Status().Group}
	if _, err := handshake.Dial(conn, time.Now().Add(time.Second), self, core.Identity{ID: to.ID, Incarnation: to.Incarnation}); err != nil {
		t.Fatal(err)
	}
	nonsense := &pb.Message{} // it ends the connection
	if err := etcd.Forge(conn, from, to, append(messages, nonsense)...); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("forged messages: %v", err)
	}
}

// TestLoyal: a follower's promise to give no vote holds also where a late answer has raised its
// term: the leader of before has a lease on the strength of it.
func TestLoyal(t *testing.T) {
	all := group(t, 3, func(m *member) { m.cfg.Tuning.HeartbeatTimeout = 5 * time.Second })
	n2, n3 := all[1], all[2]
	eventually(t, "n2 follows", func() bool { return n2.Status().LeaderID == "n1" })
	n3.stop(t)
	term := n2.Status().Term
	answer := &pb.Message{Type: pb.MsgPreVoteResp.Enum(), Term: proto.Uint64(term + 1), Reject: proto.Bool(true)}
	vote := &pb.Message{Type: pb.MsgVote.Enum(), Term: proto.Uint64(term + 2), Index: proto.Uint64(1 << 20), LogTerm: proto.Uint64(term + 1)}
	forge(t, n2, n3, answer, vote)
	if voted, err := etcd.Voted(deadline(t), n2.Replica); voted || err != nil {
		t.Errorf("voted %t, %v", voted, err)
	}
	eventually(t, "it has the term of the answer", func() bool { return n2.Status().Term == term+1 })
}

// TestLibraryPanics: what the library panics on stops the replica, with the reason, and not
// the process; who waits is told.
func TestLibraryPanics(t *testing.T) {
	all := group(t, 2)
	all[1].stop(t)
	set := make(chan error, 1)
	go func() {
		_, err := all[0].Propose(context.Background(), kv.EncodeSet("k", []byte("v")))
		set <- err
	}()
	forge(t, all[0], all[1], &pb.Message{ // it was told that this is committed, and does not have it
		Type: pb.MsgHeartbeat.Enum(), Term: proto.Uint64(all[0].Status().Term + 1), Commit: proto.Uint64(1 << 20),
	})
	<-all[0].Done()
	if err := all[0].Err(); err == nil || !strings.Contains(err.Error(), "etcd/raft gave up") {
		t.Errorf("%v", err)
	}
	if err := <-set; err == nil {
		t.Error("acknowledged")
	}
}

// TestMovedLeader: a leader has moved, and a follower that is told of its old address answers it
// where it says that it is: else it would never learn of the new one from the log.
func TestMovedLeader(t *testing.T) {
	all := group(t, 3, func(m *member) {
		m.cfg.Locate = func(string) (string, bool) { return "127.0.0.1:1", true } // nobody is there
	})
	set(t, all[0], "k", "v")
	all[0].stop(t)
	link, err := all[0].network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	all[0].bind = link.Address()
	if err := link.Close(); err != nil {
		t.Fatal(err)
	}
	all[0].start(t, nil)
	lead(t, all[0])
	set(t, all[0], "k", "moved")
	for _, m := range all {
		holds(t, m, "k", "moved")
	}
}

// TestManyWritesWait: a leader that goes on beside its writes is heard while its disk stands still, however
// much waits for that.
func TestManyWritesWait(t *testing.T) {
	var gate faulty.Gate
	all := group(t, 3, func(m *member) {
		m.engine.Options.AsyncStorageWrites = true
		m.cfg.Tuning.StallTimeout, m.cfg.Tuning.StallLimit = time.Minute, time.Minute
		if m.id == "n1" {
			m.store = func(dir string) (core.LogStore, error) {
				logs, err := onBolt(dir)
				return faulty.Wrap(logs, gate.Hold(faulty.StoreLogs)), err
			}
		}
	})
	set(t, all[0], "k", "v")
	gate.Shut()
	defer gate.Open()
	var told sync.WaitGroup
	for i := range 200 {
		told.Add(1)
		all[0].Replica.(core.Proposer).Begin(kv.EncodeSet("k", []byte(fmt.Sprint(i))), completion(func(_ core.Applied, err error) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
			told.Done()
		}))
		if _, err := all[0].ReadIndex(deadline(t)); err != nil {
			t.Fatalf("after %d writes: %v", i, err)
		}
	}
	gate.Open()
	told.Wait()
	holds(t, all[0], "k", "199")
}

type completion func(core.Applied, error)

func (c completion) Complete(a core.Applied, err error) { c(a, err) }

// TestChangeNotSaved: a change of the configuration that is committed and cannot be stored
// stops the replica, and who waits for the change is told.
func TestChangeNotSaved(t *testing.T) {
	var broken atomic.Bool
	m := group(t, 1, func(m *member) {
		m.store = func(dir string) (core.LogStore, error) {
			logs, err := onBolt(dir)
			return faulty.Wrap(logs, func(w faulty.Write) error {
				if broken.Load() && w.Op == faulty.Set {
					return errors.New("disk full")
				}
				return nil
			}), err
		}
	})[0]
	broken.Store(true)
	added := make(chan error, 1)
	go func() { added <- m.Add(context.Background(), core.Member{ID: "n2", Address: "127.0.0.1:1"}) }()
	<-m.Done()
	select {
	case err := <-added:
		if !errors.Is(err, core.ErrOutcomeUnknown) {
			t.Error(err)
		}
	case <-deadline(t).Done():
		t.Error("nobody is told")
	}
}

// TestNeedsWire: a network that takes structs of another library is refused at once.
func TestNeedsWire(t *testing.T) {
	link, err := mem.New(mem.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	_, err = etcd.Engine{}.Start(core.ReplicaConfig{ID: "n1", FSM: kv.New(), Logs: inmem.New(), Link: link})
	if !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
}

// TestCommandsOfAnyBytes: the library takes empty entries for its own.
func TestCommandsOfAnyBytes(t *testing.T) {
	m := newMember(t, "n1")
	seen := &recorder{}
	logs := inmem.New()
	link, err := m.network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := etcd.Engine{}.Start(core.ReplicaConfig{ID: "n1", FSM: seen, Logs: logs, Link: link, Tuning: fast,
		Bootstrap: []core.Member{{ID: "n1", Address: link.Address(), Voter: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	eventually(t, "it leads", func() bool { return r.ReadBarrier(deadline(t)) == nil })
	commands := []string{"", "\xff", "\xff\xff", "a", "a\xff", "\x00"}
	for _, c := range commands {
		if _, err := r.Propose(deadline(t), []byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(seen.commands, commands) {
		t.Errorf("%q", seen.commands)
	}
}

type recorder struct {
	core.FSM
	commands []string
}

func (r *recorder) Apply(_ uint64, command []byte) any {
	r.commands = append(r.commands, string(command))
	return nil
}
