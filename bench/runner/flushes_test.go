package runner_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

// claims is a log store that says it flushes, and does so at every so many-th write of the
// log; never: 0.
type claims struct {
	core.LogStore
	every  uint64
	writes atomic.Uint64
}

func (c *claims) Describe() core.StoreInfo {
	return core.StoreInfo{Name: "claims", Durability: core.DurableDisk}
}

func (c *claims) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

func (c *claims) StoreLogs(logs []*raft.Log) error {
	c.writes.Add(1)
	return c.LogStore.StoreLogs(logs)
}

// SyncCount implements core.SyncCounter.
func (c *claims) SyncCount() uint64 {
	if c.every == 0 {
		return 0
	}
	return c.writes.Load() / c.every
}

// silent hides that a store counts its flushes.
type silent struct{ core.LogStore }

// TestFlushesAreProved: a store that says its writes are on the disk, and flushes less than
// that takes, makes no valid trial; one that does not count is not proved.
func TestFlushesAreProved(t *testing.T) {
	catalogs := cluster.Builtin()
	for name, open := range map[string]func() core.LogStore{
		"honest":  func() core.LogStore { return &claims{LogStore: inmem.New(), every: 1} },
		"sparing": func() core.LogStore { return &claims{LogStore: inmem.New(), every: 2} },
		"lying":   func() core.LogStore { return &claims{LogStore: inmem.New()} },
		"silent":  func() core.LogStore { return silent{&claims{LogStore: inmem.New()}} },
	} {
		if err := catalogs.Backends.Register(name, backends.Backend{
			Summary: "says that it flushes",
			Info: func(o core.Options) (core.StoreInfo, error) {
				return core.StoreInfo{Name: name, Durability: core.DurableDisk}, o.Read(name).Err()
			},
			OpenBare: func(string, core.Options) (core.LogStore, error) { return open(), nil },
		}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := configure(t, head+"[matrix]\nbackend = [\"honest\", \"sparing\", \"lying\", \"silent\"]\nclients = [1]\n", catalogs)
	cfg.Experiment.Trials = 1
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]record.Verdict{"c01": record.Pass, "c02": record.Fail, "c03": record.Fail, "c04": record.Skip}
	for _, x := range trials(t, outcome) {
		got, most := record.Verdict("none"), 0.0
		for _, g := range x.Gates {
			if g.Name == "flushes" {
				got, most = g.Verdict, g.Figure
			}
		}
		if got != want[x.Cell] || got == record.Fail != strings.Contains(x.InvalidReason(), "flushes: writes are said to be on the disk") {
			t.Errorf("%s: %s with %v, want %s; %s", x.Cell, got, most, want[x.Cell], x.InvalidReason())
		}
	}
}
