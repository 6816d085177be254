package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// figures are those of the kind that the run has data for, in files whose names end
// in suffix.
func (l *language) figures(m *model, suffix string) ([]doc.Figure, error) {
	var out []doc.Figure
	for _, of := range m.kind.Figures {
		f := doc.Figure{
			File:  record.PlotsDir + "/" + of.Name + suffix + ".svg",
			Title: l.Say(of.Title), Caption: l.Say(of.Caption),
		}
		var err error
		switch of.Form {
		case measure.Percentiles:
			f.Panels, err = l.percentilePanels(m, of)
		case measure.Against:
			f.Panels = l.againstPanels(m, m.kind.Quantity(of.Quantities[0]), m.kind.Quantity(of.Quantities[1]), l.Say(of.Axis))
			f.Caption += l.pointsCaption(m)
		case measure.ByLevel:
			f.Panels = l.levelPanels(m, of)
		case measure.Stacked:
			f.Panels = l.stackedPanels(m, of)
		case measure.Waterfall:
			f.Panels = l.waterfallPanels(m, of)
		}
		if err != nil {
			return nil, err
		}
		if len(f.Panels) == 0 {
			continue
		}
		if slices.ContainsFunc(m.cells, (*cell).invalid) {
			f.Caption += " " + markWarn + l.say(" marks an invalid cell.", " отмечает недостоверную ячейку.")
		}
		out = append(out, f)
	}
	return out, nil
}

// logFrom is the ratio of the largest to the smallest value from which an axis
// that may be either is logarithmic.
const logFrom = 8

// axis is the axis of some values of a unit, with room for so many labels:
// logarithmic where it must be or where the values span much. Times and bytes
// have their unit at each label.
func (l *language) axis(label string, u measure.Unit, values []float64, most int, mustLog bool) doc.Axis {
	low, high := slices.Min(values), slices.Max(values)
	logarithmic := mustLog || low > 0 && high/low >= logFrom
	write := l.General
	if multiples(u) {
		whole := l.scaleOf(u, high)
		write = func(v float64) string {
			s := whole
			if logarithmic {
				s = l.scaleOf(u, v)
			}
			return l.General(v/s.one) + " " + s.name
		}
	}
	if logarithmic {
		return doc.LogAxis(label, values, most, write)
	}
	return doc.LinearAxis(label, values, most, write)
}

// axisLabel names a quantity beside an axis; times and bytes have their unit at the ticks.
func (l *language) axisLabel(q measure.Quantity) string {
	if unit := l.unit(q.Unit); !multiples(q.Unit) && unit != "" {
		return l.Say(q.Name) + ", " + unit
	}
	return l.Say(q.Name)
}

// panels collects the panels of a figure; all have the same axes.
type panels struct {
	l    *language
	list []doc.Panel
}

// panel returns the panel of a title.
func (p *panels) panel(title string, x, y doc.Axis) *doc.Panel {
	i := slices.IndexFunc(p.list, func(p doc.Panel) bool { return p.Title == title })
	if i < 0 {
		i = len(p.list)
		p.list = append(p.list, doc.Panel{Title: title, X: x, Y: y})
	}
	return &p.list[i]
}

// series returns the line of a panel that a cell belongs on: each level of the factor
// has one; without a factor there is a single one, which needs no name.
func (p *panels) series(panel *doc.Panel, c *cell, of []factor) *doc.Series {
	var s doc.Series
	for _, f := range of {
		s.Label = p.l.label(of, c.info)
		s.Style = slices.Index(f.Levels, f.value(c.info))
	}
	i := slices.IndexFunc(panel.Series, func(x doc.Series) bool { return x.Label == s.Label })
	if i < 0 {
		i = len(panel.Series)
		panel.Series = append(panel.Series, s)
	}
	return &panel.Series[i]
}

// split takes the factor that gives the lines from those that are left; the rest
// gives the panels.
func split(fs []factor) (lines, rest []factor) { return fs[:min(1, len(fs))], fs[min(1, len(fs)):] }

