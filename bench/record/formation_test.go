package record

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/bench/experiment"
)

func formationOf(cell string, n int) Trial {
	return Trial{
		TrialID: TrialID{cell, n},
		Formation: &Formation{
			PollNS: 5e6, LeaderNS: 2e9, LeaderErrorNS: 6e6, VotersNS: 3e9, VotersErrorNS: 5e6,
			Traffic: []Traffic{{5e9, 10, 700}, {5e9, 0, 0}},
		},
		Gates: []Gate{{Name: "alive", Verdict: Pass, Unit: "processes"}},
	}
}

func TestFormationReadsBack(t *testing.T) {
	m := manifestOf(session())
	m.Experiment.Measure = experiment.MeasureFormation
	f, err := Create(filepath.Join(t.TempDir(), "run"), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := formationOf("c01", 1)
	if err := f.SaveTrial(want); err != nil {
		t.Fatal(err)
	}
	got, err := f.Trials()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Trial{want}, got); diff != "" {
		t.Error(diff)
	}
	if err := f.SaveTrial(trialOf(t, "c02", 1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a load among formations: %v", err)
	}
	if err := create(t).SaveTrial(want); !errors.Is(err, ErrInvalid) {
		t.Errorf("a formation among loads: %v", err)
	}
	failed := Trial{TrialID: TrialID{"c01", 2}, Failure: "no leader"}
	if err := f.SaveTrial(failed); err != nil {
		t.Errorf("a trial that failed early: %v", err)
	}
}

func TestFormationValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Trial){
		"no leader":            func(tr *Trial) { tr.Formation.LeaderNS, tr.Formation.LeaderErrorNS = 0, 0 },
		"voters before":        func(tr *Trial) { tr.Formation.VotersNS = 1e9 },
		"error below zero":     func(tr *Trial) { tr.Formation.LeaderErrorNS = -1 },
		"error before start":   func(tr *Trial) { tr.Formation.VotersErrorNS = 4e9 },
		"no time":              func(tr *Trial) { tr.Formation.Traffic[1].NS = 0 },
		"messages below zero":  func(tr *Trial) { tr.Formation.Traffic[0].Messages = -1 },
		"more than fits":       func(tr *Trial) { tr.Formation.Traffic[0].Bytes = 1 << 62 },
		"a load too":           func(tr *Trial) { tr.WindowNS = 1 },
		"writes too":           func(tr *Trial) { tr.Writes.Completed = 1 },
		"neither":              func(tr *Trial) { tr.Formation = nil },
		"poll below zero":      func(tr *Trial) { tr.Formation.PollNS = -1 },
		"failed, but nonsense": func(tr *Trial) { tr.Failure, tr.Formation.LeaderErrorNS = "x", 9e9 },
	} {
		tr := formationOf("c01", 1)
		spoil(&tr)
		if err := tr.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := formationOf("c01", 1)
	broken.Failure, broken.Formation = "never whole", &Formation{PollNS: 5e6, LeaderNS: 1e9}
	if err := broken.Validate(); err != nil {
		t.Errorf("broken off after the first leader: %v", err)
	}
}

// TestFirstFormat: a folder of format 1 is read as one of today, and its
// experiment is the same as if it were parsed today.
func TestFirstFormat(t *testing.T) {
	want := manifestOf(session())
	want.Experiment.Measure, want.Experiment.Cluster.Discovery = experiment.MeasureLoad, experiment.DiscoveryStatic
	for i := range want.Cells {
		want.Cells[i].Cluster.Discovery = experiment.DiscoveryStatic
	}
	text, err := encodeJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(text), `"format": 2`, `"format": 1`, 1)
	old = strings.Replace(old, "\"measure\": \"load\",", "", 1)
	old = strings.ReplaceAll(old, ",\n      \"discovery\": \"static\"", "")
	old = strings.ReplaceAll(old, ",\n        \"discovery\": \"static\"", "")
	if strings.Contains(old, "discovery") || strings.Contains(old, "measure\"") {
		t.Fatalf("not of format 1:\n%s", old)
	}
	got, err := decodeManifest([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want.Experiment.Hash() != got.Experiment.Hash() {
		t.Error("another experiment: it could not be resumed")
	}
}
