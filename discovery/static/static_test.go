package static_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/static"
)

func TestBootstrap(t *testing.T) {
	self := discovery.Self{RaftAddress: "h:1", Voter: true, Incarnation: "0123456789abcdef"}
	withState, reader := self, self
	withState.HasState, reader.Voter = true, false
	alone := []core.Member{{ID: "a", Incarnation: self.Incarnation, Address: "h:1", Voter: true}}
	for name, c := range map[string]struct {
		self  discovery.Self
		joins bool
		want  []core.Member
	}{
		"founds":                {self, false, alone},
		"joins":                 {self, true, nil},
		"joins without a vote":  {reader, true, nil},
		"has state":             {withState, false, nil},
		"has state and no vote": {discovery.Self{RaftAddress: "h:1", HasState: true}, false, nil},
		"joins late":            {withState, true, nil},
	} {
		got, err := static.Bootstrap("a", c.self, c.joins)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestBootstrapRefuses(t *testing.T) {
	voter := discovery.Self{RaftAddress: "h:1", Voter: true}
	for name, c := range map[string]struct {
		id   string
		self discovery.Self
	}{
		"no id":                  {"", voter},
		"no address":             {"a", discovery.Self{Voter: true}},
		"founder without a vote": {"a", discovery.Self{RaftAddress: "h:1"}},
	} {
		if got, err := static.Bootstrap(c.id, c.self, false); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}
