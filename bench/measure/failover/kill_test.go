package failover_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/measure/failover"
	"github.com/themilchenko/raftlab/bench/raftlab"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const question = `# How long are clients without service?

name     = "killing"
title    = "Killing"
title_ru = "Отказ лидера"
measure  = "failover"
trials   = 1

[cluster]
mode    = "process"
profile = "local"

[failover]
clients  = 4
rate     = 400
pause    = "500ms"
duration = "500ms"

[[matrix.cell]]
name             = "a kill"
failover.kills   = 1
load.client      = "resp"
load.connections = 3

[[matrix.cell]]
name           = "none"
failover.kills = 0
`

// TestKill kills the leader of kvnode processes, and nobody: it is recorded, reported in
// both languages, and verified.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	kvnode := clustertest.Program(t, "kvnode")
	file, out := filepath.Join(dir, "killing.toml"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte(question), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := raftlab.Main(t.Context(), raftlab.Builtin(), args, &stdout, &stderr); code != 0 {
			t.Fatalf("raftlab %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
	}
	program("run", file, "--out", out, "--kvnode", kvnode)
	program("verify", out)
	folder, err := record.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	trials, err := folder.Trials()
	if err != nil || len(trials) != 2 {
		t.Fatalf("%d trials: %v", len(trials), err)
	}
	for _, trial := range trials {
		var d failover.Data
		if there, err := trial.Get(failover.Name, 1, &d); !there || err != nil || trial.Failure != "" {
			t.Fatalf("%+v: %v", trial, err)
		}
		if want := map[string]int{"c01": 1, "c02": 0}[trial.Cell]; len(d.Kills) != want || d.Checked < int64(4*(want+1)) || d.Lost > 0 {
			t.Errorf("%s: %+v", trial.Cell, d)
		}
		for _, k := range d.Kills {
			if k.Member == "" || k.SuspectNS <= 0 || k.LeaderNS < k.SuspectNS || k.GapNS <= 0 || k.BackNS < k.FirstNS {
				t.Errorf("%+v", k)
			}
		}
		for _, g := range trial.Gates {
			if g.Verdict != record.Pass && g.Name != "clock" && g.Name != "load" { // which depend on the machine
				t.Errorf("%s: %+v", trial.Cell, g)
			}
		}
	}
	for name, wants := range map[string][]string{
		"results.csv":        {"failover_p50_ms", "needless_elections"},
		"report.md":          {"Where the time goes", "rediscovery", "needless elections", "Redis", "(connections: 3)"},
		"report.ru.md":       {"Из чего складывается время", "лишние выборы"},
		"report.html":        {"Time without service"},
		"plots/failover.svg": {"<svg"},
	} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not say %q:\n%.2000s", name, want, text)
			}
		}
	}
}
