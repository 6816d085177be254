package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Marks in tables. Each one used is explained below its table.
const (
	markSame     = "~"
	markUnequal  = "†"
	markUnsure   = "?"
	markNone     = "–"
	markInvalid  = "(…)"
	markWarn     = "(!)" // in plots
	textOfNoData = "–"
)

// table is a table in a language, for any format.
type table struct {
	Columns []column
	Rows    []row
	Notes   []item // marks and what they mean; an empty mark is a remark
}

type column struct {
	Head, Unit string
	Number     bool // aligned to the right
}

type row struct {
	First   bool // starts a new combination
	Entries []entry
}

type entry struct {
	Text   string
	Struck bool   // an invalid figure
	Class  string // "pass", "fail" or "skip"
	Spark  []int64
}

// header is how a column's head is written in one line.
func (c column) header() string {
	if c.Unit == "" {
		return c.Head
	}
	return c.Head + ", " + c.Unit
}

// spread is how a figure's interval is shown.
type spread int

const (
	ends  spread = iota // [4.41, 4.90]
	share               // ±6 %: the farther end, in percent of the median
	none
)

// layout says what the table of cells shows, so that it can be made to fit.
type layout struct {
	id, durability, p99, rate, pValue, trials bool
	p50Spread, p99Spread, rateSpread          spread
	ratioSpread                               spread
}

func fullLayout() layout {
	return layout{id: true, durability: true, p99: true, rate: true, pValue: true, trials: true}
}

// cellsTable is the main table: the figures of every cell and how it compares.
func (l *language) cellsTable(m *model, lay layout) table {
	var t table
	add := func(show bool, c column) {
		if show {
			t.Columns = append(t.Columns, c)
		}
	}
	p50Unit := unitFor(medians(m, func(c *cell) stats.Summary { return c.p50 })...)
	p99Unit := unitFor(medians(m, func(c *cell) stats.Summary { return c.p99 })...)
	t.Columns = l.nameColumns(m, lay.id)
	add(lay.durability, column{Head: l.Durability})
	add(true, column{"p50", p50Unit.name(l), true})
	add(lay.p99, column{"p99", p99Unit.name(l), true})
	add(lay.rate, column{l.Throughput, l.OpsPerSecond, true})
	compared := len(m.factors) > 0
	add(compared, column{Head: l.ratioHead(m), Number: true})
	lay.pValue = lay.pValue && m.comparisons() > 0
	add(compared && lay.pValue, column{Head: "p", Number: true})
	add(lay.trials, column{Head: l.TrialsHead, Number: true})
	for _, g := range m.groups {
		for i, c := range g.cells {
			r := row{First: i == 0, Entries: l.nameEntries(m, c, lay.id)}
			add := func(show bool, e entry) {
				if show {
					r.Entries = append(r.Entries, e)
				}
			}
			add(lay.durability, entry{Text: l.DurabilityWord[c.info.Durability]})
			add(true, l.latencyEntry(c, c.p50, p50Unit, lay.p50Spread, 500, samplesOf(c)))
			add(lay.p99, l.latencyEntry(c, c.p99, p99Unit, lay.p99Spread, 990, samplesOf(c)))
			add(lay.rate, l.summaryEntry(c, c.throughput, 1, lay.rateSpread, ""))
			add(compared, l.ratioEntry(c, c.vs, lay.ratioSpread))
			add(compared && lay.pValue, l.pEntry(c, c.vs))
			add(lay.trials, entry{Text: strconv.Itoa(c.valid) + "/" + strconv.Itoa(len(c.run))})
			t.Rows = append(t.Rows, r)
		}
	}
	t.Notes = l.notes(m, t, true)
	return t
}

// nameColumns are the columns that say which cell a row is: the factors, the
// compared one last, so that what is compared stands together.
func (l *language) nameColumns(m *model, id bool) []column {
	var out []column
	if id {
		out = append(out, column{Head: l.Cell})
	}
	if len(m.factors) == 0 {
		return append(out, column{Head: l.What})
	}
	for _, f := range m.nameOrder() {
		c := column{Head: l.factorName(f), Number: isNumeric(f)}
		if f.Key == keyRate {
			c.Unit = l.OpsPerSecond
		}
		out = append(out, c)
	}
	return out
}

func (l *language) nameEntries(m *model, c *cell, id bool) []entry {
	var out []entry
	if id {
		out = append(out, entry{Text: c.info.ID})
	}
	if len(m.factors) == 0 {
		return append(out, entry{Text: l.label(withParts(nil), c.info)})
	}
	for _, f := range m.nameOrder() {
		out = append(out, entry{Text: l.short(f, c.info)})
	}
	return out
}

func (m *model) nameOrder() []factor { return append(slices.Clone(m.others()), m.factors[0]) }

// factorName is the name of a factor as a column head.
func (l *language) factorName(f factor) string {
	if name, ok := l.FactorNames[f.Key]; ok {
		return name
	}
	return f.Name
}

// ratioHead names the base where all groups have the same.
func (l *language) ratioHead(m *model) string {
	if len(m.factors) == 0 {
		return ""
	}
	first, base := m.factors[0], m.groups[0].cells[0].info
	to, toBase := l.RatioTo, l.RatioToBase
	if m.formation {
		to, toBase = l.FormationRatioTo, l.FormationRatioToBase
	}
	if l.Code == Russian && isNumeric(first) {
		return toBase // a counted noun would need its dative
	}
	return fill(to, l.named(first, base))
}

