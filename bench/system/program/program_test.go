package program_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system/program"
	"github.com/themilchenko/raftlab/bench/system/systemtest"
)

func TestContract(t *testing.T) {
	systemtest.Contract(t, program.New(withStandIn(t)), inItsOwnWay)
}

// inItsOwnWay makes of the defaults of an experiment what a program takes.
func inItsOwnWay(e *experiment.Experiment) {
	e.Cluster.Engine, e.Own, e.Load.Client = standIn, []string{standIn}, experiment.ClientRESP
	e.Raft.HeartbeatTimeout = time.Second
}

func cellOf(t *testing.T, edit func(*experiment.Experiment)) experiment.Cell {
	t.Helper()
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Mode = experiment.ModeProcess
	inItsOwnWay(&e)
	edit(&e)
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	return cells[0]
}

// TestDescribe: what a cell shows is what the program says, and what of the cell it has
// nothing for.
func TestDescribe(t *testing.T) {
	s := program.New(withStandIn(t))
	cell := cellOf(t, func(e *experiment.Experiment) {
		e.Raft.HeartbeatTimeout, e.Raft.MaxInFlight = 300*time.Millisecond, 7
		e.Options = experiment.Options{standIn: {"max_append_bytes": "1MiB", "heap": "512m"}}
	})
	if !s.Takes(cell) || s.Takes(experiment.Cell{Cluster: experiment.Cluster{Engine: "etcd"}}) {
		t.Error("the system takes what is a program, and nothing else")
	}
	info, err := s.Describe(t.Context(), cell)
	if err != nil {
		t.Fatal(err)
	}
	if info.Backend.Name != experiment.Own || info.Backend.Library != "hashicorp/raft" || info.Transport.Version != "v0" || info.Durability != "disk" || info.WarmAfter != 7 || info.Protocol != experiment.ClientRESP {
		t.Errorf("%+v", info)
	}
	for key, want := range map[string]string{
		"raft.heartbeat_timeout": "300ms", "raft.max_in_flight": "not honoured by standin", "standin.max_append_bytes": "1048576: not honoured", "standin.heap": "512m",
		"standin.reads": "by read index", "standin.flushes": "not counted: there is no libraftlab-flushes.so ('make engines' builds it)",
	} {
		if info.Runs[key] != want {
			t.Errorf("%s = %q, want %q", key, info.Runs[key], want)
		}
	}
}

func TestDescribeMistakes(t *testing.T) {
	s := program.New(withStandIn(t))
	for want, edit := range map[string]func(*experiment.Experiment){
		`give client = "resp"`:                                   func(e *experiment.Experiment) { e.Load.Client = "" },
		`profile = "wan" is of kvnode`:                           func(e *experiment.Experiment) { e.Cluster.Profile = "wan" },
		`discovery = "gossip" is of kvnode`:                      func(e *experiment.Experiment) { e.Cluster.Discovery = "gossip" },
		`load.target = "all": a follower`:                        func(e *experiment.Experiment) { e.Load.Target = "all" },
		`has no scans`:                                           func(e *experiment.Experiment) { e.Load.Mix.Scan = 1 },
		`read_level = "lease"`:                                   func(e *experiment.Experiment) { e.Load.ReadRatio, e.Load.ReadLevel = 1, "lease" },
		`backend = "bolt"`:                                       func(e *experiment.Experiment) { e.Own, e.Cluster.Backend = nil, "bolt" },
		`unknown key "colour" in [options.standin]`:              func(e *experiment.Experiment) { e.Options = experiment.Options{standIn: {"colour": "red"}} },
		`heartbeat_timeout belongs in [raft]`:                    func(e *experiment.Experiment) { e.Options = experiment.Options{standIn: {"heartbeat_timeout": "1s"}} },
		`raftlab-nowhere is not in`:                              func(e *experiment.Experiment) { e.Cluster.Engine, e.Own = "nowhere", []string{"nowhere"} },
		`a write over the Redis protocol takes at most 16777216`: func(e *experiment.Experiment) { e.Load.ValueSize = 17 << 20 },
	} {
		_, err := s.Describe(t.Context(), cellOf(t, edit))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if missing := strings.Contains(want, "nowhere"); errors.Is(err, program.ErrMissing) != missing {
			t.Errorf("%v: missing is %v", err, missing)
		}
	}
}
