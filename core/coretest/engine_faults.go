package coretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
)

// stopped waits until a replica has stopped by itself, because of cause.
func (m *member) stopped(cause error) {
	t := m.in.t
	t.Helper()
	mustReceive(t, m.Done(), "the end of "+m.id+" because of "+cause.Error())
	m.running.Store(false)
	if err := m.Err(); !errors.Is(err, cause) {
		t.Errorf("%s has stopped because of %v, want %v", m.id, err, cause)
	}
	_, err := m.Propose(t.context(), command("k", "stopped"))
	if !errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrOutcomeUnknown) || !errors.Is(err, cause) {
		t.Errorf("Propose on %s, which has stopped: %v, want core.ErrClosed with the cause", m.id, err)
	}
}

// checkWriteFails: a replica whose log store cannot write stops and says why; no write is
// tried again, nothing is acknowledged, and the others go on.
func checkWriteFails(t *checker, h engineHarness) {
	beside(t, []string{"leader", "follower"}, func(who string) {
		c := h.found(t, 3)
		c.put("k", "v")
		m := c.leader()
		if who == "follower" {
			m = c.without(m)[0]
		}
		var tried atomic.Int32
		plan := faulty.Plan(func(faulty.Write) error { tried.Add(1); return syscall.EIO })
		m.plan.Store(&plan)
		if who == "leader" {
			calls := group{t: t}
			for i := range 8 {
				calls.do(func() {
					_, err := m.Propose(t.context(), command(fmt.Sprint("p", i), "v"))
					if err == nil || !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrClosed) {
						t.Errorf("Propose where the leader cannot write: %v", err)
					}
				})
			}
			calls.Wait()
		}
		c.put("k", "w") // also where no proposal has come to m
		m.stopped(syscall.EIO)
		if n := tried.Load(); n != 1 {
			t.Errorf("%s: %d writes were tried after the first that failed, want none", who, n-1)
		}
		c.put("k", "x")
		c.everywhere("k", "x")
	})
}

// checkTermFails: so does one that cannot save a term.
func checkTermFails(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	m := c.without(c.leader())[0]
	m.fails(syscall.ENOSPC, faulty.Set)
	c.leader().stop()
	m.stopped(syscall.ENOSPC)
	for _, other := range c.members {
		if !other.running.Load() && other != m && h.durable {
			other.start(nil)
			c.put("k", "w")
			c.everywhere("k", "w")
		}
	}
}

// checkStartFails: whichever write fails first, either Start says so and the parts stay the
// caller's, or the replica stops by itself.
func checkStartFails(t *checker, h engineHarness) {
	for nth := range 8 {
		c := newCluster(t, h, 1)
		m := c.members[0]
		var count atomic.Int32
		plan := faulty.Plan(func(faulty.Write) error {
			if int(count.Add(1)) > nth {
				return syscall.ENOSPC
			}
			return nil
		})
		m.plan.Store(&plan)
		cfg := m.config(c.configuration())
		r, err := h.Engine.Start(cfg)
		if err == nil {
			m.Replica = r
			t.until("a write has failed", func() bool {
				_, _ = r.Propose(t.shortly(1), command("k", "v"))
				return isClosed(r.Done())
			})
			m.stopped(syscall.ENOSPC)
			t.succeeds("closing what has stopped", r.Close)
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Start where write %d fails: %v", nth+1, err)
		}
		t.should("closing the parts after a Start that failed", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
	}
}

// checkDamagedLog: a log that cannot be read, or lacks an entry, starts no replica that
// does as if it were not there.
func checkDamagedLog(t *checker, h engineHarness) {
	for what, damage := range map[string]func(m *member, logs core.LogStore) core.LogStore{
		"a damaged entry": func(m *member, logs core.LogStore) core.LogStore { m.spoilt.Store(true); return logs },
		"a missing entry": func(_ *member, logs core.LogStore) core.LogStore { return holed{logs} },
	} {
		c := h.found(t, 1)
		c.fill(10, "v")
		m := c.members[0]
		m.stop()
		cfg := m.config(nil)
		cfg.Logs = damage(m, cfg.Logs)
		r, err := h.Engine.Start(cfg)
		if err == nil {
			m.Replica = r
			mustReceive(t, r.Done(), "the end of a replica on "+what)
			err = r.Err()
			t.succeeds("closing what has stopped", r.Close)
		} else {
			t.should("closing the parts after a Start that failed", errors.Join(cfg.Link.Close(), cfg.Logs.Close()))
		}
		if !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), "log entry ") {
			t.Errorf("Start on %s: %v, want core.ErrDamaged that names the log entry", what, err)
		}
		if m.machine.has("f9", "v") {
			t.Errorf("with %s the state is whole", what)
		}
	}
}

