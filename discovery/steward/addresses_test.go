package steward_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// TestAddressesGoRound: nodes that have been stopped come back each at the address that
// another one had. The configuration refuses an address that a member has, so that none
// of them can be updated before another.
func TestAddressesGoRound(t *testing.T) {
	for name, c := range map[string]struct {
		nodes int
		next  map[string]string // whose address each gets
	}{
		"all":       {3, map[string]string{"node1": "node2", "node2": "node3", "node3": "node1"}},
		"two pairs": {5, map[string]string{"node2": "node3", "node3": "node2", "node4": "node5", "node5": "node4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroupOn(t, c.nodes, onDisk, nil)
			g.write(t, "before")
			before, after := map[string]string{}, map[string]string{}
			for _, n := range g.Nodes {
				before[n.ID] = n.Replica.Status().Address
				g.kill(t, n)
			}
			for _, n := range g.Nodes {
				after[n.ID] = before[cmp.Or(c.next[n.ID], n.ID)]
				g.roll.set(n.ID, after[n.ID], discovery.Alive, hasState)
			}
			for i, n := range g.Nodes {
				g.Nodes[i] = g.restart(t, n, after[n.ID])
			}
			await(t, "each has its own address", func() bool { return g.at() == g.listening() })
			if n := g.log.count("have each other's addresses: updating"); n == 0 {
				t.Error("the log says nothing of it")
			}
			if n := g.log.count(`msg="removed`); n != 0 {
				t.Errorf("%d were removed", n)
			}
			g.write(t, "after")
		})
	}
}

// restart starts a node again on its data, at address.
func (g *group) restart(t *testing.T, n *cluster.Node, address string) *cluster.Node {
	t.Helper()
	logs, err := onDisk(filepath.Join(g.spec.Dir, n.ID, "log"))
	if err != nil {
		t.Fatal(err)
	}
	again := g.startAt(t, n.ID, address, logs)
	g.tend(t, n.ID, again.Replica, nil)
	return again
}

// at is where the leader's configuration has the members, and listening where they are.
func (g *group) at() string {
	leader := g.Leader()
	if leader == nil {
		return "no leader"
	}
	return addresses(leader.Replica.Status().Members)
}

func (g *group) listening() string {
	var members []core.Member
	for _, n := range g.Nodes {
		members = append(members, core.Member{ID: n.ID, Address: n.Replica.Status().Address})
	}
	return addresses(members)
}

func addresses(members []core.Member) string {
	var s []string
	for _, m := range members {
		s = append(s, fmt.Sprintf("%s at %s", m.ID, m.Address))
	}
	return strings.Join(s, ", ")
}
