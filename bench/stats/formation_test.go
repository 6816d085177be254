package stats

import (
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

func TestFormationRow(t *testing.T) {
	trial := record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Formation: &record.Formation{
		LeaderNS: 2e9, LeaderErrorNS: 5e6, VotersNS: 3e9, VotersErrorNS: 7e6,
		Traffic: []record.Traffic{{NS: 2e9, Messages: 10, Bytes: 700}, {NS: 4e9, Messages: 2, Bytes: 100}},
	}}
	row, err := NewRow(&record.CellInfo{}, &trial)
	if err != nil {
		t.Fatal(err)
	}
	want := Formation{
		Leader: 2 * time.Second, LeaderError: 5 * time.Millisecond, Voters: 3 * time.Second, VotersError: 7 * time.Millisecond,
		Messages: 5.5, Bytes: 375, HasTraffic: true,
	}
	if *row.Formation != want || !row.Formation.Whole() {
		t.Errorf("%+v, want %+v", row.Formation, want)
	}
	trial.Formation.Traffic, trial.Formation.VotersNS = nil, 0
	if row, err = NewRow(&record.CellInfo{}, &trial); err != nil || row.Formation.HasTraffic || row.Formation.Whole() {
		t.Errorf("never whole: %+v, %v", row.Formation, err)
	}
	trial.Formation = nil
	if row, err = NewRow(&record.CellInfo{}, &trial); err != nil || row.Formation.Whole() {
		t.Errorf("of a load: %+v, %v", row.Formation, err)
	}
}
