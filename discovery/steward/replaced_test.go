package steward_test

import (
	"fmt"
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// newUnnamedGroup is a group from before there were incarnations.
func newUnnamedGroup(t *testing.T, nodes int) *group {
	t.Helper()
	g := &group{roll: newRoll(), log: &journal{}, InProcess: &cluster.InProcess{}}
	g.spec = cluster.Spec{Engine: hashicorp.Engine{}, Network: tcp.New(tcp.Options{})}
	var links []core.Link
	var members []core.Member
	for i := range nodes {
		link, err := g.spec.Network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, link)
		members = append(members, core.Member{ID: fmt.Sprintf("node%d", i+1), Address: link.Address(), Voter: true})
	}
	for i, m := range members {
		n := &cluster.Node{ID: m.ID, Map: kv.New(), Logs: inmem.New()}
		var err error
		n.Replica, err = g.spec.Engine.Start(core.ReplicaConfig{
			ID: m.ID, FSM: n.Map, Logs: n.Logs, Link: links[i], Bootstrap: members, Tuning: tuning,
		})
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, n)
	}
	g.watch(t, nil)
	for _, n := range g.Nodes { // roll.set makes up what is missing
		g.roll.set(n.ID, n.Replica.Status().Address, discovery.Alive, hasState, func(p *discovery.Peer) { p.Incarnation = "" })
	}
	g.leader(t)
	return g
}

// follower returns a node that does not lead.
func (g *group) follower(t *testing.T) *cluster.Node {
	t.Helper()
	leader := g.leader(t)
	for _, n := range g.Nodes {
		if n != leader {
			return n
		}
	}
	t.Fatal("there is none")
	return nil
}

// member returns what the leader's configuration has of id.
func (g *group) member(id string) core.Member {
	if leader := g.Leader(); leader != nil {
		for _, m := range leader.Replica.Status().Members {
			if m.ID == id {
				return m
			}
		}
	}
	return core.Member{}
}

// TestWipedVoter: a voter comes back without its data, at its address or at another one,
// also one from before there were incarnations. Its old vote is taken away, and it gets
// a new one after it has caught up.
func TestWipedVoter(t *testing.T) {
	for name, c := range map[string]struct {
		unnamed, moves bool
	}{
		"at its address":             {},
		"elsewhere":                  {moves: true},
		"from before incarnations":   {unnamed: true},
		"from before, and elsewhere": {unnamed: true, moves: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var g *group
			if c.unnamed {
				g = newUnnamedGroup(t, 3)
			} else {
				g = newGroup(t, 3, nil)
			}
			all := g.members()
			lost := g.follower(t)
			before := g.member(lost.ID)
			g.kill(t, lost)
			g.write(t, "meanwhile")
			address := ""
			if !c.moves {
				address = before.Address
			}
			g.roll.incarnations[lost.ID] = core.NewIncarnation()
			back := g.startAt(t, lost.ID, address, inmem.New())
			g.roll.set(lost.ID, back.Replica.Status().Address, discovery.Alive)
			await(t, lost.ID+" votes again", func() bool {
				m := g.member(lost.ID)
				return m.Voter && m.Incarnation == g.roll.incarnations[lost.ID] && m.Address == back.Replica.Status().Address
			})
			if _, _, ok := back.Map.Get("meanwhile"); !ok {
				t.Error("it votes, and has not caught up")
			}
			g.awaitMembers(t, all)
			if n := g.log.count("Promoting server"); n == 0 {
				t.Error("autopilot has not given it the vote")
			}
			if n := g.log.count("another node gossips"); n != 0 {
				t.Errorf("%d times: it is taken for two nodes", n)
			}
			g.write(t, "after")
		})
	}
}

// TestTwoIncarnations: a node gossips under the id of a member that answers, with other
// data or without any. Nothing is changed, and the log says what to do.
func TestTwoIncarnations(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	before := g.member("node3")
	other := func(p *discovery.Peer) { p.Incarnation = core.NewIncarnation() }
	g.roll.set("node3", "127.0.0.1:1", discovery.Alive, other)
	await(t, "it says so", func() bool { return g.log.count("another node gossips under its id, from 127.0.0.1:1") == 1 })
	g.look(t)
	await(t, fmt.Sprint("it is ", before), func() bool { return g.member("node3") == before })

	// Nor does a node that has data of the group, of a member that is no more, take the
	// place of the one that is.
	g.kill(t, g.Nodes[2])
	g.roll.set("node3", "127.0.0.1:1", discovery.Alive, other, hasState)
	await(t, "it says so", func() bool { return g.log.count("not replacing node3 by the node at 127.0.0.1:1") == 1 })
	// And what another one says of itself is not said of the member.
	g.roll.set("node3", "127.0.0.1:1", discovery.Left, other)
	g.look(t)
	await(t, fmt.Sprint("it is ", before), func() bool { return g.member("node3") == before })
}
