package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/bench/system/systemtest"
	"github.com/themilchenko/raftlab/cluster"
)

// TestMain makes the test program the members' too.
func TestMain(m *testing.M) {
	if IsMember(os.Args) {
		RunMember(os.Args)
		return
	}
	os.Exit(m.Run())
}

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	systemtest.Contract(t, New())
}

// cell is a cell of an experiment with these settings.
func cell(t *testing.T, change func(*experiment.Cell)) experiment.Cell {
	t.Helper()
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Mode = Name
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	change(&cells[0])
	return cells[0]
}

func TestRefuses(t *testing.T) {
	for want, change := range map[string]func(*experiment.Cell){
		`cluster.backend = "mdb": etcd has its own`:     func(c *experiment.Cell) { c.Cluster.Backend = "mdb" },
		`cluster.transport = "inmem": etcd has its own`: func(c *experiment.Cell) { c.Cluster.Transport = "inmem" },
		`cluster.engine = "other": etcd has its own`:    func(c *experiment.Cell) { c.Cluster.Engine = "other" },
		`raft.max_in_flight: etcd has no such setting`:  func(c *experiment.Cell) { c.Raft.MaxInFlight = 3 },
		`raft.election_timeout = 2s: etcd has one timeout`: func(c *experiment.Cell) {
			c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout = time.Second, 2*time.Second
		},
		`raft.heartbeat_timeout = 15ms: etcd takes multiples of 10ms`: func(c *experiment.Cell) { c.Raft.HeartbeatTimeout = 15 * time.Millisecond },
		`value_size = 2000000: a request to etcd takes at most`:       func(c *experiment.Cell) { c.Load.ValueSize = 2_000_000 },
		`load.read_level = "lease": etcd has none`: func(c *experiment.Cell) {
			c.Load.ReadRatio, c.Load.ReadLevel = 1, "lease"
		},
	} {
		if _, err := describe(cell(t, change)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestShippedExperiments: etcd takes every cell that the experiments ask it for, whatever
// they measure.
func TestShippedExperiments(t *testing.T) {
	files, err := filepath.Glob("../../experiments/peers*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := cluster.Builtin()
		e, err := experiment.Parse(file, source, runner.Known(parts, runner.Systems(parts, "kvnode").With(New()), runner.Kinds()), nil)
		if err != nil {
			t.Fatal(err)
		}
		cells, err := e.Expand()
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		for _, c := range cells {
			if c.Cluster.Mode != Name {
				continue
			}
			asked++
			if _, err := describe(c); err != nil {
				t.Errorf("%s: %s: %v", file, c.ID, err)
			}
		}
		if asked == 0 {
			t.Errorf("%s asks etcd for nothing", file)
		}
	}
}

func TestTuning(t *testing.T) {
	c := cell(t, func(c *experiment.Cell) {
		c.Raft.HeartbeatTimeout, c.Raft.SnapshotThreshold = 200*time.Millisecond, 5000
	})
	flags, err := tuning(c.Raft)
	if got, want := strings.Join(flags, " "), "--election-timeout=200 --heartbeat-interval=20 --snapshot-count=5000"; got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// TestExplain: of a member that ended on its own, its log says why.
func TestExplain(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	m := &member{id: "node1", dir: dir + "/node1", clientURL: "http://127.0.0.1:1", command: []string{memberArgument, "--election-timeout=100"}}
	g := &group{members: []*member{m}}
	var err error
	if g.client, err = connect(m.clientURL); err != nil {
		t.Fatal(err)
	}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	<-m.process.Done()
	checked := g.Check()
	if checked == nil || !strings.HasPrefix(checked.Error(), "node1 stopped: exit status") {
		t.Errorf("%v", checked)
	}
	if err := g.Explain(checked); !strings.Contains(err.Error(), "election-timeout") || errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(m.logPath(), []byte("write wal: no space left on device\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.Explain(checked); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// TestTrial runs a trial of experiments/peers.toml, with reads among the writes.
func TestTrial(t *testing.T) {
	parts := cluster.Builtin()
	systems := runner.Systems(parts, "kvnode").With(New())
	const path = "../../experiments/peers.toml"
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := experiment.Parse(path, source, runner.Known(parts, systems, runner.Kinds()), []experiment.Override{
		{Key: "matrix.system", Value: `["etcd"]`}, {Key: "matrix.clients", Value: "[4]"},
		{Key: "load.read_ratio", Value: "0.5"}, {Key: "load.keys", Value: "300"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Quick()
	outcome, err := runner.Run(t.Context(), runner.Config{
		Experiment: e, Source: source, Out: t.TempDir() + "/run", Systems: systems, Kinds: runner.Kinds(),
	})
	if err != nil || len(outcome.Failures) > 0 {
		t.Fatal(err, outcome.Failures)
	}
	defer outcome.Folder.Close()
	trials, err := outcome.Folder.Trials()
	if err != nil || len(trials) != 1 {
		t.Fatal(trials, err)
	}
	for _, g := range trials[0].Gates {
		if g.Verdict != record.Pass && g.Name != "client" && g.Name != "leader" { // a machine in trouble fails those
			t.Errorf("gate %s: %s %s", g.Name, g.Verdict, g.Reason)
		}
	}
	if c := outcome.Folder.Manifest().Cells[0]; c.Engine.Version == "unknown" || c.Engine.Version == "" || c.Levels[0].Value != "etcd" {
		t.Errorf("the cell is described as %+v", c)
	}
	if err := report.Write(t.Context(), outcome.Folder, runner.Kinds()); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(outcome.Folder.Dir() + "/results.csv")
	for _, want := range []string{"system=etcd;clients=4", `,etcd,"bbolt and WAL, etcd's own",`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s, %v", want, text, err)
		}
	}
}
