package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// mean is the mean of a quantity over the trials that are used. Means of parts add up,
// where medians would not.
func (c *cell) mean(q measure.Quantity) (mean float64, there bool) {
	values := c.valuesOf(q)
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean, len(values) > 0
}

// parted are the cells that have parts, with the mean of each.
func (m *model) parted() (cells []*cell, means map[*cell][]float64) {
	means = map[*cell][]float64{}
	if m.kind.Parts == nil {
		return nil, means
	}
	for _, c := range m.cells {
		var of []float64
		for _, p := range m.kind.Parts.List {
			if v, there := c.mean(m.kind.Quantity(p.Mean)); there {
				of = append(of, v)
			}
		}
		if len(of) == len(m.kind.Parts.List) {
			cells, means[c] = append(cells, c), of
		}
	}
	return cells, means
}

// parts says which of its parts make up most of a quantity: at each level of the compared
// factor, and how that changes with another.
func (a *answer) parts() {
	cells, means := a.m.parted()
	valid := func(c *cell) bool { return !c.invalid() && len(c.used) > 0 }
	cells = slices.DeleteFunc(cells, func(c *cell) bool { return !valid(c) })
	if all := slices.DeleteFunc(slices.Clone(a.m.cells), func(c *cell) bool { return !valid(c) }); len(cells) == 0 || len(cells) < len(all) {
		return
	}
	whole := a.m.kind.Quantity(a.m.kind.Parts.Whole)
	if len(a.m.factors) == 0 {
		a.add(a.l.fill("the greatest parts of %s: %s.", "наибольшие доли (%s): %s.", a.l.longName(whole), a.l.greatest(a.m, shareOf(means, cells))))
		return
	}
	at := func(f factor, level string) []*cell {
		return slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool { return f.value(c.info) != level })
	}
	say := func(f factor, levels ...int) string {
		var items []string
		for _, i := range levels {
			if of := at(f, f.Levels[i]); len(of) > 0 {
				items = append(items, a.l.fill("%s %s", "%s — %s", a.placed(f, i), a.l.greatest(a.m, shareOf(means, of))))
			}
		}
		return strings.Join(items, "; ")
	}
	first := a.m.factors[0]
	var levels []int
	for i := range min(len(first.Levels), mostLevels+1) {
		levels = append(levels, i)
	}
	a.add(a.l.fill("the greatest parts of %s: %s.", "наибольшие доли (%s): %s.", a.l.longName(whole), say(first, levels...)))
	var most factor
	from, to, farthest := 0, 0, 0.1 // less is not worth a sentence
	for _, f := range a.m.others() {
		for i := range f.Levels {
			for j := range i {
				if len(at(f, f.Levels[j])) == 0 || len(at(f, f.Levels[i])) == 0 {
					continue
				}
				if d := elsewhere(shareOf(means, at(f, f.Levels[j])), shareOf(means, at(f, f.Levels[i]))); d > farthest {
					most, from, to, farthest = f, j, i, d
				}
			}
		}
	}
	if most.Levels != nil {
		a.add(a.l.fill("That depends most on %s: %s.", "Сильнее всего это зависит от %s: %s.",
			a.l.words(most, a.m.cells[0].info).what, say(most, from, to)))
	}
}

// shareOf is the share of each part, averaged over cells.
func shareOf(means map[*cell][]float64, cells []*cell) []float64 {
	var out []float64
	for _, c := range cells {
		for i, d := range means[c] {
			if len(out) <= i {
				out = append(out, 0)
			}
			out[i] += d / total(means[c]) / float64(len(cells))
		}
	}
	return out
}

// elsewhere is how much of one partition lies elsewhere in another.
func elsewhere(x, y []float64) (sum float64) {
	for i := range x {
		sum += math.Abs(x[i]-y[i]) / 2
	}
	return sum
}

// greatest names the two greatest parts with their shares.
func (l *language) greatest(m *model, shares []float64) string {
	order := make([]int, len(shares))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(shares[y], shares[x]) })
	var items []string
	for _, i := range order[:min(2, len(order))] {
		items = append(items, l.fill("%s (%s %%)", "%s (%s %%)", l.Say(m.kind.Parts.List[i].Name), l.Locale.Number(100*shares[i], 0)))
	}
	return l.list(items)
}

