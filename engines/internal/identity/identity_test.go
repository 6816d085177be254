package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// TestNames: a name and what it says of a member are the same, also of ids that look like one.
func TestNames(t *testing.T) {
	incarnation := core.NewIncarnation()
	for _, who := range []core.Identity{
		{ID: "n1"}, {ID: "n1", Incarnation: incarnation}, {ID: "a#b", Incarnation: incarnation}, {ID: "a#b"}, {ID: "#"}, {ID: "n1#"},
	} {
		if got := identity.Of(identity.Name(who.ID, who.Incarnation)); got != who {
			t.Errorf("%+v came back as %+v", who, got)
		}
	}
	if got := identity.Of("#" + incarnation); got.ID == "" {
		t.Errorf("%+v: a member without an id", got)
	}
}

// TestSettle: what a log store is taken for, by what is in it.
func TestSettle(t *testing.T) {
	used := func(engine string) *inmem.Store {
		s := inmem.New()
		if _, err := identity.Settle(core.ReplicaConfig{ID: "n1", Incarnation: core.NewIncarnation()}, s, engine, identity.State{}); err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLog(&raft.Log{Index: 1, Term: 1}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	data := identity.State{Term: 1, Last: 1}
	for name, c := range map[string]struct {
		logs   core.LogStore
		cfg    core.ReplicaConfig
		engine string
		found  identity.State
		want   error  // nil: none
		says   string // in the error
	}{
		"new":                          {logs: inmem.New(), engine: "a"},
		"went on":                      {logs: used("a"), engine: "a", found: data},
		"another engine's":             {logs: used("a"), engine: "b", found: data, want: core.ErrInvalid, says: "--engine a"},
		"of before engines were named": {logs: used(identity.Unmarked), engine: identity.Unmarked, found: data},
		"of the unmarked engine":       {logs: used(identity.Unmarked), engine: "a", found: data, want: core.ErrInvalid, says: "--engine " + identity.Unmarked},
		"marked, for the unmarked one": {logs: used("a"), engine: identity.Unmarked, found: data, want: core.ErrInvalid, says: "--engine a"},
		"lost, had joined":             {logs: inmem.New(), cfg: core.ReplicaConfig{Joined: true}, engine: "a", want: core.ErrLogLost},
		"lost, but for a snapshot":     {logs: inmem.New(), engine: "a", found: identity.State{Snapshots: true}, want: core.ErrLogLost},
		"empty behind a snapshot":      {logs: used("a"), engine: "a", found: identity.State{Term: 1, Snapshots: true}},
		"an id like a name":            {logs: inmem.New(), cfg: core.ReplicaConfig{ID: "n1#" + core.NewIncarnation()}, engine: "a", want: core.ErrInvalid, says: `"n1"`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cfg.ID == "" {
				c.cfg.ID = "n1"
			}
			self, err := identity.Settle(c.cfg, c.logs, c.engine, c.found)
			switch {
			case c.want == nil && err != nil, c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %v that says %q", err, c.want, c.says)
			case err == nil && (self.ID != "n1" || identity.Of(self.Name).ID != "n1"):
				t.Errorf("%+v", self)
			}
		})
	}
}

// TestIncarnation: it stays with the data, whatever the configuration says later, and so does the group.
func TestIncarnation(t *testing.T) {
	logs, first := inmem.New(), core.NewIncarnation()
	settle := func(incarnation string, found identity.State) *identity.Self {
		t.Helper()
		s, err := identity.Settle(core.ReplicaConfig{ID: "n1", Incarnation: incarnation}, logs, "a", found)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	self := settle(first, identity.State{})
	if *self.Group() != "" {
		t.Errorf("a new replica is of group %q", *self.Group())
	}
	if err := self.Enter("g", ""); err != nil {
		t.Fatal(err)
	}
	again := settle(first, identity.State{Term: 1, Last: 1})
	if again.Name != self.Name || *again.Group() != "g" {
		t.Errorf("%s of group %q came back as %s of %q", self.Name, *self.Group(), again.Name, *again.Group())
	}
	if _, err := identity.Settle(core.ReplicaConfig{ID: "n1", Incarnation: core.NewIncarnation()}, logs, "a", identity.State{Term: 1}); err == nil {
		t.Error("the data were taken for those of another incarnation")
	}
}

// TestRecognise: who is of another group, or of none where this one is of one, has nothing to say.
func TestRecognise(t *testing.T) {
	self := identity.New(core.Identity{ID: "n1", Incarnation: core.NewIncarnation(), Group: "g"})
	other := core.Identity{ID: "n2", Incarnation: core.NewIncarnation()}
	for group, refused := range map[string]bool{"g": false, "h": true, "": true} {
		other.Group = group
		if err := self.Recognise(other); (err != nil) != refused {
			t.Errorf("from group %q: %v", group, err)
		}
	}
}

// TestMet: the last handshake with a member counts, those of strangers take no memory for ever, and
// the replica knows itself.
func TestMet(t *testing.T) {
	self := identity.New(core.Identity{ID: "n1", Service: "s"})
	if who, ok := self.Met(self.Name); !ok || who.Service != "s" {
		t.Errorf("itself: %+v, %t", who, ok)
	}
	peer := core.Identity{ID: "n2", Incarnation: core.NewIncarnation(), Service: "old"}
	name := identity.Name(peer.ID, peer.Incarnation)
	if _, ok := self.Met(name); ok {
		t.Error("nobody was met")
	}
	for i := range 1000 {
		self.Meets(core.Identity{ID: fmt.Sprint("stranger", i)})
	}
	for _, service := range []string{"old", "new"} {
		peer.Service = service
		self.Meets(peer)
	}
	if who, _ := self.Met(name); who != peer {
		t.Errorf("%+v, want %+v", who, peer)
	}
}

// warnings counts what is logged.
type warnings struct{ said []string }

func (w *warnings) Warn(text string, args ...any) { w.said = append(w.said, fmt.Sprint(text, args)) }

// TestRefusals: a node that is refused again and again is told of once for each reason.
func TestRefusals(t *testing.T) {
	var r identity.Refusals
	var log warnings
	a, b := core.Identity{ID: "a"}, core.Identity{ID: "b"}
	for range 3 {
		r.Say(&log, a, errors.New("first"))
		r.Say(&log, b, errors.New("first"))
	}
	r.Say(&log, a, errors.New("second"))
	if len(log.said) != 3 {
		t.Errorf("%q", log.said)
	}
}
