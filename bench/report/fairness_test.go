package report

import (
	"io"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// TestFamiliesApart: runs of different families are not compared, and a report says of which
// family its run is.
func TestFamiliesApart(t *testing.T) {
	of := func(family string) synth { return stores(func(s *synth) { s.family = family }) }
	if c, _ := compared(t, of(experiment.FamilyAligned), of(experiment.FamilyAligned), CompareOptions{}); len(c.cells) != 4 {
		t.Errorf("of one family: %d cells are compared", len(c.cells))
	}
	for other, want := range map[string]string{experiment.FamilyRecommended: "families of settings, aligned and recommended", "": "aligned and none"} {
		err := Compare(t.Context(), io.Discard, catalog(), of(experiment.FamilyAligned).folder(t), of(other).folder(t), CompareOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("aligned and %q: %v", other, err)
		}
	}
	files := rendered(t, of(experiment.FamilyAligned).folder(t))
	for name, want := range map[string]string{"report.md": "**Family of settings.** Aligned: all", "report.ru.md": "**Семейство настроек.** Выровненные: все", csvFile: "cluster.family"} {
		if !strings.Contains(string(files[name]), want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}

// TestNotProved: a report warns where nobody counted the flushes of writes that are said to be
// on the disk.
func TestNotProved(t *testing.T) {
	files := rendered(t, stores(func(s *synth) {
		s.change = func(tr *record.Trial, _ any) {
			g := record.Gate{Name: measure.FlushGate, Verdict: record.Skip, Limit: 2, AtLeast: true, Unit: "members", Reason: "not counted"}
			if tr.Cell != "c01" {
				g.Verdict, g.Figure = record.Pass, 3
			}
			tr.Gates = append(tr.Gates, g)
		}
	}).folder(t))
	for name, want := range map[string]string{
		"report.md": "is not proved: their flushes were not counted: bolt at 1 client", "report.ru.md": "их сбросы не считались: ",
	} {
		if text := string(files[name]); strings.Count(text, want) != 1 {
			t.Errorf("%s does not say %q once", name, want)
		}
	}
}