// partsTable has a group of rows for each cell: its parts, and all of them together.
func (l *language) partsTable(m *model) (t doc.Table) {
	if m.kind.Parts == nil {
		return t
	}
	cells, means := m.parted()
	whole := m.kind.Quantity(m.kind.Parts.Whole)
	var wholes []float64
	for _, c := range cells {
		v, _ := c.mean(whole)
		wholes = append(wholes, v/100) // its parts are to have digits, too
	}
	s := l.scale(whole.Unit, wholes...)
	percentiles := slices.ContainsFunc(m.kind.Parts.List, func(p measure.Part) bool { return p.P50 != "" })
	t.Columns = []doc.Column{{Head: l.say("stage", "стадия")}, {Head: l.say("mean", "среднее"), Unit: s.name, Number: true},
		{Head: l.say("share", "доля"), Unit: "%", Number: true}}
	if percentiles {
		t.Columns = append(t.Columns, doc.Column{Head: "p50", Unit: s.name, Number: true}, doc.Column{Head: "p99", Unit: s.name, Number: true})
	}
	for _, c := range cells {
		all, _ := c.mean(whole)
		number := func(v float64) doc.Cell { return doc.Cell{Value: &doc.Value{X: v}, Invalid: c.invalid()} }
		percentile := func(key string) doc.Cell {
			sum, there := c.sums[key]
			if !there {
				return doc.Cell{Text: markNone}
			}
			return number(sum.Median / s.one)
		}
		for i, p := range m.kind.Parts.List {
			r := doc.Row{First: i == 0, Cells: []doc.Cell{{Text: l.Say(p.Name)}, number(means[c][i] / s.one), number(100 * means[c][i] / all)}}
			if percentiles {
				r.Cells = append(r.Cells, percentile(p.P50), percentile(p.P99))
			}
			if i == 0 {
				r.Title = l.fullLabel(m.factors, c.info)
			}
			t.Rows = append(t.Rows, r)
		}
		sum := doc.Row{Cells: []doc.Cell{{Text: l.Say(whole.Name)}, number(all / s.one), number(100)}}
		for len(sum.Cells) < len(t.Columns) {
			sum.Cells = append(sum.Cells, doc.Cell{})
		}
		t.Rows = append(t.Rows, sum)
	}
	t.Caption = l.Say(m.kind.Parts.Title)
	t.Notes = []doc.Item{{Text: l.Say(m.kind.Parts.Note)}}
	return t
}

// stackedPanels draws the parts of each cell end to end, a row for each. Cells under the
// same load share a panel: beside one under another they would be too short, or too long.
func (l *language) stackedPanels(m *model, of measure.Figure) []doc.Panel {
	var offered, others []factor
	for _, f := range m.factors {
		if isOffered(f) {
			offered = append(offered, f)
		} else {
			others = append(others, f)
		}
	}
	cells, means := m.parted()
	var titles []string
	alike := map[string][]*cell{}
	for _, c := range cells {
		title := l.label(offered, c.info)
		titles, alike[title] = appendNew(titles, title), append(alike[title], c)
	}
	var out []doc.Panel
	for _, title := range titles {
		p := doc.Panel{Title: title, Numbered: true}
		for i, part := range m.kind.Parts.List {
			p.Series = append(p.Series, doc.Series{Label: l.Say(part.Name), Style: i})
		}
		var names []string
		longest := 0.0
		for row, c := range alike[title] {
			at, y := 0.0, float64(len(alike[title])-1-row)
			names = append(names, l.marked(l.fullLabel(others, c.info), c))
			for i, d := range means[c] {
				if d > 0 {
					p.Series[i].Bars = append(p.Series[i].Bars, doc.Bar{Y: y, From: at, To: at + d})
				}
				at += d
			}
			longest = max(longest, at)
		}
		p.X, p.Y = l.timeAxis(l.Say(of.Axis), longest), rows(names)
		out = append(out, p)
	}
	return out
}

// waterfallPanels draws a panel for each cell, in which each part has a row and begins
// where the one before ends. Of many cells it draws the most loaded.
func (l *language) waterfallPanels(m *model, of measure.Figure) (out []doc.Panel, caption string) {
	const most = 12
	cells, means := m.parted()
	few := len(cells) <= most
	if !few {
		caption = l.mostLoadedCaption(m)
	}
	for _, c := range cells {
		if !few && !slices.Contains(m.mostLoaded(), c) {
			continue
		}
		all := total(means[c])
		p := doc.Panel{Title: l.marked(l.fullLabel(m.factors, c.info), c), X: l.timeAxis(l.Say(of.Axis), all)}
		var names []string
		at := 0.0
		for i, part := range m.kind.Parts.List {
			d := means[c][i]
			names = append(names, l.Say(part.Name))
			bar := doc.Bar{Y: float64(len(m.kind.Parts.List) - 1 - i), From: at, To: at + d, Label: l.amount(measure.Seconds, d)}
			p.Series = append(p.Series, doc.Series{Style: i, Bars: []doc.Bar{bar}})
			at += d
		}
		p.Y = rows(names)
		out = append(out, p)
	}
	return out, caption
}

func total(parts []float64) (sum float64) {
	for _, p := range parts {
		sum += p
	}
	return sum
}

// timeAxis goes from zero to a time.
func (l *language) timeAxis(name string, to float64) doc.Axis {
	return l.axis(name, measure.Seconds, []float64{to}, doc.LabelsBelow, false)
}

// rows is an axis with a place for each name, the first at the top.
func rows(names []string) doc.Axis {
	a := doc.Axis{Low: -0.7, High: float64(len(names)) - 0.3}
	for i, name := range names {
		a.Ticks = append(a.Ticks, doc.Tick{Value: float64(len(names) - 1 - i), Label: name})
	}
	return a
}

// marked adds to a name that its cell is invalid.
func (l *language) marked(name string, c *cell) string {
	if c.invalid() {
		return strings.TrimSpace(name + " " + markWarn)
	}
	return name
}
