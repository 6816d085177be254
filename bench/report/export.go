package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// jsonFile is the run in numbers, for programs.
const jsonFile = "report.json"

// jsonVersion is the version of report.json. A program that reads one of a version that
// it knows finds all members that it knows: members are added, and a change of meaning
// raises the version. docs/run-folder.md describes it.
const jsonVersion = 1

type jsonReport struct {
	Version     int              `json:"version"`
	Run         jsonRun          `json:"run"`
	Factors     []jsonFactor     `json:"factors"`
	Quantities  []jsonQuantity   `json:"quantities"`
	Cells       []jsonCell       `json:"cells"`
	Comparisons []jsonComparison `json:"comparisons"`
	// LevelComparisons are of levels of the compared factor over all combinations of the
	// others.
	LevelComparisons []jsonComparison  `json:"level_comparisons"`
	Answer           map[Lang]string   `json:"answer"`
	Cautions         map[Lang][]string `json:"cautions"`
	Stamp            string            `json:"stamp"`
}

type jsonRun struct {
	Provenance string   `json:"provenance"` // of the raw data
	Experiment string   `json:"experiment"` // hash of the resolved experiment
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Measure    string   `json:"measure"`
	Seed       uint64   `json:"seed"`
	Planned    int      `json:"trials_planned"`
	Run        int      `json:"trials_run"`
	Started    []string `json:"started"` // of each session
	Raftlab    []string `json:"raftlab"` // of each session
}

type jsonFactor struct {
	Name   string   `json:"name"`
	Key    string   `json:"key,omitempty"` // qualified; none where a level sets several
	Levels []string `json:"levels"`
}

type jsonQuantity struct {
	Key    string          `json:"key"`
	Name   map[Lang]string `json:"name,omitempty"`
	Unit   measure.Unit    `json:"unit"`
	Column string          `json:"column,omitempty"` // of results.csv
}

type jsonCell struct {
	ID              string                 `json:"id"`
	Levels          map[string]string      `json:"levels"`
	Settings        map[string]string      `json:"settings"`
	Durability      string                 `json:"durability"`
	Acknowledgement string                 `json:"acknowledgement"`
	ReadLevel       string                 `json:"read_level,omitempty"`
	Planned         int                    `json:"trials_planned"`
	Run             int                    `json:"trials_run"`
	Valid           int                    `json:"trials_valid"`
	Invalid         bool                   `json:"invalid"` // its values must not be used
	Values          map[string]jsonSummary `json:"values"`  // by the key of the quantity, in its unit
	Gates           []jsonGate             `json:"gates"`
	Warnings        []jsonWarning          `json:"warnings,omitempty"`
}

type jsonSummary struct {
	N        int       `json:"n"`
	Median   float64   `json:"median"`
	Interval *interval `json:"interval,omitempty"`
	Coverage float64   `json:"coverage,omitempty"` // probability that the interval holds the true median
	Unsure   bool      `json:"unsure,omitempty"`   // too few samples beyond the percentile
	AtLeast  bool      `json:"at_least,omitempty"` // in some trial it is a lower bound
}

type interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

type jsonGate struct {
	Name    string         `json:"name"`
	Verdict record.Verdict `json:"verdict"` // the worst of the trials
	Figure  float64        `json:"figure"`
	Limit   float64        `json:"limit"`
	AtLeast bool           `json:"at_least,omitempty"`
	Unit    string         `json:"unit,omitempty"`
	Failed  int            `json:"failed"`
	Judged  int            `json:"judged"`
}

type jsonWarning struct {
	Code    stats.Code      `json:"code"`
	Subject string          `json:"subject,omitempty"`
	Have    float64         `json:"have"`
	Want    float64         `json:"want"`
	Text    map[Lang]string `json:"text"`
}

type jsonComparison struct {
	Base     string    `json:"base"` // id of a cell, or a level
	Other    string    `json:"other"`
	Quantity string    `json:"quantity"`
	N        int       `json:"n"` // rounds
	Verdict  string    `json:"verdict"`
	Ratio    *float64  `json:"ratio,omitempty"` // other / base
	Interval *interval `json:"interval,omitempty"`
	Coverage float64   `json:"coverage,omitempty"`
	P        float64   `json:"p"`
	Adjusted float64   `json:"p_adjusted"` // for the whole family
	Unequal  []string  `json:"unequal,omitempty"`
}

// inBoth says something in each language.
func inBoth[T any](say func(*language) T) map[Lang]T {
	return map[Lang]T{English: say(newLanguage(English)), Russian: say(newLanguage(Russian))}
}

// exportedRun says which run it is.
func (m *model) exportedRun() jsonRun {
	e := m.manifest.Experiment
	out := jsonRun{
		Provenance: m.provenance, Experiment: e.Hash(), Name: e.Name, Title: e.Title, Measure: e.Measure, Seed: e.Seed,
		Planned: len(m.manifest.Planned()), Run: len(m.trials), Started: []string{}, Raftlab: []string{},
	}
	for _, s := range m.manifest.Sessions {
		out.Started = append(out.Started, s.Started.UTC().Format(time.RFC3339))
		out.Raftlab = append(out.Raftlab, s.Environment.Raftlab)
	}
	return out
}

