package coretest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/core"
)

// checkReadBarrier: a read after a barrier sees what was acknowledged, and no entry is
// written for it but one a term.
func checkReadBarrier(t *checker, h engineHarness) {
	beside(t, []int{1, 3, 5}, func(n int) {
		c := h.found(t, n)
		for i := range 10 {
			value := fmt.Sprint(i)
			c.put("k", value)
			c.asLeader("a barrier passes", func(m *member) error {
				if err := m.ReadBarrier(t.context()); err != nil {
					return err
				}
				if !m.machine.has("k", value) {
					t.Fatalf("%s: a read after ReadBarrier misses write %d, which was acknowledged before", m.id, i)
				}
				return nil
			})
		}
		t.eventually("20 barriers in one term", func() error {
			leader := c.leader()
			before := leader.Status()
			for range 20 {
				if err := leader.ReadBarrier(t.context()); err != nil {
					return err
				}
			}
			after := leader.Status()
			if after.Term != before.Term {
				return errNotYet
			}
			if after.LastIndex != before.LastIndex {
				t.Fatalf("20 read barriers wrote %d entries, want none but the first of a term", after.LastIndex-before.LastIndex)
			}
			return nil
		})
	})
}

// readEverywhere reads on all members that run with an index of the leader's.
func (c *cluster) readEverywhere(key, value string) {
	c.t.Helper()
	for _, m := range c.up() {
		var index uint64
		c.asLeader("a read index", func(leader *member) (err error) { index, err = leader.ReadIndex(c.t.context()); return err })
		c.t.must(fmt.Sprintf("WaitApplied of index %d on %s", index, m.id), m.WaitApplied(c.t.context(), index))
		if !m.machine.has(key, value) {
			got, _ := m.machine.get(key)
			c.t.Fatalf("%s has applied index %d, and reads %q: want %q, which was acknowledged before ReadIndex", m.id, index, got, value)
		}
	}
}

// checkReadIndex: any member serves a read, also in a term without commands, and one that
// has its state from a snapshot.
func checkReadIndex(t *checker, h engineHarness) {
	c := h.found(t, 3)
	for i := range 20 {
		c.put("k", fmt.Sprint(i))
		c.readEverywhere("k", fmt.Sprint(i))
	}
	c.lead(c.members[1])
	c.readEverywhere("k", "19")
	t.must("Snapshot", c.leader().Snapshot(t.context()))
	late := c.newMember()
	late.start(nil)
	c.asLeader("a member is added", func(m *member) error { return m.Add(t.context(), late.member(true)) })
	c.readEverywhere("k", "19")
	short, cancel := context.WithTimeout(context.Background(), beat/4)
	defer cancel()
	if err := late.WaitApplied(short, 1<<40); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitApplied of an index that never comes: %v, want the context's error", err)
	}
}

// checkReadsTogether: many read at once, and those who leave take nobody with them.
func checkReadsTogether(t *checker, h engineHarness) {
	c := h.found(t, 3)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	readers := group{t: t}
	for r := range 16 {
		readers.do(func() {
			key := fmt.Sprint("r", r)
			for i := range 20 {
				c.put(key, fmt.Sprint(i))
				leader := c.leader()
				if r%4 == 0 {
					if _, err := leader.ReadIndex(ended); err == nil {
						t.Errorf("ReadIndex with a context that has ended: no error")
					}
				}
				err := leader.ReadBarrier(t.context())
				if err == nil && !leader.machine.has(key, fmt.Sprint(i)) {
					t.Errorf("a read of %s after ReadBarrier misses write %d", key, i)
				}
				if err != nil && !errors.Is(err, core.ErrNotLeader) {
					t.Errorf("ReadBarrier beside others: %v", err)
				}
			}
		})
	}
	readers.Wait()
}

// checkReadAfterTransfer: leadership goes round, and each new leader serves what was
// acknowledged under those before.
func checkReadAfterTransfer(t *checker, h engineHarness) {
	c := h.found(t, 3)
	for round := range 6 {
		c.put("k", fmt.Sprint(round))
		next := c.members[(round+1)%3]
		if old := c.leader(); old != next {
			_ = old.TransferLeadership(t.context(), next.id) // it may be refused
		}
		leader := c.leader()
		t.eventually("a barrier passes", func() error { leader = c.leader(); return leader.ReadBarrier(t.context()) })
		if !leader.machine.has("k", fmt.Sprint(round)) {
			t.Fatalf("%s leads, and a read after ReadBarrier misses write %d", leader.id, round)
		}
	}
}

// checkReadAfterRestart: a group of one serves what it has acknowledged before it was stopped, and
// nothing older: not before it has committed an entry of its new term.
func checkReadAfterRestart(t *checker, h engineHarness) {
	c := h.found(t, 1, func(c *cluster) { c.tuning.StallTimeout, c.tuning.StallLimit = time.Minute, time.Minute })
	c.fill(10, "v")
	c.compact(c.members[0])
	c.put("k", "v")
	m := c.leader()
	m.stop()
	var gate faulty.Gate
	gate.Shut()
	defer gate.Open()
	plan := gate.Hold(faulty.StoreLogs)
	m.plan.Store(&plan)
	m.start(c.configuration())
	t.until("the first entry of the term is being stored", func() bool { return gate.Waiting() > 0 })
	if index, err := m.ReadIndex(t.shortly(4)); err == nil {
		t.must("WaitApplied", m.WaitApplied(t.context(), index))
		if !m.machine.has("k", "v") {
			t.Errorf("ReadIndex is %d before anything of the term is committed: a read misses what was acknowledged", index)
		}
	}
	gate.Open()
	c.readEverywhere("k", "v")
}

