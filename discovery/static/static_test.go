package static_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/static"
)

func TestFounders(t *testing.T) {
	self := discovery.Self{RaftAddress: "h:1", Voter: true}
	alone := []core.Member{{ID: "a", Address: "h:1", Voter: true}}
	withState := self
	withState.HasState = true
	for name, c := range map[string]struct {
		self discovery.Self
		join bool
		want []core.Member
	}{
		"founds":     {self, false, alone},
		"joins":      {self, true, nil},
		"has state":  {withState, false, nil},
		"joins late": {withState, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := static.Founders("a", c.self, c.join)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFoundersRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		id   string
		self discovery.Self
	}{
		"no id":                  {"", discovery.Self{RaftAddress: "h:1", Voter: true}},
		"no address":             {"a", discovery.Self{Voter: true}},
		"founder without a vote": {"a", discovery.Self{RaftAddress: "h:1"}},
	} {
		if _, err := static.Founders(c.id, c.self, false); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
