package peak

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/cluster"
)

// TestSearchFinds a capacity wherever it lies, from whatever it begins with.
func TestSearchFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := math.Exp(rapid.Float64Range(2, 12).Draw(t, "log capacity"))
		closed := capacity * math.Exp(rapid.Float64Range(-3, 3).Draw(t, "log of how far off"))
		tolerance := rapid.Float64Range(0.01, 0.5).Draw(t, "tolerance")
		s, tries := newSearch(closed), 0
		for ; s.gap() > tolerance; tries++ {
			if tries == 20 {
				t.Fatalf("from %g to %g after 20 tries", s.low, s.high)
			}
			s.takes(s.next <= capacity)
		}
		if s.low > capacity || s.high <= capacity || s.low == 0 {
			t.Fatalf("%g lies not between %g and %g", capacity, s.low, s.high)
		}
	})
}

// cellOf is a cell of three members in memory.
func cellOf(t *testing.T, settings map[string]any) experiment.Cell {
	t.Helper()
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Backend, e.Cluster.Transport, e.Load.Keys, e.Load.ReadRatio = "inmem", "inmem", 100, 0.5
	e.Load.Warmup, e.Load.Duration = experiment.Duration(20*time.Millisecond), experiment.Duration(100*time.Millisecond)
	e.Settings = settings
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	return cells[0]
}

func TestTrial(t *testing.T) {
	defer goleak.VerifyNone(t)
	cell := cellOf(t, map[string]any{"p99": "1us", "tries": int64(3)}) // no rate holds that
	s := inprocess.New(cluster.Builtin())
	info, err := s.Describe(t.Context(), cell)
	if err != nil {
		t.Fatal(err)
	}
	x := &measure.Trial{Cell: &info, Seed: 1, Record: &record.Trial{}, New: func(o system.Options) (system.Group, error) {
		return s.New(system.Spec{Cell: &info, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Options: o})
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := run(ctx, x); err != nil {
		t.Fatal(err)
	}
	v, err := read(&info, x.Record)
	if err != nil {
		t.Fatal(err)
	}
	if c := check(&info, x.Record, v); len(c) > 0 {
		t.Errorf("contradictions: %+v", c)
	}
	if _, there := v.Scalars["sustained"]; there || v.Scalars["tries"] != 3 || v.Scalars["closed"] <= 0 {
		t.Errorf("%v", v.Scalars)
	}
	if g := x.Record.Gates[0]; g.Name != "search" || g.Verdict != record.Fail || !strings.Contains(g.Reason, "no rate held a p99 of 1µs") {
		t.Errorf("%+v", g)
	}
}

// recorded is a trial that was recorded with such tries.
func recorded(t *testing.T, cell experiment.Cell, tries ...Try) (*record.CellInfo, *record.Trial) {
	t.Helper()
	s, err := settingsOf(cell)
	if err != nil {
		t.Fatal(err)
	}
	info, d := &record.CellInfo{Cell: cell, WarmAfter: 700, WarmupOperations: 800}, Data{800, tries}
	x := &record.Trial{Gates: d.gates(info, s)}
	if err := x.Put(Name, version, d); err != nil {
		t.Fatal(err)
	}
	return info, x
}

func TestReadAndCheck(t *testing.T) {
	cell := cellOf(t, map[string]any{"p99": "10ms", "tolerance": 0.3})
	closed := Try{Throughput: 1000, P50NS: 1e6, P99NS: 5e6, Operations: 1000}
	slow := Try{Rate: 1000, Throughput: 999, P50NS: 1e6, P99NS: 2e7, Operations: 1000}
	held := Try{Rate: 500, Throughput: 499, P50NS: 1e6, P99NS: 9e6, Operations: 500}
	better := Try{Rate: math.Sqrt(500 * 1000), Throughput: 700, P50NS: 1e6, P99NS: 1e7, Operations: 700}
	info, x := recorded(t, cell, closed, slow, held, better)
	v, err := read(info, x)
	if err != nil || v.Scalars["sustained"] != better.Rate || v.Scalars["beyond"] != 1000 || v.Scalars["p99"] != 0.01 {
		t.Errorf("%v, %v", v.Scalars, err)
	}
	if c := check(info, x, v); len(c) > 0 || x.Gates[0].Verdict != record.Pass || x.Gates[1].Verdict != record.Pass || x.Gates[2].Name != measure.ColdGate || x.Gates[2].Verdict != record.Pass {
		t.Errorf("%+v, %+v", c, x.Gates)
	}
	x.Gates = x.Gates[:2]
	if c := check(info, x, v); len(c) != 1 || c[0].Field != "gates.cold" {
		t.Errorf("without a gate: %+v", c)
	}
	unserved, refused := held, held
	unserved.Throughput, refused.Failed = 0.9*held.Rate, 1
	for _, not := range []Try{unserved, refused} {
		if not.holds(10 * time.Millisecond) {
			t.Errorf("%+v holds", not)
		}
	}
	other := better
	other.Rate = 900
	info, x = recorded(t, cell, closed, slow, held, other)
	if c := check(info, x, v); len(c) != 1 || c[0].Field != "tries.3.rate" {
		t.Errorf("a rate that the search does not try: %+v", c)
	}
	for _, tries := range [][]Try{{}, {slow}, {closed, closed}, {closed, {Rate: math.Inf(1)}}, {closed, {Rate: 500, P50NS: 2, P99NS: 1}}, {closed, {Rate: 500, Failed: 2, Operations: 1}}} {
		if err := (Data{Tries: tries}).validate(); err == nil {
			t.Errorf("%+v was taken", tries)
		}
	}
}

func TestAccept(t *testing.T) {
	for want, change := range map[string]func(*experiment.Load){
		"load.rate = 5":       func(l *experiment.Load) { l.Rate = 5 },
		"load.operations = 5": func(l *experiment.Load) { l.Operations = 5 },
		"load.snapshot_every": func(l *experiment.Load) { l.SnapshotEvery = 5 },
		"keys = 0":            func(l *experiment.Load) { l.Keys = 0 },
	} {
		cell := cellOf(t, nil)
		if err := accept(cell); err != nil {
			t.Fatal(err)
		}
		change(&cell.Load)
		if err := accept(cell); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
