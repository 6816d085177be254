package steward_test

import (
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

func TestOtherGroupIsNotAdded(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil)
	g.roll.set("stranger", "127.0.0.1:1", discovery.Alive, hasState, of("theirs"))
	await(t, "it is refused", func() bool { return g.log.count("not adding stranger") == 1 })
	g.look(t)
	g.awaitMembers(t, "node1")

	// Nor is one with data of nobody knows which group, nor one without that has
	// chosen the other group, or none yet: both groups would add it.
	g.roll.set("nameless", "127.0.0.1:2", discovery.Alive, hasState, of(""))
	g.roll.set("theirs", "127.0.0.1:3", discovery.Alive, of("theirs"))
	newcomer := g.start(t, "newcomer", inmem.New()).Replica.Status().Address
	g.roll.set("newcomer", newcomer, discovery.Alive, of(""))
	await(t, "they are refused", func() bool {
		return g.log.count("not adding nameless") == 1 && g.log.count("not adding theirs") == 1
	})
	g.look(t)
	g.awaitMembers(t, "node1")
	g.roll.set("newcomer", newcomer, discovery.Alive)
	g.awaitMembers(t, "newcomer, node1")
}

// TestOlderIsNotAdded: a node of an older protocol could not read what the log may hold. It is
// not added, nor does it cost the member its place whose data it has lost, until it is updated.
func TestOlderIsNotAdded(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	old := func(p *discovery.Peer) { p.Protocol = discovery.Protocol - 1 }
	newcomer := g.start(t, "newcomer", inmem.New()).Replica.Status().Address
	g.roll.set("newcomer", newcomer, discovery.Alive, old)
	lost := g.follower(t)
	g.kill(t, lost)
	back := g.start(t, lost.ID, inmem.New()).Replica.Status().Address
	g.roll.set(lost.ID, back, discovery.Alive, old)
	await(t, "they are refused", func() bool {
		return g.log.count("not adding newcomer: its kvnode is older") == 1 && g.log.count("not adding "+lost.ID+": its kvnode is older") == 1
	})
	g.look(t)
	g.awaitMembers(t, "node1, node2, node3")
	g.roll.set("newcomer", newcomer, discovery.Alive)
	g.roll.set(lost.ID, back, discovery.Alive)
	await(t, "both vote", func() bool {
		return g.member("newcomer").Voter && g.member(lost.ID).Voter && g.member(lost.ID).Address == back
	})
}

// TestDataOfNobodyKnowsWhom: neither group has an id, as where both were founded before
// there were any.
func TestDataOfNobodyKnowsWhom(t *testing.T) {
	t.Parallel()
	g := newUnnamedGroup(t, 1)
	g.roll.set("stranger", "127.0.0.1:1", discovery.Alive, hasState)
	await(t, "it is refused", func() bool { return g.log.count("not adding stranger") == 1 })
	g.look(t)
	g.awaitMembers(t, "node1")
}

// TestOtherGroupsNodeIsNoMember: whatever a node of another group says under the id of
// a member, it takes neither the member's place nor the member out.
func TestOtherGroupsNodeIsNoMember(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil)
	theirs := func(p *discovery.Peer) { p.Group, p.HasState, p.Incarnation = "theirs", true, core.NewIncarnation() }
	third := g.Nodes[2]
	g.kill(t, third)
	g.roll.set(third.ID, "127.0.0.1:1", discovery.Alive, theirs)
	await(t, "node3 is silent", func() bool { return silent(g.leader(t), g.Nodes[2:]) })
	g.look(t)
	if n := g.log.count("updated the address"); n != 0 {
		t.Errorf("updated %d times", n)
	}
	g.roll.set(third.ID, "127.0.0.1:1", discovery.Left, theirs)
	g.look(t)
	g.awaitMembers(t, "node1, node2, node3")
}
