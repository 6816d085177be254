package hashicorp_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/inmem"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// homes is where the members of a group keep their data and where they are reached.
type homes struct {
	dir     string
	network core.Network
	members []core.Member
	engine  hashicorp.Engine
	tuning  core.Tuning
}

// newHomes makes three places, and incarnations for who lives there if identified.
func newHomes(t *testing.T, network core.Network, identified bool) *homes {
	t.Helper()
	h := &homes{dir: t.TempDir(), network: network, tuning: fast}
	for _, id := range []string{"n1", "n2", "n3"} {
		link, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		m := core.Member{ID: id, Address: link.Address(), Voter: true}
		if err := link.Close(); err != nil {
			t.Fatal(err)
		}
		if identified {
			m.Incarnation = core.NewIncarnation()
		}
		h.members = append(h.members, m)
	}
	return h
}

// run starts member i at its address, on what its folder holds.
func (h *homes) run(t *testing.T, i int, bootstrap []core.Member, change ...func(*core.ReplicaConfig)) *member {
	t.Helper()
	self := h.members[i]
	logs, err := bolt.Open(filepath.Join(h.dir, self.ID, "log"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{kv: kv.New(), engine: h.engine}
	m.cfg = core.ReplicaConfig{
		ID: self.ID, Incarnation: self.Incarnation, FSM: m.kv, Logs: logs,
		SnapshotDir: filepath.Join(h.dir, self.ID), Tuning: h.tuning,
	}
	for _, c := range change {
		c(&m.cfg)
	}
	eventually(t, "the address is free", func() bool {
		m.cfg.Link, err = h.network.Listen(self.Address)
		return err == nil
	})
	m.start(t, bootstrap)
	return m
}

func stop(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// found has all three start a group under n1.
func (h *homes) found(t *testing.T) []*member {
	t.Helper()
	var all []*member
	for i := range h.members {
		all = append(all, h.run(t, i, h.members))
	}
	if err := all[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 leads", func() bool { return all[0].Status().Role == core.Leader })
	return all
}

// wipe has member i lose its data; what starts there next is another incarnation, if
// there are any.
func (h *homes) wipe(t *testing.T, i int) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(h.dir, h.members[i].ID)); err != nil {
		t.Fatal(err)
	}
	if h.members[i].Incarnation != "" {
		h.members[i].Incarnation = core.NewIncarnation()
	}
}

// elected waits for as long as an election takes several times over, and says whether
// one of the members leads by then.
func elected(members ...*member) bool {
	for until := time.Now().Add(15 * fast.HeartbeatTimeout); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if slices.ContainsFunc(members, func(m *member) bool { return m.Status().Role == core.Leader }) {
			return true
		}
	}
	return false
}

// TestWipedVoter: n1 and n2 have acknowledged a write that n3 has not. n2 loses its
// data and comes back under its id and address, n1 is away. With the vote of who has
// forgotten the write, n3 would lead a group in which it never was.
func TestWipedVoter(t *testing.T) {
	for name, network := range map[string]func() core.Network{
		"tcp":   func() core.Network { return tcp.New(tcp.Options{}) },
		"inmem": func() core.Network { return inmem.New(inmem.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHomes(t, network(), true)
			all, n2, n3 := loseVoter(t, h)
			if elected(n2, n3) {
				t.Fatal("elected without a write that was acknowledged")
			}
			n1 := h.run(t, 0, nil)
			leader := n1
			eventually(t, "n1 leads again, or n3 that has the write", func() bool {
				for _, m := range []*member{n1, n3} {
					if m.Status().Role == core.Leader {
						leader = m
						return true
					}
				}
				return false
			})
			if err := leader.ReadBarrier(deadline(t)); err != nil || !leader.has("k", "acknowledged") {
				t.Fatalf("the write is lost: %v", err)
			}
			if n2.has("k", "acknowledged") || n2.Status().Group != "" {
				t.Error("n2 is taken for the member that it was")
			}

			anew := h.members[1]
			if err := leader.Add(deadline(t), anew); !errors.Is(err, core.ErrReplaced) {
				t.Errorf("a vote for data that the group does not know: %v", err)
			}
			if err := leader.Remove(deadline(t), "n2"); err != nil {
				t.Fatal(err)
			}
			if err := leader.Add(deadline(t), anew); err != nil {
				t.Fatal(err)
			}
			eventually(t, "n2 has the write", func() bool { return n2.has("k", "acknowledged") })
			if group := n2.Status().Group; group != leader.Status().Group || group != core.GroupID(all) {
				t.Errorf("n2 is of group %q", group)
			}
		})
	}
	t.Run("without incarnations", func(t *testing.T) { // the danger is real
		h := newHomes(t, tcp.New(tcp.Options{}), false)
		_, n2, n3 := loseVoter(t, h)
		if !elected(n2, n3) || n3.has("k", "acknowledged") {
			t.Error("this test cannot fail")
		}
	})
}

func loseVoter(t *testing.T, h *homes) (founders []core.Member, n2, n3 *member) {
	t.Helper()
	founders = slices.Clone(h.members)
	all := h.found(t)
	put(t, all[0], "before", "1")
	eventually(t, "n3 has the first write", func() bool { return all[2].has("before", "1") })
	stop(t, all[2])
	put(t, all[0], "k", "acknowledged")
	stop(t, all[0], all[1])
	h.wipe(t, 1)
	if h.members[1].Incarnation == "" { // it would still be of no group
		logs, err := bolt.Open(filepath.Join(h.dir, "n2", "log"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(core.ImprintGroup(logs, h.group()), logs.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return founders, h.run(t, 1, nil), h.run(t, 2, nil)
}

// TestTwoGroups: members of an old group come back on ports that another group has
// now, which uses the same ids. Neither notices more of the other than that.
func TestTwoGroups(t *testing.T) {
	for name, network := range map[string]core.Network{"tcp": tcp.New(tcp.Options{}), "inmem": inmem.New(inmem.Options{})} {
		t.Run(name, func(t *testing.T) {
			old := newHomes(t, network, true)
			before := old.found(t)
			put(t, before[0], "k", "old")
			for range 5 { // the old group is ahead in terms
				stop(t, before...)
				before = []*member{old.run(t, 0, nil), old.run(t, 1, nil), old.run(t, 2, nil)}
				if err := before[0].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
					t.Fatal(err)
				}
				eventually(t, "one leads", func() bool { return elected(before...) })
			}
			stop(t, before...)

			now := newHomes(t, network, true)
			after := now.found(t)
			put(t, after[0], "k", "new")
			eventually(t, "n2 has it", func() bool { return after[1].has("k", "new") && after[2].has("k", "new") })
			stop(t, after[1])
			for i := range old.members {
				old.members[i].Address = now.members[i].Address
			}
			stray := old.run(t, 1, nil)
			theirs := stray.Status().Term
			if elected(stray) {
				t.Error("elected by another group")
			}
			leader := after[0]
			eventually(t, "n1 or n3 leads", func() bool {
				for _, m := range []*member{after[0], after[2]} {
					if m.Status().Role == core.Leader {
						leader = m
						return true
					}
				}
				return false
			})
			put(t, leader, "k2", "new")
			if s := leader.Status(); s.Term >= theirs {
				t.Errorf("the group has come to term %d, the old one's was %d", s.Term, theirs)
			}
			if stray.has("k2", "new") || !stray.has("k", "old") && stray.has("k", "new") {
				t.Error("the groups have mixed")
			}
			if id, met := after[0].Replica.(core.Acquainted).Acquaintance("n2"); met && id.Group == old.group() {
				t.Errorf("takes %v for n2", id)
			}
		})
	}
}

func (h *homes) group() string { return core.GroupID(h.members) }

// TestAcquaintance: members know where each other's clients are served, from who has
// proved to be that member.
func TestAcquaintance(t *testing.T) {
	h := newHomes(t, tcp.New(tcp.Options{}), true)
	var all []*member
	for i := range h.members {
		all = append(all, h.run(t, i, h.members, func(cfg *core.ReplicaConfig) { cfg.Service = cfg.ID + ":80" }))
	}
	eventually(t, "one leads", func() bool { return elected(all...) })
	for _, m := range all {
		eventually(t, m.cfg.ID+" knows the leader", func() bool {
			s := m.Status()
			who, ok := m.Replica.(core.Acquainted).Acquaintance(s.LeaderID)
			return ok && who.Service == s.LeaderID+":80" && who.Group == h.group()
		})
	}
	leader := all[slices.IndexFunc(all, func(m *member) bool { return m.Status().Role == core.Leader })]
	for i, m := range h.members {
		if m.ID == leader.cfg.ID {
			continue
		}
		who, err := leader.Replica.(core.Prober).Probe(deadline(t), m)
		if err != nil || who.Service != m.ID+":80" {
			t.Errorf("%s is %v, %v", m.ID, who, err)
		}
		m.Incarnation = core.NewIncarnation()
		var refused *handshake.RefusedError
		if _, err := leader.Replica.(core.Prober).Probe(deadline(t), m); !errors.As(err, &refused) {
			t.Errorf("member %d with other data: %v", i, err)
		}
	}
}

// TestLostLog: something is left that says that the node has been a member, and its
// log does not know of it.
func TestLostLog(t *testing.T) {
	start := func(t *testing.T, h *homes, change func(*core.ReplicaConfig)) error {
		t.Helper()
		self := h.members[0]
		logs, err := bolt.Open(filepath.Join(h.dir, self.ID, "log"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		link, err := h.network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		cfg := core.ReplicaConfig{ID: self.ID, Incarnation: self.Incarnation, FSM: kv.New(), Logs: logs, Link: link, SnapshotDir: filepath.Join(h.dir, self.ID)}
		if change != nil {
			change(&cfg)
		}
		r, err := hashicorp.Engine{}.Start(cfg)
		if err == nil {
			return r.Close()
		}
		if err := errors.Join(logs.Close(), link.Close()); err != nil {
			t.Log(err)
		}
		return err
	}
	for name, c := range map[string]struct {
		snapshot bool
		change   func(*core.ReplicaConfig)
		want     error
	}{
		"beside a snapshot": {snapshot: true, want: core.ErrLogLost},
		"of a member":       {change: func(cfg *core.ReplicaConfig) { cfg.Joined = true }, want: core.ErrLogLost},
		"of nobody yet":     {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHomes(t, tcp.New(tcp.Options{}), true)
			h.members = h.members[:1]
			n1 := h.found1(t)
			put(t, n1, "k", "v")
			if c.snapshot {
				if err := n1.Snapshot(deadline(t)); err != nil {
					t.Fatal(err)
				}
			}
			stop(t, n1)
			if err := os.RemoveAll(filepath.Join(h.dir, "n1", "log")); err != nil {
				t.Fatal(err)
			}
			if err := start(t, h, c.change); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("of another node", func(t *testing.T) {
		h := newHomes(t, tcp.New(tcp.Options{}), true)
		h.members = h.members[:1]
		stop(t, h.found1(t))
		h.members[0].Incarnation = core.NewIncarnation()
		if err := start(t, h, nil); !errors.Is(err, core.ErrInvalid) {
			t.Error(err)
		}
	})
}

// found1 is found for a group of one.
func (h *homes) found1(t *testing.T) *member {
	t.Helper()
	m := h.run(t, 0, h.members)
	eventually(t, "n1 leads", func() bool { return m.Status().Role == core.Leader })
	return m
}

// TestVotesAfterRestart: a member that restarts may have promised its leader a
// heartbeat timeout, on which the leader's lease rests. It gives no vote before.
func TestVotesAfterRestart(t *testing.T) {
	ask := func(t *testing.T, engine hashicorp.Engine) (begun time.Time, granted func() bool) {
		h := newHomes(t, inmem.New(inmem.Options{}), true)
		h.tuning = core.Tuning{HeartbeatTimeout: 2 * time.Second}
		all := h.found(t)
		put(t, all[0], "k", "v")
		eventually(t, "all have it", func() bool { return all[1].has("k", "v") && all[2].has("k", "v") })
		stop(t, all[0], all[1])
		h.engine = engine
		begun = time.Now()
		n2 := h.run(t, 1, nil)
		n3, last := all[2], all[2].Status()
		return begun, func() bool {
			request := raft.RequestPreVoteRequest{
				RPCHeader: hashicorp.Header(n3.Replica, h.members[1]), Term: n2.Status().Term + 1,
				LastLogIndex: last.LastIndex, LastLogTerm: last.Term,
			}
			var response raft.RequestPreVoteResponse
			if err := n3.cfg.Link.Transport.RequestPreVote(hashicorp.ServerID(h.members[1]), raft.ServerAddress(h.members[1].Address), &request, &response); err != nil {
				t.Fatal(err)
			}
			return response.Granted
		}
	}
	begun, granted := ask(t, hashicorp.Engine{})
	eventually(t, "it votes in the end", granted)
	if waited := time.Since(begun); waited < 2*time.Second {
		t.Errorf("it votes %v after its start", waited)
	}
	if _, granted := ask(t, hashicorp.VotesAtOnce()); !granted() {
		t.Error("this test cannot fail")
	}
}
