package node

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// TestFoundAlone: without gossip a node founds a group of its own, or none.
func TestFoundAlone(t *testing.T) {
	self := discovery.Self{Incarnation: "0123456789abcdef", RaftAddress: "h:1", Voter: true}
	withState, nonvoter := self, self
	withState.HasState, nonvoter.Voter = true, false
	alone := []core.Member{{ID: "a", Incarnation: self.Incarnation, Address: "h:1", Voter: true}}
	for name, c := range map[string]struct {
		self  discovery.Self
		joins bool
		want  []core.Member
		err   error
	}{
		"founds":                 {self, false, alone, nil},
		"joins":                  {self, true, nil, nil},
		"has state":              {withState, false, nil, nil},
		"joins late":             {withState, true, nil, nil},
		"joins without a vote":   {nonvoter, true, nil, nil},
		"founder without a vote": {nonvoter, false, nil, core.ErrInvalid},
	} {
		got, err := foundAlone("a", c.self, c.joins)
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}