// exported is the model for programs.
func (m *model) exported() jsonReport {
	out := jsonReport{Version: jsonVersion, Stamp: stamp(), Run: m.exportedRun(), Cells: []jsonCell{}}
	out.Comparisons, out.LevelComparisons = m.exportedComparisons()
	for _, f := range m.manifest.Experiment.Matrix {
		out.Factors = append(out.Factors, jsonFactor{f.Name, f.Key, f.Levels})
	}
	for _, q := range m.kind.Quantities {
		if q.Some && !slices.ContainsFunc(m.cells, func(c *cell) bool { return c.sums[q.Key].N > 0 }) {
			continue
		}
		x := jsonQuantity{Key: q.Key, Unit: q.Unit, Column: q.Column}
		if q.Name.En != "" {
			x.Name = inBoth(func(l *language) string { return l.longName(q) })
		}
		out.Quantities = append(out.Quantities, x)
	}
	for _, c := range m.cells {
		out.Cells = append(out.Cells, m.exportedCell(c))
	}
	out.Answer = inBoth(func(l *language) string { a := l.answer(m); return strings.TrimSpace(a.headline() + " " + a.command) })
	out.Cautions = inBoth(func(l *language) []string { return l.cautions(m, false) })
	return out
}

func (m *model) exportedCell(c *cell) jsonCell {
	x := jsonCell{
		ID: c.info.ID, Levels: map[string]string{}, Settings: c.settings.all(),
		Durability: c.info.Durability, Acknowledgement: c.info.Acknowledgement, ReadLevel: c.info.ReadLevel,
		Planned: c.planned, Run: len(c.run), Valid: c.valid, Invalid: c.invalid(), Values: map[string]jsonSummary{}, Gates: []jsonGate{},
	}
	for _, level := range c.info.Levels {
		x.Levels[level.Factor] = level.Value
	}
	for _, q := range m.kind.Quantities {
		sum, measured := c.sums[q.Key]
		if !measured || math.IsInf(sum.Median, 0) || math.IsNaN(sum.Median) { // which JSON has not
			continue
		}
		v := jsonSummary{N: sum.N, Median: sum.Median, Unsure: c.unsure(q), AtLeast: c.atLeast(q)}
		if sum.HasCI() {
			v.Interval, v.Coverage = &interval{sum.CI.Low, sum.CI.High}, sum.Coverage
		}
		x.Values[q.Key] = v
	}
	for _, g := range c.gates {
		x.Gates = append(x.Gates, jsonGate{g.Name, g.Verdict, g.Figure, g.Limit, g.AtLeast, g.Unit, g.failed, g.judged})
	}
	for _, w := range c.warnings {
		x.Warnings = append(x.Warnings, jsonWarning{w.Code, w.Subject, w.Have, w.Want, inBoth(func(l *language) string { return l.warning(m.kind, w) })})
	}
	return x
}

// exportedComparisons are those of cells, and of levels over all combinations of the other
// factors where there are several.
func (m *model) exportedComparisons() (cells, levels []jsonComparison) {
	cells, levels = []jsonComparison{}, []jsonComparison{}
	for _, x := range m.contrasts {
		for _, q := range m.compared() {
			for _, p := range x.pairs {
				if vs := p.vs[q.Key]; vs != nil {
					c := exportedComparison(p.base.info.ID, p.this.info.ID, q, *vs)
					for _, u := range p.unequal {
						c.Unequal = append(c.Unequal, u.what.En)
					}
					cells = append(cells, c)
				}
			}
			if over := x.on(q); over.N > 0 && len(m.groups) > 1 {
				c := exportedComparison(m.levels()[x.base], m.levels()[x.this], q, over.Comparison)
				c.Verdict = verdictName(over.Verdict(stats.DefaultMargin))
				levels = append(levels, c)
			}
		}
	}
	return cells, levels
}

func exportedComparison(base, other string, q measure.Quantity, vs stats.Comparison) jsonComparison {
	x := jsonComparison{
		Base: base, Other: other, Quantity: q.Key, N: vs.N, P: vs.P, Adjusted: vs.Adjusted,
		Verdict: verdictName(vs.Verdict(stats.DefaultMargin)),
	}
	if vs.HasRatio {
		x.Ratio = &vs.Ratio
		if vs.HasCI() {
			x.Interval, x.Coverage = &interval{vs.CI.Low, vs.CI.High}, vs.Coverage
		}
	}
	return x
}

func verdictName(v stats.Verdict) string {
	switch v {
	case stats.Differs:
		return "differs"
	case stats.Equal:
		return "equal"
	case stats.Undecided:
		return "undecided"
	default:
		return "not compared"
	}
}

// encodeJSON writes a value for programs, and for people to look at.
func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("%s: %w", jsonFile, err)
	}
	return out.Bytes(), nil
}
