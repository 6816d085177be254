package report

import (
	"strconv"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// A comparison of two runs for programs: as a table with a row for each quantity of each
// pair of cells, and as JSON with the verdict and what has no counterpart.

// String names a direction for programs.
func (d direction) String() string {
	return []string{untested: "not compared", undecided: "undecided", equal: "equal", lower: "lower", higher: "higher"}[d]
}

// comparedRow is a quantity of a pair of cells.
type comparedRow struct {
	cellComparison
	quantityComparison
}

func (c *comparison) rows() []comparedRow {
	var out []comparedRow
	for _, x := range c.cells {
		for _, q := range x.quantities {
			out = append(out, comparedRow{x, q})
		}
	}
	return out
}

// table has values in the unit that the row names.
func (c *comparison) table() doc.Table {
	run := func(m *model) func(comparedRow) string {
		return func(comparedRow) string { return record.ShortID(m.provenance) }
	}
	number := func(there func(comparedRow) bool, of func(comparedRow) float64) func(comparedRow) string {
		return func(r comparedRow) string {
			if !there(r) {
				return ""
			}
			return strconv.FormatFloat(of(r), 'g', 7, 64)
		}
	}
	measured := func(r comparedRow) bool { return r.N > 0 }
	ratio := func(r comparedRow) bool { return r.HasRatio }
	sure := func(r comparedRow) bool { return r.HasRatio && r.HasCI() }
	return dataTable([]dataColumn[comparedRow]{
		{"run_a", run(c.a)}, {"run_b", run(c.b)},
		{"cell_a", func(r comparedRow) string { return r.a.info.ID }},
		{"cell_b", func(r comparedRow) string { return r.b.info.ID }},
		{"levels", func(r comparedRow) string { return levels(r.a) }},
		{"quantity", func(r comparedRow) string { return r.Key }},
		{"unit", func(r comparedRow) string { return string(r.Unit) }},
		{"a", number(measured, func(r comparedRow) float64 { return r.Base })},
		{"b", number(measured, func(r comparedRow) float64 { return r.Other })},
		{"n", func(r comparedRow) string { return strconv.Itoa(r.N) }},
		{"ratio", number(ratio, func(r comparedRow) float64 { return r.Ratio })},
		{"ratio_low", number(sure, func(r comparedRow) float64 { return r.CI.Low })},
		{"ratio_high", number(sure, func(r comparedRow) float64 { return r.CI.High })},
		{"coverage", number(sure, func(r comparedRow) float64 { return r.Coverage })},
		{"p", number(measured, func(r comparedRow) float64 { return r.P })},
		{"p_adjusted", number(measured, func(r comparedRow) float64 { return r.Adjusted })},
		{"margin", number(measured, func(r comparedRow) float64 { return r.margin.of(r.Quantity) })},
		{"verdict", func(r comparedRow) string { return r.direction.String() }},
	}, c.rows())
}

type jsonRuns struct {
	Version     int               `json:"version"`
	A           jsonRun           `json:"a"`
	B           jsonRun           `json:"b"`
	Differ      string            `json:"differ,omitempty"` // key of the one setting in which the runs differ as a whole
	Verdict     map[Lang][]string `json:"verdict"`
	Comparisons []jsonPair        `json:"comparisons"`
	OnlyA       []string          `json:"only_a"` // cells without a counterpart
	OnlyB       []string          `json:"only_b"`
}

type jsonPair struct {
	jsonComparison
	Levels map[string]string `json:"levels"` // of the cell of A
	A      float64           `json:"a"`      // medians, in the unit of the quantity
	B      float64           `json:"b"`
	Margin float64           `json:"margin"`
}

// exported is the comparison for programs.
func (c *comparison) exported() jsonRuns {
	out := jsonRuns{Version: jsonVersion, A: c.a.exportedRun(), B: c.b.exportedRun(), Differ: c.differ, Comparisons: []jsonPair{}, OnlyA: []string{}, OnlyB: []string{}}
	out.Verdict = inBoth(func(l *language) []string {
		first, more := l.comparisonVerdict(c)
		return append([]string{first}, more...)
	})
	for _, r := range c.rows() {
		x := jsonPair{exportedComparison(r.a.info.ID, r.b.info.ID, r.Quantity, r.Comparison), map[string]string{}, r.Base, r.Other, r.margin.of(r.Quantity)}
		x.Verdict = r.direction.String()
		for _, u := range inequalities(r.a.info, r.b.info) {
			x.Unequal = append(x.Unequal, u.what.En)
		}
		for _, level := range r.a.info.Levels {
			x.Levels[level.Factor] = level.Value
		}
		out.Comparisons = append(out.Comparisons, x)
	}
	for _, x := range c.onlyA {
		out.OnlyA = append(out.OnlyA, x.info.ID)
	}
	for _, x := range c.onlyB {
		out.OnlyB = append(out.OnlyB, x.info.ID)
	}
	return out
}
