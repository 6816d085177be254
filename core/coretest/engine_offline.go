package coretest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
)

// stopped is a group that does not run any more, and what its members knew last.
type stopped struct {
	*cluster
	statuses map[*member]core.Status
}

// stop makes a group of three and ends it: the log of n1 is whole, that of n2 begins behind a
// snapshot, and n3 lacks the newest entries.
func (h engineHarness) stopped(t *checker) stopped {
	t.Helper()
	c := h.found(t, 3)
	n1, n2, n3 := c.members[0], c.members[1], c.members[2]
	c.fill(30, "v")
	c.everywhere("f29", "v")
	c.compact(n2)
	c.put("k", "early")
	c.everywhere("k", "early")
	c.lead(n1)
	n3.stop()
	c.put("k", "late")
	c.everywhere("k", "late")
	s := stopped{c, map[*member]core.Status{}}
	for _, m := range c.members {
		if m != n3 {
			m.stop()
		}
		s.statuses[m] = m.Status()
	}
	return s
}

// offline is what the engine can do for a group that does not run.
func (h engineHarness) offline() core.Offline { return h.Engine.(core.Offline) }

// rebuild gives what is left to a state machine, which knows whether it is what was proposed,
// and returns the error that the entries end with.
func rebuild(t *checker, r *core.Remains, m *machine) error {
	t.Helper()
	if r.Snapshot != nil {
		from, err := r.Snapshot()
		t.must("opening a snapshot that is left", err)
		t.should("Restore of a snapshot that is left", m.Restore(from))
		t.should("closing a snapshot", from.Close())
	}
	index, term := r.SnapshotIndex, r.SnapshotTerm
	var end error
	for e, err := range r.Entries {
		if end != nil {
			t.Errorf("after the error %v the entries go on", end)
		}
		if end = err; err != nil {
			continue
		}
		if e.Index != index+1 || e.Term < term || e.Term == 0 {
			t.Errorf("entry %d of term %d follows entry %d of term %d", e.Index, e.Term, index, term)
		}
		index, term = e.Index, e.Term
		if e.Command != nil {
			m.Apply(e.Index, e.Command)
		}
	}
	if index != r.LastIndex || term != r.LastTerm {
		t.Errorf("the entries end with %d of term %d, and are said to end with %d of term %d", index, term, r.LastIndex, r.LastTerm)
	}
	return end
}

// checkRemains: what is left of members is what they had, reading it changes nothing, and
// they can be started afterwards.
func checkRemains(t *checker, h engineHarness) {
	c := h.stopped(t)
	for m, was := range c.statuses {
		files, writes, logs := content(t, m.snapshots()), m.disk.Writes(), m.store()
		r, err := h.offline().Remains(t.Context(), logs, m.snapshots())
		t.must("Remains of "+m.id, err)
		got := core.Status{ID: r.Identity.ID, Incarnation: r.Identity.Incarnation, Group: r.Identity.Group, Term: r.Term,
			LastIndex: r.LastIndex, SnapshotIndex: r.SnapshotIndex, Members: r.Members}
		want := core.Status{ID: m.id, Incarnation: m.incarnation, Group: was.Group, Term: was.Term,
			LastIndex: was.LastIndex, SnapshotIndex: was.SnapshotIndex, Members: was.Members}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s has left %+v, want %+v", m.id, got, want)
		}
		if r.LastTerm > r.Term || r.MembersIndex == 0 || r.MembersIndex > r.LastIndex ||
			r.CommittedIndex != was.CommitIndex || (r.FirstIndex == 1) != (r.SnapshotIndex == 0) {
			t.Errorf("%s has left %+v, and had committed up to %d", m.id, r, was.CommitIndex)
		}
		for range 2 {
			again := newMachine("what is left of "+m.id, c.truth)
			t.should("the entries that are left", rebuild(t, r, again))
			lacks := m == c.members[2]
			if !again.has("f0", "v") || again.has("k", "late") == lacks || again.has("k", "early") != lacks {
				t.Errorf("what %s has left is another state", m.id)
			}
		}
		if !reflect.DeepEqual(content(t, m.snapshots()), files) || m.disk.Writes() != writes {
			t.Errorf("Remains has changed what %s has left", m.id)
		}
		t.must("closing a log store", logs.Close())
	}
	for _, m := range c.members {
		m.start(nil)
	}
	c.readEverywhere("k", "late")
	c.put("k", "after")
	c.everywhere("k", "after")
}

// content returns the files below a folder.
func content(t *checker, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			files[path] = ""
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	t.must("reading "+dir, err)
	return files
}

