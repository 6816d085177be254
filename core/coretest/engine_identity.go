package coretest

import (
	"errors"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// elects says whether one of the members leads within the time of some elections.
func (c *cluster) elects(of ...*member) bool {
	for until := time.Now().Add(12 * beat); time.Now().Before(until); time.Sleep(beat / 50) {
		if slices.ContainsFunc(of, (*member).leads) {
			return true
		}
	}
	return false
}

// checkWipedVoter: n1 and n2 have acknowledged a write that n3 has not. n2 loses its data
// and comes back under its id and address, n1 is away. With the vote of who has
// forgotten the write, n3 would lead a group in which it never was.
func checkWipedVoter(t *checker, h engineHarness) {
	c := h.found(t, 3)
	founders := c.configuration()
	n1, n2, n3 := c.members[0], c.members[1], c.members[2]
	c.put("before", "v")
	c.everywhere("before", "v")
	c.lead(n1)
	n3.stop()
	c.put("k", "acknowledged")
	n1.stop()
	n2.stop()
	n2.wipe()
	n2.start(nil)
	n3.start(nil)
	if c.elects(n2, n3) {
		t.Fatal("elected without a write that was acknowledged, by a member that has lost its data")
	}
	n1.start(nil)
	leader := c.leader(n1, n3)
	if !leader.machine.has("k", "acknowledged") {
		t.Fatal("a write that was acknowledged is lost")
	}
	if n2.machine.has("k", "acknowledged") || n2.Status().Group != "" {
		t.Error("n2, which has lost its data, is taken for the member that it was")
	}
	c.remove(n2)
	c.add(n2, true)
	c.everywhere("k", "acknowledged")
	if got, want := n2.Status().Group, core.GroupID(founders); got != want {
		t.Errorf("n2 is of group %q, want %q, which follows from the founders", got, want)
	}
}

// checkTwoGroups: a member of an old group comes back at an address where another group now
// is, which uses the same ids. Neither notices more of the other than that.
func checkTwoGroups(t *checker, h engineHarness) {
	old := h.found(t, 3)
	old.put("k", "old")
	old.everywhere("k", "old")
	for range 5 { // the old group is ahead in terms
		old.lead(old.without(old.leader())[0])
	}
	for _, m := range old.members {
		m.stop()
	}
	now := h.beside(old).found(t, 3)
	now.put("k", "new")
	now.everywhere("k", "new")
	missing := now.without(now.leader())[0]
	missing.stop()
	stray := old.members[slices.Index(now.members, missing)]
	stray.address = missing.address
	stray.start(nil)
	theirs, term := stray.Status().Term, now.leader().Status().Term
	for until := time.Now().Add(10 * beat); time.Now().Before(until); time.Sleep(beat / 50) {
		if stray.leads() {
			t.Fatal("elected by another group")
		}
		for _, m := range now.up() {
			is := m.Status().Term
			if is >= theirs && is > term+3 { // elections of the group's own count one by one
				t.Fatalf("the group comes from term %d to %d; that of the stray's group is %d", term, is, theirs)
			}
			term = max(term, is)
		}
	}
	now.put("k2", "new")
	if _, found := stray.machine.get("k2"); found || stray.machine.has("k", "new") {
		t.Error("the groups have mixed")
	}
	if a, ok := now.leader().Replica.(core.Acquainted); ok {
		if who, met := a.Acquaintance(stray.id); met && who.Incarnation == stray.incarnation {
			t.Errorf("a stray is taken for %s: %+v", stray.id, who)
		}
	}
}

// checkAcquaintance: members know where each other's clients are served, from who has
// proved to be that member.
func checkAcquaintance(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	for _, m := range c.members {
		t.until(m.id+" knows the leader", func() bool {
			leader := c.leaderNow()
			if leader == nil || leader == m {
				return leader != nil
			}
			who, met := m.Replica.(core.Acquainted).Acquaintance(leader.id)
			return met && who == core.Identity{ID: leader.id, Incarnation: leader.incarnation, Group: core.GroupID(c.configuration()), Service: leader.service}
		})
		if who, met := m.Replica.(core.Acquainted).Acquaintance("nobody"); met {
			t.Errorf("%s knows nobody as %+v", m.id, who)
		}
	}
}

// checkProbe: who is asked says who it is, and nothing changes for it.
func checkProbe(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	c.everywhere("k", "v")
	newcomer := c.newMember()
	newcomer.start(nil)
	leader := c.leader()
	prober := leader.Replica.(core.Prober)
	for _, m := range c.without(leader) {
		who, err := prober.Probe(t.context(), m.member(true))
		if err != nil || who.ID != m.id || who.Incarnation != m.incarnation || h.wire && who.Service != m.service {
			t.Errorf("Probe of %s: %+v, %v", m.id, who, err)
		}
		if _, err := prober.Probe(t.context(), core.Member{ID: m.id, Incarnation: core.NewIncarnation(), Address: m.address}); err == nil {
			t.Errorf("Probe of %s with other data: no error", m.id)
		}
	}
	if _, err := prober.Probe(t.context(), core.Member{ID: "other", Incarnation: newcomer.incarnation, Address: newcomer.address}); err == nil {
		t.Error("Probe of a member where another one answers: no error")
	}
	if _, err := prober.Probe(t.context(), core.Member{ID: "nobody", Address: c.freeAddress()}); err == nil {
		t.Error("Probe of nobody: no error")
	}
	if s := newcomer.Status(); s.Term != 0 || s.LeaderID != "" || s.Group != "" || s.Role != core.Follower {
		t.Errorf("%s was only asked who it is, and is %+v", newcomer.id, s)
	}
	other := h.beside(c).found(t, 1)
	if who, err := prober.Probe(t.context(), other.members[0].member(true)); err == nil {
		t.Errorf("Probe of a member of another group: %+v", who)
	}
}

// checkLostLog: something is left that says that the node has been a member, and its log
// does not know of it, or is another node's.
func checkLostLog(t *checker, h engineHarness) {
	c := h.found(t, 1)
	m := c.members[0]
	c.put("k", "v")
	refused := func(what string, want error, change func(*core.ReplicaConfig)) {
		t.Helper()
		cfg := m.config(nil)
		change(&cfg)
		r, err := h.Engine.Start(cfg)
		if err == nil {
			t.Errorf("Start with %s: no error, want %v", what, want)
			t.succeeds("closing what should not have started", r.Close)
			return
		}
		if !errors.Is(err, want) {
			t.Errorf("Start with %s: %v, want %v", what, err, want)
		}
		t.should("closing the parts after a Start that failed", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
	}
	has := func(what string, want bool) {
		t.Helper()
		cfg := m.config(nil)
		got, err := h.Engine.HasState(cfg.Logs, cfg.SnapshotDir)
		if err != nil || got != want {
			t.Errorf("HasState of %s: %t, %v, want %t", what, got, err, want)
		}
		t.should("closing what was not started", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
	}
	if h.durable {
		t.must("Snapshot", m.Snapshot(t.context()))
		m.stop()
		has("a member's log", true)
		refused("the log of another node", core.ErrInvalid, func(cfg *core.ReplicaConfig) { cfg.Incarnation = core.NewIncarnation() })
		snapshots := m.snapshots()
		m.dir = t.TempDir()
		refused("a snapshot beside an empty log", core.ErrLogLost, func(cfg *core.ReplicaConfig) { cfg.SnapshotDir = snapshots })
	} else {
		m.stop()
	}
	m.dir = t.TempDir()
	has("an empty log", false)
	refused("an empty log of who has been a member", core.ErrLogLost, func(cfg *core.ReplicaConfig) { cfg.Joined = true })
	cfg := m.config(nil)
	if _, err := h.Engine.HasState(unreadable{cfg.Logs}, cfg.SnapshotDir); !errors.Is(err, core.ErrDamaged) {
		t.Errorf("HasState of a log that cannot be read: %v, want core.ErrDamaged", err)
	}
	t.should("closing what was not started", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
}

// unreadable is a log store of which nothing can be read.
type unreadable struct{ core.LogStore }

func (u unreadable) FirstIndex() (uint64, error)      { return 0, core.ErrDamaged }
func (u unreadable) LastIndex() (uint64, error)       { return 0, core.ErrDamaged }
func (u unreadable) Get([]byte) ([]byte, error)       { return nil, core.ErrDamaged }
func (u unreadable) GetUint64([]byte) (uint64, error) { return 0, core.ErrDamaged }

// checkMoved: all members come back at addresses that the configuration has not, and find
// each other where they are told to look.
func checkMoved(t *checker, h engineHarness) {
	c := newCluster(t, h, 3)
	at := map[string]string{} // written while none runs
	for _, m := range c.members {
		at[m.id] = c.freeAddress() // wrong, and not to be asked while the member answers where it should
		m.locate = func(id string) (string, bool) { address, known := at[id]; return address, known }
		m.start(c.configuration())
	}
	c.put("k", "v")
	c.everywhere("k", "v")
	for _, m := range c.members {
		m.stop()
	}
	for _, m := range c.members {
		m.address = c.freeAddress()
		at[m.id] = m.address
	}
	for _, m := range c.members {
		m.start(nil)
	}
	c.put("k", "moved")
	c.everywhere("k", "moved")
	t.until("the leader knows where the others answer", func() bool {
		leader := c.leaderNow()
		return leader != nil && !slices.ContainsFunc(leader.Status().Followers, func(f core.FollowerStatus) bool { return f.Address != at[f.ID] })
	})
}
