package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// column is a column of a table of cells.
type column struct {
	doc.Column
	of func(*cell) doc.Cell
}

// table has a row for each cell.
func (m *model) table(columns []column) doc.Table {
	var t doc.Table
	for _, x := range columns {
		t.Columns = append(t.Columns, x.Column)
	}
	for _, g := range m.groups {
		for i, c := range g {
			r := doc.Row{First: i == 0}
			for _, x := range columns {
				r.Cells = append(r.Cells, x.of(c))
			}
			t.Rows = append(t.Rows, r)
		}
	}
	return t
}

// nameColumns are the columns that say which cell a row is: the factors, the
// compared one last, so that what is compared stands together.
func (l *language) nameColumns(m *model, id bool) []column {
	var out []column
	if id {
		out = append(out, column{doc.Column{Head: l.say("cell", "ячейка")}, func(c *cell) doc.Cell { return doc.Cell{Text: c.info.ID} }})
	}
	if len(m.factors) == 0 {
		return append(out, column{doc.Column{Head: l.say("measured", "измерено")},
			func(c *cell) doc.Cell { return doc.Cell{Text: l.fullLabel(nil, c.info)} }})
	}
	for _, f := range slices.Concat(m.others(), m.first()) {
		x := doc.Column{Head: l.words(f, m.cells[0].info).head, Number: isNumeric(f)}
		if f.Key == keyRate {
			x.Unit = l.unit(measure.OpsPerSecond)
		}
		out = append(out, column{x, func(c *cell) doc.Cell { return doc.Cell{Text: l.words(f, c.info).short} }})
	}
	return out
}

// mainTable shows what every cell came to and how it compares. In its full form it
// has the ids of the cells, too.
func (l *language) mainTable(m *model, full bool) doc.Table {
	columns := l.nameColumns(m, full)
	add := func(to *[]int, c column) {
		*to = append(*to, len(columns))
		columns = append(columns, c)
	}
	var durable, compared, shown, ratios, ps, valid []int
	add(&durable, column{doc.Column{Head: l.say("durable", "сохранность")},
		func(c *cell) doc.Cell { return doc.Cell{Text: l.Term(c.info.Durability)} }})
	for _, q := range m.kind.With(measure.Compared) {
		add(&compared, l.quantityColumn(m, q, doc.Ends))
		if len(m.factors) > 0 {
			add(&ratios, column{doc.Column{Head: l.ratioHead(m), Number: true}, func(c *cell) doc.Cell { return l.ratioCell(c, q) }})
		}
		if m.comparisons() > 0 {
			add(&ps, column{doc.Column{Head: "p", Number: true}, func(c *cell) doc.Cell { return l.pCell(c, q) }})
		}
	}
	for _, q := range m.kind.With(measure.Shown) {
		if q.Role == measure.Shown {
			add(&shown, l.quantityColumn(m, q, doc.Ends))
		}
	}
	add(&valid, l.validColumn())
	t := m.table(columns)
	t.Yields = []doc.Yield{{Columns: ps, To: doc.Gone}, {Columns: ratios, To: doc.Alone}, {Columns: slices.Concat(compared, shown), To: doc.Share},
		{Columns: durable, To: doc.Gone}}
	yield := func(to doc.Spread, columns ...int) { t.Yields = append(t.Yields, doc.Yield{Columns: columns, To: to}) }
	for _, i := range shown {
		yield(doc.Alone, i)
	}
	allValid := !slices.ContainsFunc(m.cells, func(c *cell) bool { return c.valid < c.planned })
	if allValid {
		yield(doc.Gone, valid...)
	}
	head := slices.IndexFunc(m.kind.With(measure.Compared), func(q measure.Quantity) bool { return q.Key == m.kind.Headline().Key })
	for i := range ratios {
		if i != head {
			yield(doc.Gone, ratios[i])
		}
	}
	for _, i := range shown[:max(0, len(shown)-1)] {
		yield(doc.Gone, i)
	}
	yield(doc.Alone, compared...)
	yield(doc.Gone, shown...)
	yield(doc.Gone, valid...)
	t.Notes = append(l.notes(m), doc.Item{Term: "p", Text: l.say("Mann–Whitney U test, two-sided, Benjamini–Hochberg over this table",
		"двусторонний критерий Манна — Уитни с поправкой Бенджамини — Хохберга по этой таблице")})
	if full { // else they are among the cautions
		for _, text := range l.inequalities(m) {
			t.Notes = append(t.Notes, doc.Item{Term: markUnequal, Text: text})
		}
	}
	return t
}