// checkDamagedRemains: what can be read of a log that is damaged is, and never more.
func checkDamagedRemains(t *checker, h engineHarness) {
	c := h.stopped(t)
	n1, n2 := c.members[0], c.members[1]
	last := c.statuses[n1].LastIndex
	for what, damage := range map[string]func(core.LogStore) core.LogStore{
		"a damaged entry": func(logs core.LogStore) core.LogStore { return spoiltAt{logs, last - 1} },
		"a missing entry": func(logs core.LogStore) core.LogStore { return holed{logs} },
	} {
		for _, m := range []*member{n1, n2} {
			logs := m.store()
			r, err := h.offline().Remains(t.Context(), damage(logs), m.snapshots())
			t.must("Remains with "+what, err)
			again := newMachine("what is left of "+m.id, c.truth)
			if err := rebuild(t, r, again); !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), "log entry ") {
				t.Errorf("the entries of %s with %s: %v, want core.ErrDamaged that names the log entry", m.id, what, err)
			}
			if r.LastIndex != last-2 || !again.has("f0", "v") {
				t.Errorf("with %s %s has left %+v, which ends before entry %d", what, m.id, r, last-1)
			}
			t.must("closing a log store", logs.Close())
		}
	}
	checkHalves(t, h, c, n2)
	for path, data := range content(t, n2.snapshots()) {
		if data != "" {
			t.must("damaging a snapshot", os.WriteFile(path, []byte(data[:len(data)/2]+"?"+data[len(data)/2+1:]), 0o600))
		}
	}
	logs := n2.store()
	closeAtEnd(t, "a log store", logs)
	r, err := h.offline().Remains(t.Context(), logs, n2.snapshots())
	if err == nil {
		_, err = r.Snapshot()
	}
	if !errors.Is(err, core.ErrDamaged) {
		t.Errorf("a damaged snapshot: %v, want core.ErrDamaged", err)
	}
}

// checkHalves looks at what is left of a member that has a snapshot, where either that or
// its log is gone.
func checkHalves(t *checker, h engineHarness, c stopped, m *member) {
	t.Helper()
	empty := h.Store(t.T, t.TempDir())
	closeAtEnd(t, "an empty log store", empty)
	r, err := h.offline().Remains(t.Context(), empty, m.snapshots())
	t.must("Remains without a log", err)
	again := newMachine("a snapshot of "+m.id, c.truth)
	t.should("the entries of an empty log", rebuild(t, r, again))
	if r.Term != 0 || r.FirstIndex != 0 || r.SnapshotIndex != c.statuses[m].SnapshotIndex || len(r.Members) != 3 || !again.has("f0", "v") {
		t.Errorf("without its log %s has left %+v", m.id, r)
	}
	logs := m.store()
	r, err = h.offline().Remains(t.Context(), logs, t.TempDir())
	t.must("Remains without a snapshot", err)
	if err := rebuild(t, r, newMachine("a log of "+m.id, c.truth)); !errors.Is(err, core.ErrDamaged) || r.LastIndex != 0 || r.FirstIndex == 0 {
		t.Errorf("without its snapshot %s has left %+v, and %v", m.id, r, err)
	}
	t.must("closing a log store", logs.Close())
	if r, err = h.offline().Remains(t.Context(), empty, t.TempDir()); err != nil || r.LastIndex != 0 || r.Members != nil || r.Snapshot != nil {
		t.Errorf("where nothing is left: %+v, %v", r, err)
	}
}

// spoiltAt is a store with an entry that is damaged.
type spoiltAt struct {
	core.LogStore
	index uint64
}

// GetLog implements raft.LogStore.
func (s spoiltAt) GetLog(index uint64, out *raft.Log) error {
	if index == s.index {
		return core.ErrDamaged
	}
	return s.LogStore.GetLog(index, out)
}

// foundOn founds a group of n members that goes on from what is left of one of another group.
func (c stopped) foundOn(m *member, n int) *cluster {
	t := c.t
	t.Helper()
	logs := m.store()
	r, err := c.h.offline().Remains(t.Context(), logs, m.snapshots())
	t.must("Remains of "+m.id, err)
	state := newMachine("the state of a new group", c.truth)
	t.must("the entries that are left", rebuild(t, r, state))
	t.must("closing a log store", logs.Close())
	now := newCluster(t, c.h.beside(c.cluster), n)
	now.truth = c.truth // it goes on
	for _, m := range now.members {
		captured, err := state.Snapshot()
		t.must("a snapshot of what is left", err)
		logs := m.store()
		t.must("Found", c.h.offline().Found(logs, m.snapshots(), core.Founding{
			ID: m.id, Members: now.configuration(), Former: r.Identity.Group, Index: r.LastIndex, Term: r.LastTerm, State: captured,
		}))
		if has, err := c.h.Engine.HasState(logs, m.snapshots()); err != nil || !has {
			t.Errorf("HasState of who was founded: %t, %v", has, err)
		}
		t.must("closing a log store", logs.Close())
	}
	return now
}

