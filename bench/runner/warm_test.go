package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/cluster"
)

// TestWarmup: where the experiment does not say how many operations come first, all cells have
// as many as the engine asks for that asks for the most. Fewer make no valid trial, and none is
// told.
func TestWarmup(t *testing.T) {
	const asked = 5000
	for _, x := range []struct {
		name, given string
		quick       bool
		before      int64
		verdict     record.Verdict
	}{
		{name: "as asked", before: asked, verdict: record.Pass},
		{name: "too few", given: "warmup_operations = 1\n", before: 1, verdict: record.Fail},
		{name: "none", given: "warmup_operations = 0\n", verdict: record.Skip},
		{name: "quick", quick: true, verdict: record.Skip},
		{name: "quick, and some", given: "warmup_operations = 1\n", quick: true, verdict: record.Skip},
	} {
		parts := cluster.Builtin()
		cfg := configure(t, head+x.given+"[matrix]\nclients = [1, 2]\nbackend = [\"inmem\"]\n", parts)
		cfg.Experiment.Trials = 1
		if cfg.Quick = x.quick; x.quick {
			cfg.Experiment.Quick()
		}
		slow := *inprocess.New(parts)
		describe := slow.Describe
		slow.Describe = func(ctx context.Context, cell experiment.Cell) (record.CellInfo, error) {
			info, err := describe(ctx, cell)
			if cell.Load.Clients == 2 {
				info.WarmAfter = asked
			}
			return info, err
		}
		cfg.Systems = cfg.Systems.With(&slow)
		outcome, err := run(t, t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		for _, c := range outcome.Folder.Manifest().Cells {
			if c.WarmupOperations != x.before {
				t.Errorf("%s: %s has %d operations before the load", x.name, c.ID, c.WarmupOperations)
			}
		}
		for _, trial := range trials(t, outcome) {
			got, want := record.Verdict(""), x.verdict
			if trial.Cell == "c01" {
				want = "" // its engine asks for nothing
			}
			for _, g := range trial.Gates {
				if g.Name == "cold" {
					got = g.Verdict
				}
			}
			if got != want || got == record.Fail != strings.Contains(trial.InvalidReason(), "cold: measured after ") {
				t.Errorf("%s: %s: cold is %q, want %q; %s", x.name, trial.Cell, got, want, trial.InvalidReason())
			}
		}
	}
}
