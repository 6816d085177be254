package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// figure is one plot of a report: a file of its own, and its panels one by one
// for a page that arranges them to its width.
type figure struct {
	File    string // in the run folder
	Title   string
	Caption string
	SVG     []byte
	Panels  []template.HTML
}

// figures draws all plots of a run that has samples.
func (l *language) figures(m *model) ([]figure, error) {
	p := newPainter()
	suffix := ""
	if l.Code != English {
		suffix = "." + string(l.Code)
	}
	sketches, err := l.sketches(m)
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, f := range sketches {
		if len(f.panels) == 0 {
			continue
		}
		if slices.ContainsFunc(m.cells, (*cell).invalid) {
			f.caption += " " + markWarn + " " + l.PlotInvalid
		}
		x := figure{File: record.PlotsDir + "/" + f.stem + suffix + ".svg", Title: f.title, Caption: f.caption}
		labels := p.labelWidth(f.panels)
		raw, err := p.svg(f.panels, 2, labels)
		if err != nil {
			return nil, err
		}
		x.SVG = polish(raw, f.title, true)
		for _, one := range f.panels {
			raw, err := p.svg([]panel{one}, 1, labels)
			if err != nil {
				return nil, err
			}
			title := f.title
			if one.title != "" {
				title += ": " + one.title
			}
			x.Panels = append(x.Panels, template.HTML(polish(raw, title, false))) //nolint:gosec // our own drawing, its texts escaped
		}
		out = append(out, x)
	}
	return out, nil
}

// sketch is a figure before it is drawn; one without panels is left out.
type sketch struct {
	stem, title, caption string
	panels               []panel
}

func (l *language) sketches(m *model) ([]sketch, error) {
	if m.formation {
		return l.formationSketches(m), nil
	}
	latency, err := l.latencyPanels(m)
	if err != nil {
		return nil, err
	}
	return []sketch{
		{"latency", l.PlotLatency, l.PlotLatencyCaption, latency},
		{"throughput", l.PlotThroughput, l.PlotThroughputCaption + l.pointsCaption(m), l.throughputPanels(m)},
	}, nil
}