// percentilePanels draws a distribution by percentile: a panel for each combination
// of the factors but the first, with a line for each level of that one.
func (l *language) percentilePanels(m *model, of measure.Figure) ([]doc.Panel, error) {
	pooled := map[*cell]*hdrhistogram.Histogram{}
	var all []float64
	highest := 0.0
	for _, c := range m.cells {
		h, err := c.pooled(of.Quantities[0])
		if err != nil {
			return nil, err
		}
		if h.TotalCount() >= 2*stats.MinSamplesBeyond { // carries the median at least
			pooled[c] = h
			highest = max(highest, carried(h))
			all = append(all, seconds(h, 0), seconds(h, carried(h)))
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	x, y := l.percentileAxis(highest), l.axis(l.Say(of.Axis), measure.Seconds, all, doc.LabelsBeside, true)
	p := panels{l: l}
	for _, c := range m.cells {
		if pooled[c] != nil {
			s := p.series(p.panel(l.label(m.others(), c.info), x, y), c, m.first())
			curve(s, pooled[c])
			if c.invalid() {
				s.Label = strings.TrimSpace(s.Label + " " + markWarn)
			}
		}
	}
	return p.list, nil
}

// percentileAxis reaches to the highest percentile, a fraction below 1.
func (l *language) percentileAxis(highest float64) doc.Axis {
	a := doc.Axis{Label: l.say("percentile", "перцентиль"), High: highest, Scale: doc.Nines}
	for i, value := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
		if value <= highest {
			a.Ticks = append(a.Ticks, doc.Tick{Value: value, Label: l.Locale.Number(100*value, max(0, i-2))})
		}
	}
	return a
}

// seconds returns a percentile, given as a fraction; at least a nanosecond, to have a
// place on a logarithmic axis.
func seconds(h *hdrhistogram.Histogram, fraction float64) float64 {
	return float64(max(1, h.ValueAtPercentile(100*fraction))) / 1e9
}

// carried returns the highest percentile, as a fraction, that the samples of h
// carry.
func carried(h *hdrhistogram.Histogram) float64 {
	return 1 - stats.MinSamplesBeyond/float64(h.TotalCount())
}

// curve walks along the percentiles in equal steps of the axis.
func curve(s *doc.Series, h *hdrhistogram.Histogram) {
	const steps = 120
	end := carried(h)
	at := func(fraction float64) doc.Point { return doc.Point{X: fraction, Y: seconds(h, fraction)} }
	for i := range steps + 1 {
		p := at(1 - math.Pow(1-end, float64(i)/steps))
		if n := len(s.Line); n > 1 && s.Line[n-1].Y == p.Y && s.Line[n-2].Y == p.Y {
			s.Line[n-1] = p // a flat stretch needs its ends only
			continue
		}
		s.Line = append(s.Line, p)
	}
	for _, fraction := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999} {
		if fraction <= end {
			s.Marks = append(s.Marks, doc.Mark{Point: at(fraction)})
		}
	}
}

