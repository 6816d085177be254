package anatomy_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/anatomy"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/raftlab"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/trace"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/kvnode"
)

// asKvnode has this program be a kvnode, with stores that are slow.
const asKvnode = "ANATOMY_TEST_KVNODE"

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(asKvnode) != "" {
		known := cluster.Builtin()
		if err := withSlowStores(known); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(kvnode.Main(context.Background(), known, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// delay is by how much a store is slowed down.
const delay = 2 * time.Millisecond

// slow is a store in memory whose every write of entries takes delay longer, on some members.
type slow struct {
	core.LogStore
	info core.StoreInfo
	here bool
}

func (s slow) Unwrap() core.LogStore { return s.LogStore }

func (s slow) Describe() core.StoreInfo { return s.info }

func (s slow) StoreLogs(entries []*raft.Log) error {
	if s.here {
		time.Sleep(delay)
	}
	return s.LogStore.StoreLogs(entries)
}

func withSlowStores(known cluster.Catalogs) error {
	for name, members := range map[string][]string{"slow-leader": {"node1"}, "slow-follower": {"node3"}, "slow-followers": {"node2", "node3"}} {
		info := inmem.Info()
		info.Name = name
		if err := known.Backends.Register(name, backends.Backend{
			Summary: "in memory, and slow on " + strings.Join(members, " and "),
			Info:    func(core.Options) (core.StoreInfo, error) { return info, nil },
			OpenBare: func(dir string, _ core.Options) (core.LogStore, error) {
				path := strings.Split(filepath.ToSlash(dir), "/")
				return slow{inmem.New(), info, slices.ContainsFunc(members, func(m string) bool { return slices.Contains(path, m) })}, nil
			},
		}); err != nil {
			return err
		}
	}
	return nil
}

const question = `# Where does the time go?

name     = "short"
title    = "An anatomy"
title_ru = "Анатомия"
measure  = "anatomy"
trials   = 1

[load]
duration   = "250ms"
warmup     = "50ms"
clients    = 1
read_ratio = 0.2

[cluster]
backend = "inmem"
mode    = "process"

[[matrix.case]]
name          = "untraced"
anatomy.trace = false
mode          = "inprocess"
clients       = 8

[[matrix.case]]
name    = "in process"
mode    = "inprocess"
clients = 8

[[matrix.case]]
name    = "kvnode"
clients = 8

[[matrix.case]]
name    = "slow leader"
backend = "slow-leader"

[[matrix.case]]
name        = "slow leader, overlapped"
backend     = "slow-leader"
persistence = "overlapped"

[[matrix.case]]
name        = "slow followers, overlapped"
backend     = "slow-followers"
persistence = "overlapped"

[[matrix.case]]
name    = "one slow follower"
backend = "slow-follower"
`

// TestAnatomy: groups in this process and of kvnode processes, traced and not, are run,
// reported in both languages and verified; of every traced write the path is known, and
// a slow store moves the stage that it is part of.
func TestAnatomy(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "short.toml"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte(question), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(asKvnode, "1")
	lab := raftlab.Builtin()
	if err := withSlowStores(lab.Parts); err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := raftlab.Main(t.Context(), lab, args, &stdout, &stderr); code != 0 {
			t.Fatalf("raftlab %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
	}
	program("run", file, "--kvnode", os.Args[0], "--out", out)
	program("verify", out)
	for name, wants := range map[string][]string{
		"results.csv":            {"leader_write_us", "rest_us", "slow leader, overlapped"},
		"report.md":              {"Where the time of a write goes", "follower’s log write", "the rest"},
		"report.ru.md":           {"Куда уходит время записи", "запись журнала ведомым"},
		"report.html":            {"stage by stage"},
		"plots/stages.svg":       {"request in", ">14<"},
		"plots/waterfall.svg":    {"wire there"},
		"plots/stages.ru.svg":    {"передача ответа лидеру"},
		"trials/c01-t01.json":    {`"name": "rest"`, "not traced"},
		"plots/latency.svg":      {"<svg"},
		"plots/waterfall.ru.svg": {"остаток"},
	} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	folder, err := record.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	trials, err := folder.Trials()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{}
	for _, c := range folder.Manifest().Cells {
		cases[c.ID] = c.Levels[0].Value
	}
	slowed := map[string]string{"slow leader": "leader_write", "slow leader, overlapped": "leader_write", "slow followers, overlapped": "follower_write"}
	traced := 0
	for _, trial := range trials {
		var d anatomy.Data
		if _, err := trial.Get(anatomy.Name, 2, &d); err != nil {
			t.Fatal(err)
		}
		if w := d.Writes; w != nil {
			traced++
			if w.Calls == 0 || w.Joined != w.Calls || w.Dropped != 0 || w.RestNS != 0 {
				t.Errorf("%s: %d of %d joined, %d dropped, %d ns unexplained", trial.Cell, w.Joined, w.Calls, w.Dropped, w.RestNS)
			}
			for _, key := range []string{"leader_write", "follower_write"} {
				took := time.Duration(w.Stages[key].MiddleNS / max(1, w.Middle))
				if name := cases[trial.Cell]; (took >= delay) != (slowed[name] == key) && placed(trial) {
					t.Errorf("%s: %s took %s about the median", name, key, took)
				}
			}
		}
		for _, g := range trial.Gates {
			if g.Name == "stages" && g.Figure > 50 { // a machine that is held up may be off by more than the gate allows
				t.Errorf("%s: %+v", trial.Cell, g)
			}
		}
	}
	if traced != len(cases)-1 {
		t.Errorf("%d trials are traced, want all but one of %d", traced, len(cases))
	}
}

// placed reports whether the first member led throughout: on a machine that is held up
// another may be elected, and it is not the leader then that is slow.
func placed(trial record.Trial) bool {
	return !slices.ContainsFunc(trial.Gates, func(g record.Gate) bool { return g.Name == "leader" && g.Verdict == record.Fail })
}

// TestAccept: what cannot be followed is refused before the first trial.
func TestAccept(t *testing.T) {
	kind := anatomy.Kind()
	for want, cell := range map[string]experiment.Cell{
		"leave load.rate out": {Load: experiment.Load{Rate: 100}},
		"load.read_ratio = 1": {Load: experiment.Load{ReadRatio: 1}},
	} {
		if err := kind.Accept(cell); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// trialOf is a trial of two traced writes, of 100 and 300 µs.
func trialOf(t *testing.T, change func(*anatomy.Writes)) (*record.CellInfo, *record.Trial) {
	t.Helper()
	h := record.NewHistogram()
	for _, us := range []int64{100, 300} {
		if err := h.RecordValue(us * 1000); err != nil {
			t.Fatal(err)
		}
	}
	text, err := record.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	w := &anatomy.Writes{Calls: 2, TotalNS: 400_000, Joined: 2, Stages: map[string]anatomy.Stage{}, Decided: map[string]int64{"n2": 2}, WriteEntries: 1, MessageEntries: 1}
	keys := []string{"request", "queue", "leader_write", "replicator", "follower_wait", "wire_there", "follower_write", "wire_back", "held", "commit", "apply_wait", "apply", "answer"}
	if len(keys) != trace.Stages {
		t.Fatal("another number of stages")
	}
	for i, key := range keys {
		s := anatomy.Stage{Hist: text}
		if i == 2 {
			s.SumNS = 390_000
		}
		w.Stages[key] = s
	}
	w.RestNS = 10_000
	change(w)
	inner := &record.Trial{}
	if err := inner.Put(load.Name, 2, load.Data{WindowNS: 1e9, LoadNS: 1e9, IntervalNS: 1e9, Intervals: []int64{2}, Writes: load.Operations{Completed: 2, Hist: text}}); err != nil {
		t.Fatal(err)
	}
	trial := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Leader: "n1"}
	if err := trial.Put(anatomy.Name, 2, anatomy.Data{Load: inner.Data[load.Name], Writes: w}); err != nil {
		t.Fatal(err)
	}
	cell := &record.CellInfo{Cell: experiment.Cell{Settings: map[string]any{"trace": true}}}
	cell.Load.Duration, cell.Load.Clients, cell.Cluster.Nodes = 1e9, 1, 3
	return cell, trial
}

// TestRead: what a trial recorded comes out as it was, and damage is refused.
func TestRead(t *testing.T) {
	kind := anatomy.Kind()
	cell, trial := trialOf(t, func(*anatomy.Writes) {})
	v, err := kind.Read(cell, trial)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"traced.mean": 200e-6, "stage.leader_write.mean": 195e-6, "stage.queue.mean": 0, "rest.mean": 5e-6, "calls": 2, "decided.leader": 0} {
		if got := v.Scalars[key]; got < want*(1-1e-9) || got > want*(1+1e-9) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if c := kind.Check(cell, trial, v); len(c) > 0 {
		t.Errorf("contradictions where there are none: %+v", c)
	}
	var old anatomy.Data // of the form before, which had a stage less
	if _, err := trial.Get(anatomy.Name, 2, &old); err != nil {
		t.Fatal(err)
	}
	delete(old.Writes.Stages, "held")
	if err := trial.Put(anatomy.Name, 1, old); err != nil {
		t.Fatal(err)
	}
	if v, err := kind.Read(cell, trial); err != nil || v.Scalars["stage.held.mean"] != 0 || v.Scalars["stage.leader_write.mean"] == 0 {
		t.Errorf("form 1: %v, %+v", err, v.Scalars)
	}
	for name, change := range map[string]func(*anatomy.Writes){
		"sum":       func(w *anatomy.Writes) { w.RestNS++ },
		"joined":    func(w *anatomy.Writes) { w.Joined = 3 },
		"below":     func(w *anatomy.Writes) { w.Stages["queue"] = anatomy.Stage{SumNS: -1, Hist: w.Stages["queue"].Hist} },
		"decided":   func(w *anatomy.Writes) { w.Decided["n2"]++ },
		"stage":     func(w *anatomy.Writes) { delete(w.Stages, "commit") },
		"histogram": func(w *anatomy.Writes) { w.Stages["commit"] = anatomy.Stage{} },
		"entries":   func(w *anatomy.Writes) { w.WriteEntries = -1 },
	} {
		cell, trial := trialOf(t, change)
		if _, err := kind.Read(cell, trial); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestCheck: a trial that contradicts its cell, or itself, is found.
func TestCheck(t *testing.T) {
	kind := anatomy.Kind()
	for field, change := range map[string]func(*record.CellInfo, *record.Trial){
		"writes": func(c *record.CellInfo, _ *record.Trial) { c.Settings["trace"] = false },
		"gates.rest": func(_ *record.CellInfo, x *record.Trial) {
			x.Gates = []record.Gate{measure.AtMost("rest", "%", 1, 5, "")}
		},
		"gates.stages": func(_ *record.CellInfo, x *record.Trial) {
			x.Gates = []record.Gate{measure.AtMost("stages", "%", 9, 1, "")}
		},
	} {
		cell, trial := trialOf(t, func(*anatomy.Writes) {})
		change(cell, trial)
		v, err := kind.Read(cell, trial)
		if err != nil {
			t.Fatal(err)
		}
		found := kind.Check(cell, trial, v)
		if len(found) != 1 || found[0].Field != field {
			t.Errorf("%s: %+v", field, found)
		}
	}
}

// TestDerive: where a write differs from what is expected of it is told part by part, and the
// differences add up.
func TestDerive(t *testing.T) {
	kind := anatomy.Kind()
	cell, trial := trialOf(t, func(w *anatomy.Writes) {
		w.Middle = 1
		for key, us := range map[string]int64{"leader_write": 120, "held": 10, "wire_there": 40, "apply": 30} {
			s := w.Stages[key]
			s.SumNS, s.MiddleNS = max(s.SumNS, us*1000), us*1000
			w.Stages[key] = s
		}
		w.Stages["leader_write"] = anatomy.Stage{SumNS: 310_000, MiddleNS: 120_000, Hist: w.Stages["leader_write"].Hist}
	})
	v, err := kind.Read(cell, trial)
	if err != nil {
		t.Fatal(err)
	}
	for key, us := range map[string]float64{load.ExpectedLogs: 100, load.ExpectedMessages: 50, load.ExpectedOthers: 10} {
		v.Scalars[key] = us * 1e-6
	}
	kind.Derive([]measure.Measured{{Cell: cell, Session: &record.Session{}, Values: &v}})
	for key, want := range map[string]float64{
		"took.logs": 130e-6, "took.messages": 40e-6, "took.others": 30e-6, "off.logs": 30e-6, "off.messages": -10e-6, "off.others": 20e-6,
		"part.logs": 75, "part.messages": -25, "part.others": 50,
	} {
		if got := v.Scalars[key]; math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}