// polish gives a drawing a title for those who cannot see it, fonts that exist
// everywhere and a size that its page decides. A standalone document keeps a
// size of its own.
func polish(svg []byte, title string, standalone bool) []byte {
	_, body, _ := bytes.Cut(svg, []byte("<svg "))
	attributes, body, _ := bytes.Cut(body, []byte(">"))
	_, viewBox, _ := strings.Cut(string(attributes), `viewBox="`)
	viewBox, _, _ = strings.Cut(viewBox, `"`)
	var out bytes.Buffer
	if standalone {
		size := strings.Fields(viewBox)
		fmt.Fprintf(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%s\" height=\"%s\" ", size[2], size[3])
	} else {
		out.WriteString("<svg ")
	}
	fmt.Fprintf(&out, "viewBox=\"%s\" role=\"img\">\n<title>%s</title>", viewBox, html.EscapeString(title))
	// Arial and Helvetica have the widths of Liberation Sans, which the text was
	// measured with.
	out.Write(bytes.ReplaceAll(body, []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,'DejaVu Sans',sans-serif;")))
	return out.Bytes()
}

// latencyPanels draws one panel for each combination of the factors but the
// first, with a line for each level of that one.
func (l *language) latencyPanels(m *model) ([]panel, error) {
	pooled := map[*cell]*hdrhistogram.Histogram{}
	var all []float64
	highest := 0.0
	for _, c := range m.cells {
		h, err := c.pool()
		if err != nil {
			return nil, err
		}
		if h.TotalCount() >= 2*stats.MinSamplesBeyond { // carries the median at least
			pooled[c] = h
			highest = max(highest, carried(h))
			all = append(all, float64(max(1, h.ValueAtPercentile(0))), float64(h.ValueAtPercentile(100*carried(h))))
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	x, y := l.percentileAxis(highest), l.latencyAxis(l.AxisLatency, all, true)
	var panels []panel
	for _, g := range m.groups {
		p := panel{x: x, y: y}
		if others := m.others(); len(others) > 0 {
			p.title = l.label(others, g.cells[0].info)
		}
		for i, c := range g.cells {
			if pooled[c] == nil {
				continue
			}
			s := curve(pooled[c])
			s.style = i
			s.label = l.seriesLabel(m.factors[:min(1, len(m.factors))], c)
			p.series = append(p.series, s)
		}
		if len(p.series) > 0 {
			panels = append(panels, p)
		}
	}
	return panels, nil
}

// seriesLabel names a line by its levels of fs; a single line needs no name.
func (l *language) seriesLabel(fs []factor, c *cell) string {
	if len(fs) == 0 {
		return ""
	}
	text := l.label(fs, c.info)
	if c.invalid() {
		text += " " + markWarn
	}
	return text
}

// pool merges the latencies of the trials that the cell's figures come from.
func (c *cell) pool() (*hdrhistogram.Histogram, error) {
	var trials []record.Trial
	for _, r := range c.used {
		for _, t := range c.raw {
			if t.TrialID == r.ID {
				trials = append(trials, t)
			}
		}
	}
	return stats.Pool(trials)
}

// carried returns the highest percentile, as a fraction, that the samples of h
// carry.
func carried(h *hdrhistogram.Histogram) float64 {
	return 1 - stats.MinSamplesBeyond/float64(h.TotalCount())
}

// curve walks along the percentiles in equal steps of the axis.
func curve(h *hdrhistogram.Histogram) series {
	const steps = 120
	var s series
	end := carried(h)
	at := func(fraction float64) point {
		return point{fraction, float64(max(1, h.ValueAtPercentile(100*fraction)))}
	}
	for i := range steps + 1 {
		p := at(1 - math.Pow(1-end, float64(i)/steps))
		if n := len(s.line); n > 1 && s.line[n-1].y == p.y && s.line[n-2].y == p.y {
			s.line[n-1] = p // a flat stretch needs its ends only
			continue
		}
		s.line = append(s.line, p)
	}
	for _, fraction := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999} {
		if fraction <= end {
			p := at(fraction)
			s.marks = append(s.marks, mark{point: p})
		}
	}
	return s
}

// pointsCaption says what the numbers at the points of that plot are.
func (l *language) pointsCaption(m *model) string {
	var names []string
	for _, f := range m.factors {
		if f.Key == keyClients || f.Key == keyRate {
			names = append(names, l.factorName(f))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " " + fill(l.PlotPoints, strings.Join(names, ", "))
}

// throughputPanels sets throughput against p50. A line connects the levels of
// the load (clients, rate); the first other factor gives the lines, the rest
// the panels.
func (l *language) throughputPanels(m *model) []panel {
	var load, lines, rest []factor
	for _, f := range m.factors {
		switch {
		case f.Key == keyClients || f.Key == keyRate:
			load = append(load, f)
		case len(lines) == 0:
			lines = append(lines, f)
		default:
			rest = append(rest, f)
		}
	}
	var xs, ys []float64
	var shown []*cell
	for _, c := range m.cells {
		if c.p50.N > 0 && c.throughput.Median > 0 {
			shown = append(shown, c)
			xs = append(xs, c.throughput.Min, c.throughput.Max)
			ys = append(ys, c.p50.Min, c.p50.Max)
		}
	}
	if len(shown) < 2 {
		return nil
	}
	x, y := l.throughputAxis(xs), l.latencyAxis(l.AxisP50, ys, false)
	var panels []panel
	for _, c := range shown {
		title := ""
		if len(rest) > 0 {
			title = l.label(rest, c.info)
		}
		i := slices.IndexFunc(panels, func(p panel) bool { return p.title == title })
		if i < 0 {
			i = len(panels)
			panels = append(panels, panel{title: title, x: x, y: y})
		}
		panels[i].add(l, c, lines, load)
	}
	return panels
}

// line returns the line that a cell belongs on.
func (p *panel) line(l *language, c *cell, lines []factor) *series {
	label, style := "", 0
	if len(lines) > 0 {
		label = l.label(lines, c.info)
		style = slices.Index(lines[0].Levels, lines[0].value(c.info))
	}
	i := slices.IndexFunc(p.series, func(s series) bool { return s.label == label })
	if i < 0 {
		i = len(p.series)
		p.series = append(p.series, series{label: label, style: style})
	}
	return &p.series[i]
}

func (s *series) extend(m mark) {
	s.line = append(s.line, m.point)
	s.marks = append(s.marks, m)
}

// add puts a cell on its line.
func (p *panel) add(l *language, c *cell, lines, load []factor) {
	m := mark{point: point{c.throughput.Median, c.p50.Median}}
	if c.throughput.HasCI() {
		m.xLow, m.xHigh = c.throughput.CI.Low, c.throughput.CI.High
	}
	if c.p50.HasCI() {
		m.yLow, m.yHigh = c.p50.CI.Low, c.p50.CI.High
	}
	if len(load) > 0 {
		var levels []string
		for _, f := range load {
			levels = append(levels, l.short(f, c.info))
		}
		m.label = strings.Join(levels, ", ")
	}
	if c.invalid() {
		m.label = strings.TrimSpace(m.label + " " + markWarn)
	}
	p.line(l, c, lines).extend(m)
}
