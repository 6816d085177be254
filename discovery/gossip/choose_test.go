package gossip

import (
	"testing"
	"time"

	"github.com/themilchenko/raftlab/discovery"
)

// TestChoosesOneGroup: a node without state names the group that it waits for, once
// and for all.
func TestChoosesOneGroup(t *testing.T) {
	member := func(id string, group string, join ...string) *Agent {
		cfg := testConfig(id)
		cfg.Self.HasState, cfg.Self.Group, cfg.Join = true, group, join
		return start(t, cfg)
	}
	one, two := incarnation("one"), incarnation("two")
	a := member("a", one)
	joining := testConfig("c")
	joining.Join, joining.Memory = []string{a.Address()}, InMemory()
	c := start(t, joining)
	await(t, a, "c waits for the one group", func() bool { return peer(a, "c").Group == one })

	// It does not change its mind when it hears of another group.
	member("b", two, a.Address())
	await(t, c, "c sees two groups", func() bool { return c.table.divided("c") })
	if g := peer(a, "c").Group; g != one {
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
	seen := newTable(time.Now, time.Hour)
	for i, want := range []string{"a", ""} {
		id := string(rune('a' + i))
		m := meta{id: id, Self: discovery.Self{Group: id, HasState: true}}
		seen.alive(m, id, id)
		if got := seen.onlyGroup("self"); got != want || seen.divided("self") != (want == "") {
			t.Errorf("of %d groups: %v", i+1, got)
		}
	}
}
