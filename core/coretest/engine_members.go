package coretest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// wantMembers waits until the leader's configuration is this one.
func (c *cluster) wantMembers(want ...core.Member) {
	c.t.Helper()
	slices.SortFunc(want, func(a, b core.Member) int { return strings.Compare(a.ID, b.ID) })
	c.t.eventually("the configuration is as it should be", func() error {
		m := c.leaderNow()
		if m == nil {
			return errNotYet
		}
		if got := m.Status().Members; !slices.Equal(got, want) {
			return fmt.Errorf("it is %+v, want %+v", got, want)
		}
		return nil
	})
}

func (c *cluster) add(m *member, voter bool) {
	c.t.Helper()
	c.asLeader("adding "+m.id, func(leader *member) error { return leader.Add(c.t.context(), m.member(voter)) })
}

func (c *cluster) remove(m *member) {
	c.t.Helper()
	c.asLeader("removing "+m.id, func(leader *member) error {
		if _, is := leader.Status().Member(m.id); !is {
			return nil // by a try whose outcome was unknown
		}
		return leader.Remove(c.t.context(), m.id)
	})
}

// checkMembership: a group of one grows and shrinks.
func checkMembership(t *checker, h engineHarness) {
	c := h.found(t, 1)
	c.put("k", "v")
	first, second := c.members[0], c.newMember()
	second.start(nil)
	if s := second.Status(); s.Term != 0 || s.Group != "" || s.Role != core.Follower || len(s.Members) != 0 {
		t.Errorf("a replica without data and a group: %+v", s)
	}
	c.add(second, false)
	c.wantMembers(first.member(true), second.member(false))
	c.everywhere("k", "v")
	if group := second.Status().Group; group != first.Status().Group || group == "" {
		t.Errorf("the member that was added is of group %q, the other of %q", group, first.Status().Group)
	}
	if h.durable { // otherwise it would come back as itself, without what it has acknowledged
		second.stop() // a learner does not count
		c.put("k", "alone")
		second.start(nil)
		c.everywhere("k", "alone")
	}
	c.add(second, true)
	c.wantMembers(first.member(true), second.member(true))
	c.add(second, false) // does not take the vote away
	c.wantMembers(first.member(true), second.member(true))
	third := c.newMember()
	third.start(nil)
	c.add(third, true)
	c.put("k", "three")
	c.everywhere("k", "three")
	t.until("all know the configuration", func() bool {
		return !slices.ContainsFunc(c.members, func(m *member) bool { return len(m.Status().Members) != 3 })
	})
	if h.durable {
		first.stop() // the two that were added are a majority
		c.put("k", "two")
		first.start(nil)
		c.everywhere("k", "two")
	}
	c.remove(third)
	c.wantMembers(first.member(true), second.member(true))
	c.put("k", "last")
	c.everywhere("k", "last", first, second)
	third.stop() // it was removed, and is not missed
	c.put("k", "end")
}

// checkRemoveLeader: a leader that removes itself leads no more, and the others go on.
func checkRemoveLeader(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	c.everywhere("k", "v")
	old := c.leader()
	others := c.without(old)
	t.eventually("a leader removes itself", func() error {
		if !old.leads() {
			c.lead(old)
		}
		err := old.Remove(t.context(), old.id)
		if _, is := c.leader(others...).Status().Member(old.id); !is {
			return nil
		}
		return err
	})
	c.leader(others...)
	t.until("the one that was removed leads no more", func() bool { return old.Status().Role != core.Leader })
	c.wantMembers(others[0].member(true), others[1].member(true))
	term := c.leader(others...).Status().Term
	for until := time.Now().Add(5 * beat); time.Now().Before(until); time.Sleep(beat / 20) {
		if old.Status().Role == core.Leader && old.Status().Term > term {
			t.Fatalf("%s, which was removed, leads in term %d", old.id, old.Status().Term)
		}
	}
	old.running.Store(false) // for the harness
	c.put("k", "after")
	c.everywhere("k", "after", others...)
}

// checkAddress: a member that has moved is reached once the configuration says where.
func checkAddress(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	moved := c.without(c.leader())[0]
	c.everywhere("k", "v")
	if !h.durable {
		c.remove(moved)
	}
	moved.stop()
	moved.address = c.freeAddress()
	if !h.durable {
		moved.incarnation = core.NewIncarnation()
	}
	moved.start(nil)
	c.put("k", "moved")
	c.add(moved, true)
	c.everywhere("k", "moved")
	all := []core.Member{}
	for _, m := range c.members {
		all = append(all, m.member(true))
	}
	c.wantMembers(all...)
}

// checkReplaced: a member that comes with other data than those that it was added with is
// another one.
func checkReplaced(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	lost := c.without(c.leader())[0]
	lost.stop()
	lost.wipe()
	lost.start(nil)
	c.put("k", "w")
	c.asLeader("a member with other data is refused", func(m *member) error {
		err := m.Add(t.context(), lost.member(true))
		if errors.Is(err, core.ErrReplaced) {
			return nil
		}
		if err == nil || !errors.Is(err, core.ErrNotLeader) {
			t.Fatalf("Add of a member with other data: %v, want core.ErrReplaced", err)
		}
		return err
	})
	if s := lost.Status(); s.Group != "" || lost.machine.has("k", "w") {
		t.Errorf("%s, whose data are others, is taken for the member that it was: %+v", lost.id, s)
	}
	c.remove(lost)
	c.add(lost, true)
	c.everywhere("k", "w")
	if a, b := lost.Status().Group, c.leader().Status().Group; a != b || a == "" {
		t.Errorf("the member that was added anew is of group %q, the leader of %q", a, b)
	}
}

// wipe has a member lose its data: what starts there is another incarnation.
func (m *member) wipe() {
	m.dir = m.in.t.TempDir()
	m.incarnation = core.NewIncarnation()
}
