package runner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/engines"
)

// matrix is a line of so many levels.
func matrix(key string, levels int) string {
	var list []string
	for i := range levels {
		list = append(list, fmt.Sprint(i+1))
	}
	return key + " = [" + strings.Join(list, ", ") + "]\n"
}

// TestProductsAreBounded: what grows with a product of settings is refused while it is a
// number, before anything of that size is made, and the error names what to change.
func TestProductsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ toml, want string }{
		"cells × trials":      {strings.Replace(head, "trials = 2", "trials = 9999", 1) + "[matrix]\n" + matrix("clients", 100) + matrix("value_size", 100), "99990000 trials, and a run has at most 100000: lower trials"},
		"keys that are read":  {strings.Replace(head, "= 100\n", "= 1000000000\nread_ratio = 0.5\n", 1), "of memory, and .* load.keys"},
		"value × clients":     {strings.NewReplacer("clients    = 4", "clients = 100000", "value_size = 64", "value_size = 60000000").Replace(head), "operations under way of up to 60000016 B; lower load.clients"},
		"a trial without end": {strings.NewReplacer(`"150ms"`, `"20h"`, `"50ms"`, `"20h"`).Replace(head), "a trial of cell c01 takes at least 40 h"},
		"operations ÷ rate":   {strings.NewReplacer("clients    = 4", "rate = 1", "duration   = \"150ms\"", "operations = 1000000000000").Replace(head), "a trial of cell c01 takes at least 1000000 h"},
		"time × trials":       {strings.NewReplacer(`"150ms"`, `"20h"`, "trials = 2", "trials = 9999").Replace(head), "the run takes at least .* days"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, c.toml, cluster.Builtin())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := runner.NewPlan(t.Context(), cfg)
			runtime.ReadMemStats(&after)
			if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("want %q, got %v", c.want, err)
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 300<<20 {
				t.Errorf("%d MB were allocated to refuse it", made>>20)
			}
			if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
				t.Error("a run folder was made")
			}
		})
	}
}

// TestMissingProgram: the plan says what an engine needs that is not there, once, and how to
// run the others.
func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", "")
	parts := cluster.Builtin()
	for _, name := range []string{"none", "nowhere"} {
		if err := parts.Engines.Register(name, engines.Entry{Program: &engines.Program{Library: "nothing", Needs: "a miracle"}}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := configure(t, strings.Replace(head, "[cluster]", "[cluster]\nmode = \"process\"", 1)+"client = \"resp\"\n[matrix]\nengine = [\"hashicorp\", \"none\", \"etcd\", \"nowhere\"]\nvalue_size = [64, 65]\n", parts)
	_, err := runner.NewPlan(t.Context(), cfg)
	if err == nil {
		t.Fatal("it was not refused")
	}
	for _, want := range []string{"raftlab-none is not in", "raftlab-nowhere is not in", "building it takes a miracle", `--set 'matrix.engine=["hashicorp", "etcd"]'`} {
		if strings.Count(err.Error(), want) == 0 || strings.Count(err.Error(), "raftlab-none is") > 1 {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestDurabilityIsDemanded: a cell that keeps less is refused before anything runs.
func TestDurabilityIsDemanded(t *testing.T) {
	demanded := func(backend string) string {
		return strings.Replace(head, "[cluster]", "[cluster]\ndurability = \"disk\"", 1) + "[matrix]\nbackend = [" + backend + "]\n"
	}
	if _, err := runner.NewPlan(t.Context(), configure(t, demanded(`"wal", "bolt"`), cluster.Builtin())); err != nil {
		t.Error(err)
	}
	_, err := runner.NewPlan(t.Context(), configure(t, demanded(`"wal", "inmem"`), cluster.Builtin()))
	if err == nil || !strings.Contains(err.Error(), `durability = "disk": an acknowledged write has "nothing" with the engine hashicorp on the log store inmem`) {
		t.Errorf("%v", err)
	}
}

// TestPlanIsInterrupted: a matrix of many cells is not described to its end.
func TestPlanIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := configure(t, head+"[matrix]\n"+matrix("clients", 100)+matrix("value_size", 100), cluster.Builtin())
	if _, err := runner.NewPlan(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if outcome, err := runner.Run(ctx, cfg); err != nil || !outcome.Interrupted || outcome.Folder != nil {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// steady is a measurement that takes no time: the cell with two clients scatters, and the
// others never do.
func steady() *measure.Kind {
	return &measure.Kind{
		Name: load.Name, Answer: []string{"p50"}, Quantities: []measure.Quantity{{Key: "p50", Role: measure.Compared}},
		Run: func(_ context.Context, t *measure.Trial) error {
			p50 := 100.0
			if t.Cell.Load.Clients == 2 && t.Record.Trial%2 == 0 {
				p50 = 200
			}
			return t.Record.Put(load.Name, 1, p50)
		},
		Read: func(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
			var p50 float64
			_, err := t.Get(load.Name, 1, &p50)
			return measure.Values{Scalars: map[string]float64{"p50": p50}}, err
		},
	}
}

// TestUntil: a cell that is known closely enough is left out from then on, the baseline
// stays with the one that is not, and rounds that are added leave out the same.
func TestUntil(t *testing.T) {
	t.Parallel()
	cfg := configure(t, strings.Replace(head, "trials = 2", "trials = 7\nuntil = \"p50 within 3%\"", 1)+"[matrix]\nclients = [1, 2, 3]\nbackend = [\"inmem\"]\n", cluster.Builtin())
	cfg.Kinds = measure.Catalog{steady()}
	want := []record.LeftOut{{Cell: "c03", After: 6}}
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || outcome.Ran != 7+7+6 || !slices.Equal(outcome.Folder.Manifest().LeftOut, want) {
		t.Fatalf("%v, %d trials run, left out %v", err, outcome.Ran, outcome.Folder.Manifest().LeftOut)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Resume, cfg.Trials = true, 8
	plan, err := runner.NewPlan(t.Context(), cfg)
	if err != nil || plan.Trials != 22 || plan.Done != 20 {
		t.Errorf("%v, %d of %d planned trials done", err, plan.Done, plan.Trials)
	}
	outcome, err = plan.Start(t.Context(), cfg)
	if err != nil || outcome.Ran != 2 || !slices.Equal(outcome.Folder.Manifest().LeftOut, want) {
		t.Errorf("extended: %v, %+v", err, outcome)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Error(err)
	}
}
