package measure_test

import (
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestLookup: a kind that names what it has not is refused before anything is measured.
func TestLookup(t *testing.T) {
	has := []measure.Quantity{{Key: "a"}, {Key: "b"}}
	for want, kind := range map[string]measure.Kind{
		"":              {Answer: []string{"a"}, Tables: []measure.Table{{Quantities: []string{"a", "b"}}}},
		"no Answer":     {},
		`quantity "c"`:  {Answer: []string{"c"}},
		`quantity "d"`:  {Answer: []string{"a"}, Tables: []measure.Table{{Quantities: []string{"a", "d"}}}},
		`quantity "e"`:  {Answer: []string{"a"}, Figures: []measure.Figure{{Form: measure.ByLevel, Quantities: []string{"e"}}}},
		`line "f"`:      {Answer: []string{"a"}, Figures: []measure.Figure{{Form: measure.OverTime, Quantities: []string{"f"}}}},
		`line "g"`:      {Answer: []string{"a"}, Tables: []measure.Table{{OverTime: "g"}}},
		`"other"; ther`: {Name: "another"},
	} {
		kind.Quantities = has
		name := kind.Name
		if name != "" {
			name = "other"
		}
		_, err := measure.Catalog{&kind}.Lookup(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestPlacedGate: who was made the leader leads before and after, in one term.
func TestPlacedGate(t *testing.T) {
	n1 := system.Leadership{ID: "n1", Term: 3}
	for _, x := range []struct {
		before, after system.Leadership
		want          record.Verdict
	}{
		{n1, n1, record.Pass},
		{n1, system.Leadership{ID: "n1", Term: 4}, record.Fail},
		{n1, system.Leadership{ID: "n2", Term: 4}, record.Fail},
		{system.Leadership{ID: "n2", Term: 3}, system.Leadership{ID: "n2", Term: 3}, record.Fail},
		{system.Leadership{}, n1, record.Fail},
	} {
		if g := measure.PlacedGate("n1", x.before, x.after); g.Verdict != x.want || (g.Reason == "") != (x.want == record.Pass) {
			t.Errorf("%+v to %+v: %+v", x.before, x.after, g)
		}
	}
}
