package coretest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// checkElection: a group finds a leader by itself, and all of it that one.
func checkElection(t *checker, h engineHarness) {
	beside(t, []int{1, 3, 5}, func(n int) {
		c := newCluster(t, h, n)
		for _, m := range c.members {
			m.start(c.configuration())
		}
		c.leader()
		c.put("k", "v")
		c.everywhere("k", "v")
		t.until("all know the leader", func() bool {
			leader := c.leaderNow()
			if leader == nil {
				return false
			}
			s := leader.Status()
			return !slices.ContainsFunc(c.members, func(m *member) bool {
				is := m.Status()
				return is.LeaderID != leader.id || is.LeaderAddress != leader.address || is.Term != s.Term || is.ID != m.id || is.Address != m.address
			})
		})
		leader := c.leader()
		t.until("the leader has heard from all", func() bool {
			f := leader.Status().Followers
			return !leader.leads() || len(f) == n-1 && !slices.ContainsFunc(f, func(f core.FollowerStatus) bool {
				return f.LastContact.IsZero() || f.LastIndex < leader.Status().CommitIndex || f.Address == ""
			})
		})
		for _, m := range c.without(leader) {
			if s := m.Status(); s.Role == core.Follower && (s.Followers != nil || s.LastContact.IsZero()) {
				t.Errorf("group of %d: the status of a follower is %+v", n, s)
			}
		}
	})
}

// checkFailover: leaders go, as long as a majority is there it goes on with all that was
// acknowledged; without one nothing is acknowledged, and none is elected.
func checkFailover(t *checker, h engineHarness) {
	beside(t, []int{3, 5}, func(n int) {
		c := h.found(t, n)
		for gone := range n / 2 {
			c.put(fmt.Sprint("k", gone), "v")
			old := c.leader()
			term := old.Status().Term
			old.stop()
			next := c.leader()
			if now := next.Status().Term; now <= term {
				t.Errorf("group of %d: the next leader is of term %d, the last was of %d", n, now, term)
			}
			for i := range gone + 1 {
				if !next.machine.has(fmt.Sprint("k", i), "v") {
					t.Errorf("group of %d: the next leader has lost k%d", n, i)
				}
			}
		}
		c.put("last", "v")
		c.leader().stop() // the majority is gone
		for until := time.Now().Add(5 * beat); time.Now().Before(until); time.Sleep(beat / 20) {
			if m := c.leaderNow(); m != nil && m.ReadBarrier(t.shortly(1)) == nil {
				t.Fatalf("group of %d: %s leads without a majority", n, m.id)
			}
		}
	})
}

// checkCampaign: whoever is told to stands for election at once, and wins.
func checkCampaign(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	c.everywhere("k", "v")
	for _, m := range c.members {
		term := m.Status().Term
		c.lead(m)
		if m.Status().Term < term {
			t.Errorf("%s leads in term %d, it was %d before", m.id, m.Status().Term, term)
		}
		c.put(m.id, "v")
		c.everywhere(m.id, "v")
	}
	c.members[0].stop()
	if err := c.members[0].Replica.(core.Campaigner).Campaign(t.context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Campaign after Close: %v, want core.ErrClosed", err)
	}
}

// checkTransfer: leadership goes to the voter that is named, or to the fittest that is
// there, and to nobody else.
func checkTransfer(t *checker, h engineHarness) {
	c := h.found(t, 3)
	c.put("k", "v")
	learner := c.newMember()
	learner.start(nil)
	c.asLeader("a learner is added", func(m *member) error { return m.Add(t.context(), learner.member(false)) })
	c.everywhere("k", "v")
	old := c.leader()
	for who, want := range map[string]error{"nobody": core.ErrNotFound, learner.id: core.ErrInvalid} {
		if err := old.TransferLeadership(t.context(), who); old.leads() && !errors.Is(err, want) {
			t.Errorf("TransferLeadership to %s, which has no vote: %v, want %v", who, err, want)
		}
	}
	c.put("k", "after")
	next := c.without(c.leader(), learner)[0]
	t.until("leadership is handed to who is named", func() bool {
		if m := c.leaderNow(); m != nil && m != next {
			_ = m.TransferLeadership(t.context(), next.id)
		}
		return next.leads()
	})
	c.put("k", "last")
	c.everywhere("k", "last")
	// One that is gone is no successor, also where it has all that was written.
	leader := c.leader()
	gone := c.without(leader, learner)[0]
	gone.stop()
	c.put("k", "gone")
	t.until("the one that is gone has been silent for long", func() bool {
		f := leader.Status().Followers
		i := slices.IndexFunc(f, func(f core.FollowerStatus) bool { return f.ID == gone.id })
		return !leader.leads() || i >= 0 && time.Since(f[i].LastContact) > 3*beat
	})
	t.until("leadership is handed to the one that is there", func() bool {
		m := c.leaderNow()
		if m == nil || m != leader {
			return m != nil
		}
		_ = m.TransferLeadership(t.context(), "")
		return !m.leads()
	})
	if leader := c.leader(); leader == learner {
		t.Errorf("a learner leads")
	}
}