// holed is a store that lacks the last entry but one.
type holed struct{ core.LogStore }

// GetLog implements raft.LogStore.
func (h holed) GetLog(index uint64, out *raft.Log) error {
	if last, err := h.LastIndex(); err == nil && index == last-1 {
		return raft.ErrLogNotFound
	}
	return h.LogStore.GetLog(index, out)
}

// checkReadFails: a leader that cannot read what it is to send stops, if it has to read, as
// does a follower with what it is to apply, and the group goes on.
func checkReadFails(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	old := c.leader()
	lags := c.without(old)[0]
	c.isolate(lags)
	c.fill(40, "v")
	c.leader(c.without(lags)...).spoilt.Store(true)
	c.routes.heal()
	c.put("k", "after")
	t.until("the member that lagged has all, or a member has stopped", func() bool {
		for _, m := range c.up() {
			if isClosed(m.Done()) {
				m.stopped(core.ErrDamaged)
			}
		}
		return lags.machine.has("k", "after")
	})
	c.put("k", "last")
	c.everywhere("k", "last")
	c = h.found(t, 3)
	follower := c.without(c.leader())[0]
	follower.spoilt.Store(true)
	c.put("k", "v")
	t.until("the follower has applied, or has stopped", func() bool {
		return isClosed(follower.Done()) || follower.machine.has("k", "v")
	})
	if isClosed(follower.Done()) {
		follower.stopped(core.ErrDamaged)
	}
	c.put("k", "last")
	c.everywhere("k", "last", c.without(follower)...)
}

// patient has writes take as long as they do.
func patient(c *cluster) { c.tuning.StallTimeout, c.tuning.StallLimit = beat, time.Minute }

// checkHangingLeader: while a leader's disk hangs another one is elected and goes on, and the
// old one says that it does not lead. When the disk comes back it follows, and nothing
// that was acknowledged is lost.
func checkHangingLeader(t *checker, h engineHarness) {
	c := h.found(t, 3, patient)
	c.put("before", "v")
	old := c.leader()
	old.disk.Before.Shut()
	hung := start(func() error { _, err := old.Propose(context.Background(), command("doubtful", "v")); return err })
	t.until("the write hangs", func() bool { return old.disk.Before.Waiting() > 0 })
	leader := c.leader(c.without(old)...)
	c.put("meanwhile", "v")
	if old.disk.Before.Waiting() == 0 {
		t.Fatal("the disk hangs no more: nothing was shown")
	}
	t.until("the status says that it has stalled", func() bool { return old.Status().Stalled > 0 })
	if s := leader.Status(); s.Stalled != 0 {
		t.Errorf("the new leader has stalled for %v", s.Stalled)
	}
	_, errPropose := old.Propose(t.context(), command("refused", "v"))
	for what, err := range map[string]error{
		"Propose": errPropose, "ReadBarrier": old.ReadBarrier(t.context()), "LeaseBarrier": old.LeaseBarrier(t.context()),
	} {
		if !errors.Is(err, core.ErrNotLeader) || errors.Is(err, core.ErrOutcomeUnknown) {
			t.Errorf("%s on a member that has stalled: %v, want core.ErrNotLeader, and nothing in doubt", what, err)
		}
	}
	old.disk.Open()
	if err := t.ended("the proposal that hung", hung); err != nil && !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrNotLeader) {
		t.Errorf("the proposal that hung: %v", err)
	}
	c.put("after", "v")
	for _, key := range []string{"before", "meanwhile", "after"} {
		c.everywhere(key, "v")
	}
	if _, found := old.machine.get("refused"); found {
		t.Error("a command is applied that was refused")
	}
	t.until("the old leader has no stalled write", func() bool { return old.Status().Stalled == 0 })
}

