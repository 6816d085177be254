package report

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// model is a run in numbers: all that the reports of every format and language
// say is here.
type model struct {
	manifest   record.Manifest
	provenance string // hash of the raw data
	kind       *measure.Kind
	factors    []factor  // those with several levels; the first is the one compared
	cells      []*cell   // by combination of the other factors, then by the first
	groups     [][]*cell // one per combination, in the order of the first factor's levels
	trials     []*trial

	base      int         // level of the first factor that the others are set against
	contrasts []*contrast // of every two levels of the first factor
	machine   []stats.Warning
}

// factor is a factor of the matrix.
type factor struct {
	experiment.Factor
	index int // into Cell.Levels; -1: not of the matrix, see withParts
}

// value returns the level of f in c, as the experiment file has it.
func (f factor) value(c *record.CellInfo) string {
	switch {
	case f.index >= 0:
		return c.Levels[f.index].Value
	case f.Key == keyBackend:
		return c.Backend.Name
	default:
		return c.Transport.Name
	}
}

// cell is one cell of the matrix with what its trials gave.
type cell struct {
	info *record.CellInfo
	run  []*trial // trials that were run
	used []*trial // those that the figures come from

	planned  int
	valid    int
	settings settings

	sums   map[string]stats.Summary // by the key of the quantity; without those that no trial gave
	rounds map[string][]float64     // by the key of the quantity: see byRound

	gates    []gateSummary
	warnings []stats.Warning
}

// trial is one trial with what it gave.
type trial struct {
	record.TrialID
	cell    *cell
	session int
	started time.Time
	leader  string
	probe   record.Probe
	gates   []record.Gate
	values  measure.Values
	reason  string // why it is not valid; empty: it is
}

// inequality is a respect in which two compared cells are not alike.
type inequality struct {
	what       measure.Text
	base, this string
}

// invalid reports that the figures of c must not be believed: no more than half
// of its trials are valid.
func (c *cell) invalid() bool { return len(c.run) > 0 && 2*c.valid <= len(c.run) }

// build computes the model of a run; it ends early, with the error of ctx, once that is
// cancelled.
func build(ctx context.Context, f *record.Folder, catalog measure.Catalog) (*model, error) {
	m := &model{manifest: f.Manifest()}
	var err error
	if m.kind, err = catalog.Lookup(m.manifest.Experiment.Measure); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir(), err)
	}
	trials, err := f.Trials()
	if err != nil {
		return nil, err
	}
	if m.provenance, err = f.Provenance(); err != nil {
		return nil, err
	}
	for i, x := range m.manifest.Experiment.Matrix {
		if len(x.Levels) > 1 {
			m.factors = append(m.factors, factor{x, i})
		}
	}
	byID := map[string]*cell{}
	for i := range m.manifest.Cells {
		c := &cell{info: &m.manifest.Cells[i], sums: map[string]stats.Summary{}, rounds: map[string][]float64{}}
		if c.settings, err = settingsOf(c.info); err != nil {
			return nil, fmt.Errorf("%s: cell %s: %w", f.Dir(), c.info.ID, err)
		}
		byID[c.info.ID] = c
		m.cells = append(m.cells, c)
	}
	for _, id := range m.manifest.Planned() {
		byID[id.Cell].planned++
	}
	for i := range trials {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := &trials[i]
		c := byID[t.Cell]
		values, err := m.kind.Read(c.info, t)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.Dir(), t.File(), err)
		}
		x := &trial{t.TrialID, c, t.Session, t.Started, t.Leader, t.Probe, t.Gates, values, t.InvalidReason()}
		c.run = append(c.run, x)
		m.trials = append(m.trials, x)
	}
	m.derive()
	m.arrange()
	for _, c := range m.cells {
		c.summarize(m.kind)
	}
	m.base = m.baseline()
	if err := m.compare(ctx); err != nil {
		return nil, err
	}
	m.machine = stats.CheckMachine(m.inTime(flushes))
	return m, nil
}

// derive has the kind complete the values of the trials.
func (m *model) derive() {
	if m.kind.Derive == nil {
		return
	}
	var all []measure.Measured
	for _, t := range m.trials {
		if t.session < len(m.manifest.Sessions) && t.values.Scalars != nil {
			all = append(all, measure.Measured{
				Cell: t.cell.info, Session: &m.manifest.Sessions[t.session], Probe: t.probe, Values: &t.values, Valid: t.reason == "",
			})
		}
	}
	m.kind.Derive(all)
}

