package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/record"
)

// TestFailedOperations: how operations failed stands in the report, the first cause among
// what limits the answer, and a percentile that falls among them is marked.
func TestFailedOperations(t *testing.T) {
	s := synth{name: "failing", trials: 3, load: closedLoop(), change: func(tr *record.Trial, data any) {
		if d := data.(*load.Data); tr.Trial == 2 {
			d.Writes.Failed, d.Errors = 7, map[string]int64{"set \"…\": timeout": 4, "refused": 2, "reset": 1}
			d.First = &load.Failure{Text: "refused", AfterNS: int64(1500 * time.Millisecond)}
		}
	}}
	f := s.folder(t)
	if err := Write(t.Context(), f, catalog()); err != nil {
		t.Fatal(err)
	}
	report, err := f.ReadFile("report.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Operations failed in 1 cell, and count as slower than all others. The first in bolt over tcp, trial 2, 1.50 s after the window had opened: refused.",
		`Operations failed (set "…": timeout): bolt over tcp (4×).`, "Operations failed (refused): bolt over tcp (2×).", "Operations failed (reset): bolt over tcp (1×).",
		"‡", "falls among operations that failed",
	} {
		if !strings.Contains(string(report), want) {
			t.Errorf("report.md does not say %q:\n%s", want, report)
		}
	}
	m, err := build(t.Context(), f, catalog())
	if err != nil {
		t.Fatal(err)
	}
	for key, among := range map[string]bool{"latency.p50": false, "latency.p99": false, "latency.max": true} {
		if got := m.cells[0].atLeast(m.kind.Quantity(key)); got != among {
			t.Errorf("%s falls among the failed: %t", key, got)
		}
	}
}

// TestUnsteadyTrials: a window that is not level, and one that does not begin as the warm-up
// ended, are told once each, whichever line shows it.
func TestUnsteadyTrials(t *testing.T) {
	course := func(warmup, first, second int64) *load.Timeline {
		t := &load.Timeline{StepNS: 1e8, Warmup: 12}
		for i := range int64(12 + 24) {
			n := []int64{warmup, warmup, warmup, first, first, first, second, second, second}[i/4] + i%3
			t.Completed = append(t.Completed, n)
			t.P50US, t.P99US, t.Slow = append(t.P50US, float64(1e6/n)), append(t.P99US, float64(2e6/n)), append(t.Slow, 0)
		}
		return t
	}
	for want, x := range map[string][3]int64{"": {100, 100, 100}, "Not steady": {200, 200, 100}, "warm-up was too short": {50, 200, 200}} {
		s := synth{name: "unsteady", trials: 3, load: closedLoop(), change: func(tr *record.Trial, data any) {
			if d := data.(*load.Data); tr.Trial == 2 {
				d.Timeline = course(x[0], x[1], x[2])
				d.WindowNS, d.Intervals, d.IntervalNS, d.Writes.Completed = 24e8, nil, 0, 0
				for _, n := range d.Timeline.Completed[12:] {
					d.Writes.Completed += n
				}
			}
		}}
		f := s.folder(t)
		m, err := build(t.Context(), f, catalog())
		if err != nil {
			t.Fatal(err)
		}
		told := newLanguage(English).concerns(m)
		told = slices.DeleteFunc(told, func(text string) bool { return !strings.Contains(text, "trial 2") })
		if (want == "") != (len(told) == 0) || want != "" && (len(told) != 1 || !strings.Contains(told[0], want)) {
			t.Errorf("want %q: %q", want, told)
		}
	}
}
