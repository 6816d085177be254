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
