package gossip

import (
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// TestRivals: of two nodes that gossip under the id of a member, the member is the one
// with its data, whichever of them came first.
func TestRivals(t *testing.T) {
	log := &journal{}
	agents := trio(t, func(c *Config) {
		c.Profile.ProbeInterval, c.Profile.SuspicionMult = 50*time.Millisecond, 2
		if c.ID == "a" {
			c.Logger = log.logger()
		}
	})
	cfg := testConfig("b")
	cfg.Profile.ProbeInterval, cfg.Profile.SuspicionMult = 50*time.Millisecond, 2
	cfg.Self = discovery.Self{
		Incarnation: incarnation("twin"), Group: incarnation("theirs"), RaftAddress: "twin:1", HTTPAddress: "twin:2",
		Voter: true, HasState: true,
	}
	cfg.Join = []string{agents[0].Address()}
	twin := start(t, cfg)

	first, second := agents[1].cfg.Self, cfg.Self
	for what, c := range map[string]struct {
		member string // its incarnation; empty: not known
		want   discovery.Self
		no     bool // neither is the member
	}{
		"nobody knows who it is": {"", first, false},
		"the first":              {first.Incarnation, first, false},
		"the second":             {second.Incarnation, second, false},
		"neither":                {incarnation("third"), first, true},
	} {
		if c.member != "" {
			agents[0].Know(func() []core.Member { return []core.Member{{ID: "b", Incarnation: c.member}} })
		} else {
			agents[0].Know(func() []core.Member { return nil })
		}
		await(t, agents[0], what+": it is shown", func() bool { return peer(agents[0], "b").Self == c.want })
		if http, ok := agents[0].HTTPAddress("b"); ok == c.no || ok && http != c.want.HTTPAddress {
			t.Errorf("%s: HTTP at %s %v, want %s", what, http, ok, c.want.HTTPAddress)
		}
		if raft, ok := agents[0].RaftAddress("b"); ok == c.no || ok && raft != c.want.RaftAddress {
			t.Errorf("%s: Raft at %s %v, want %s", what, raft, ok, c.want.RaftAddress)
		}
	}
	await(t, agents[0], "the log says who is who", func() bool {
		return log.count("level=ERROR", "two nodes run under one id", "known_incarnation="+first.Incarnation,
			"also_incarnation="+second.Incarnation, "also_group="+second.Group) == 1
	})

	// Once the member has gone, the other one is not it.
	agents[0].Know(func() []core.Member { return []core.Member{{ID: "b", Incarnation: first.Incarnation}} })
	if err := agents[1].Close(); err != nil {
		t.Fatal(err)
	}
	await(t, agents[0], "the twin has the id", func() bool { return peer(agents[0], "b").Incarnation == second.Incarnation })
	if http, ok := agents[0].HTTPAddress("b"); ok {
		t.Errorf("it passes for the member, at %s", http)
	}
	if err := twin.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	await(t, agents[0], "the twin leaves", func() bool { return peer(agents[0], "b").State == discovery.Left })
}