func medians(m *model, of func(*cell) stats.Summary) []float64 {
	var out []float64
	for _, c := range m.cells {
		out = append(out, of(c).Median)
	}
	return out
}

func samplesOf(c *cell) int64 {
	least := int64(0)
	for i, r := range c.used {
		if i == 0 || r.All.Samples < least {
			least = r.All.Samples
		}
	}
	return least
}

// latencyEntry is a percentile; too few samples beyond it in any trial mark it.
func (l *language) latencyEntry(c *cell, s stats.Summary, u unit, sp spread, perMille int, samples int64) entry {
	mark := ""
	if len(stats.CheckTail(perMille, samples)) > 0 {
		mark = markUnsure
	}
	return l.summaryEntry(c, s, u.ns, sp, mark)
}

func (l *language) summaryEntry(c *cell, s stats.Summary, scale float64, sp spread, mark string) entry {
	if s.N == 0 {
		return entry{Text: textOfNoData}
	}
	v := s.Median / scale
	text := l.number(v, significant(v)) + mark
	switch {
	case !s.HasCI():
	case sp == ends:
		text += " " + l.interval(s.CI, scale, significant(v))
	case sp == share && s.Median > 0:
		farther := max(s.CI.High-s.Median, s.Median-s.CI.Low) / s.Median
		text += " ±" + l.number(100*farther, 0) + "%"
	}
	return entry{Text: text, Struck: c.invalid()}
}

// ratioEntry says how a figure of c compares with that of its base.
func (l *language) ratioEntry(c *cell, vs *stats.Comparison, sp spread) entry {
	if c.base == nil {
		return entry{Text: l.Base}
	}
	text := markNone
	switch verdictOf(vs) {
	case same:
		text = markSame
	case differs:
		text = l.ratio(vs.Ratio)
		if sp == ends && vs.HasCI {
			text += " " + l.interval(vs.CI, 1, significant(vs.Ratio))
		}
	}
	return entry{Text: text + l.inequalityMark(c)}
}

func (l *language) pEntry(c *cell, vs *stats.Comparison) entry {
	switch {
	case c.base == nil:
		return entry{}
	case vs == nil || !vs.Tested:
		return entry{Text: markNone}
	default:
		return entry{Text: l.pValue(vs.Adjusted)}
	}
}

// notes explains the marks that a table uses; comparing says that it has a
// column of ratios.
func (l *language) notes(m *model, t table, comparing bool) []item {
	uses := func(mark string) bool {
		for _, r := range t.Rows {
			for _, e := range r.Entries {
				if strings.Contains(e.Text, mark) {
					return true
				}
			}
		}
		return false
	}
	var out []item
	switch {
	case uses("["):
		out = append(out, item{"[…]", l.NoteInterval})
	case uses("±"):
		out = append(out, item{"±", l.NoteShare})
	}
	if uses(markSame) {
		note := l.NoteSame
		if m.formation {
			note = l.NoteSameFormation
		}
		out = append(out, item{markSame, note})
	}
	if comparing && len(m.factors) > 0 && uses(markNone) {
		out = append(out, item{markNone, l.NoteNotCompared})
	}
	if uses(markUnsure) {
		out = append(out, item{markUnsure, l.NoteUnsure})
	}
	if slices.ContainsFunc(m.cells, (*cell).invalid) {
		out = append(out, item{markInvalid, l.NoteInvalid})
	}
	if uses(markUnequal) {
		for _, text := range l.inequalitiesOf(m) {
			out = append(out, item{markUnequal, strings.TrimPrefix(text, markUnequal+" ")})
		}
	}
	if slices.ContainsFunc(t.Columns, func(c column) bool { return c.Head == "p" }) && m.comparisons() > 0 {
		out = append(out, item{"p", l.NoteP})
	}
	return out
}

// kindsTable shows reads and writes apart.
func (l *language) kindsTable(m *model) table {
	t := table{Columns: l.nameColumns(m, true)}
	of := []func(*cell) kind{func(c *cell) kind { return c.writes }, func(c *cell) kind { return c.reads }}
	var p50s, p99s []float64
	for _, c := range m.cells {
		for _, k := range of {
			p50s, p99s = append(p50s, k(c).p50.Median), append(p99s, k(c).p99.Median)
		}
	}
	u50, u99 := unitFor(p50s...), unitFor(p99s...)
	for _, name := range []string{l.WritesHead, l.ReadsHead} {
		t.Columns = append(t.Columns,
			column{name + " p50", u50.name(l), true}, column{name + " p99", u99.name(l), true},
			column{name, l.OpsPerSecond, true})
	}
	for _, g := range m.groups {
		for i, c := range g.cells {
			r := row{First: i == 0, Entries: l.nameEntries(m, c, true)}
			for _, k := range of {
				x := k(c)
				r.Entries = append(r.Entries,
					l.latencyEntry(c, x.p50, u50, ends, 500, x.samples),
					l.latencyEntry(c, x.p99, u99, ends, 990, x.samples),
					l.summaryEntry(c, x.throughput, 1, ends, ""))
			}
			t.Rows = append(t.Rows, r)
		}
	}
	t.Notes = l.notes(m, t, false)
	return t
}

// probeText sums up a calibration figure: median and p99.
func (l *language) probeText(q record.Quantiles) string {
	if q.N == 0 {
		return textOfNoData
	}
	return l.latency(q.P50*1e3) + " (p99 " + l.latency(q.P99*1e3) + ")"
}
