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
		text := func(c *cell) string { return l.words(f, c.info).short }
		switch f.Key {
		case keyRate:
			x.Unit = l.unit(measure.OpsPerSecond)
		case keyValueSize: // all in one unit
			x.Unit, text = l.unit(measure.Bytes), f.valueOf
			if !slices.ContainsFunc(f.Levels, func(level string) bool { n, _ := strconv.Atoi(level); return n%1024 != 0 }) {
				x.Unit = l.byteUnits()[1]
				text = func(c *cell) string { return strconv.Itoa(c.info.Load.ValueSize / 1024) }
			}
		}
		out = append(out, column{x, func(c *cell) doc.Cell { return doc.Cell{Text: text(c)} }})
	}
	return out
}

// valueOf is value of a cell.
func (f factor) valueOf(c *cell) string { return f.value(c.info) }

// resultsTable shows what every cell came to. Of durability and valid trials, what is
// alike in all rows is said above instead.
func (l *language) resultsTable(m *model) (above doc.Paragraph, t doc.Table) {
	columns := l.nameColumns(m, true)
	var alike []string
	add := func(c column, said string) {
		first := c.of(m.cells[0]).Text
		if len(m.cells) > 1 && !slices.ContainsFunc(m.cells, func(x *cell) bool { return c.of(x).Text != first }) {
			alike = append(alike, l.fill("%s %s", "%s — %s", said, first))
			return
		}
		columns = append(columns, c)
	}
	add(l.durableColumn(), l.say("durable", "сохранность"))
	for _, q := range m.with(measure.Shown) {
		columns = append(columns, l.quantityColumn(m, q))
	}
	add(l.validColumn(), l.say("valid", "достоверных испытаний"))
	if len(alike) > 0 {
		above.Text = l.say("All cells: ", "Во всех ячейках: ") + strings.Join(alike, ", ") + "."
	}
	t = m.table(columns, m.cells)
	t.Caption = l.say("Medians over the trials with their intervals", "Медианы по испытаниям с доверительными интервалами")
	return above, t
}

