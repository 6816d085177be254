package report

import (
	"slices"
	"strconv"

	"gonum.org/v1/plot"

	"github.com/themilchenko/raftlab/bench/stats"
)

// formationSketches draws the figures of a run that watched groups come into
// being over the number of nodes, where that is a factor.
func (l *language) formationSketches(m *model) []sketch {
	perSecond := func(label string) func([]float64) axis {
		return func(values []float64) axis { return linearAxis(label, values, labelsBeside, l.general) }
	}
	times := l.nodesPanels(m,
		func(values []float64) axis { return l.latencyAxis(l.AxisTime, values, false) },
		overNodes{l.FirstLeader, func(c *cell) stats.Summary { return c.formed.leader }},
		overNodes{l.AllVoters, func(c *cell) stats.Summary { return c.formed.voters }})
	traffic := append(
		l.nodesPanels(m, perSecond(l.PerSecond), overNodes{l.MessagesAtRest, func(c *cell) stats.Summary { return c.formed.messages }}),
		l.nodesPanels(m, perSecond(l.BytesPerSecond), overNodes{l.BytesAtRest, func(c *cell) stats.Summary { return c.formed.bytes }})...)
	return []sketch{
		{"formation", l.PlotFormation, l.PlotFormationCaption, times},
		{"traffic", l.PlotTraffic, l.PlotTrafficCaption, traffic},
	}
}

// overNodes is a quantity to be drawn over the number of nodes.
type overNodes struct {
	name string
	of   func(*cell) stats.Summary
}

// nodesPanels draws a panel for each quantity, all with the same axis, and each
// combination of the factors that are left once one gives the lines.
func (l *language) nodesPanels(m *model, axis func(values []float64) axis, quantities ...overNodes) []panel {
	at := slices.IndexFunc(m.factors, func(f factor) bool { return f.Key == keyNodes })
	if at < 0 {
		return nil
	}
	rest := slices.Delete(slices.Clone(m.factors), at, at+1)
	lines := rest[:min(1, len(rest))]
	rest = rest[len(lines):]
	x := nodesAxis(l.NodesAxis, m.factors[at].Levels)
	var ys []float64
	for _, q := range quantities {
		for _, c := range m.cells {
			if s := q.of(c); s.N > 0 {
				ys = append(ys, s.Min, s.Max)
			}
		}
	}
	if _, high := bounds(ys); len(ys) == 0 || high <= 0 {
		return nil
	}
	y := axis(ys)
	var panels []panel
	for _, q := range quantities {
		for _, c := range m.cells {
			s := q.of(c)
			if s.N == 0 {
				continue
			}
			title := q.name
			if len(rest) > 0 {
				title += ", " + l.label(rest, c.info)
			}
			i := slices.IndexFunc(panels, func(p panel) bool { return p.title == title })
			if i < 0 {
				i = len(panels)
				panels = append(panels, panel{title: title, x: x, y: y})
			}
			dot := mark{point: point{float64(c.info.Cluster.Nodes), s.Median}}
			if s.HasCI() {
				dot.yLow, dot.yHigh = s.CI.Low, s.CI.High
			}
			if c.invalid() {
				dot.label = markWarn
			}
			panels[i].line(l, c, lines).extend(dot)
		}
	}
	return panels
}

// nodesAxis has a tick at each level of the factor.
func nodesAxis(label string, levels []string) axis {
	var values []float64
	a := axis{label: label, scale: plot.LinearScale{}}
	for _, level := range levels {
		n, err := strconv.Atoi(level)
		if err != nil {
			continue
		}
		values = append(values, float64(n))
		a.ticks = append(a.ticks, plot.Tick{Value: float64(n), Label: level})
	}
	low, high := bounds(values)
	a.low, a.high = low-0.5, high+0.5
	return a
}