// checkDeposedLeader: a leader that is cut off passes no barrier once another one may have
// acknowledged something.
func checkDeposedLeader(t *checker, h engineHarness) {
	beside(t, []int{3, 5}, func(n int) {
		c := h.found(t, n)
		c.put("k", "old")
		old := c.leader()
		minority := []*member{old}
		if n == 5 {
			minority = append(minority, c.without(old)[0])
		}
		c.isolate(minority...)
		next := c.leader(c.without(minority...)...)
		c.putBy(func() []*member { return c.without(minority...) }, "k", "new")
		_, errIndex := old.ReadIndex(t.shortly(4))
		for what, err := range map[string]error{
			"ReadIndex": errIndex, "ReadBarrier": old.ReadBarrier(t.shortly(4)), "LeaseBarrier": old.LeaseBarrier(t.shortly(4)),
		} {
			if err == nil && !old.machine.has("k", "new") {
				t.Errorf("%s of a leader that is cut off: no error, and a read misses what the next leader has acknowledged", what)
			}
		}
		c.routes.heal()
		c.everywhere("k", "new")
		t.until("the old leader follows", func() bool { return old.Status().LeaderID != old.id || old.Status().Term >= next.Status().Term })
	})
}

// checkOldAnswers: what the others have answered before a read began does not show that a
// replica still leads. It arrives once there is another leader.
func checkOldAnswers(t *checker, h engineHarness) {
	c := h.found(t, 3, slowly(5))
	c.put("k", "old")
	old := c.leader()
	others := c.without(old)
	t.must("ReadBarrier", old.ReadBarrier(t.context()))
	for _, m := range others {
		c.routes.hold(m.address, old.address)
	}
	time.Sleep(beat) // the others answer heartbeats meanwhile; too little only makes this see less
	c.isolate(old)   // what is held still arrives
	c.leaderAmong(others)
	c.putBy(func() []*member { return others }, "k", "new")
	read := start(func() error { return old.ReadBarrier(t.context()) })
	time.Sleep(beat / 4) // it begins; too early an arrival only makes this see less
	c.routes.release()
	if err := t.ended("ReadBarrier of a deposed leader", read); err == nil && !old.machine.has("k", "new") {
		t.Error("ReadBarrier counts answers from before it began: a read misses what the next leader has acknowledged")
	}
	c.routes.heal()
	c.everywhere("k", "new")
}

// leaderAmong has one of the members elected, although all but they may have a leader.
func (c *cluster) leaderAmong(of []*member) (leader *member) {
	c.t.Helper()
	c.t.until("one of the others leads", func() bool {
		for _, m := range of {
			if m.leads() {
				leader = m
				return true
			}
		}
		if candidate, ok := of[0].Replica.(core.Campaigner); ok && of[0].Status().Role == core.Follower {
			_ = candidate.Campaign(c.t.shortly(5))
		}
		return false
	})
	return leader
}

// checkLease: a lease ends with the leadership, and begins when a message was sent, not
// when its answer arrives.
func checkLease(t *checker, h engineHarness) {
	const timeout = 3 * beat
	c := h.found(t, 3, slowly(3))
	for shown, tries := false, 0; !shown && tries < 8; tries++ {
		c.put("k", "old")
		c.asLeader("a barrier by lease passes", func(m *member) error {
			if err := m.LeaseBarrier(t.context()); err != nil {
				return err
			}
			if !m.machine.has("k", "old") {
				t.Error("a read after LeaseBarrier misses a write that was acknowledged")
			}
			return nil
		})
		shown = c.lateAnswers(timeout)
		c.routes.heal()
	}
}

// lateAnswers has answers to a leader arrive when the others may have another one. It says
// whether the old leader still took itself for it then.
func (c *cluster) lateAnswers(timeout time.Duration) (shown bool) {
	t, old := c.t, c.leader()
	others := c.without(old)
	for _, m := range others {
		c.routes.hold(m.address, old.address)
	}
	time.Sleep(timeout / 5) // the others answer heartbeats meanwhile
	c.isolate(old)          // what is held still arrives
	begun := time.Now()     // nothing is sent to the others any more
	time.Sleep(timeout * 2 / 5)
	c.routes.release()
	time.Sleep(time.Until(begun.Add(timeout + timeout/40))) // one whose timer was short may be elected
	c.leaderAmong(others)
	c.putBy(func() []*member { return others }, "k", "new")
	shown = old.Status().Role == core.Leader
	if err := old.LeaseBarrier(t.shortly(1)); err == nil && !old.machine.has("k", "new") {
		t.Errorf("LeaseBarrier passes %v after the last message that was answered: a read misses a write that was acknowledged", time.Since(begun))
	}
	shown = shown && old.Status().Role == core.Leader
	t.until("the lease runs out", func() bool { return old.LeaseBarrier(t.shortly(1)) != nil })
	return shown
}

// checkLeaseAfterRestart: what the others say to a leader that was restarted, and leads again,
// gives it a lease of its messages since then, and not of those of before.
func checkLeaseAfterRestart(t *checker, h engineHarness) {
	const timeout = 3 * beat
	c := h.found(t, 3, slowly(3))
	m := c.leader()
	t.eventually("a barrier by lease passes", func() error { return m.LeaseBarrier(t.context()) })
	time.Sleep(5 * timeout) // longer than it runs the second time; too little only makes this see less
	m.restart()
	c.lead(m)
	t.eventually("a barrier by lease passes again", func() error { return m.LeaseBarrier(t.context()) })
	c.isolate(m)
	time.Sleep(timeout + timeout/40)
	if err := m.LeaseBarrier(t.shortly(1)); err == nil {
		t.Errorf("LeaseBarrier passes %v after the last message to the others, which have answered the replica before its restart", timeout)
	}
}