// mainTable shows what every cell came to and how it compares, as far as there is room.
func (l *language) mainTable(m *model) doc.Table {
	columns := l.nameColumns(m, false)
	add := func(to *[]int, c column) {
		*to = append(*to, len(columns))
		columns = append(columns, c)
	}
	var durable, compared, others, shown, ratio, otherRatios, valid []int
	add(&durable, l.durableColumn())
	for _, q := range m.with(measure.Compared) {
		add(&compared, l.quantityColumn(m, q))
		to := &otherRatios
		if q.Key == m.headline().Key {
			to = &ratio
		} else {
			others = append(others, compared[len(compared)-1])
		}
		if len(m.factors) > 0 && !m.imposed(q) {
			add(to, column{doc.Column{Head: l.ratioHead(m), Number: true}, func(c *cell) doc.Cell { return l.ratioCell(m.pairOf(c), q) }})
		}
	}
	for _, q := range m.with(measure.Shown) {
		if q.Role == measure.Shown {
			add(&shown, l.quantityColumn(m, q))
		}
	}
	add(&valid, l.validColumn())
	t := m.table(columns, m.cells)
	t.Notes = l.notes(m)
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
		[]doc.Yield{{Columns: slices.Concat(ratio, otherRatios), To: doc.Alone},
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
	i := slices.IndexFunc(m.cells, func(c *cell) bool { return m.factors[0].value(c.info) == m.levels()[m.base] })
	return l.fill("vs %s", "к %s", l.words(m.factors[0], m.cells[max(0, i)].info).named)
}

// quantityColumn has the medians of a quantity.
func (l *language) quantityColumn(m *model, q measure.Quantity) column {
	var medians []float64
	for _, c := range m.cells {
		medians = append(medians, c.sums[q.Key].Median)
	}
	s := l.scale(q.Unit, medians...)
	return column{doc.Column{Head: l.Say(q.Name), Unit: s.name, Number: true}, func(c *cell) doc.Cell { return c.median(q, s) }}
}

// median is a cell of a table with the median of a quantity.
func (c *cell) median(q measure.Quantity, s scale) doc.Cell {
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
}

func (l *language) durableColumn() column {
	return column{doc.Column{Head: l.say("durable", "сохранность")}, func(c *cell) doc.Cell { return doc.Cell{Text: l.Term(c.info.Durability)} }}
}

func (l *language) validColumn() column {
	return column{doc.Column{Head: l.say("valid", "достоверны"), Number: true},
		func(c *cell) doc.Cell { return doc.Cell{Text: strconv.Itoa(c.valid) + "/" + strconv.Itoa(len(c.run))} }}
}

// detailTable is a table of the kind's own; there is none without values.
func (l *language) detailTable(m *model, of measure.Table) (t doc.Table) {
	switch {
	case len(of.Rows) > 0:
		t = l.rowsTable(m, of)
	case len(of.Along) > 0:
		t = l.rampTable(m, of)
	default:
		t = l.perCellTable(m, of)
	}
	t.Caption = l.Say(of.Title)
	if note := l.Say(of.Note); note != "" {
		t.Notes = append(t.Notes, doc.Item{Text: note})
	}
	return t
}

// perCellTable is one with a row for each cell.
func (l *language) perCellTable(m *model, of measure.Table) doc.Table {
	columns := l.nameColumns(m, true)
	names := len(columns)
	for _, key := range of.Quantities {
		measured := slices.ContainsFunc(m.cells, func(c *cell) bool { return c.sums[key].N > 0 })
		if measured {
			x := l.quantityColumn(m, m.kind.Quantity(key))
			x.Spread = doc.Alone
			columns = append(columns, x)
		}
	}
	if len(columns) == names {
		return doc.Table{}
	}
	if len(of.Greatest.Quantities) > 0 {
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
	return m.table(columns, cells)
}

// severalRows is a table in which a cell may have several rows, each with what is in columns.
func (m *model) severalRows(names []column, columns []doc.Column, rows func(*cell) [][]doc.Cell) doc.Table {
	var t doc.Table
	for _, x := range names {
		t.Columns = append(t.Columns, x.Column)
	}
	t.Columns = append(t.Columns, columns...)
	for _, c := range m.cells {
		for i, cells := range rows(c) {
			row := doc.Row{First: i == 0}
			for _, x := range names {
				row.Cells = append(row.Cells, x.of(c))
			}
			row.Cells = append(row.Cells, cells...)
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// rowsTable is one with the rows of a kind of measurement, those that a cell has values of.
func (l *language) rowsTable(m *model, of measure.Table) doc.Table {
	columns, scales := []doc.Column{{Head: l.Say(of.RowsOf)}}, []scale{}
	for i, key := range of.Rows[0].Quantities {
		var medians []float64
		for _, c := range m.cells {
			for _, r := range of.Rows {
				medians = append(medians, c.sums[r.Quantities[i]].Median)
			}
		}
		q := m.kind.Quantity(key)
		s := l.scale(q.Unit, medians...)
		columns, scales = append(columns, doc.Column{Head: l.Say(q.Name), Unit: s.name, Number: true}), append(scales, s)
	}
	return m.severalRows(l.nameColumns(m, true), columns, func(c *cell) (rows [][]doc.Cell) {
		for _, r := range of.Rows {
			if !slices.ContainsFunc(r.Quantities, func(key string) bool { return c.sums[key].N > 0 }) {
				continue
			}
			row := []doc.Cell{{Text: l.Say(r.Name)}}
			for i, key := range r.Quantities {
				row = append(row, c.median(m.kind.Quantity(key), scales[i]))
			}
			rows = append(rows, row)
		}
		return rows
	})
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
			if !math.IsNaN(v) { // the last step may be too short for a rate
				sums[i/step] += v
			}
		}
	}
	out := make([]int64, len(sums))
	for i, v := range sums {
		out[i] = int64(math.Round(v))
	}
	return out
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
