package report

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// DefaultMargin is the share by which two runs may differ without a cause:
// nothing smaller is called a difference between runs.
const DefaultMargin = 0.05

// CompareOptions says how two runs are compared and printed.
type CompareOptions struct {
	// Margin is the share by which a ratio must clear 1 to be called a
	// difference. 0: estimated, at least DefaultMargin.
	Margin float64
	Lang   Lang // empty: English
	Width  int  // columns of the terminal; 0: 80
}

// Direction is what the comparison of one quantity came to.
type Direction string

// The directions of B against A.
const (
	Untested     Direction = "untested"      // too few valid trials
	NoDifference Direction = "no difference" // the test found none
	WithinMargin Direction = "within margin" // found, but no larger than what runs differ by anyway
	Lower        Direction = "lower"
	Higher       Direction = "higher"
)

// Comparison is run B set against run A, cell by cell.
type Comparison struct {
	Cells  []CellComparison
	OnlyA  []string // cells without a counterpart, by label
	OnlyB  []string
	Differ string // qualified key of the one setting in which the runs differ as a whole; empty: none

	Tested int // comparisons in the family
	Found  int // those that are Lower or Higher

	Family []stats.Warning
}

// CellComparison compares one cell of each run.
type CellComparison struct {
	Label      string   // of the cell in A
	A, B       string   // ids of the cells
	Margin     float64  // for p50 and throughput
	TailMargin float64  // for p99
	P50        Quantity // nanoseconds
	P99        Quantity // nanoseconds
	Throughput Quantity // operations per second
	Unequal    []string // durability, acknowledgement or read level differ: what and how
}

// Quantity compares one quantity: the trials of A are the base.
type Quantity struct {
	stats.Comparison
	Direction Direction
}

// quantities returns the quantities in the order in which they are printed.
func (c *CellComparison) quantities() []*Quantity {
	return []*Quantity{&c.P50, &c.P99, &c.Throughput}
}

// errFormation says that a run measured no load.
var errFormation = errors.New("it measured how groups come into being, and only runs under load can be compared with each other; " +
	"put what is to be compared into the matrix of one experiment")

// errNothingToCompare says that no cell of one run has a counterpart.
var errNothingToCompare = errors.New("no cell of one run has a counterpart in the other")

// compareModels compares the cells that belong together. All comparisons are one
// family for the correction after Benjamini and Hochberg.
//
// A test treats trials as independent samples of a cell. Trials of one run share
// the machine's state of that hour, so between runs a test finds that state as
// surely as it finds a change of the software. A difference is therefore called
// one only if the interval of the ratio also lies beyond a margin: see margin.
func compareModels(l *language, a, b *model, margins margins) (Comparison, matchResult) {
	matched := match(a, b)
	c := Comparison{Differ: matched.swapped}
	for _, x := range matched.onlyA {
		c.OnlyA = append(c.OnlyA, l.cellName(a, x))
	}
	for _, x := range matched.onlyB {
		c.OnlyB = append(c.OnlyB, l.cellName(b, x))
	}
	for _, p := range matched.pairs {
		c.Cells = append(c.Cells, l.comparePair(a, p, margins))
	}
	var family []*stats.Comparison
	for i := range c.Cells {
		for _, q := range c.Cells[i].quantities() {
			family = append(family, &q.Comparison)
			if q.Tested {
				c.Tested++
			}
		}
	}
	c.Family = stats.Adjust(family)
	for i := range c.Cells {
		for _, q := range c.Cells[i].quantities() {
			margin := c.Cells[i].Margin
			if q == &c.Cells[i].P99 {
				margin = c.Cells[i].TailMargin
			}
			q.Direction = direction(q.Comparison, margin)
			if q.Direction == Lower || q.Direction == Higher {
				c.Found++
			}
			if q.BaseN > 0 && q.OtherN > 0 {
				c.Family = append(c.Family, q.Warnings...)
			}
		}
	}
	c.Family = distinct(c.Family)
	return c, matched
}

func (l *language) comparePair(a *model, p pair, margins margins) CellComparison {
	fs := a.factors
	if len(fs) == 0 {
		fs = withParts(nil)
	}
	c := CellComparison{Label: l.label(fs, p.a.info), A: p.a.info.ID, B: p.b.info.ID}
	c.Margin, c.TailMargin = margins.of(p)
	for _, u := range inequalities(p.a.info, p.b.info) {
		c.Unequal = append(c.Unequal, fmt.Sprintf("%s: %s → %s", l.Respects[u.what], l.term(u.base), l.term(u.this)))
	}
	p50 := func(r stats.Row) (float64, bool) { return float64(r.All.P50), r.All.Samples > 0 }
	p99 := func(r stats.Row) (float64, bool) { return float64(r.All.P99), r.All.Samples > 0 }
	rate := func(r stats.Row) (float64, bool) { return r.Throughput, r.Window > 0 }
	for i, of := range []func(stats.Row) (float64, bool){p50, p99, rate} {
		var x, y []float64
		if !p.a.invalid() && !p.b.invalid() {
			x, y = values(p.a.used, of), values(p.b.used, of)
		}
		c.quantities()[i].Comparison = stats.Compare(x, y)
	}
	return c
}

