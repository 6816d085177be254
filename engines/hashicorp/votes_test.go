package hashicorp_test

import (
	"net"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// takeOver has n3, which was stopped, come back under the address that n1 had until it
// was stopped. n2 votes, but does not stand for election.
func takeOver(t *testing.T, n1, n3 *mover) {
	t.Helper()
	port := n1.cfg.Link.Address()
	n1.stop(t)
	eventually(t, "the port is free", func() bool {
		l, err := net.Listen("tcp", port)
		return err == nil && l.Close() == nil
	})
	n3.run(t, port, nil)
}

func onlyVotes(t *testing.T, m *mover) {
	t.Helper()
	m.stop(t)
	m.tuning, m.engine = core.Tuning{HeartbeatTimeout: time.Minute}, hashicorp.VotesAtOnce()
	m.run(t, m.cfg.Link.Address(), nil)
	eventually(t, m.id+" is back", func() bool { return m.has("first", "1") })
}

// TestVoteIsForAMember: n2 has voted for n1 in a term. n3, which has not heard of that
// term and comes back under the address that n1 had, does not get the same vote again,
// and with it the place of a leader who has acknowledged a write that n3 has not.
func TestVoteIsForAMember(t *testing.T) {
	all := movers(t, &whereabouts{})
	n1, n2, n3 := all[0], all[1], all[2]
	onlyVotes(t, n2)
	n3.stop(t)
	before := n1.Status().Term
	if err := n1.Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 leads in the next term", func() bool { s := n1.Status(); return s.Role == core.Leader && s.Term > before })
	put(t, n1.member, "k", "v")
	n3.engine.Options.DisablePreVote = true
	takeOver(t, n1, n3)
	had := n3.Status().LastIndex
	for until := time.Now().Add(10 * fast.HeartbeatTimeout); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if s := n3.Status(); s.LastIndex > had {
			t.Fatalf("n3 has led without a write that was acknowledged: n2 has voted for two members in one term")
		}
	}
}

// TestLeadsUnderAnothersAddress: what n3 sends to where n1 was reaches n3 itself. It
// must not take that for another leader's.
func TestLeadsUnderAnothersAddress(t *testing.T) {
	all := movers(t, &whereabouts{})
	n1, n2, n3 := all[0], all[1], all[2]
	onlyVotes(t, n2)
	n3.stop(t)
	takeOver(t, n1, n3)
	led := 0
	for until := time.Now().Add(20 * fast.HeartbeatTimeout); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if led = led + 1; n3.Status().Role != core.Leader {
			led = 0
		}
		if led == 200 {
			return
		}
	}
	t.Errorf("n3 is elected again and again, and does not stay: it is in term %d", n3.Status().Term)
}