// hangTerm has leadership go on to another member, and returns the one whose disk hangs
// with the new term.
func (c *cluster) hangTerm() *member {
	c.t.Helper()
	c.put("k", "v")
	hangs := c.without(c.leader())[0]
	hangs.disk.Only(faulty.Set)
	hangs.disk.Before.Shut()
	other := c.without(c.leader(), hangs)[0]
	c.t.until("a new term is not saved", func() bool {
		if m := c.leaderNow(); m != nil && m != other {
			_ = m.TransferLeadership(c.t.shortly(5), other.id)
		}
		return hangs.disk.Before.Waiting() > 0
	})
	return hangs
}

// checkHangingFollower: one that cannot save a term holds nobody up.
func checkHangingFollower(t *checker, h engineHarness) {
	c := h.found(t, 3, patient)
	hangs := c.hangTerm()
	c.put("k", "w")
	t.until("it says that it has stalled", func() bool { return hangs.Status().Stalled > 0 })
	hangs.disk.Open()
	c.everywhere("k", "w")
}

// checkShortStall: a write that is slow, but not too slow, changes nothing.
func checkShortStall(t *checker, h engineHarness) {
	c := h.found(t, 3, func(c *cluster) { c.tuning.StallTimeout, c.tuning.StallLimit = time.Minute, time.Minute })
	t.eventually("a leader is the same after a slow write", func() error {
		c.put("k", "v")
		leader := c.leader()
		term := leader.Status().Term
		leader.disk.Before.Shut()
		slow := start(func() error { _, err := leader.Propose(t.context(), command("k", "w")); return err })
		time.Sleep(3 * beat) // how slow it is
		leader.disk.Open()
		err := t.ended("a slow write", slow)
		if now := leader.Status(); err != nil || now.Role != core.Leader || now.Term != term {
			return fmt.Errorf("%v, and it is %s in term %d, was the leader in term %d", err, now.Role, now.Term, term)
		}
		return nil
	})
}

// checkHangBeyondLimit: one whose disk hangs for too long stops with the cause, and Close
// returns although the store does not.
func checkHangBeyondLimit(t *checker, h engineHarness) {
	type hang struct {
		n    int
		term bool // a follower's, with a new term
	}
	beside(t, []hang{{n: 1}, {n: 3}, {n: 3, term: true}}, func(s hang) {
		c := h.found(t, s.n, func(c *cluster) { c.tuning.StallTimeout, c.tuning.StallLimit = beat, 2*beat })
		c.put("k", "v")
		var m *member
		if s.term {
			m = c.hangTerm()
		} else {
			m = c.leader()
			m.disk.Before.Shut()
			_, err := m.Propose(t.context(), command("k", "doubtful"))
			if !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrClosed) {
				t.Errorf("Propose on a disk that hangs: %v", err)
			}
		}
		m.stopped(core.ErrStalled)
		if err := t.ended("Close on a disk that hangs", start(m.Replica.Close)); !errors.Is(err, core.ErrStalled) {
			t.Errorf("Close on a disk that hangs: %v, want core.ErrStalled", err)
		}
		m.disk.Open() // what was left behind ends, and closes the store
		t.until("the log store is closed", func() bool { _, err := m.logs.LastIndex(); return errors.Is(err, core.ErrClosed) })
	})
}