// direction decides: the test must have found a difference, and the whole
// interval of the ratio must lie beyond the margin, counted alike in both
// directions.
func direction(c stats.Comparison, margin float64) Direction {
	switch {
	case !c.Tested || !c.HasRatio:
		return Untested
	case !c.Different():
		return NoDifference
	case c.CI.Low > 1+margin:
		return Higher
	case c.CI.High < 1/(1+margin):
		return Lower
	default:
		return WithinMargin
	}
}

// margins are what two runs may differ by because of the machine.
type margins struct {
	given  float64 // by the user; 0: estimated
	disk   drift   // for cells of which one flushes to the disk
	others drift
}

// drift is by which share the machine changed, in the middle of a distribution
// and in its tail.
type drift struct{ middle, tail float64 }

func (d drift) atLeast(o drift) drift { return drift{max(d.middle, o.middle), max(d.tail, o.tail)} }

// estimateMargins takes the drift of the machine from the probes that precede
// every trial, between the two runs and between the first and the second half of
// each: that of a fixed piece of work for all cells, and that of fdatasync for
// those that flush. What a neighbour on the machine costs shows in tails first,
// so p99 is held against the drift of the probes' own p90.
func estimateMargins(a, b *model, given float64) margins {
	if given > 0 {
		d := drift{given, given}
		return margins{given, d, d}
	}
	work := driftOf(a, b, func(p record.Probe) record.Quantiles { return p.WorkUS })
	disk := driftOf(a, b, func(p record.Probe) record.Quantiles { return p.FdatasyncUS })
	others := work.atLeast(drift{DefaultMargin, DefaultMargin})
	return margins{disk: disk.atLeast(others), others: others}
}

func driftOf(a, b *model, of func(record.Probe) record.Quantiles) drift {
	largest := func(quantile func(record.Quantiles) float64) float64 {
		pa := inTime(a, func(r stats.Row) float64 { return quantile(of(r.Probe)) })
		pb := inTime(b, func(r stats.Row) float64 { return quantile(of(r.Probe)) })
		return max(apart(pa, pb), apart(halves(pa)), apart(halves(pb)))
	}
	return drift{
		middle: largest(func(q record.Quantiles) float64 { return q.P50 }),
		tail:   largest(func(q record.Quantiles) float64 { return q.P90 }),
	}
}

func (m margins) of(p pair) (middle, tail float64) {
	d := m.others
	if p.a.info.Durability == "disk" || p.b.info.Durability == "disk" {
		d = m.disk
	}
	return d.middle, d.tail
}

// probesInTime returns the disk probes of all trials, in the order of time.
func probesInTime(m *model) []float64 {
	return inTime(m, func(r stats.Row) float64 { return r.ProbeUS })
}

// inTime returns a figure of all trials that have it, in the order of time.
func inTime(m *model, of func(stats.Row) float64) []float64 {
	rows := slices.Clone(m.rows)
	slices.SortStableFunc(rows, func(x, y stats.Row) int { return x.Started.Compare(y.Started) })
	var figures []float64
	for _, r := range rows {
		if v := of(r); v > 0 {
			figures = append(figures, v)
		}
	}
	return figures
}

func halves(x []float64) (first, second []float64) { return x[:len(x)/2], x[len(x)/2:] }

// apart returns by which share the larger of two medians exceeds the smaller.
func apart(x, y []float64) float64 {
	a, b := stats.Median(x), stats.Median(y)
	if a <= 0 || b <= 0 {
		return 0
	}
	return math.Max(a/b, b/a) - 1
}

// sameDisk compares the probes of the two runs.
func sameDisk(a, b *model) (c stats.Comparison, differ bool) {
	c = stats.Compare(probesInTime(a), probesInTime(b))
	stats.Adjust([]*stats.Comparison{&c})
	return c, c.Different() && math.Abs(math.Log(c.Ratio)) > math.Log(1+DefaultMargin)
}

// machineDifference is a property in which the machines or programs of two runs
// differ.
type machineDifference struct{ name, a, b string }

// machineDifferences compares environments, versions and the way of measuring.
func (l *language) machineDifferences(a, b *model) []machineDifference {
	var out []machineDifference
	add := func(name, x, y string) {
		if x != y {
			out = append(out, machineDifference{name, x, y})
		}
	}
	ta, tb := l.machineTable(a), l.machineTable(b)
	for i := range ta.Rows {
		name := ta.Rows[i].Entries[0].Text
		if !slices.Contains(l.measuredProperties(), name) {
			add(name, entriesOf(ta.Rows[i]), entriesOf(tb.Rows[i]))
		}
	}
	for _, s := range []struct {
		name string
		of   func(*record.CellInfo) string
	}{
		{"load.duration", func(c *record.CellInfo) string { return c.Load.Duration.String() }},
		{"load.warmup", func(c *record.CellInfo) string { return c.Load.Warmup.String() }},
		{"load.op_timeout", func(c *record.CellInfo) string { return c.Load.OpTimeout.String() }},
	} {
		add(s.name, joined(distinctOf(a, s.of)), joined(distinctOf(b, s.of)))
	}
	add("trials", fmt.Sprint(a.manifest.Experiment.Trials), fmt.Sprint(b.manifest.Experiment.Trials))
	add("seed", fmt.Sprint(a.manifest.Experiment.Seed), fmt.Sprint(b.manifest.Experiment.Seed))
	va, vb := l.modules(a), l.modules(b)
	for _, module := range modulesOf(va, vb) {
		add(module, versionsOf(va, module), versionsOf(vb, module))
	}
	return out
}
