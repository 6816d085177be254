package report

import (
	"fmt"
	"slices"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// model is a run in numbers: all that the reports of every format and language
// say is here.
type model struct {
	manifest record.Manifest
	factors  []factor // those with several levels; the first is the one compared
	cells    []*cell  // by combination of the other factors, then by the first
	groups   []group  // one per combination
	rows     []stats.Row
	family   []stats.Warning // on the comparisons as a whole
	machine  []stats.Warning

	formation bool // measured is how groups come into being; else, a load
	reads     bool // some cell reads
	mixed     bool // some cell reads and writes
	openLoop  bool // some cell has a schedule
}

// factor is a factor of the matrix.
type factor struct {
	experiment.Factor
	index int // into Cell.Levels; -1: not of the matrix, see constant
}

// value returns the level of f in c, as the experiment file has it.
func (f factor) value(c *record.CellInfo) string {
	if f.index >= 0 {
		return c.Levels[f.index].Value
	}
	switch f.Key {
	case keyBackend:
		return c.Cluster.Backend
	default:
		return c.Cluster.Transport
	}
}

// group is a combination of the levels of all factors but the first: its cells
// are compared with each other.
type group struct {
	key   string
	cells []*cell // in the order of the first factor's levels; the first is the base
}

// cell is one cell of the matrix with what its trials gave.
type cell struct {
	info *record.CellInfo
	run  []stats.Row // trials that were run
	used []stats.Row // those that the figures come from
	raw  []record.Trial

	planned int
	valid   int

	p50, p99, throughput stats.Summary // ns, ns, operations per second
	writes, reads        kind
	formed               formed
	main                 stats.Summary // what the cells are compared by: p50, or the time to all voters

	base    *cell // what it is compared with; nil for a base
	vs      *stats.Comparison
	unequal []inequality

	gates    []gateSummary
	warnings []stats.Warning
}

// kind is one kind of operation in a cell.
type kind struct {
	p50, p99, throughput stats.Summary
	samples              int64 // fewest in any trial used
}

// inequality is a respect in which two compared cells are not alike.
type inequality struct {
	what       respect
	base, this string
}

type respect int

const (
	durability respect = iota
	acknowledgement
	readLevel
)

// invalid reports that the figures of c must not be believed: no more than half
// of its trials are valid.
func (c *cell) invalid() bool { return len(c.run) > 0 && 2*c.valid <= len(c.run) }

// build computes the model of a run.
func build(f *record.Folder) (*model, error) {
	trials, err := f.Trials()
	if err != nil {
		return nil, err
	}
	m := &model{manifest: f.Manifest()}
	m.formation = m.manifest.Experiment.Measure == experiment.MeasureFormation
	for i, x := range m.manifest.Experiment.Matrix {
		if len(x.Levels) > 1 {
			m.factors = append(m.factors, factor{x, i})
		}
	}
	byID := map[string]*cell{}
	for i := range m.manifest.Cells {
		c := &cell{info: &m.manifest.Cells[i]}
		byID[c.info.ID] = c
		m.cells = append(m.cells, c)
		ratio := c.info.Load.ReadRatio
		m.reads = m.reads || ratio > 0
		m.mixed = m.mixed || (ratio > 0 && ratio < 1)
		m.openLoop = m.openLoop || c.info.Load.Rate > 0
	}
	for _, id := range m.manifest.Order {
		byID[id.Cell].planned++
	}
	for i := range trials {
		c := byID[trials[i].Cell]
		row, err := stats.NewRow(c.info, &trials[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Dir(), err)
		}
		c.run = append(c.run, row)
		c.raw = append(c.raw, trials[i])
		m.rows = append(m.rows, row)
	}
	m.arrange()
	for _, c := range m.cells {
		c.summarize()
	}
	m.compare()
	m.machine = stats.CheckMachine(probes(m.rows))
	return m, nil
}

func probes(rows []stats.Row) []float64 {
	var us []float64
	for _, r := range rows {
		us = append(us, r.ProbeUS)
	}
	return us
}

// arrange sorts the cells by combination of the other factors and then by the
// first factor, and makes the groups. Both keep the order of the file.
func (m *model) arrange() {
	place := map[string]int{}
	for _, c := range m.cells {
		key := m.groupKey(c)
		i, ok := place[key]
		if !ok {
			i = len(m.groups)
			place[key] = i
			m.groups = append(m.groups, group{key: key})
		}
		m.groups[i].cells = append(m.groups[i].cells, c)
	}
	m.cells = m.cells[:0:0]
	for i := range m.groups {
		if len(m.factors) > 0 {
			first := m.factors[0]
			slices.SortStableFunc(m.groups[i].cells, func(a, b *cell) int {
				return slices.Index(first.Levels, first.value(a.info)) - slices.Index(first.Levels, first.value(b.info))
			})
		}
		m.cells = append(m.cells, m.groups[i].cells...)
	}
}

func (m *model) groupKey(c *cell) string {
	key := ""
	for _, f := range m.others() {
		key += f.value(c.info) + "\x00"
	}
	return key
}

// others returns the factors but the first.
func (m *model) others() []factor {
	if len(m.factors) == 0 {
		return nil
	}
	return m.factors[1:]
}

// summarize computes the figures of a cell from its valid trials; from those
// that were measured at all where none is valid, to be shown as invalid.
func (c *cell) summarize() {
	for _, r := range c.run {
		if r.Valid {
			c.used = append(c.used, r)
			c.valid++
		}
	}
	if c.valid == 0 {
		for _, r := range c.run {
			if r.All.Samples > 0 || r.Formation.Whole() {
				c.used = append(c.used, r)
			}
		}
	}
	all := kindOf(c.used, func(r stats.Row) stats.Kind { return stats.Kind{Ops: r.Ops, Latency: r.All} })
	c.p50, c.p99, c.throughput = all.p50, all.p99, all.throughput
	c.formed = summarizeFormation(c.used)
	if c.main = c.p50; c.formed.voters.N > 0 {
		c.main = c.formed.voters
	}
	c.writes = kindOf(c.used, func(r stats.Row) stats.Kind { return r.Writes })
	c.reads = kindOf(c.used, func(r stats.Row) stats.Kind { return r.Reads })
	c.gates = summarizeGates(c.run)
	c.warnings = append(c.warnings, stats.CheckTrials(c.valid, len(c.run))...)
	c.warnings = append(c.warnings, stats.CheckSpread("p50", c.p50)...)
	c.warnings = append(c.warnings, stats.CheckSpread("throughput", c.throughput)...)
	c.warnings = append(c.warnings, stats.CheckSpread("time to the first leader", c.formed.leader)...)
	c.warnings = append(c.warnings, stats.CheckSpread("time to all voters", c.formed.voters)...)
	for _, r := range c.used {
		c.warnings = append(c.warnings, stats.CheckWindow(fmt.Sprint(r.ID.Trial), r.Intervals)...)
	}
}

func kindOf(rows []stats.Row, of func(stats.Row) stats.Kind) kind {
	var p50, p99, throughput []float64
	k := kind{}
	for _, r := range rows {
		x := of(r)
		if r.Window > 0 {
			throughput = append(throughput, float64(x.Ops)/r.Window.Seconds())
		}
		if x.Latency.Samples > 0 {
			p50 = append(p50, float64(x.Latency.P50))
			p99 = append(p99, float64(x.Latency.P99))
		}
		if k.samples == 0 || x.Latency.Samples < k.samples {
			k.samples = x.Latency.Samples
		}
	}
	k.p50, k.p99, k.throughput = stats.Summarize(p50), stats.Summarize(p99), stats.Summarize(throughput)
	return k
}

// compare sets each cell against the base of its group: the first level of the
// first factor. An invalid cell is compared with nothing.
func (m *model) compare() {
	if len(m.factors) == 0 {
		return
	}
	var family []*stats.Comparison
	for _, g := range m.groups {
		base := g.cells[0]
		for _, c := range g.cells[1:] {
			c.base = base
			c.unequal = inequalities(base.info, c.info)
			if base.invalid() || c.invalid() || len(base.used) == 0 || len(c.used) == 0 {
				continue
			}
			if !m.formation {
				c.vs = versus(base, c, p50Of)
				family = append(family, c.vs)
				continue
			}
			c.vs, c.formed.vsLeader = versus(base, c, votersOf), versus(base, c, leaderOf)
			family = append(family, c.vs, c.formed.vsLeader)
		}
	}
	m.family = stats.Adjust(family)
	for _, g := range m.groups { // what is true of every comparison is said once
		for _, c := range g.cells {
			if c.vs != nil {
				m.family = append(m.family, c.vs.Warnings...)
			}
		}
	}
	m.family = distinct(m.family)
}

func distinct(ws []stats.Warning) []stats.Warning {
	var out []stats.Warning
	for _, w := range ws {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// figureOf is one figure of a trial, if the trial has it.
type figureOf func(stats.Row) (value float64, has bool)

func p50Of(r stats.Row) (float64, bool) { return float64(r.All.P50), r.All.Samples > 0 }

// versus compares a figure of two cells.
func versus(base, c *cell, of figureOf) *stats.Comparison {
	vs := stats.Compare(values(base.used, of), values(c.used, of))
	return &vs
}

// values takes a figure from each row that has it.
func values(rows []stats.Row, of figureOf) []float64 {
	var out []float64
	for _, r := range rows {
		if v, ok := of(r); ok {
			out = append(out, v)
		}
	}
	return out
}

func inequalities(base, this *record.CellInfo) []inequality {
	var out []inequality
	add := func(what respect, a, b string) {
		if a != b {
			out = append(out, inequality{what, a, b})
		}
	}
	add(durability, base.Durability, this.Durability)
	add(acknowledgement, base.Acknowledgement, this.Acknowledgement)
	add(readLevel, base.ReadLevel, this.ReadLevel)
	return out
}

// gateSummary is one gate over all trials of a cell: the worst of them.
type gateSummary struct {
	record.Gate
	failed, judged int // trials
}

// summarizeGates keeps the gates in the order of their first appearance.
func summarizeGates(rows []stats.Row) []gateSummary {
	var out []gateSummary
	for _, r := range rows {
		for _, g := range r.Gates {
			i := slices.IndexFunc(out, func(s gateSummary) bool { return s.Name == g.Name })
			if i < 0 {
				i = len(out)
				out = append(out, gateSummary{Gate: g})
			}
			s := &out[i]
			if worse(g, s.Gate) {
				s.Gate = g
			}
			if g.Verdict != record.Skip {
				s.judged++
			}
			if g.Verdict == record.Fail {
				s.failed++
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