// checkFound: a group goes on from what is left of another one, grows, and has nothing to do
// with the members of that one.
func checkFound(t *checker, h engineHarness) {
	old := h.stopped(t)
	c := old.foundOn(old.members[1], 2)
	group, before := core.GroupID(c.configuration()), old.statuses[old.members[1]]
	for _, m := range c.members {
		m.start(nil)
		if s := m.Status(); s.Group != group || s.Term < before.Term-1 || s.SnapshotIndex != before.LastIndex || len(s.Members) != 2 {
			t.Errorf("%s of the new group begins as %+v, and the old one ended with %+v", m.id, s, before)
		}
	}
	c.readEverywhere("k", "late")
	if a := c.put("k", "anew"); a.Index <= before.LastIndex {
		t.Errorf("the new group writes entry %d, and goes on from %d", a.Index, before.LastIndex)
	}
	c.everywhere("k", "anew")
	for _, m := range c.members {
		m.stop()
	}
	for _, m := range c.members {
		m.start(nil)
	}
	c.readEverywhere("k", "anew")
	third := c.newMember()
	third.start(nil)
	c.add(third, true)
	c.everywhere("k", "anew", third)
	if s := third.Status(); s.Group != group || !third.machine.has("f0", "v") {
		t.Errorf("who joins the new group is %+v", s)
	}
	third.stop()
	stray := old.members[0]
	stray.address = third.address
	stray.start(nil)
	c.put("k", "without the stray")
	for until := time.Now().Add(6 * beat); time.Now().Before(until); time.Sleep(beat / 50) {
		if stray.leads() || !stray.machine.has("k", "late") && stray.Status().AppliedIndex >= before.LastIndex {
			t.Fatalf("a member of the old group is taken for one of the new: %+v", stray.Status())
		}
	}
	if p, ok := c.leader().Replica.(core.Prober); ok {
		if who, err := p.Probe(t.context(), stray.member(true)); err == nil {
			t.Errorf("Probe of a member of the old group: %+v", who)
		}
	}
	stray.stop()
	third.start(nil)
	c.everywhere("k", "without the stray")
}

// checkFoundRefuses: a group begins where nothing is, with members that it can have.
func checkFoundRefuses(t *checker, h engineHarness) {
	old := h.stopped(t)
	c := newCluster(t, h.beside(old.cluster), 2)
	n1 := c.members[0]
	good := func() core.Founding {
		captured, err := newMachine("a new group", newTruth()).Snapshot()
		t.must("Snapshot", err)
		return core.Founding{ID: n1.id, Members: c.configuration(), Index: 7, Term: 2, State: captured}
	}
	refused := func(what string, logs core.LogStore, dir string, f core.Founding) {
		t.Helper()
		if err := h.offline().Found(logs, dir, f); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Found with %s: %v, want core.ErrInvalid", what, err)
		}
	}
	empty := n1.store()
	closeAtEnd(t, "a log store", empty)
	for what, change := range map[string]func(*core.Founding){
		"no members":                  func(f *core.Founding) { f.Members = nil },
		"another's id":                func(f *core.Founding) { f.ID = "nobody" },
		"no vote":                     func(f *core.Founding) { f.Members[0].Voter, f.Members[1].Voter = false, false },
		"no incarnation":              func(f *core.Founding) { f.Members[1].Incarnation = "" },
		"one incarnation for two":     func(f *core.Founding) { f.Members[1].Incarnation = f.Members[0].Incarnation },
		"one address for two":         func(f *core.Founding) { f.Members[1].Address = f.Members[0].Address },
		"no address":                  func(f *core.Founding) { f.Members[1].Address = "" },
		"the same member twice":       func(f *core.Founding) { f.Members[1].ID = f.Members[0].ID },
		"a state of before entry 1":   func(f *core.Founding) { f.Index = 0 },
		"a state of before all terms": func(f *core.Founding) { f.Term = 0 },
		"no state":                    func(f *core.Founding) { f.State = nil },
	} {
		f := good()
		change(&f)
		refused(what, empty, n1.snapshots(), f)
	}
	if has, err := h.Engine.HasState(empty, n1.snapshots()); err != nil || has {
		t.Errorf("HasState after foundings that were refused: %t, %v", has, err)
	}
	refused("the snapshots of another group", empty, old.members[1].snapshots(), good())
	used := old.members[0].store()
	refused("the log of another group", used, n1.snapshots(), good())
	t.must("closing a log store", used.Close())
	t.must("Found", h.offline().Found(empty, n1.snapshots(), good()))
	refused("what was founded already", empty, t.TempDir(), good())
}

// checkFoundFails: a founding that was not finished, whichever write it ends at, is no state
// that a replica would go on with.
func checkFoundFails(t *checker, h engineHarness) {
	m := newCluster(t, h, 1).members[0]
	for fails := 1; ; fails++ {
		m.dir = t.TempDir()
		captured, err := newMachine(m.id, newTruth()).Snapshot()
		t.must("Snapshot", err)
		logs, writes := m.store(), 0
		plan := faulty.Plan(func(faulty.Write) error {
			if writes++; writes >= fails {
				return io.ErrShortWrite
			}
			return nil
		})
		m.plan.Store(&plan)
		found := h.offline().Found(logs, m.snapshots(), core.Founding{ID: m.id, Members: m.in.configuration(), Index: 7, Term: 2, State: captured})
		has, err := h.Engine.HasState(logs, m.snapshots())
		t.must("HasState", errors.Join(err, logs.Close()))
		if has != (found == nil) || (found == nil) != (writes < fails) {
			t.Errorf("after write %d of a founding, which ended with %v, there is a state: %t", writes, found, has)
		}
		if found == nil || fails > 20 {
			break
		}
	}
}
