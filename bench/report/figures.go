package report

import (
	"cmp"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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
		more := "" // than its kind says of it
		switch of.Form {
		case measure.Percentiles, measure.Cumulative:
			f.Panels, err = l.distributionPanels(m, of)
			f.Folded = of.Form == measure.Cumulative
		case measure.Against:
			f.Panels, more = l.againstPanels(m, of), l.pointsCaption(m)
		case measure.ByLevel:
			f.Panels = l.levelPanels(m, of)
		case measure.Stacked:
			f.Panels = l.stackedPanels(m, of)
		case measure.Waterfall:
			f.Panels, more = l.waterfallPanels(m, of)
		case measure.OverRamp:
			f.Panels = l.rampPanels(m, of)
		case measure.OverTime:
			f.Panels, more = l.timePanels(m, of)
		}
		f.Caption += more
		if slices.ContainsFunc(f.Panels, ranged) {
			f.Caption += l.say(" Intervals: ", " Доверительные интервалы: ") + l.coverage(m) + "."
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
// is logarithmic.
const logFrom = 8

// spans reports whether values are so far apart that only a logarithmic axis shows all.
func spans(values []float64) bool {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	return low > 0 && high/low >= logFrom
}

// axis is the axis of some values of a unit, with room for so many labels. Its label ends
// with the unit that all of its ticks are in.
func (l *language) axis(name string, u measure.Unit, values []float64, most int, logarithmic bool) doc.Axis {
	low, high := slices.Min(values), slices.Max(values)
	about := high
	if logarithmic { // a little above the middle: long numbers read worse than small ones
		about = math.Sqrt(math.Sqrt(low*high) * high)
	}
	s := l.axisScale(u, about)
	label := strings.TrimPrefix(strings.TrimSuffix(name+", "+s.name, ", "), ", ")
	write := func(v float64) string { return l.General(v / s.one) }
	if logarithmic {
		return doc.LogAxis(label, values, most, write)
	}
	return doc.LinearAxis(label, values, most, write)
}

// axisScale is the multiple of a unit for an axis on which v is neither small nor large.
func (l *language) axisScale(u measure.Unit, v float64) scale {
	if u != measure.BytesPerSecond {
		return l.scaleOf(u, v)
	}
	s := l.scaleOf(measure.Bytes, v)
	s.name += l.say("/s", "/с")
	return s
}

// ranged reports whether a panel shows an interval.
func ranged(p doc.Panel) bool {
	return slices.ContainsFunc(p.Series, func(s doc.Series) bool {
		return slices.ContainsFunc(s.Marks, func(m doc.Mark) bool { return m.YHigh > m.YLow })
	})
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
	label, style := "", 0
	for _, f := range of {
		label, style = p.l.label(of, c.info), styleOf(f, f.value(c.info))
	}
	return seriesOf(panel, label, style)
}

func seriesOf(panel *doc.Panel, label string, style int) *doc.Series {
	i := slices.IndexFunc(panel.Series, func(s doc.Series) bool { return s.Label == label && s.Style == style })
	if i < 0 {
		i = len(panel.Series)
		panel.Series = append(panel.Series, doc.Series{Label: label, Style: style})
	}
	return &panel.Series[i]
}

// styleOf is the style of a level. Amounts have theirs in turn. Names have theirs
// wherever they appear: those that come with raftlab by a table, others by their letters,
// and one that finds its style taken within its factor has the next.
func styleOf(f factor, level string) int {
	if isNumeric(f) {
		return slices.Index(f.Levels, level)
	}
	known := map[string]int{
		"bolt": 0, "mdb": 1, "wal": 2, "pebble": 3, "inmem": 4, // stores, networks
		"tcp": 0, "kvnode": 0, "etcd": 1, "hashicorp": 0, "process": 0, "inprocess": 4, // engines, systems
		"http": 0, "resp": 1, "grpc": 2, "static": 0, "gossip": 1, "serial": 0, "overlapped": 1, "false": 0, "true": 1,
		"linearizable": 0, "stale": 1, "lease": 2, "leader": 3,
		"kvnode, Redis protocol": 0, "kvnode, HTTP": 2, "kvnode, store without flushes": 3, "in process": 4, // of experiments/
	}
	taken := map[int]bool{}
	for _, other := range f.Levels {
		if style, there := known[other]; there {
			taken[style] = true
		}
	}
	if style, there := known[level]; there {
		return style
	}
	for _, other := range f.Levels {
		if _, there := known[other]; there {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(other))
		first := int(h.Sum32() % doc.Colours)
		style := first
		for i := 1; taken[style] && i < doc.Styles; i++ { // colours first
			style = i/doc.Colours*doc.Colours + (first+i)%doc.Colours
		}
		if other == level {
			return style
		}
		taken[style] = true
	}
	return 0
}

// split takes the factor that gives the lines from those that are left; the rest
// gives the panels.
func split(fs []factor) (lines, rest []factor) { return fs[:min(1, len(fs))], fs[min(1, len(fs)):] }

// over is the factor that stands along the axis of a figure by level: the one compared
// if it is one of amounts, or else the first such, or else the next one; there is one.
func (m *model) over() int {
	if i := slices.IndexFunc(m.factors, isNumeric); i >= 0 {
		return i
	}
	return min(1, len(m.factors)-1)
}

// panelTitle names a quantity of several, under what circumstances.
func (l *language) panelTitle(m *model, of measure.Figure, q measure.Quantity, rest []factor, c *cell) string {
	name := ""
	if slices.ContainsFunc(of.Quantities, func(key string) bool { return key != q.Key && m.kind.Quantity(key).Unit == q.Unit }) || l.Say(of.Axis) == "" {
		name = l.Say(q.Name)
	}
	if name == "" {
		return l.label(rest, c.info)
	}
	return strings.TrimSpace(name + " " + l.circumstance(rest, c.info))
}

// distributionPanels draws a distribution: a panel for each combination of the factors
// but the first, with a line for each level of that one.
func (l *language) distributionPanels(m *model, of measure.Figure) ([]doc.Panel, error) {
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
	cumulative := of.Form == measure.Cumulative
	x, y := l.percentileAxis(highest), l.axis(l.Say(of.Axis), measure.Seconds, all, doc.LabelsBeside, true)
	if cumulative {
		x = l.axis(l.Say(of.Axis), measure.Seconds, all, doc.LabelsBelow, true)
		y = doc.LinearAxis(l.say("share of the operations, %", "доля операций, %"), []float64{1}, 6, func(v float64) string { return l.General(100 * v) })
	}
	p := panels{l: l}
	for _, c := range m.cells {
		if pooled[c] != nil {
			s := p.series(p.panel(capital(l.circumstance(m.others(), c.info)), x, y), c, m.first())
			curve(s, pooled[c])
			if cumulative {
				s.Marks = nil
				for i, at := range s.Line {
					s.Line[i] = doc.Point{X: at.Y, Y: at.X}
				}
			}
			s.Label = l.marked(s.Label, c)
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

// againstPanels sets quantities against the first, each in panels of its own. A line
// connects the loads that are offered; the first other factor gives the lines, the rest
// the panels.
func (l *language) againstPanels(m *model, of measure.Figure) []doc.Panel {
	var offered, others []factor
	for _, f := range m.factors {
		if isOffered(f) {
			offered = append(offered, f)
		} else {
			others = append(others, f)
		}
	}
	lines, rest := split(others)
	qx := m.kind.Quantity(of.Quantities[0])
	var xs, ys []float64
	var shown []*cell
	for _, c := range m.cells {
		x := c.sums[qx.Key]
		if x.Median <= 0 {
			continue
		}
		for _, key := range of.Quantities[1:] {
			if y := c.sums[key]; y.N > 0 {
				shown = appendNew(shown, c)
				xs, ys = append(xs, reach(x)...), append(ys, reach(y)...)
			}
		}
	}
	if len(shown) < 2 {
		return nil
	}
	x := l.axis(l.Say(qx.Name), qx.Unit, xs, doc.LabelsBelow, spans(xs))
	y := l.axis(l.Say(of.Axis), m.kind.Quantity(of.Quantities[1]).Unit, ys, doc.LabelsBeside, spans(ys))
	p := panels{l: l}
	for _, key := range of.Quantities[1:] {
		q := m.kind.Quantity(key)
		for _, c := range shown {
			if c.sums[key].N == 0 {
				continue
			}
			mark := markOf(c, c.sums[qx.Key].Median, c.sums[key])
			if sum := c.sums[qx.Key]; sum.HasCI() {
				mark.XLow, mark.XHigh = sum.CI.Low, sum.CI.High
			}
			var at []string
			for _, f := range offered {
				at = append(at, l.words(f, c.info).short)
			}
			mark.Label = strings.TrimSpace(strings.Join(at, ", ") + " " + mark.Label)
			s := p.series(p.panel(l.panelTitle(m, of, q, rest, c), x, y), c, lines)
			s.Marks = append(s.Marks, mark)
			if len(offered) > 0 {
				s.Line = append(s.Line, mark.Point)
			}
		}
	}
	return p.list
}

// reach is what is drawn of a summary.
func reach(sum stats.Summary) []float64 {
	if sum.HasCI() {
		return []float64{sum.Median, sum.CI.Low, sum.CI.High}
	}
	return []float64{sum.Median}
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

// levelPanels draws each quantity over the levels of a factor, with a line for each level
// of another and a panel for each combination of the rest. Levels that are names are
// connected by none. Quantities of one unit share an axis.
func (l *language) levelPanels(m *model, of measure.Figure) []doc.Panel {
	if len(m.factors) == 0 {
		return nil
	}
	over := m.over()
	f := m.factors[over]
	lines, rest := split(slices.Delete(slices.Clone(m.factors), over, over+1))
	x := l.levelAxis(m, f)
	values := map[measure.Unit][]float64{}
	for _, key := range of.Quantities {
		for _, c := range m.cells {
			if sum := c.sums[key]; sum.N > 0 {
				u := m.kind.Quantity(key).Unit
				values[u] = append(values[u], reach(sum)...)
			}
		}
	}
	p := panels{l: l}
	for _, key := range of.Quantities {
		q := m.kind.Quantity(key)
		if len(values[q.Unit]) == 0 || slices.Max(values[q.Unit]) <= 0 {
			continue
		}
		y := l.axis(l.Say(of.Axis), q.Unit, values[q.Unit], doc.LabelsBeside, spans(values[q.Unit]))
		for _, c := range m.cells {
			sum := c.sums[key]
			if sum.N == 0 {
				continue
			}
			panel, mark := p.panel(l.panelTitle(m, of, q, rest, c), x, y), markOf(c, place(f, c, lines), sum)
			if len(lines) == 0 && !isNumeric(f) { // the axis names the levels
				s := seriesOf(panel, "", styleOf(f, f.value(c.info)))
				s.Marks = append(s.Marks, mark)
				continue
			}
			s := p.series(panel, c, lines)
			s.Marks = append(s.Marks, mark)
			if isNumeric(f) {
				s.Line = append(s.Line, mark.Point)
			}
		}
	}
	return p.list
}

// place is where a cell stands along the axis of a factor: at its amount, or in a row,
// beside the cells of the other lines.
func place(f factor, c *cell, lines []factor) float64 {
	level := f.value(c.info)
	if isNumeric(f) {
		at, _ := strconv.ParseFloat(level, 64)
		return at
	}
	at := float64(slices.Index(f.Levels, level))
	for _, other := range lines {
		middle := float64(len(other.Levels)-1) / 2
		at += (float64(slices.Index(other.Levels, other.value(c.info))) - middle) * 0.5 / float64(len(other.Levels))
	}
	return at
}

// levelAxis has a tick at each level of the factor.
func (l *language) levelAxis(m *model, f factor) doc.Axis {
	a := doc.Axis{Label: l.words(f, m.cells[0].info).head}
	for _, c := range m.cells {
		a.Ticks = appendNew(a.Ticks, doc.Tick{Value: place(f, c, nil), Label: l.words(f, c.info).short})
	}
	var at []float64
	for _, t := range a.Ticks {
		at = append(at, t.Value)
	}
	a.Low, a.High = slices.Min(at), slices.Max(at)
	switch {
	case f.Key == keyRate:
		a.Label += ", " + l.unit(measure.OpsPerSecond)
	case isBytes(f):
		l.inBytes(&a)
	}
	if a.Low > 0 && isNumeric(f) && (isBytes(f) || f.Key == keyRate || a.High/a.Low >= logFrom) {
		a.Scale, a.Low, a.High = doc.Log, a.Low/1.2, a.High*1.2
		return a
	}
	margin := max(a.High-a.Low, 1) / 12
	if !isNumeric(f) {
		margin = 0.5
	}
	a.Low, a.High = a.Low-margin, a.High+margin
	return a
}

// isBytes reports whether the levels of a factor are sizes.
func isBytes(f factor) bool {
	return isNumeric(f) && (strings.HasSuffix(f.Key, "value_size") || strings.HasSuffix(f.Key, "key_size"))
}

// inBytes gives the ticks of sizes one unit: the largest that divides them all.
func (l *language) inBytes(a *doc.Axis) {
	one, units := 1.0, l.byteUnits()
	for len(units) > 1 && !slices.ContainsFunc(a.Ticks, func(t doc.Tick) bool { return math.Mod(t.Value, one*1024) != 0 }) {
		one, units = one*1024, units[1:]
	}
	for i, t := range a.Ticks {
		a.Ticks[i].Label = l.General(t.Value / one)
	}
	a.Label += ", " + units[0]
}

// timePanels draws what happened when, a low panel for each of the lines. The cells are
// those of the most loaded combination, of which the caption tells where there are others.
func (l *language) timePanels(m *model, of measure.Figure) (out []doc.Panel, caption string) {
	group := m.mostLoaded()
	first, last, hidden := math.Inf(1), math.Inf(-1), false
	for _, key := range of.Quantities {
		line, p := m.kind.Line(key), panels{l: l}
		moments := map[*cell][]moment{}
		var values, middles []float64
		for _, c := range group {
			moments[c] = c.along(key)
			for _, at := range moments[c] {
				first, last = min(first, at.seconds-at.half), max(last, at.seconds+at.half)
				values, middles = append(values, at.low, at.high), append(middles, at.middle)
			}
		}
		values = slices.DeleteFunc(values, math.IsNaN)
		positive := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 })
		if len(positive) == 0 {
			continue
		}
		y := l.axis(l.Say(line.Name), line.Unit, positive, 5, spans(middles))
		panel := p.panel("", doc.Axis{}, y)
		for _, c := range group {
			s := p.series(panel, c, m.first())
			for _, at := range moments[c] {
				s.Line = append(s.Line, doc.Point{X: at.seconds, Y: at.middle})
				s.Band = append(s.Band, doc.Span{X: at.seconds, Low: at.low, High: at.high})
			}
			s.Label = l.marked(s.Label, c)
		}
		panel.Low = true
		hidden = hidden || y.Scale == doc.Log && len(positive) < len(values)
		out = append(out, *panel)
	}
	for i := range out {
		out[i].X = l.spanAxis(l.Say(of.Axis), first, last)
	}
	caption = l.say(" Lines are medians over the trials; an area reaches from the lowest trial to the highest.",
		" Линии — медианы по испытаниям; область — от наименьшего до наибольшего из испытаний.")
	if hidden {
		caption += l.say(" The lower end of a logarithmic axis stands for zero, too.", " Нижний край логарифмической оси обозначает и ноль.")
	}
	if len(m.groups) > 1 {
		caption += l.mostLoadedCaption(m)
	}
	return out, caption
}

// mostLoadedCaption says which cells a figure has that leaves the others out.
func (l *language) mostLoadedCaption(m *model) string {
	return l.fill(" Only the most loaded combination is drawn: %s.", " Показано только самое нагруженное сочетание: %s.", l.circumstance(m.others(), m.mostLoaded()[0].info))
}

// spanAxis is an axis of time between two moments, in seconds.
func (l *language) spanAxis(name string, first, last float64) doc.Axis {
	s := l.scaleOf(measure.Seconds, last-first)
	a := doc.LinearAxis(name+", "+s.name, []float64{first, last}, 6, func(v float64) string { return l.General(v / s.one) })
	a.Low, a.High = first, last
	a.Ticks = slices.DeleteFunc(a.Ticks, func(t doc.Tick) bool { return t.Value < first || t.Value > last })
	return a
}

// mostLoaded is the group that the most load is offered to; of several, the last.
func (m *model) mostLoaded() []*cell {
	most := m.groups[0]
	for _, g := range m.groups[1:] {
		x, y := g[0].info.Load, most[0].info.Load
		if cmp.Or(cmp.Compare(x.TopRate(), y.TopRate()), cmp.Compare(x.Clients, y.Clients)) >= 0 {
			most = g
		}
	}
	return most
}

// moment is a stretch of time within the trials of a cell, about its middle: the median of
// its steps in all of them, the lowest and the highest.
type moment struct{ seconds, half, middle, low, high float64 }

// along returns a line of the cell's trials, in no more moments than can be seen.
func (c *cell) along(key string) []moment {
	const most = 150
	steps := map[int][]float64{}
	var step time.Duration
	for _, t := range c.used {
		line := t.values.Timeline
		if line == nil || line.Step <= 0 || step > 0 && line.Step != step {
			continue
		}
		step = line.Step
		for i, v := range line.Lines[key] {
			if at := int(math.Round(float64(line.Begin)/float64(step))) + i; !math.IsNaN(v) {
				steps[at] = append(steps[at], v)
			}
		}
	}
	if len(steps) == 0 {
		return nil
	}
	at := slices.Sorted(maps.Keys(steps))
	wide := (at[len(at)-1]-at[0])/most + 1
	var out []moment
	for from := at[0]; from <= at[len(at)-1]; from += wide {
		var values []float64
		for i := range wide {
			values = append(values, steps[from+i]...)
		}
		half := float64(wide) / 2 * step.Seconds()
		x := moment{float64(from)*step.Seconds() + half, half, math.NaN(), math.NaN(), math.NaN()}
		if n := len(values); n > 0 {
			slices.Sort(values)
			x.middle, x.low, x.high = (values[(n-1)/2]+values[n/2])/2, values[0], values[n-1]
		}
		out = append(out, x)
	}
	return out
}
