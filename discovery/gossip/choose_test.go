package gossip

import (
	"testing"
	"time"

	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// TestChoosesOneGroup: a node without state names the group that it waits for, once
// and for all.
func TestChoosesOneGroup(t *testing.T) {
	member := func(id string, group founding.Group, join ...string) *Agent {
		cfg := testConfig(id)
		cfg.Self.HasState, cfg.Join, cfg.Memory = true, join, InMemory()
		if err := cfg.Memory.Save(Memory{Group: group}); err != nil {
			t.Fatal(err)
		}
		return start(t, cfg)
	}
	one, two := founding.Group(1), founding.Group(2)
	a := member("a", one)
	joining := testConfig("c")
	joining.Join, joining.Memory = []string{a.Address()}, InMemory()
	c := start(t, joining)
	await(t, a, "c waits for the one group", func() bool { return peer(a, "c").Group == one.String() })

	// It does not change its mind when it hears of another group.
	member("b", two, a.Address())
	await(t, c, "c sees two groups", func() bool { return c.table.divided("c") })
	if g := peer(a, "c").Group; g != one.String() {
		t.Errorf("c waits for %s", g)
	}
	if m, err := joining.Memory.Load(); err != nil || m.Group != one {
		t.Errorf("c has stored %v, %v", m.Group, err)
	}

	// A node that was to be added founds nothing after a restart.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	joining.Join, joining.Expect = nil, 1
	c = start(t, joining)
	if members, err := c.Bootstrap(t.Context()); members != nil || err != nil {
		t.Errorf("founded %v, %v", members, err)
	}
}

// TestInSightOfTwoGroups: there is no telling which one is meant.
func TestInSightOfTwoGroups(t *testing.T) {
	seen := newTable(time.Now)
	for i, want := range []founding.Group{1, 0} {
		id, group := string(rune('a'+i)), founding.Group(i+1)
		m := meta{id: id, group: group}
		m.HasState = true
		seen.alive(m, id, id)
		if got := seen.onlyGroup("self"); got != want || seen.divided("self") != (want == 0) {
			t.Errorf("of %d groups: %v", i+1, got)
		}
	}
}