// ratioHead names the base, which is the same level in all groups.
func (l *language) ratioHead(m *model) string {
	if l.ru && isNumeric(m.factors[0]) {
		return "к базе" // a counted noun would need its dative
	}
	return l.fill("vs %s", "к %s", l.words(m.factors[0], m.groups[0][0].info).named)
}

// quantityColumn has the medians of a quantity.
func (l *language) quantityColumn(m *model, q measure.Quantity, spread doc.Spread) column {
	var medians []float64
	for _, c := range m.cells {
		medians = append(medians, c.sums[q.Key].Median)
	}
	s := l.scale(q.Unit, medians...)
	return column{doc.Column{Head: l.Say(q.Name), Unit: s.name, Number: true, Spread: spread}, func(c *cell) doc.Cell {
		sum, measured := c.sums[q.Key]
		if !measured {
			return doc.Cell{Text: markNone}
		}
		v := s.value(sum)
		if c.unsure(q) {
			v.Mark = markUnsure
		}
		return doc.Cell{Value: v, Invalid: c.invalid()}
	}}
}

func (l *language) validColumn() column {
	return column{doc.Column{Head: l.say("valid", "годные"), Number: true},
		func(c *cell) doc.Cell { return doc.Cell{Text: strconv.Itoa(c.valid) + "/" + strconv.Itoa(len(c.run))} }}
}

// ratioCell says how a quantity of c compares with that of its base.
func (l *language) ratioCell(c *cell, q measure.Quantity) doc.Cell {
	if c.base == nil {
		return doc.Cell{Text: l.say("base", "база")}
	}
	var out doc.Cell
	switch vs := c.vs[q.Key]; verdictOf(vs) {
	case same:
		out.Text = markSame
	case differs:
		out.Value = ratioValue(*vs)
	default:
		out.Text = markNone
	}
	if len(c.unequal) > 0 {
		out.Mark = markUnequal
	}
	return out
}

func ratioValue(vs stats.Comparison) *doc.Value {
	return &doc.Value{X: vs.Ratio, Low: vs.CI.Low, High: vs.CI.High, Ranged: vs.HasCI, Unit: "×"}
}

func (l *language) pCell(c *cell, q measure.Quantity) doc.Cell {
	switch vs := c.vs[q.Key]; {
	case c.base == nil:
		return doc.Cell{}
	case vs == nil || !vs.Tested:
		return doc.Cell{Text: markNone}
	default:
		return doc.Cell{Text: l.pValue(vs.Adjusted)}
	}
}

// notes explains the marks that a table may use.
func (l *language) notes(m *model) []doc.Item {
	out := []doc.Item{
		{Term: doc.MarkEnds, Text: l.say("95 % interval of the median over the trials", "95-процентный доверительный интервал медианы по испытаниям")},
		{Term: doc.MarkShare, Text: l.say("the farther end of the 95 % interval of the median over the trials",
			"дальняя граница 95-процентного доверительного интервала медианы по испытаниям")},
		{Term: markSame, Text: l.say("the test found no difference", "критерий не обнаружил различия")},
	}
	if len(m.factors) > 0 {
		out = append(out, doc.Item{Term: markNone, Text: l.say("not compared: too few valid trials", "не сравнивалось: слишком мало достоверных испытаний")})
	}
	return append(out, l.figureNotes()...)
}

func (l *language) figureNotes() []doc.Item {
	return []doc.Item{
		{Term: markUnsure, Text: l.say("fewer than 10 samples lie beyond this percentile in some trial: not reliable",
			"в каком-то из испытаний за этим перцентилем лежит меньше 10 измерений: значение ненадёжно")},
		{Term: doc.MarkInvalid, Text: l.say("the cell is invalid: no more than half of its trials passed the validity gates; its figures must not be used",
			"ячейка недостоверна: проверки прошло не более половины её испытаний; эти значения использовать нельзя")},
	}
}

