package node

import (
	"context"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// startGossiping starts a node that finds others by gossip, from join on; it founds a group
// of its own where that is nobody.
func startGossiping(t *testing.T, id string, join ...string) *Node {
	t.Helper()
	local, _ := ProfileOf(Local)
	g := Gossip{Bind: "127.0.0.1:0", Cluster: "test", Join: join}
	if len(join) == 0 {
		g.Expect = 1
	}
	return startHere(t, Config{ID: id, Gossip: &g, Profile: local, Tuning: local.Tuned(core.Tuning{})})
}

// TestLeavingNodeIsElected: a node that leaves is elected after it has handed over, and
// has said goodbye. No leader removes itself.
func TestLeavingNodeIsElected(t *testing.T) {
	n1 := startGossiping(t, "node1")
	var others []*Node
	for _, id := range []string{"node2", "node3"} {
		n := startGossiping(t, id, n1.agent.Address())
		others = append(others, n)
		eventually(t, id+" votes", func() bool { m, _ := n.replica.Status().Member(id); return m.Voter })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	eventually(t, "node1 leads", func() bool {
		for _, n := range others {
			_ = n.replica.TransferLeadership(ctx, "node1") // refused by those that do not lead
		}
		return n1.replica.Status().Role == core.Leader
	})
	if err := n1.agent.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n1.awaitRemoval(ctx); err != nil {
		t.Error(err)
	}
}

// electing knows no leader for so many looks.
type electing struct {
	core.Replica
	looks int
}

// Status implements core.Replica.
func (e *electing) Status() core.Status {
	s := e.Replica.Status()
	if e.looks--; e.looks >= 0 {
		s.LeaderID = ""
	}
	return s
}

// TestLeaveDuringElection: who leaves while there is no leader waits for one.
func TestLeaveDuringElection(t *testing.T) {
	n1 := startGossiping(t, "node1")
	n2 := startGossiping(t, "node2", n1.agent.Address())
	eventually(t, "node2 votes", func() bool { m, _ := n2.replica.Status().Member("node2"); return m.Voter })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leaves := &Node{cfg: n2.cfg, id: n2.id, agent: n2.agent, replica: &electing{n2.replica, 3}, ending: make(chan struct{})}
	if err := leaves.leave(ctx); err != nil {
		t.Error(err)
	}
	eventually(t, "node1 is alone", func() bool { return len(n1.replica.Status().Members) == 1 })
}
