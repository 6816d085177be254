package formation

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

func TestFormationGates(t *testing.T) {
	node1 := system.Leadership{ID: "node1", Term: 2}
	for name, c := range map[string]struct {
		gate   record.Gate
		want   record.Verdict
		reason string
	}{
		"all run":        {aliveGate(nil), record.Pass, ""},
		"one stopped":    {aliveGate(errors.New("node2 stopped")), record.Fail, "node2 stopped"},
		"one leader":     {oneLeaderGate(node1, []system.Leadership{node1}), record.Pass, ""},
		"another":        {oneLeaderGate(node1, []system.Leadership{{ID: "node2", Term: 2}}), record.Fail, "node2"},
		"another term":   {oneLeaderGate(node1, []system.Leadership{{ID: "node1", Term: 3}}), record.Fail, "term 3"},
		"none":           {oneLeaderGate(node1, nil), record.Fail, "0 members lead"},
		"two":            {oneLeaderGate(node1, []system.Leadership{node1, {ID: "node2", Term: 3}}), record.Fail, "2 members lead"},
		"all voters":     {votersGate(3, 3), record.Pass, ""},
		"one not voting": {votersGate(2, 3), record.Fail, "2 of 3"},
	} {
		if c.gate.Verdict != c.want || !strings.Contains(c.gate.Reason, c.reason) {
			t.Errorf("%s: %+v", name, c.gate)
		}
	}
}

// TestAllOf: a group is whole when the last of the events has happened, which is
// no earlier than the latest of the earliest moments.
func TestAllOf(t *testing.T) {
	got := allOf(event{at: 30, earliest: 10}, event{at: 25, earliest: 24})
	if want := (event{at: 30, earliest: 24}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func dataOf() *Data {
	return &Data{
		PollNS: 5e6, LeaderNS: 2e9, LeaderErrorNS: 6e6, VotersNS: 3e9, VotersErrorNS: 5e6,
		Traffic: []Traffic{{NS: 2e9, Messages: 10, Bytes: 700}, {NS: 4e9, Messages: 2, Bytes: 100}},
	}
}

func trialOf(t *testing.T, d *Data, failure string) *record.Trial {
	t.Helper()
	trial := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Failure: failure}
	if err := trial.Put(Name, version, d); err != nil {
		t.Fatal(err)
	}
	return trial
}

func TestRead(t *testing.T) {
	v, err := read(nil, trialOf(t, dataOf(), ""))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"leader": 2, "leader.late": 0.006, "voters": 3, "voters.late": 0.005, "messages": 5.5, "bytes": 375} {
		if got := v.Scalars[key]; got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	v, err = read(nil, trialOf(t, &Data{PollNS: 5e6, LeaderNS: 1e9}, "never whole"))
	if _, whole := v.Scalars["voters"]; err != nil || whole || v.Scalars["leader"] != 1 {
		t.Errorf("broken off after the first leader: %+v, %v", v, err)
	}
	if v, err := read(nil, &record.Trial{Failure: "early"}); err != nil || len(v.Scalars) > 0 {
		t.Errorf("failed early: %+v, %v", v, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Data){
		"no leader":           func(d *Data) { d.LeaderNS, d.LeaderErrorNS = 0, 0 },
		"voters before":       func(d *Data) { d.VotersNS = 1e9 },
		"error below zero":    func(d *Data) { d.LeaderErrorNS = -1 },
		"error before start":  func(d *Data) { d.VotersErrorNS = 4e9 },
		"no time":             func(d *Data) { d.Traffic[1].NS = 0 },
		"messages below zero": func(d *Data) { d.Traffic[0].Messages = -1 },
		"more than fits":      func(d *Data) { d.Traffic[0].Bytes = 1 << 62 },
		"poll below zero":     func(d *Data) { d.PollNS = -1 },
	} {
		d := dataOf()
		spoil(d)
		if _, err := read(nil, trialOf(t, d, "")); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := dataOf()
	d.LeaderErrorNS = 9e9
	if _, err := read(nil, trialOf(t, d, "x")); !errors.Is(err, record.ErrDamaged) {
		t.Errorf("failed, but nonsense: %v", err)
	}
}

func TestCheck(t *testing.T) {
	cell := &record.CellInfo{Cell: experiment.Cell{Cluster: experiment.Cluster{Nodes: 2}, Formation: experiment.Formation{Rest: 2e9}}}
	d := dataOf()
	if got := check(cell, trialOf(t, d, ""), measure.Values{}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	d.Traffic[0].NS = 1e9
	if got := check(cell, trialOf(t, d, ""), measure.Values{}); len(got) != 1 || got[0].Field != "formation.traffic[0].ns" {
		t.Errorf("counted for too short a time: %+v", got)
	}
	d.Traffic = d.Traffic[1:]
	if got := check(cell, trialOf(t, d, ""), measure.Values{}); len(got) != 1 || got[0].Field != "formation.traffic" {
		t.Errorf("a node is missing: %+v", got)
	}
	d.Traffic = nil
	dead := trialOf(t, d, "")
	dead.Gates = []record.Gate{aliveGate(errors.New("node2 stopped"))}
	if got := check(cell, dead, measure.Values{}); len(got) > 0 {
		t.Errorf("a process had ended: %+v", got)
	}
}
