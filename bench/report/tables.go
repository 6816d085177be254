package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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
func (m *model) table(columns []column, of []*cell) doc.Table {
	var t doc.Table
	for _, x := range columns {
		t.Columns = append(t.Columns, x.Column)
	}
	for _, g := range m.groups {
		first := true
		for _, c := range g {
			if !slices.Contains(of, c) {
				continue
			}
			r := doc.Row{First: first}
			for _, x := range columns {
				r.Cells = append(r.Cells, x.of(c))
			}
			t.Rows, first = append(t.Rows, r), false
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

// resultsTable shows what every cell came to. Of durability and valid trials, what is
// alike in all rows is said above instead.
func (l *language) resultsTable(m *model) (above doc.Paragraph, t doc.Table) {
	columns := l.nameColumns(m, true)
	var alike []string
	add := func(c column) {
		first := c.of(m.cells[0]).Text
		if len(m.cells) > 1 && !slices.ContainsFunc(m.cells, func(x *cell) bool { return c.of(x).Text != first }) {
			alike = append(alike, l.fill("%s %s", "%s — %s", c.Head, first))
			return
		}
		columns = append(columns, c)
	}
	add(l.durableColumn())
	for _, q := range m.with(measure.Shown) {
		columns = append(columns, l.quantityColumn(m, q))
	}
	add(l.validColumn())
	if len(alike) > 0 {
		above.Text = l.say("All cells: ", "Все ячейки: ") + strings.Join(alike, ", ") + "."
	}
	t = m.table(columns, m.cells)
	t.Notes = l.notes()
	return above, t
}

// ratiosTable shows how the cells compare with their bases; there is none without a
// factor.
func (l *language) ratiosTable(m *model) (title string, t doc.Table, there bool) {
	if len(m.factors) == 0 {
		return "", t, false
	}
	columns := l.nameColumns(m, true)
	for _, q := range m.with(measure.Compared) {
		columns = append(columns, column{doc.Column{Head: l.Say(q.Name), Number: true}, func(c *cell) doc.Cell { return l.ratioCell(c, q) }})
		if m.comparisons() > 0 {
			columns = append(columns, column{doc.Column{Head: "p", Number: true}, func(c *cell) doc.Cell { return l.pCell(c, q) }})
		}
	}
	t = m.table(columns, m.cells)
	t.Notes = l.notes()
	return l.say("Ratios ", "Отношения ") + l.ratioHead(m), t, true
}

// mainTable shows what every cell came to and how it compares, as far as there is room.
func (l *language) mainTable(m *model) doc.Table {
	columns := l.nameColumns(m, false)
	add := func(to *[]int, c column) {
		*to = append(*to, len(columns))
		columns = append(columns, c)
	}
	var durable, compared, others, shown, ratio, otherRatios, ps, valid []int
	add(&durable, l.durableColumn())
	for _, q := range m.with(measure.Compared) {
		add(&compared, l.quantityColumn(m, q))
		to := &otherRatios
		if q.Key == m.kind.Headline().Key {
			to = &ratio
		} else {
			others = append(others, compared[len(compared)-1])
		}
		if len(m.factors) > 0 {
			add(to, column{doc.Column{Head: l.ratioHead(m), Number: true}, func(c *cell) doc.Cell { return l.ratioCell(c, q) }})
		}
		if m.comparisons() > 0 {
			add(&ps, column{doc.Column{Head: "p", Number: true}, func(c *cell) doc.Cell { return l.pCell(c, q) }})
		}
	}
	for _, q := range m.with(measure.Shown) {
		if q.Role == measure.Shown {
			add(&shown, l.quantityColumn(m, q))
		}
	}
	add(&valid, l.validColumn())
	t := m.table(columns, m.cells)
	t.Notes = l.notes()
	each := func(columns []int, to doc.Spread) (out []doc.Yield) {
		for _, i := range slices.Backward(columns) { // the first stay longest
			out = append(out, doc.Yield{Columns: []int{i}, To: to})
		}
		return out
	}
	kept := valid
	if !slices.ContainsFunc(m.cells, func(c *cell) bool { return c.valid < c.planned }) {
		kept = nil // that all are valid can be left out
	}
	t.Yields = slices.Concat(
		[]doc.Yield{{Columns: ps, To: doc.Gone}, {Columns: slices.Concat(ratio, otherRatios), To: doc.Alone},
			{Columns: slices.Concat(compared, shown), To: doc.Share}, {Columns: durable, To: doc.Gone}},
		each(shown, doc.Alone), each(valid[len(kept):], doc.Gone), each(otherRatios, doc.Gone), each(shown[:max(0, len(shown)-1)], doc.Gone),
		each(compared, doc.Alone), each(shown, doc.Gone), each(others, doc.Gone), each(kept, doc.Gone))
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
func (l *language) quantityColumn(m *model, q measure.Quantity) column {
	var medians []float64
	for _, c := range m.cells {
		medians = append(medians, c.sums[q.Key].Median)
	}
	s := l.scale(q.Unit, medians...)
	return column{doc.Column{Head: l.Say(q.Name), Unit: s.name, Number: true}, func(c *cell) doc.Cell {
		sum, measured := c.sums[q.Key]
		if !measured {
			return doc.Cell{Text: markNone}
		}
		v := s.value(sum)
		switch {
		case c.atLeast(q):
			v.Mark = markLeast
		case c.unsure(q):
			v.Mark = markUnsure
		}
		return doc.Cell{Value: v, Invalid: c.invalid()}
	}}
}

func (l *language) durableColumn() column {
	return column{doc.Column{Head: l.say("durable", "сохранность")}, func(c *cell) doc.Cell { return doc.Cell{Text: l.Term(c.info.Durability)} }}
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
	return &doc.Value{X: vs.Ratio, Low: vs.CI.Low, High: vs.CI.High, Ranged: vs.HasCI(), Unit: "×"}
}

func (l *language) pCell(c *cell, q measure.Quantity) doc.Cell {
	switch vs := c.vs[q.Key]; {
	case c.base == nil:
		return doc.Cell{}
	case vs == nil || !vs.Testable():
		return doc.Cell{Text: markNone}
	default:
		return doc.Cell{Text: l.pValue(vs.Adjusted)}
	}
}

// notes explains the marks that a table may use, but for that of unequal cells: it is
// among what limits the answer.
func (l *language) notes() []doc.Item {
	return []doc.Item{
		{Term: doc.MarkEnds, Text: l.say("95 % interval of the median over the trials", "95-процентный доверительный интервал медианы по испытаниям")},
		{Term: doc.MarkShare, Text: l.say("the farther end of the 95 % interval of the median over the trials",
			"дальняя граница 95-процентного доверительного интервала медианы по испытаниям")},
		{Term: markSame, Text: l.say("the test found no difference", "критерий не обнаружил различия")},
		{Term: markNone, Text: l.say("too few valid trials to compare, or nothing measured", "слишком мало достоверных испытаний для сравнения или нет измерений")},
		{Term: markUnsure, Text: l.say("fewer than 10 samples lie beyond this percentile in some trial: not reliable",
			"в каком-то из испытаний за этим перцентилем лежит меньше 10 измерений: значение ненадёжно")},
		l.leastNote(),
		{Term: doc.MarkInvalid, Text: l.say("the cell is invalid: no more than half of its trials passed the validity gates; its figures must not be used",
			"ячейка недостоверна: проверки прошло не более половины её испытаний; эти значения использовать нельзя")},
		{Term: "p", Text: l.say("paired permutation test by round, two-sided, Westfall–Young over this table",
			"двусторонний парный перестановочный критерий по раундам с поправкой Уэстфолла — Янга по этой таблице")},
	}
}

// detailTable is a table of the kind's own; there is none without values.
func (l *language) detailTable(m *model, of measure.Table) (t doc.Table, there bool) {
	columns := l.nameColumns(m, true)
	for _, key := range of.Quantities {
		measured := slices.ContainsFunc(m.cells, func(c *cell) bool { return c.sums[key].N > 0 })
		if !measured && of.Whole {
			return doc.Table{}, false
		}
		if measured {
			x := l.quantityColumn(m, m.kind.Quantity(key))
			if !of.Interval {
				x.Spread = doc.Alone
			}
			x.of = withoutNoInterval(x.of)
			columns, there = append(columns, x), true
		}
	}
	if len(of.Greatest.Quantities) > 0 && there {
		columns = append(columns, l.greatestColumn(m, of.Greatest))
	}
	if of.OverTime != "" {
		columns = append(columns, column{doc.Column{Head: l.say("over time", "во времени")}, func(c *cell) doc.Cell { return doc.Cell{Series: overTime(c, of.OverTime)} }})
	}
	cells := m.cells
	if of.Sparse {
		cells = slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool {
			return !slices.ContainsFunc(slices.Concat(of.Quantities, of.Greatest.Quantities), func(key string) bool { return c.sums[key].N > 0 })
		})
	}
	t = m.table(columns, cells)
	t.Notes = l.notes()
	if note := l.Say(of.Note); note != "" {
		t.Notes = append([]doc.Item{{Text: note}}, t.Notes...)
	}
	return t, there
}

// withoutNoInterval leaves out the interval of what all trials share.
func withoutNoInterval(of func(*cell) doc.Cell) func(*cell) doc.Cell {
	return func(c *cell) doc.Cell {
		x := of(c)
		if v := x.Value; v != nil && v.Low == v.High {
			v.Ranged = false
		}
		return x
	}
}

// greatestColumn says the greatest median of some quantities, and which it is.
func (l *language) greatestColumn(m *model, of measure.Greatest) column {
	return column{doc.Column{Head: l.Say(of.Name)}, func(c *cell) doc.Cell {
		text, most := markNone, math.Inf(-1)
		for _, key := range of.Quantities {
			if sum, measured := c.sums[key]; measured && sum.Median > most {
				q := m.kind.Quantity(key)
				text, most = l.Say(q.Name)+" "+l.amount(q.Unit, sum.Median), sum.Median
			}
		}
		return doc.Cell{Text: text, Invalid: c.invalid()}
	}}
}

// seriesPoints is how many points a small series has at most.
const seriesPoints = 20

// overTime adds up a line of all trials used over the window, in at most seriesPoints steps
// of equal length.
func overTime(c *cell, line string) []int64 {
	length := 0
	for i, t := range c.used {
		if n := len(t.values.Timeline.Window(line)); i == 0 || n < length {
			length = n
		}
	}
	if length == 0 {
		return nil
	}
	step := (length + seriesPoints - 1) / seriesPoints
	sums := make([]float64, length/step) // what is left over at the end is dropped
	for _, t := range c.used {
		for i, v := range t.values.Timeline.Window(line)[:len(sums)*step] {
			sums[i/step] += v
		}
	}
	out := make([]int64, len(sums))
	for i, v := range sums {
		out[i] = int64(math.Round(v))
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
	return m.table(append(columns, l.validColumn()), m.cells)
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
	if g.Figure == math.Trunc(g.Figure) || math.Abs(g.Figure) < 0.5e-4 { // 0.0000 says no more than 0
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

// csvFile is the name of the table of trials.
const csvFile = "results.csv"

// resultsColumn is one column of results.csv. What a trial does not have is an empty
// field.
type resultsColumn struct {
	name string
	of   func(*trial) string
}

// results is the table of all trials that were run.
func results(m *model) doc.Table {
	var t doc.Table
	columns := resultsColumns(m.kind)
	for _, c := range columns {
		t.Columns = append(t.Columns, doc.Column{Head: c.name})
	}
	for _, x := range m.trials {
		var r doc.Row
		for _, c := range columns {
			r.Cells = append(r.Cells, doc.Cell{Text: c.of(x)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func resultsColumns(kind *measure.Kind) []resultsColumn {
	columns := []resultsColumn{
		{"cell", func(t *trial) string { return t.Cell }},
		{"trial", func(t *trial) string { return strconv.Itoa(t.Trial) }},
		{"engine", func(t *trial) string { return t.cell.info.Engine.Name }},
		{"backend", func(t *trial) string { return t.cell.info.Backend.Name }},
		{"transport", func(t *trial) string { return t.cell.info.Transport.Name }},
		{"nodes", func(t *trial) string { return strconv.Itoa(t.cell.info.Cluster.Nodes) }},
		{"discovery", func(t *trial) string { return t.cell.info.Cluster.Discovery }},
	}
	for _, s := range kind.Columns {
		columns = append(columns, resultsColumn{s.Column, func(t *trial) string { return s.Of(t.cell.info) }})
	}
	for _, q := range kind.Quantities {
		if q.Column != "" {
			columns = append(columns, resultsColumn{q.Column, func(t *trial) string { return fixed(t, q) }})
		}
	}
	if kind.Main != "" {
		columns = append(columns, resultsColumn{"reliable_to", func(t *trial) string { return reliableTo(t, kind.Main) }})
	}
	return append(columns, []resultsColumn{
		{"valid", func(t *trial) string { return strconv.FormatBool(t.reason == "") }},
		{"invalid_reason", func(t *trial) string { return t.reason }},
		{"levels", levels},
		{"durability", func(t *trial) string { return t.cell.info.Durability }},
		{"acknowledgement", func(t *trial) string { return t.cell.info.Acknowledgement }},
		{"read_level", func(t *trial) string { return t.cell.info.ReadLevel }},
		{"probe_fdatasync_p50_us", func(t *trial) string {
			if t.probe.FdatasyncUS.P50 == 0 {
				return ""
			}
			return strconv.FormatFloat(t.probe.FdatasyncUS.P50, 'f', 3, 64)
		}},
		{"leader", func(t *trial) string { return t.leader }},
		{"session", func(t *trial) string { return strconv.Itoa(t.session + 1) }},
		{"started", func(t *trial) string { return t.started.UTC().Format(time.RFC3339) }},
	}...)
}

// fixed writes a quantity with the decimals of its column. 15 digits take off what
// dividing by a power of ten may have added: they decide how a half is rounded.
func fixed(t *trial, q measure.Quantity) string {
	v, there := t.values.Of(q)
	if !there {
		return ""
	}
	if q.Scale != 0 {
		v /= q.Scale
	}
	if short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64); err == nil {
		v = short
	}
	return strconv.FormatFloat(v, 'f', q.Decimals, 64)
}

// levels names the levels of the matrix, for factors without a column.
func levels(t *trial) string {
	var out []string
	for _, x := range t.cell.info.Levels {
		out = append(out, x.Factor+"="+x.Value)
	}
	return strings.Join(out, ";")
}

// reliableTo is the highest of the usual percentiles that has enough samples beyond
// it.
func reliableTo(t *trial, distribution string) string {
	samples := t.values.Independent(distribution)
	for _, perMille := range []int{999, 990, 900, 500} {
		if stats.Reliable(perMille, samples) {
			return "p" + strconv.FormatFloat(float64(perMille)/10, 'f', -1, 64)
		}
	}
	return ""
}