// pointsCaption says what the numbers at the points of such a figure are.
func (l *language) pointsCaption(m *model) string {
	var names []string
	for _, f := range m.factors {
		if isOffered(f) {
			names = append(names, l.words(f, m.cells[0].info).head)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return l.fill(" The numbers at the points: %s.", " Числа у точек: %s.", strings.Join(names, ", "))
}

// againstPanels sets one quantity against another. A line connects the loads that
// are offered; the first other factor gives the lines, the rest the panels.
func (l *language) againstPanels(m *model, qx, qy measure.Quantity, label string) []doc.Panel {
	var offered, others []factor
	for _, f := range m.factors {
		if isOffered(f) {
			offered = append(offered, f)
		} else {
			others = append(others, f)
		}
	}
	lines, rest := split(others)
	var xs, ys []float64
	var shown []*cell
	for _, c := range m.cells {
		if x, y := c.sums[qx.Key], c.sums[qy.Key]; x.Median > 0 && y.N > 0 {
			shown = append(shown, c)
			xs, ys = append(xs, x.Min, x.Max), append(ys, y.Min, y.Max)
		}
	}
	if len(shown) < 2 {
		return nil
	}
	x := l.axis(l.axisLabel(qx), qx.Unit, xs, doc.LabelsBelow, false)
	y := l.axis(cmp.Or(label, l.axisLabel(qy)), qy.Unit, ys, doc.LabelsBeside, false)
	p := panels{l: l}
	for _, c := range shown {
		mark := markOf(c, c.sums[qx.Key].Median, c.sums[qy.Key])
		if sum := c.sums[qx.Key]; sum.HasCI() {
			mark.XLow, mark.XHigh = sum.CI.Low, sum.CI.High
		}
		var at []string
		for _, f := range offered {
			at = append(at, l.words(f, c.info).short)
		}
		mark.Label = strings.TrimSpace(strings.Join(at, ", ") + " " + mark.Label)
		s := p.series(p.panel(l.label(rest, c.info), x, y), c, lines)
		s.Line, s.Marks = append(s.Line, mark.Point), append(s.Marks, mark)
	}
	return p.list
}

// markOf is a summary at a place, marked where the cell is invalid.
func markOf(c *cell, x float64, sum stats.Summary) doc.Mark {
	mark := doc.Mark{Point: doc.Point{X: x, Y: sum.Median}}
	if sum.HasCI() {
		mark.YLow, mark.YHigh = sum.CI.Low, sum.CI.High
	}
	if c.invalid() {
		mark.Label = markWarn
	}
	return mark
}

// levelPanels draws a panel for each quantity over the levels of the first factor of
// amounts, or else of the first factor, whose levels no line connects. Quantities of
// one unit share an axis.
func (l *language) levelPanels(m *model, of measure.Figure) []doc.Panel {
	if len(m.factors) == 0 {
		return nil
	}
	over := max(0, slices.IndexFunc(m.factors, isNumeric))
	f := m.factors[over]
	lines, rest := split(slices.Delete(slices.Clone(m.factors), over, over+1))
	places, x := l.levelAxis(m, f)
	values := map[measure.Unit][]float64{}
	for _, key := range of.Quantities {
		for _, c := range m.cells {
			if sum := c.sums[key]; sum.N > 0 {
				u := m.kind.Quantity(key).Unit
				values[u] = append(values[u], sum.Min, sum.Max)
			}
		}
	}
	p := panels{l: l}
	for _, key := range of.Quantities {
		q := m.kind.Quantity(key)
		if len(values[q.Unit]) == 0 || slices.Max(values[q.Unit]) <= 0 {
			continue
		}
		label := l.Say(of.Axis)
		if label == "" && !multiples(q.Unit) { // which the ticks have
			label = l.unit(q.Unit)
		}
		y := l.axis(label, q.Unit, values[q.Unit], doc.LabelsBeside, false)
		for _, c := range m.cells {
			sum := c.sums[key]
			if sum.N == 0 {
				continue
			}
			title := l.Say(q.Name)
			if len(rest) > 0 {
				title += ", " + l.label(rest, c.info)
			}
			mark := markOf(c, places[f.value(c.info)], sum)
			s := p.series(p.panel(title, x, y), c, lines)
			s.Marks = append(s.Marks, mark)
			if isNumeric(f) {
				s.Line = append(s.Line, mark.Point)
			}
		}
	}
	return p.list
}

// levelAxis has a tick at each level of the factor: at its amount, or in a row.
func (l *language) levelAxis(m *model, f factor) (places map[string]float64, a doc.Axis) {
	places = map[string]float64{}
	a.Label = l.words(f, m.cells[0].info).head
	for i, level := range f.Levels {
		places[level] = float64(i)
		if isNumeric(f) {
			places[level], _ = strconv.ParseFloat(level, 64)
		}
	}
	for _, c := range m.cells {
		a.Ticks = appendNew(a.Ticks, doc.Tick{Value: places[f.value(c.info)], Label: l.words(f, c.info).short})
	}
	var at []float64
	for _, t := range a.Ticks {
		at = append(at, t.Value)
	}
	a.Low, a.High = slices.Min(at), slices.Max(at)
	if a.Low > 0 && isNumeric(f) && a.High/a.Low >= logFrom {
		a.Scale, a.Low, a.High = doc.Log, a.Low/1.2, a.High*1.2
		return places, a
	}
	margin := max(a.High-a.Low, 1) / 12
	if !isNumeric(f) {
		margin = 0.5
	}
	a.Low, a.High = a.Low-margin, a.High+margin
	return places, a
}
