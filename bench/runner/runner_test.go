package runner_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// head is a small experiment; a test adds the matrix and the options.
const head = `
name   = "test"
title  = "A test"
trials = 2

[cluster]
nodes = 3

[load]
clients    = 4
duration   = "150ms"
warmup     = "50ms"
value_size = 64
keys       = 100
`

func configure(t *testing.T, toml string, catalogs cluster.Catalogs) runner.Config {
	t.Helper()
	e, err := experiment.Parse("test.toml", []byte(toml), runner.Known(catalogs, runner.Systems(catalogs, "kvnode"), runner.Kinds()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return runner.Config{
		Experiment: e, Source: []byte(toml), Out: filepath.Join(t.TempDir(), "run"),
		Systems: runner.Systems(catalogs, "kvnode"), Kinds: runner.Kinds(),
	}
}

func run(t *testing.T, ctx context.Context, cfg runner.Config) (runner.Outcome, error) {
	t.Helper()
	outcome, err := runner.Run(ctx, cfg)
	if outcome.Folder != nil {
		t.Cleanup(func() { _ = outcome.Folder.Close() })
	}
	return outcome, err
}

func trials(t *testing.T, o runner.Outcome) []record.Trial {
	t.Helper()
	all, err := o.Folder.Trials()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// counting counts trials and may act after some.
type counting struct {
	runner.Progress
	begun atomic.Int64
	after func(done int64)
}

func (c *counting) Begin(int, int, time.Duration)              {}
func (c *counting) Calibrating()                               {}
func (c *counting) TrialBegin(experiment.Cell, record.TrialID) { c.begun.Add(1) }
func (c *counting) End()                                       {}
func (c *counting) TrialEnd(experiment.Cell, record.Trial) {
	if c.after != nil {
		c.after(c.begun.Load())
	}
}

// TestRun runs real groups on real disk and sockets, with reads and writes, in a
// closed and in an open loop.
func TestRun(t *testing.T) {
	t.Parallel()
	cfg := configure(t, head+`
read_ratio = 0.3
[matrix]
backend = ["inmem", "bolt", "mdb"]
rate = [0, 400]
`, cluster.Builtin())
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := trials(t, outcome)
	if len(all) != 12 || outcome.Ran != 12 || len(outcome.Failures) != 0 || outcome.Interrupted {
		t.Fatalf("%d trials recorded; %+v", len(all), outcome)
	}
	for _, trial := range all {
		checkTrial(t, trial)
	}
	m := outcome.Folder.Manifest()
	if len(m.Sessions) != 1 || m.Sessions[0].Calibration.FsyncUS.N == 0 || m.Sessions[0].Environment.Cores == 0 {
		t.Errorf("the machine is not described: %+v", m.Sessions)
	}
	for _, c := range m.Cells {
		if c.Acknowledgement == "" || c.ReadLevel != experiment.ReadLinearizable || c.Durability == "" {
			t.Errorf("cell %s does not declare itself: %+v", c.ID, c)
		}
	}
	left, err := filepath.Glob(filepath.Join(cfg.Out, "data-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("data left behind: %v %v", left, err)
	}
}

func checkTrial(t *testing.T, trial record.Trial) {
	t.Helper()
	name := fmt.Sprintf("%s trial %d", trial.Cell, trial.Trial)
	// Latencies, not completions: on a machine that stands still for a moment an
	// operation of the short window may be completed after it.
	d := loadOf(t, trial)
	if d.Writes.Hist == "" || d.Reads.Hist == "" || d.Commands == 0 || d.CPUNS == 0 {
		t.Errorf("%s measured nothing: %+v", name, trial)
	}
	gates := map[string]record.Verdict{}
	for _, g := range trial.Gates {
		gates[g.Name] = g.Verdict
	}
	// What depends on the machine's speed may fail here; what depends on the
	// replicas must not.
	for _, must := range []string{"errors", "leader", "convergence", "acknowledged"} {
		if gates[must] != record.Pass {
			t.Errorf("%s: gate %s: %q; gates %+v; errors %v", name, must, gates[must], trial.Gates, d.Errors)
		}
	}
}

// loadOf is what a trial measured.
func loadOf(t *testing.T, trial record.Trial) load.Data {
	t.Helper()
	var d load.Data
	if there, err := trial.Get(load.Name, math.MaxInt, &d); !there || err != nil {
		t.Fatalf("no load: %v; %+v", err, trial)
	}
	return d
}

func TestInterruptAndResume(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := configure(t, head+"[matrix]\nclients = [1, 2, 3]\n", cluster.Builtin())
	first := &counting{after: func(done int64) {
		if done == 2 {
			cancel()
		}
	}}
	cfg.Progress = first
	outcome, err := run(t, ctx, cfg)
	if err != nil || !outcome.Interrupted || outcome.Ran != 2 {
		t.Fatalf("interrupted run: %v, %+v", err, outcome)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}

	killed := filepath.Join(cfg.Out, "data-c01-t01-1") // as a run that was killed leaves it
	if err := os.MkdirAll(filepath.Join(killed, "node1"), 0o755); err != nil {
		t.Fatal(err)
	}
	second := &counting{}
	cfg.Progress, cfg.Resume = second, true
	outcome, err = run(t, t.Context(), cfg)
	if err != nil || outcome.Interrupted {
		t.Fatalf("resumed run: %v, %+v", err, outcome)
	}
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data of a killed run is still there: %v", err)
	}
	if n := second.begun.Load(); n != 4 {
		t.Errorf("the resumed run took %d trials, want the 4 that were missing", n)
	}
	if n := len(trials(t, outcome)); n != 6 {
		t.Errorf("%d trials in the end, want 6", n)
	}
	if n := len(outcome.Folder.Manifest().Sessions); n != 2 {
		t.Errorf("%d sessions recorded, want 2", n)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}

	extend(t, cfg)

	cfg.Experiment.Seed++
	if _, err := run(t, t.Context(), cfg); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "another experiment") {
		t.Errorf("resumed with another experiment: %v", err)
	}
	cfg.Resume = false
	if _, err := run(t, t.Context(), cfg); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("ran into a folder that holds a run: %v", err)
	}
}

// extend adds a third round to a finished run of two.
func extend(t *testing.T, cfg runner.Config) {
	t.Helper()
	for trials, want := range map[int]string{1: "--trials 2 or more", 0: "to add some"} {
		x := cfg
		e := *cfg.Experiment
		if trials == 0 {
			e.Trials = 5 // in the file
		}
		x.Experiment, x.Trials = &e, trials
		if _, err := run(t, t.Context(), x); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d trials: %v", trials, err)
		}
	}
	third := &counting{}
	cfg.Progress, cfg.Trials = third, 3
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || third.begun.Load() != 3 || len(trials(t, outcome)) != 9 {
		t.Fatalf("extended: %v, %d trials run", err, third.begun.Load())
	}
	m := outcome.Folder.Manifest()
	if m.Experiment.Trials != 2 || m.Rounds() != 3 || len(m.Extended) != 1 || m.Extended[0].At.IsZero() ||
		!slices.Equal(m.Order, record.Order(m.Cells, 3, m.Experiment.Seed)) {
		t.Errorf("the manifest says %d trials, extended %+v, order %v", m.Experiment.Trials, m.Extended, m.Order)
	}
	for _, trial := range trials(t, outcome) {
		if trial.Seed != record.TrialSeed(m.Experiment.Seed, trial.Trial) {
			t.Errorf("%s trial %d: seed %d", trial.Cell, trial.Trial, trial.Seed)
		}
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLargeValues: the keys are written before the load in entries that a store
// with little room takes.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	cfg := configure(t, strings.Replace(head, "value_size = 64", "value_size = 262144", 1)+`
read_ratio = 0.99
[matrix]
backend = ["small-entries"]
`, smallEntries(t))
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || len(outcome.Failures) != 0 {
		t.Fatalf("%v; failures: %q", err, outcome.Failures)
	}
}

// smallEntries is a third party's backend that takes 2 MiB as one entry.
func smallEntries(t *testing.T) cluster.Catalogs {
	t.Helper()
	catalogs := cluster.Builtin()
	err := catalogs.Backends.Register("small-entries", backends.Backend{
		Summary: "entries of 2 MiB at most",
		Info: func(o core.Options) (core.StoreInfo, error) {
			return core.StoreInfo{Name: "small-entries", Durability: core.DurableNothing}, o.Read("small-entries").Err()
		},
		OpenBare: func(string, core.Options) (core.LogStore, error) { return boundedEntries{inmem.New()}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return catalogs
}

type boundedEntries struct{ core.LogStore }

// StoreLogs implements raft.LogStore.
func (s boundedEntries) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		if len(e.Data) > 2<<20 {
			return fmt.Errorf("an entry of %d bytes: %w", len(e.Data), core.ErrFull)
		}
	}
	return s.LogStore.StoreLogs(entries)
}

// TestFullMap: the cell fails with its reason, the others are measured. Reads have the keys
// written before the load, however short that is for the machine.
func TestFullMap(t *testing.T) {
	t.Parallel()
	cfg := configure(t, strings.NewReplacer("value_size = 64", "value_size = 1048576", "= 100\n", "= 2\n").Replace(head)+`
read_ratio = 0.5
[matrix]
backend = ["inmem", "mdb"]
[options.mdb]
map_size = "1MiB"
`, cluster.Builtin())
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcome.Failures) != 2 || !strings.Contains(outcome.Failures[0], "options.mdb.map_size") {
		t.Fatalf("failures: %q", outcome.Failures)
	}
	for _, trial := range trials(t, outcome) {
		failed := trial.Failure != ""
		if mdbCell := trial.Cell == "c02"; failed != mdbCell {
			t.Errorf("%s: failure %q", trial.Cell, trial.Failure)
		}
	}
}

// TestFullDisk: the run ends, what was measured is kept, and with room made it
// goes on. The disk is a third party's backend that runs full once.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	catalogs := cluster.Builtin()
	err := catalogs.Backends.Register("small-disk", backends.Backend{
		Summary: "a disk that can be full",
		Info: func(o core.Options) (core.StoreInfo, error) {
			return core.StoreInfo{Name: "small-disk", Durability: core.DurableNothing}, o.Read("small-disk").Err()
		},
		OpenBare: func(string, core.Options) (core.LogStore, error) {
			return faulty.Wrap(inmem.New(), func(w faulty.Write) error {
				if full.Load() && w.Op == faulty.StoreLogs && w.Nth > 20 {
					return syscall.ENOSPC
				}
				return nil
			}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := configure(t, head+"[matrix]\nbackend = [\"small-disk\"]\nclients = [1, 2]\n", catalogs)
	cfg.Progress = &counting{after: func(int64) { full.Store(true) }}
	outcome, err := run(t, t.Context(), cfg)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--resume") {
		t.Fatalf("on a full disk: %v", err)
	}
	if n := len(trials(t, outcome)); n != 1 {
		t.Fatalf("%d trials kept, want the one before the disk was full", n)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}
	full.Store(false)
	cfg.Progress, cfg.Resume = nil, true
	outcome, err = run(t, t.Context(), cfg)
	if err != nil || len(trials(t, outcome)) != 4 {
		t.Fatalf("with room made: %v, %d trials", err, len(trials(t, outcome)))
	}
}

func TestBadOptionsFailBeforeAnythingRuns(t *testing.T) {
	cfg := configure(t, head+"[matrix]\nbackend = [\"bolt\", \"mdb\"]\n[options.mdb]\nmap_size = \"much\"\n", cluster.Builtin())
	_, err := run(t, t.Context(), cfg)
	if !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "map_size") {
		t.Fatalf("a size that is none: %v", err)
	}
	if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run folder was made all the same")
	}
}

func TestUnwritableDataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := configure(t, head, cluster.Builtin())
	cfg.DataDir = filepath.Join(file, "data")
	if _, err := run(t, t.Context(), cfg); !errors.Is(err, runner.ErrUsage) {
		t.Fatalf("a data directory below a file: %v", err)
	}
}

// TestUnreadableData: what a kind could not read again is not kept, or nobody could read
// the run any more; the trial has failed.
func TestUnreadableData(t *testing.T) {
	t.Parallel()
	cfg := configure(t, head, cluster.Builtin())
	kind := load.Kind()
	kind.Run = func(_ context.Context, t *measure.Trial) error { return t.Record.Put(load.Name, 99, "what is this?") }
	cfg.Kinds = measure.Catalog{kind}
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || len(outcome.Failures) != 2 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	for _, trial := range trials(t, outcome) {
		if _, err := kind.Read(nil, &trial); err != nil || trial.Failure == "" {
			t.Errorf("failure %q, %v", trial.Failure, err)
		}
	}
}