// inTime returns a figure of all trials that have it, in the order of time.
func (m *model) inTime(of func(*trial) float64) []float64 {
	trials := slices.Clone(m.trials)
	slices.SortStableFunc(trials, func(x, y *trial) int { return x.started.Compare(y.started) })
	var figures []float64
	for _, t := range trials {
		if v := of(t); v > 0 {
			figures = append(figures, v)
		}
	}
	return figures
}

// infos are the cells as the kind knows them.
func (m *model) infos() []*record.CellInfo {
	out := make([]*record.CellInfo, len(m.cells))
	for i, c := range m.cells {
		out[i] = c.info
	}
	return out
}

// arrange sorts the cells by combination of the other factors and then by the
// first factor, and makes the groups. Both keep the order of the file.
func (m *model) arrange() {
	place := map[string]int{}
	for _, c := range m.cells {
		key := ""
		for _, f := range m.others() {
			key += f.value(c.info) + "\x00"
		}
		i, ok := place[key]
		if !ok {
			i = len(m.groups)
			place[key] = i
			m.groups = append(m.groups, nil)
		}
		m.groups[i] = append(m.groups[i], c)
	}
	m.cells = nil
	for _, g := range m.groups {
		if len(m.factors) > 0 {
			first := m.factors[0]
			slices.SortStableFunc(g, func(a, b *cell) int {
				return slices.Index(first.Levels, first.value(a.info)) - slices.Index(first.Levels, first.value(b.info))
			})
		}
		m.cells = append(m.cells, g...)
	}
}

// first returns the factor that is compared, if there is one.
func (m *model) first() []factor { return m.factors[:min(1, len(m.factors))] }

// others returns the factors but the first.
func (m *model) others() []factor { return m.factors[min(1, len(m.factors)):] }

// summarize computes the figures of a cell from its valid trials; from those
// that were measured at all where none is valid, to be shown as invalid.
func (c *cell) summarize(kind *measure.Kind) {
	for _, t := range c.run {
		if t.reason == "" {
			c.used = append(c.used, t)
		}
	}
	if c.valid = len(c.used); c.valid == 0 {
		for _, t := range c.run {
			if slices.ContainsFunc(kind.Answer, func(key string) bool { _, measured := t.values.Of(kind.Quantity(key)); return measured }) {
				c.used = append(c.used, t)
			}
		}
	}
	for _, q := range kind.Quantities {
		if values := c.valuesOf(q); len(values) > 0 {
			c.sums[q.Key] = stats.Summarize(values)
		}
		c.rounds[q.Key] = c.takeByRound(q)
	}
	c.gates = summarizeGates(c.run)
	for _, q := range kind.With(measure.Shown) {
		if !isTail(q) {
			c.warnings = append(c.warnings, stats.CheckSpread(q.Key, c.sums[q.Key])...)
		}
	}
	for _, t := range c.used {
		c.warnings = append(c.warnings, courseWarnings(kind, t)...)
	}
}

// isTail reports whether a quantity is a percentile that few operations decide.
func isTail(q measure.Quantity) bool { return q.Of != "" && q.PerMille > 900 }

// valuesOf takes a quantity from each trial that has it.
func (c *cell) valuesOf(q measure.Quantity) []float64 {
	var out []float64
	for _, t := range c.used {
		if v, there := t.values.Of(q); there {
			out = append(out, v)
		}
	}
	return out
}

// byRound is a quantity of each round, NaN where no trial gives it: the trials of one number,
// one of each cell, are a round.
func (c *cell) byRound(q measure.Quantity) []float64 { return c.rounds[q.Key] }

func (c *cell) takeByRound(q measure.Quantity) []float64 {
	var out []float64
	for _, t := range c.used {
		if v, there := t.values.Of(q); there && !t.values.AtLeast[q.Key] {
			for len(out) < t.Trial {
				out = append(out, math.NaN())
			}
			out[t.Trial-1] = v
		}
	}
	return out
}

