package report

import (
	"math"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// ramp returns lines of a cell's trials by the steps of its ramp: medians over the trials, with
// their intervals. A step has no value where no trial has.
func (c *cell) ramp(line string) []stats.Summary {
	var steps [][]float64
	for _, t := range c.used {
		for i, v := range t.values.Ramp.Window(line) {
			if i == len(steps) {
				steps = append(steps, nil)
			}
			if !math.IsNaN(v) {
				steps[i] = append(steps[i], v)
			}
		}
	}
	out := make([]stats.Summary, len(steps))
	for i, values := range steps {
		if len(values) > 0 {
			out[i] = stats.Summarize(values)
		}
	}
	return out
}

// unsureAt reports that in some trial the samples of a step are too few for a line.
func (c *cell) unsureAt(line measure.Line, step int) bool {
	if line.PerMille == 0 {
		return false
	}
	for _, t := range c.used {
		samples := t.values.Ramp.Window(measure.Samples)
		if step < len(samples) && !stats.Reliable(line.PerMille, int64(samples[step])) {
			return true
		}
	}
	return false
}

// rampTable has a row for each step of each cell's ramp.
func (l *language) rampTable(m *model, of measure.Table) doc.Table {
	var columns []doc.Column
	scales := map[string]scale{}
	for _, key := range of.Along {
		var medians []float64
		for _, c := range m.cells {
			for _, sum := range c.ramp(key) {
				medians = append(medians, sum.Median)
			}
		}
		line := m.kind.Line(key)
		scales[key] = l.scale(line.Unit, medians...)
		columns = append(columns, doc.Column{Head: l.Say(line.Name), Unit: scales[key].name, Number: true, Spread: doc.Alone})
	}
	return m.severalRows(l.nameColumns(m, true), columns, func(c *cell) [][]doc.Cell {
		rows := make([][]doc.Cell, len(c.ramp(of.Along[0])))
		for _, key := range of.Along {
			for step, sum := range c.ramp(key) {
				at := doc.Cell{Text: markNone}
				if sum.N > 0 {
					v := scales[key].value(sum)
					if c.unsureAt(m.kind.Line(key), step) {
						v.Mark = markUnsure
					}
					at = doc.Cell{Value: v, Invalid: c.invalid()}
				}
				rows[step] = append(rows[step], at)
			}
		}
		return rows
	})
}

// rampPanels set lines along a ramp against the first of them, each in panels of its own.
func (l *language) rampPanels(m *model, of measure.Figure) []doc.Panel {
	over := m.kind.Line(of.Quantities[0])
	values := map[measure.Unit][]float64{}
	for _, key := range of.Quantities {
		for _, c := range m.cells {
			for _, sum := range c.ramp(key) {
				if sum.N > 0 && sum.Median > 0 {
					u := m.kind.Line(key).Unit
					values[u] = append(values[u], reach(sum)...)
				}
			}
		}
	}
	if len(values[over.Unit]) == 0 {
		return nil
	}
	var rates []float64
	for _, c := range m.cells {
		for _, sum := range c.ramp(over.Key) {
			rates = append(rates, sum.Median)
		}
	}
	x := l.axis(l.Say(over.Name), over.Unit, rates, doc.LabelsBelow, false) // the rate changes evenly
	p := panels{l: l}
	for _, key := range of.Quantities[1:] {
		line := m.kind.Line(key)
		if len(values[line.Unit]) == 0 {
			continue
		}
		y := l.axis("", line.Unit, values[line.Unit], doc.LabelsBeside, line.Unit != over.Unit && spans(values[line.Unit]))
		for _, c := range m.cells {
			at := c.ramp(over.Key)
			for i, sum := range c.ramp(key) {
				if sum.N == 0 || sum.Median <= 0 {
					continue
				}
				s := p.series(p.panel(strings.TrimSpace(l.Say(line.Name)+" "+l.circumstance(m.others(), c.info)), x, y), c, m.first())
				mark := markOf(c, at[i].Median, sum)
				s.Marks, s.Line = append(s.Marks, mark), append(s.Line, mark.Point)
			}
		}
	}
	return p.list
}
