package load

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
)

// newTrial makes a trial of three members in memory; nothing runs yet.
func newTrial(t *testing.T, change func(*experiment.Experiment)) *measure.Trial {
	t.Helper()
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Backend, e.Cluster.Transport, e.Load.Keys = "inmem", "inmem", 500
	e.Load.Warmup = experiment.Duration(50 * time.Millisecond)
	change(&e)
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	if err := accept(cells[0]); err != nil {
		t.Fatal(err)
	}
	s := inprocess.New(cluster.Builtin())
	info, err := s.Describe(t.Context(), cells[0])
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	return &measure.Trial{Cell: &info, Seed: 1, Logger: logger, Record: &record.Trial{}, New: func(o system.Options) (system.Group, error) {
		return s.New(system.Spec{Cell: &info, Dir: t.TempDir(), Logger: logger, Options: o})
	}}
}

// carryOut carries a trial out, and returns what it gave; nothing in it may contradict.
func carryOut(t *testing.T, x *measure.Trial) measure.Values {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := run(ctx, x); err != nil {
		t.Fatal(err)
	}
	v, err := read(x.Cell, x.Record)
	if err != nil {
		t.Fatal(err)
	}
	if c := check(x.Cell, x.Record, v); len(c) > 0 {
		t.Errorf("contradictions: %+v", c)
	}
	for _, g := range x.Record.Gates {
		if strings.Contains("errors acknowledged convergence", g.Name) && g.Verdict != record.Pass {
			t.Errorf("gate %s: %+v", g.Name, g)
		}
	}
	return v
}

// TestTrialOfAMix: all kinds of operations, so many of them, with snapshots meanwhile.
func TestTrialOfAMix(t *testing.T) {
	defer goleak.VerifyNone(t)
	x := newTrial(t, func(e *experiment.Experiment) {
		e.Load.Mix = workload.Mix{Read: 0.3, Write: 0.2, Insert: 0.1, Scan: 0.1, ReadModifyWrite: 0.1, CompareAndSet: 0.1, Batch: 0.1}
		e.Load.KeyDistribution, e.Load.ValueSizes = workload.Latest, "80% 16B, 20% 1KiB..2KiB"
		e.Load.Operations, e.Load.SnapshotEvery = 3000, experiment.Duration(20*time.Millisecond)
	})
	v := carryOut(t, x)
	kinds := 0.0
	for _, k := range x.Cell.Load.Mix.Kinds() {
		kinds += v.Scalars["kind."+k.String()+".ops"]
		if p50, there := v.Of(measure.Quantity{Of: "kind." + k.String(), PerMille: 500}); !there || p50 <= 0 {
			t.Errorf("%s: p50 %v", k, p50)
		}
	}
	if kinds != 3000 {
		t.Errorf("kinds add up to %v operations", kinds)
	}
	if v.Scalars["ops"] != 3000 || v.Scalars["errors"] != 0 || v.Scalars["snapshots"] < 3 {
		t.Errorf("%v operations, %v errors, %v snapshots", v.Scalars["ops"], v.Scalars["errors"], v.Scalars["snapshots"])
	}
}

// TestTrialOfFollowers: each level of read that they serve.
func TestTrialOfFollowers(t *testing.T) {
	defer goleak.VerifyNone(t)
	for target, level := range map[string]string{"followers": "linearizable", "all": "stale", "leader": "lease"} {
		v := carryOut(t, newTrial(t, func(e *experiment.Experiment) {
			e.Load.ReadRatio, e.Load.Target, e.Load.ReadLevel, e.Load.Operations = 1, target, level, 1000
		}))
		if v.Scalars["read.ops"] != 1000 {
			t.Errorf("%s reads from %s: %v", level, target, v.Scalars)
		}
	}
}

// TestTrialOfAShare: the rate is that of the closed loop before.
func TestTrialOfAShare(t *testing.T) {
	defer goleak.VerifyNone(t)
	v := carryOut(t, newTrial(t, func(e *experiment.Experiment) {
		e.Load.PeakShare, e.Load.Clients, e.Load.Duration = 0.1, 2, experiment.Duration(300*time.Millisecond)
	}))
	scheduled := v.Scalars["scheduled"] / 0.3
	if want := 0.1 * v.Scalars["peak"]; want <= 0 || math.Abs(scheduled-want) > 0.02*want+4 || v.Scalars["rate"] != want {
		t.Errorf("%v operations per second were scheduled, peak %v", scheduled, v.Scalars["peak"])
	}
}

// TestWarmed: operations before the warm-up are carried out, many at a time also for a single
// client, and count for nothing.
func TestWarmed(t *testing.T) {
	defer goleak.VerifyNone(t)
	x := newTrial(t, func(e *experiment.Experiment) { e.Load.Operations, e.Load.Clients = 500, 1 })
	x.Cell.WarmupOperations, x.Cell.WarmAfter = 2000, 2000
	var all *counted
	described := x.New
	x.New = func(o system.Options) (system.Group, error) {
		g, err := described(o)
		all = &counted{Group: g, full: make(chan struct{})}
		return all, err
	}
	if v := carryOut(t, x); v.Scalars["ops"] != 500 {
		t.Errorf("%v operations were measured", v.Scalars["ops"])
	}
	if all.commands < 2500 {
		t.Errorf("%d commands were applied", all.commands)
	}
	cold := func(g record.Gate) bool {
		return g.Name == measure.ColdGate && g.Verdict == record.Pass && g.Figure >= 2000
	}
	if !slices.ContainsFunc(x.Record.Gates, cold) {
		t.Errorf("%+v", x.Record.Gates)
	}
	x.Cell.WarmupOperations = 1 << 62
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := run(ctx, x); err == nil {
		t.Error("it has no end, and was taken for carried out")
	}
}

// counted remembers how many commands a group had applied when it was last looked at, and
// answers no operation before so many are under way as warm it up.
type counted struct {
	system.Group
	commands uint64
	begun    atomic.Int64
	full     chan struct{}
}

func (c *counted) Observe(ctx context.Context) (system.Observation, error) {
	o, err := c.Group.Observe(ctx)
	c.commands = o.Commands
	return o, err
}

func (c *counted) Target(level string) workload.Target { return &together{c, c.Group.Target(level)} }

// together is the target of a counted group.
type together struct {
	*counted
	target workload.Target
}

func (t *together) Do(ctx context.Context, op *workload.Op) error {
	if t.begun.Add(1) == warmClients {
		close(t.full)
	}
	select {
	case <-t.full:
		return t.target.Do(ctx, op)
	case <-ctx.Done():
		return ctx.Err()
	}
}