// unsure reports that some trial has too few samples beyond a percentile.
func (c *cell) unsure(q measure.Quantity) bool {
	percentile := q.Of != "" && q.PerMille < 1000
	return slices.ContainsFunc(c.used, func(t *trial) bool {
		return t.values.Unsure[q.Key] ||
			percentile && t.values.Distributions[q.Of] != nil && !stats.Reliable(q.PerMille, t.values.Independent(q.Of))
	})
}

// pooled merges a distribution of the trials that the figures come from.
func (c *cell) pooled(name string) (*hdrhistogram.Histogram, error) {
	var hs []*hdrhistogram.Histogram
	for _, t := range c.used {
		hs = append(hs, t.values.Distributions[name])
	}
	return record.MergeHistograms(hs...)
}

// with returns the quantities of at least that role, without those that no trial gave: a
// run may be older than a quantity.
func (m *model) with(role measure.Role) []measure.Quantity {
	measured := func(q measure.Quantity) bool {
		return slices.ContainsFunc(m.cells, func(c *cell) bool { return c.sums[q.Key].N > 0 })
	}
	return slices.DeleteFunc(m.kind.With(role), func(q measure.Quantity) bool {
		return !measured(q) && (q.Some || slices.ContainsFunc(m.kind.Quantities, measured))
	})
}

// answers are the quantities that the answer is about, without those that no trial gave.
func (m *model) answers() []measure.Quantity {
	var out []measure.Quantity
	for _, key := range m.kind.Answer {
		if slices.ContainsFunc(m.cells, func(c *cell) bool { return c.sums[key].N > 0 }) {
			out = append(out, m.kind.Quantity(key))
		}
	}
	return slices.DeleteFunc(out, m.imposed)
}

// headline is the quantity that cells are mainly compared by.
func (m *model) headline() measure.Quantity {
	return append(m.answers(), m.kind.Headline())[0]
}

// comparisons counts the comparisons between cells by their verdict.
func (m *model) comparisons() (all int, by map[stats.Verdict]int) {
	by = map[stats.Verdict]int{}
	for _, c := range m.contrasts {
		for _, p := range c.pairs {
			for _, vs := range p.vs {
				all++
				by[vs.Verdict(stats.DefaultMargin)]++
			}
		}
	}
	return all, by
}

// appendNew appends what is not there yet.
func appendNew[T comparable](to []T, more ...T) []T {
	for _, x := range more {
		if !slices.Contains(to, x) {
			to = append(to, x)
		}
	}
	return to
}

func inequalities(base, this *record.CellInfo) []inequality {
	var out []inequality
	for _, x := range []inequality{
		{measure.Text{En: "durability", Ru: "сохранность"}, base.Durability, this.Durability},
		{measure.Text{En: "acknowledgement", Ru: "момент подтверждения"}, base.Acknowledgement, this.Acknowledgement},
		{measure.Text{En: "read level", Ru: "уровень чтения"}, base.ReadLevel, this.ReadLevel},
	} {
		if x.base != x.this {
			out = append(out, x)
		}
	}
	return out
}

// gateSummary is one gate over all trials of a cell: the worst of them.
type gateSummary struct {
	record.Gate
	failed, judged int // trials
}

// summarizeGates keeps the gates in the order of their first appearance.
func summarizeGates(trials []*trial) []gateSummary {
	var out []gateSummary
	for _, t := range trials {
		for _, g := range t.gates {
			i := slices.IndexFunc(out, func(s gateSummary) bool { return s.Name == g.Name })
			if i < 0 {
				i = len(out)
				out = append(out, gateSummary{Gate: g})
			}
			if worse(g, out[i].Gate) {
				out[i].Gate = g
			}
			if g.Verdict != record.Skip {
				out[i].judged++
			}
			if g.Verdict == record.Fail {
				out[i].failed++
			}
		}
	}
	return out
}

// worse orders gates of one name: a failure before a pass before a skip, then by
// the figure.
func worse(a, b record.Gate) bool {
	order := []record.Verdict{record.Skip, record.Pass, record.Fail}
	if x, y := slices.Index(order, a.Verdict), slices.Index(order, b.Verdict); x != y {
		return x > y
	}
	if a.AtLeast {
		return a.Figure < b.Figure
	}
	return a.Figure > b.Figure
}