// detailTable is a table of the kind's own; there is none without values.
func (l *language) detailTable(m *model, of measure.Table) (t doc.Table, there bool) {
	columns := l.nameColumns(m, true)
	spread := doc.Alone
	if of.Interval {
		spread = doc.Ends
	}
	for _, key := range of.Quantities {
		measured := slices.ContainsFunc(m.cells, func(c *cell) bool { _, ok := c.sums[key]; return ok })
		if !measured && of.Whole {
			return doc.Table{}, false
		}
		if measured {
			columns = append(columns, l.quantityColumn(m, m.kind.Quantity(key), spread))
			there = true
		}
	}
	if of.OverTime {
		columns = append(columns, column{doc.Column{Head: l.say("over time", "во времени")}, func(c *cell) doc.Cell { return doc.Cell{Series: overTime(c)} }})
	}
	t = m.table(columns)
	if note := l.Say(of.Note); note != "" {
		t.Notes = append(t.Notes, doc.Item{Text: note})
	}
	t.Notes = append(t.Notes, l.notes(m)[0])
	t.Notes = append(t.Notes, l.figureNotes()...)
	return t, there
}

// seriesPoints is how many points a small series has at most.
const seriesPoints = 20

// overTime adds up the series of all trials used, in at most seriesPoints steps of
// equal length.
func overTime(c *cell) []int64 {
	length := 0
	for i, t := range c.used {
		if n := len(t.values.Series); i == 0 || n < length {
			length = n
		}
	}
	if length == 0 {
		return nil
	}
	step := (length + seriesPoints - 1) / seriesPoints
	out := make([]int64, length/step) // what is left over at the end is dropped
	for _, t := range c.used {
		for i, n := range t.values.Series[:len(out)*step] {
			out[i/step] += n
		}
	}
	return out
}

// gatesTable shows the worst figure of each validity gate over the trials.
func (l *language) gatesTable(m *model) doc.Table {
	columns := l.nameColumns(m, true)
	var names []string
	limits := map[string][]string{}
	for _, c := range m.cells {
		for _, g := range c.gates {
			names = appendNew(names, g.Name)
			if g.Verdict != record.Skip {
				limits[g.Name] = appendNew(limits[g.Name], l.gateLimit(g.Gate))
			}
		}
	}
	for _, n := range names {
		columns = append(columns, column{doc.Column{Head: l.Term(n), Unit: strings.Join(limits[n], " / "), Number: true},
			func(c *cell) doc.Cell { return l.gateCell(c, n) }})
	}
	return m.table(append(columns, l.validColumn()))
}

func (l *language) gateCell(c *cell, name string) doc.Cell {
	i := slices.IndexFunc(c.gates, func(g gateSummary) bool { return g.Name == name })
	if i < 0 {
		return doc.Cell{Text: markNone, Class: doc.Skip}
	}
	switch g := c.gates[i]; g.Verdict {
	case record.Skip:
		return doc.Cell{Text: "SKIP", Class: doc.Skip}
	case record.Fail:
		text := "FAIL " + l.gateFigure(g.Gate)
		if g.judged > 1 {
			text += " (" + strconv.Itoa(g.failed) + "/" + strconv.Itoa(g.judged) + ")"
		}
		return doc.Cell{Text: text, Class: doc.Fail}
	default:
		return doc.Cell{Text: "PASS " + l.gateFigure(g.Gate), Class: doc.Pass}
	}
}

// gateFigure shows enough of a gate's figure to see on which side of the limit it
// lies.
func (l *language) gateFigure(g record.Gate) string {
	decimals := doc.Digits(g.Figure)
	if g.Figure == math.Trunc(g.Figure) {
		decimals = 0
	}
	for ; decimals < 6; decimals++ {
		power := math.Pow10(decimals)
		shown := math.Round(g.Figure*power) / power
		if cmp.Compare(shown, g.Limit) == cmp.Compare(g.Figure, g.Limit) {
			break
		}
	}
	return strings.TrimSpace(l.Locale.Number(g.Figure, decimals) + " " + l.Term(g.Unit))
}

func (l *language) gateLimit(g record.Gate) string {
	sign := "≤ "
	if g.AtLeast {
		sign = "≥ "
	}
	return strings.TrimSpace(sign + l.General(g.Limit) + " " + l.Term(g.Unit))
}
