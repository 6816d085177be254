package system_test

import (
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestElsewhere: a system that another program has says which, and gives way to the real one.
func TestElsewhere(t *testing.T) {
	of := func(mode string) experiment.Cell { return experiment.Cell{Cluster: experiment.Cluster{Mode: mode}} }
	c := system.Catalog{{Name: "own"}, system.Elsewhere("etcd", "raftlab-peers")}
	s, err := c.For(of("etcd"))
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
	if s, err := with.For(of("etcd")); err != nil || s != real || len(with) != 2 || len(c) != 2 || c[1] == real {
		t.Errorf("%v, %v, %v", s, with, err)
	}
	if _, err := with.For(of("other")); err == nil || !strings.Contains(err.Error(), "own, etcd") {
		t.Errorf("%v", err)
	}
	mine := &system.System{Name: "own", Takes: func(c experiment.Cell) bool { return c.Cluster.Engine == "mine" }}
	cell := of("own")
	both := append(system.Catalog{mine}, c...)
	if s, err := both.For(cell); err != nil || s != c[0] {
		t.Errorf("%v, %v", s, err)
	}
	cell.Cluster.Engine = "mine"
	if s, err := both.For(cell); err != nil || s != mine {
		t.Errorf("%v, %v", s, err)
	}
}