// checkNotBeforeDisk: nothing is acknowledged, shown as committed or applied before the
// leader's disk and those of a majority have it; reads do not wait for it.
func checkNotBeforeDisk(t *checker, h engineHarness) {
	type slowness struct {
		whose    string
		inFlight int
	}
	beside(t, []slowness{{"leader", 1}, {"leader", 2}, {"leader", 16}, {"followers", 2}}, func(s slowness) {
		c := h.found(t, 3, func(c *cluster) {
			c.tuning.StallTimeout, c.tuning.StallLimit, c.tuning.MaxInFlight = time.Minute, time.Minute, s.inFlight
		})
		c.put("k", "before")
		c.everywhere("k", "before")
		leader := c.leader()
		hang := c.without(leader)
		if s.whose == "leader" {
			hang = []*member{leader}
		}
		before := leader.Status()
		for _, m := range hang {
			m.disk.Before.Shut()
		}
		answer := start(func() error { _, err := leader.Propose(t.context(), command("k", "after")); return err })
		t.until("the disks hang, and the followers have what goes out before the leader's disk has it", func() bool {
			early := s.whose == "leader" && h.Tuning.Persistence == core.Overlapped && leader.leads()
			return !slices.ContainsFunc(hang, func(m *member) bool { return m.disk.Before.Waiting() == 0 }) &&
				(!early || !slices.ContainsFunc(leader.Status().Followers, func(f core.FollowerStatus) bool { return f.LastIndex <= before.LastIndex }))
		})
		time.Sleep(beat / 4) // if somebody is too early, it is mostly seen
		for _, m := range c.members {
			if s := m.Status(); s.Term == before.Term && (s.CommitIndex > before.LastIndex || s.AppliedIndex > before.LastIndex || !m.machine.has("k", "before")) {
				t.Errorf("%s: %+v, and the disk of the %s has %d", m.id, s, hang[0].id, before.LastIndex)
			}
		}
		if err := leader.ReadBarrier(t.shortly(5)); s.whose == "leader" && h.Tuning.Persistence == core.Overlapped && err != nil && leader.leads() {
			t.Errorf("ReadBarrier waits for a write that is not acknowledged: %v", err)
		}
		select {
		case err := <-answer:
			if err == nil {
				t.Errorf("acknowledged while the disks of %s hang", s.whose)
			}
			return
		default:
		}
		for _, m := range hang {
			m.disk.Open()
		}
		if err := t.ended("the write", answer); err == nil {
			c.everywhere("k", "after")
		}
	})
}

// checkCloseWhileItHangs: an orderly end waits for a disk that comes back, and Status for
// none.
func checkCloseWhileItHangs(t *checker, h engineHarness) {
	c := h.found(t, 1, patient)
	m := c.members[0]
	c.put("k", "v")
	m.disk.Before.Shut()
	hung := start(func() error { _, err := m.Propose(context.Background(), command("k", "w")); return err })
	t.until("the write hangs", func() bool { return m.disk.Before.Waiting() > 0 })
	t.succeeds("Status while the disk hangs", func() error { m.Status(); return nil })
	closed := start(m.Replica.Close)
	time.Sleep(beat) // it waits; if it does not, the store is found closed below a write
	m.disk.Open()
	t.succeeded("Close while the disk hung", closed)
	m.running.Store(false)
	if err := t.ended("the proposal that hung", hung); err != nil && !errors.Is(err, core.ErrOutcomeUnknown) && !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrNotLeader) {
		t.Errorf("the proposal that hung: %v", err)
	}
}

// checkPowerCut: the power goes while the group is written to, also when the leader's or a
// follower's disk has not got a write, or has and has not said so. What was
// acknowledged is there again.
func checkPowerCut(t *checker, h engineHarness) {
	beside(t, []string{"at any moment", "before the leader's write", "after the leader's write", "before the follower's write", "after the follower's write"}, func(when string) {
		c := h.found(t, 3, func(c *cluster) { c.tuning.StallTimeout, c.tuning.StallLimit = time.Minute, 2*time.Minute })
		c.fill(3, "v")
		away := c.without(c.leader())[0] // so both others have to have what is acknowledged
		away.stop()
		w := c.write(4)
		w.more(10)
		leader := c.leader()
		other := c.without(leader)[0]
		var gate *faulty.Gate
		switch when {
		case "before the leader's write":
			gate = &leader.disk.Before
		case "after the leader's write":
			gate = &leader.disk.After
		case "before the follower's write":
			gate = &other.disk.Before
		case "after the follower's write":
			gate = &other.disk.After
		}
		if gate != nil {
			gate.Shut()
			t.until("a write is held back", func() bool { return gate.Waiting() > 0 })
		}
		leader.disk.Cut()
		other.crash()
		leader.crash()
		w.stop()
		leader.start(nil)
		away.start(nil)
		keys := w.acknowledged()
		c.put("k", "after")
		c.everywhere("k", "after")
		for _, key := range keys {
			if !leader.machine.has(key, "v") || !away.machine.has(key, "v") {
				t.Errorf("power cut %s: %s, which was acknowledged, is lost", when, key)
			}
		}
		other.start(nil)
		w.audit()
	})
}
