package system_test

import (
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestElsewhere: a system that another program has says which, and gives way to the real one.
func TestElsewhere(t *testing.T) {
	c := system.Catalog{{Name: "own"}, system.Elsewhere("etcd", "raftlab-peers")}
	s, err := c.Lookup("etcd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Describe(t.Context(), experiment.Cell{}); err == nil || !strings.Contains(err.Error(), "make peers") {
		t.Errorf("%v", err)
	}
	if g, err := s.New(system.Spec{}); err == nil || g != nil {
		t.Errorf("%v, %v", g, err)
	}
	real := &system.System{Name: "etcd"}
	with := c.With(real)
	if s, err := with.Lookup("etcd"); err != nil || s != real || len(with) != 2 || len(c) != 2 || c[1] == real {
		t.Errorf("%v, %v, %v", s, with, err)
	}
	if _, err := with.Lookup("other"); err == nil || !strings.Contains(err.Error(), "own, etcd") {
		t.Errorf("%v", err)
	}
}
