package static_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/static"
)

type directory map[string]string

func (d directory) HTTPAddress(id string) (string, bool) { a, ok := d[id]; return a, ok }

func TestBootstrap(t *testing.T) {
	self := discovery.Self{RaftAddress: "h:1", Voter: true}
	alone := []core.Member{{ID: "a", Address: "h:1", Voter: true}}
	withState := self
	withState.HasState = true
	for name, c := range map[string]struct {
		cfg  static.Config
		want []core.Member
	}{
		"founds":     {static.Config{ID: "a", Self: self}, alone},
		"joins":      {static.Config{ID: "a", Self: self, Join: true}, nil},
		"has state":  {static.Config{ID: "a", Self: withState}, nil},
		"joins late": {static.Config{ID: "a", Self: withState, Join: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := static.New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Bootstrap(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]static.Config{
		"no id":                  {Self: discovery.Self{RaftAddress: "h:1", Voter: true}},
		"no address":             {ID: "a", Self: discovery.Self{Voter: true}},
		"founder without a vote": {ID: "a", Self: discovery.Self{RaftAddress: "h:1"}},
	} {
		if _, err := static.New(cfg); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPeers(t *testing.T) {
	d, err := static.New(static.Config{
		ID:   "b",
		Self: discovery.Self{RaftAddress: "h:2", HTTPAddress: "h:12", Voter: true},
		Members: func() []core.Member {
			return []core.Member{{ID: "b", Address: "h:2", Voter: true}, {ID: "a", Address: "h:1"}}
		},
		Directory: directory{"a": "h:11", "b": "stale:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []discovery.Peer{
		{ID: "a", Self: discovery.Self{RaftAddress: "h:1", HTTPAddress: "h:11", HasState: true}, State: discovery.Unknown},
		{ID: "b", Self: discovery.Self{RaftAddress: "h:2", HTTPAddress: "h:12", Voter: true, HasState: true}, State: discovery.Unknown},
	}
	if diff := cmp.Diff(want, d.Peers()); diff != "" {
		t.Error(diff)
	}
	if a, ok := d.HTTPAddress("c"); ok {
		t.Errorf("c is at %q", a)
	}
	if err := d.Leave(t.Context()); !errors.Is(err, core.ErrUnsupported) {
		t.Errorf("leave: %v", err)
	}
}
