package runner_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/measure/recovery"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

const recovering = `
name    = "recovering"
trials  = 1
measure = "recovery"

[cluster]
mode    = "process"

[raft]
heartbeat_timeout = "200ms"

[recovery]
keys   = 1200
passes = 2
`

// TestRecovery takes real groups through a snapshot, a restart and a new member.
func TestRecovery(t *testing.T) {
	t.Parallel()
	cfg := configure(t, recovering+"[matrix]\nnodes = [1, 3]\n", cluster.Builtin())
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || len(outcome.Failures) > 0 {
		t.Fatalf("%v; failures: %q", err, outcome.Failures)
	}
	all := trials(t, outcome)
	if len(all) != 2 {
		t.Fatalf("%d trials", len(all))
	}
	for _, trial := range all {
		nodes := map[string]int{"c01": 1, "c02": 3}[trial.Cell]
		var d recovery.Data
		if there, err := trial.Get(recovery.Name, 1, &d); !there || err != nil {
			t.Fatalf("%d nodes: %v; %+v", nodes, err, trial)
		}
		if len(d.FullBytes) != nodes || slices.Min(d.FullBytes) <= 0 || (d.JoinNS > 0) != (nodes == 3) || d.QuietWrites == 0 || d.RestartNS <= 0 {
			t.Errorf("%d nodes: %+v", nodes, d)
		}
		for _, g := range trial.Gates {
			if g.Name != "clock" && g.Verdict != record.Pass { // which is the machine's
				t.Errorf("%d nodes: %+v", nodes, g)
			}
		}
		if len(trial.Gates) != 3 || trial.Leader == "" {
			t.Errorf("%d nodes: led by %q, gates %+v", nodes, trial.Leader, trial.Gates)
		}
	}
}

// TestTooLarge: what cannot fit is refused before anything runs, and it is said what does.
func TestTooLarge(t *testing.T) {
	cfg := configure(t, strings.Replace(recovering, "1200", "1000000000", 1), cluster.Builtin())
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	_, err := run(t, t.Context(), cfg)
	if !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "cell c01 needs about 1.8 TB of memory") || !strings.Contains(err.Error(), "--data-dir") {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run folder was made all the same")
	}
}
