package founding

import (
	"testing"

	"github.com/themilchenko/raftlab/core"
)

// TestNoSecondGroupBeside: of six nodes that all see each other three have promised to
// found a group. The other three are enough for a second one, and must not found it.
func TestNoSecondGroupBeside(t *testing.T) {
	var members []core.Member
	for _, id := range []string{"1", "2", "3"} {
		members = append(members, core.Member{ID: id, Incarnation: id, Address: id + ":1", Voter: true})
	}
	var others []Record
	for _, id := range []string{"1", "2", "3", "5", "6"} {
		r := Record{ID: id, Incarnation: id, Address: id + ":1", Alive: true, Voter: true, Expect: 3}
		if id < "4" {
			r.Proposal, r.Promised = SetOf(members), true
		}
		others = append(others, r)
	}
	if d := Step(Self{ID: "4", Incarnation: "4", Address: "4:1", Expect: 3}, others); d.Action != Wait {
		t.Errorf("%s %v", d.Action, d.Members)
	}
}
