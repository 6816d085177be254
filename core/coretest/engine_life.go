package coretest

import (
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// fill writes some keys.
func (c *cluster) fill(n int, value string) {
	c.t.Helper()
	for i := range n {
		c.put(fmt.Sprint("f", i), value)
	}
}

// compact has a member write a snapshot, and sees that its log begins behind the start.
func (c *cluster) compact(m *member) {
	c.t.Helper()
	c.t.must("Snapshot", m.Snapshot(c.t.context()))
	if s := m.Status(); s.SnapshotIndex == 0 {
		c.t.Fatalf("after Snapshot the status of %s is %+v", m.id, s)
	}
	c.t.until("the log of "+m.id+" is compacted", func() bool { first, err := m.logs.FirstIndex(); return err == nil && first != 1 })
}

// checkSnapshot: a snapshot is written, the log before it goes, and nothing changes.
func checkSnapshot(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.fill(40, "v")
	c.everywhere("f39", "v")
	for _, m := range c.members {
		c.compact(m)
		before := m.Status().SnapshotIndex
		t.must("Snapshot with nothing new", m.Snapshot(t.context()))
		if now := m.Status().SnapshotIndex; now < before {
			t.Errorf("the snapshot of %s was of index %d and is of %d", m.id, before, now)
		}
	}
	c.put("k", "after")
	c.everywhere("k", "after")
	c.readEverywhere("f0", "v")
}

// checkInstall: a member that is empty, and one that lags behind what is left of the log,
// get the leader's snapshot and go on from there.
func checkInstall(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("f0", "old")
	c.everywhere("f0", "old")
	lags := c.without(c.leader())[0]
	c.isolate(lags)
	c.fill(40, "v")
	leader := c.leader(c.without(lags)...)
	for _, m := range c.without(lags) {
		c.everywhere("f39", "v", m)
		c.compact(m)
	}
	c.put("k", "behind")
	empty := c.newMember()
	empty.start(nil)
	c.add(empty, true)
	c.everywhere("k", "behind", empty)
	if s := empty.Status(); s.SnapshotIndex == 0 {
		t.Errorf("%s was empty, and has no snapshot: %+v", empty.id, s)
	}
	t.until("the log of "+empty.id+" ends with what is committed, or behind it", func() bool {
		s := empty.Status()
		return s.CommitIndex <= s.LastIndex
	})
	c.routes.heal()
	c.everywhere("k", "behind", lags)
	if s := lags.Status(); s.SnapshotIndex == 0 {
		t.Errorf("%s lagged behind the log of %s, and has no snapshot: %+v", lags.id, leader.id, s)
	}
	c.readEverywhere("f39", "v")
	c.put("k", "after")
	c.everywhere("k", "after")
}

// checkInstallUnderLoad: members are added and compact their logs while the group is
// written to; leadership goes round.
func checkInstallUnderLoad(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.fill(20, "v")
	w := c.write(4)
	for round := range 3 {
		for _, m := range c.up() {
			t.should("Snapshot", m.Snapshot(t.context()))
		}
		m := c.newMember()
		m.start(nil)
		c.add(m, round == 1)
		c.everywhere("f19", "v", m)
		if leader := c.leaderNow(); leader != nil {
			_ = leader.TransferLeadership(t.context(), "") // it may be refused
		}
		w.more(20)
	}
	w.stop()
	c.put("k", "after")
	c.everywhere("k", "after")
	w.audit()
}

// checkRestart: members come back with their data: one, then all, from log and snapshot.
func checkRestart(t *checker, h engineHarness) {
	beside(t, []int{1, 3}, func(n int) {
		c := h.found(t, n)
		c.fill(30, "v")
		c.everywhere("f29", "v")
		for _, m := range c.members {
			c.compact(m)
		}
		c.put("k", "log")
		c.everywhere("k", "log")
		terms := map[*member]core.Status{}
		c.leader().restart()
		c.put("k", "one")
		c.everywhere("k", "one")
		for _, m := range c.members {
			terms[m] = m.Status()
			m.stop()
		}
		for _, m := range c.members {
			cfg := m.config(nil)
			has, err := h.Engine.HasState(cfg.Logs, cfg.SnapshotDir)
			if err != nil || !has {
				t.Errorf("HasState of a member that has stopped: %t, %v", has, err)
			}
			t.must("closing what was not started", cfg.Logs.Close())
			t.must("closing what was not started", cfg.Link.Close())
			m.start(c.configuration()) // which is not used: there is a log
			s, old := m.Status(), terms[m]
			if s.Term < old.Term || s.LastIndex < old.LastIndex || s.SnapshotIndex < old.SnapshotIndex || s.Group != old.Group || s.Incarnation != old.Incarnation {
				t.Errorf("group of %d: %s comes back as %+v, it was %+v", n, m.id, s, old)
			}
		}
		c.readEverywhere("k", "one")
		c.readEverywhere("f0", "v")
		c.put("k", "after")
		c.everywhere("k", "after")
	})
}

// checkEngineClose: Close ends everything that a replica has, any number of times.
func checkEngineClose(t *checker, h engineHarness) {
	left := goroutinesOf(func() { closeAll(t, h.found(t, 3)) })
	t.eventually("no goroutine is left after Close", left)
	c := h.found(t, 3)
	leader := c.leader()
	for _, m := range c.without(leader) {
		c.routes.hold(m.address, leader.address)
	}
	time.Sleep(beat / 2) // messages go out, and are not answered
	leader.stop()
}

func closeAll(t *checker, c *cluster) {
	c.put("k", "v")
	for _, m := range c.members {
		closers := group{t: t}
		for range 3 {
			closers.do(func() { t.should("one of several Close", m.Replica.Close()) })
		}
		closers.Wait()
		m.running.Store(false)
		select {
		case <-m.Done():
		default:
			t.Errorf("%s: Done is not closed after Close", m.id)
		}
		t.should("the cause of an orderly end", m.Err())
		t.should("Close once more", m.Replica.Close())
		if role := m.Status().Role; role != core.Stopped {
			t.Errorf("the role of %s after Close is %q", m.id, role)
		}
		if _, err := m.logs.LastIndex(); !errors.Is(err, core.ErrClosed) {
			t.Errorf("the log store of %s after Close: %v, want core.ErrClosed", m.id, err)
		}
		link, err := c.routes.Listen(m.address)
		t.must("listening where a closed replica did", err)
		t.must("closing a link", link.Close())
		_, errPropose := m.Propose(t.context(), command("k", "late"))
		_, errRead := m.ReadIndex(t.context())
		for what, err := range map[string]error{
			"Propose": errPropose, "ReadIndex": errRead, "ReadBarrier": m.ReadBarrier(t.context()),
			"WaitApplied": m.WaitApplied(t.context(), 1<<40), "Add": m.Add(t.context(), m.member(true)), "Snapshot": m.Snapshot(t.context()),
		} {
			if !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrNotLeader) || what == "WaitApplied" && !errors.Is(err, core.ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	}
}

// checkSettings: what cannot be is refused, and the parts stay the caller's.
func checkSettings(t *checker, h engineHarness) {
	for what, change := range map[string]func(*core.Tuning){
		"a lease longer than the heartbeat timeout": func(tuning *core.Tuning) { tuning.LeaderLeaseTimeout = 2 * beat },
		"an unknown persistence":                    func(tuning *core.Tuning) { tuning.Persistence = "eager" },
		"a stall limit below its timeout":           func(tuning *core.Tuning) { tuning.StallTimeout, tuning.StallLimit = 2*beat, beat },
	} {
		c := newCluster(t, h, 1)
		change(&c.tuning)
		m := c.members[0]
		cfg := m.config(c.configuration())
		r, err := h.Engine.Start(cfg)
		if err == nil {
			err = r.Close()
			t.Errorf("Start with %s: no error; Close: %v", what, err)
			continue
		}
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Start with %s: %v, want core.ErrInvalid", what, err)
		}
		if _, err := cfg.Logs.LastIndex(); err != nil {
			t.Errorf("the log store after a Start that failed: %v, want it to be open still", err)
		}
		t.should("closing the parts after a Start that failed", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
	}
}
