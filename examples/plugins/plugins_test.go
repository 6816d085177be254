package plugins

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
	"github.com/themilchenko/raftlab/engines/enginetest"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

func TestWAL(t *testing.T) {
	coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
		s, err := openWAL(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestFramed(t *testing.T) {
	network := framed{timeout: time.Hour} // what ends calls in the suite is Close
	listen := func(t *testing.T, bind string) core.Transport {
		link, err := network.Listen(bind)
		if err != nil {
			t.Fatal(err)
		}
		return link.Transport
	}
	coretest.TestNetwork(t, func() core.Network { return network })
	coretest.TestTransport(t, func(t *testing.T) (a, b core.Transport) {
		return listen(t, ""), listen(t, "")
	}, coretest.WithRebind(func(t *testing.T, closed core.Transport) core.Transport {
		return listen(t, string(closed.LocalAddr()))
	}))
}

func TestUnix(t *testing.T) {
	listen := func(t *testing.T) core.Wire {
		link, err := unixSockets{}.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		return link.Wire
	}
	coretest.TestNetwork(t, func() core.Network { return unixSockets{} })
	coretest.TestWire(t, func(t *testing.T) (a, b core.Wire) { return listen(t), listen(t) })
}

func TestWindowed(t *testing.T) {
	t.Parallel() // it waits more than it computes
	coretest.TestEngine(t, coretest.EngineSubject{
		// Few entries behind a snapshot, so that who lags needs it; and few commands under way.
		Engine: windowed{hashicorp.Engine{Options: hashicorp.Options{TrailingLogs: 2}}, 4},
		Store: func(t *testing.T, dir string) core.LogStore {
			s, err := bolt.Open(dir, bolt.Options{NoSync: true}) // the disk is not what is tested
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Network: func(t *testing.T) core.Network { return clustertest.TCP(t) },
	})
}

func BenchmarkLogStore(b *testing.B) {
	b.Run("backend=rawwal", func(b *testing.B) {
		coretest.BenchmarkLogStore(b, func(b *testing.B, dir string) core.LogStore {
			s, err := openWAL(dir, nil)
			if err != nil {
				b.Fatal(err)
			}
			return s
		})
	})
}

// TestVanilla: the engine that is a program, through the suite of programs and an experiment
// beside an engine of this module.
func TestVanilla(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./raftlab", "./kvnode", "./raftlab-vanilla").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	subject, err := enginetest.Of(t.Context(), filepath.Join(bin, "raftlab-vanilla"))
	if err != nil {
		t.Fatal(err)
	}
	subject.Rounds = 1 // of kills under load; 20 before figures are published
	enginetest.Run(t, subject)

	folder := filepath.Join(t.TempDir(), "run")
	for _, args := range [][]string{
		{"list"},
		{"run", "../../experiments/engines.toml", "--quick", "--out", folder, "--set", `matrix.engine=["windowed","vanilla"]`, "--set", "load.clients=4"},
		{"verify", folder},
	} {
		command := exec.CommandContext(t.Context(), filepath.Join(bin, "raftlab"), args...)
		command.Env = append(os.Environ(), "RAFTLAB_ENGINES="+bin)
		if out, err := command.CombinedOutput(); err != nil || args[0] == "list" && !strings.Contains(string(out), "raftlab-vanilla") {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	table, err := os.ReadFile(filepath.Join(folder, "results.csv"))
	if err != nil || !strings.Contains(string(table), "windowed") || !strings.Contains(string(table), "vanilla") {
		t.Errorf("%v; the results do not name both engines:\n%s", err, table)
	}
}

// TestRun runs experiments in which the plug-ins are levels beside those of raftlab, with
// members in one process and in processes of their own.
func TestRun(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./raftlab", "./kvnode").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for mode, transports := range map[string]string{
		"inprocess": `["tcp", "framed", "unix"]`,
		"process":   `["tcp", "framed"]`,
	} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			file, folder := filepath.Join(dir, "plugins.toml"), filepath.Join(dir, "run")
			text := fmt.Sprintf(`
name = "plugins"
title = "Plug-ins"
trials = 1
seed = 1

[cluster]
nodes = 3
mode = %q

[load]
clients = 4
duration = "300ms"
warmup = "50ms"

[matrix]
backend = ["inmem", "rawwal"]
transport = %s

[options.rawwal]
segment_size = "1MiB"
`, mode, transports)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"run", file, "--out", folder}, {"verify", folder}} {
				if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "raftlab"), args...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			table, err := os.ReadFile(filepath.Join(folder, "results.csv"))
			if err != nil {
				t.Fatal(err)
			}
			for _, cell := range []string{",rawwal,", ",framed,"} {
				if !strings.Contains(string(table), cell) {
					t.Errorf("the results do not name %s:\n%s", cell, table)
				}
			}
		})
	}
}
