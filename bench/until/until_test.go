package until_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/until"
)

func kind() *measure.Kind {
	return &measure.Kind{
		Name: "toy", Answer: []string{"took"}, Quantities: []measure.Quantity{{Key: "x.took", Role: measure.Compared}, {Key: "x.hidden"}},
		Read: func(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
			var took float64
			_, err := t.Get("toy", 1, &took)
			return measure.Values{Scalars: map[string]float64{"x.took": took}}, err
		},
	}
}

// manifest is one of backends × clients.
func manifest(t *testing.T, baseline string, rounds int) *record.Manifest {
	t.Helper()
	e := experiment.Experiment{Name: "toy", Trials: rounds, Measure: "toy", Until: "took within 3%", Baseline: baseline, Matrix: []experiment.Factor{
		{Key: "cluster.backend", Name: "backend", Levels: []string{"inmem", "bolt", "mdb"}}, {Key: "load.clients", Name: "clients", Levels: []string{"1", "16"}},
	}}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	m := &record.Manifest{Experiment: e}
	for _, c := range cells {
		m.Cells = append(m.Cells, record.CellInfo{Cell: c})
	}
	m.Order = record.Order(m.Cells, rounds, 1)
	return m
}

// run makes trials whose values scatter by so many percent, by cell: 0 is not narrow ever.
func run(t *testing.T, m *record.Manifest, rounds int, scatter map[string]float64) (trials []record.Trial) {
	t.Helper()
	for _, id := range m.Order[:rounds*len(m.Cells)] {
		percent, ok := scatter[id.Cell]
		if !ok {
			percent = 20
		}
		sign := float64(2*(id.Trial%2) - 1)
		tr := record.Trial{TrialID: id}
		if err := tr.Put("toy", 1, 100+sign*percent); err != nil {
			t.Fatal(err)
		}
		trials = append(trials, tr)
	}
	return trials
}

func leftOut(t *testing.T, m *record.Manifest, trials []record.Trial) []record.LeftOut {
	t.Helper()
	rule, err := until.NewRule(&m.Experiment, kind())
	if err != nil {
		t.Fatal(err)
	}
	for i := range trials {
		if err := rule.See(nil, &trials[i]); err != nil {
			t.Fatal(err)
		}
	}
	return rule.LeftOut(m)
}

func TestLeftOut(t *testing.T) {
	const narrow = 1
	inmem1, bolt1, mdb1 := "c01", "c03", "c05" // with one client
	for name, c := range map[string]struct {
		baseline string
		rounds   int
		scatter  map[string]float64
		want     []record.LeftOut
	}{
		"too few rounds":              {"", 5, map[string]float64{bolt1: narrow}, nil},
		"one narrow cell":             {"", 8, map[string]float64{bolt1: narrow}, []record.LeftOut{{Cell: bolt1, After: 6}}},
		"a baseline stays":            {"", 8, map[string]float64{inmem1: narrow, bolt1: narrow}, []record.LeftOut{{Cell: bolt1, After: 6}}},
		"a baseline goes with others": {"", 8, map[string]float64{inmem1: narrow, bolt1: narrow, mdb1: narrow}, []record.LeftOut{{Cell: inmem1, After: 6}, {Cell: bolt1, After: 6}, {Cell: mdb1, After: 6}}},
		"another baseline":            {"bolt", 8, map[string]float64{inmem1: narrow, bolt1: narrow}, []record.LeftOut{{Cell: inmem1, After: 6}}},
		"wide":                        {"", 8, map[string]float64{bolt1: 4}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := manifest(t, c.baseline, 10)
			trials := run(t, m, c.rounds, c.scatter)
			got := leftOut(t, m, trials)
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			// With what was left out in fact, the answer is the same.
			m.LeftOut = got
			planned := m.Planned()
			took := slices.DeleteFunc(trials, func(x record.Trial) bool { return !slices.Contains(planned, x.TrialID) })
			if again := leftOut(t, m, took); !slices.Equal(again, got) {
				t.Errorf("again: %v", again)
			}
		})
	}
}

// TestIncompleteRound: a round of which a trial is missing decides nothing, and one that is
// invalid is no sample.
func TestIncompleteRound(t *testing.T) {
	m := manifest(t, "", 10)
	trials := run(t, m, 6, map[string]float64{"c03": 1})
	if got := leftOut(t, m, trials[:len(trials)-1]); got != nil {
		t.Errorf("%v", got)
	}
	for i := range trials {
		if trials[i].Cell == "c03" && trials[i].Trial == 4 {
			trials[i].Failure = "it failed"
		}
	}
	if got := leftOut(t, m, trials); got != nil {
		t.Errorf("with five valid trials: %v", got)
	}
}

func TestNewRule(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"x.took within 2.5%":  "",
		"hidden within 3%":    "it has took",
		"took within 0%":      "above 0%",
		"took under 3%":       "p50 within 3%",
		"p50 within 3% or so": "p50 within 3%",
	} {
		rule, err := until.NewRule(&experiment.Experiment{Until: text, Measure: "toy"}, kind())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if (rule == nil) != (text == "" || err != nil) {
			t.Error(fmt.Sprint("a rule of ", text))
		}
	}
}
