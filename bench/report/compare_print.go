package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Compare sets run B against run A and prints what it finds: first in what the
// machines and programs differ, then the cells. Cells belong together if they
// agree in all settings; where none do, the runs may differ as a whole in one
// setting (A is all bolt, B all inmem).
//
// A difference between runs must pass a test, corrected over all comparisons,
// and clear a margin: the machine is never quite the same in two runs.
func Compare(w io.Writer, a, b *record.Folder, opts CompareOptions) (Comparison, error) {
	if opts.Margin < 0 {
		return Comparison{}, fmt.Errorf("compare: margin %g: must not be negative", opts.Margin)
	}
	ma, err := build(a)
	if err != nil {
		return Comparison{}, fmt.Errorf("compare: %w", err)
	}
	mb, err := build(b)
	if err != nil {
		return Comparison{}, fmt.Errorf("compare: %w", err)
	}
	for _, run := range []struct {
		*model
		dir string
	}{{ma, a.Dir()}, {mb, b.Dir()}} {
		if run.formation {
			return Comparison{}, fmt.Errorf("compare %s: %w", run.dir, errFormation)
		}
	}
	l := newLanguage(opts.Lang)
	width := opts.Width
	if width == 0 {
		width = 80
	}
	margins := estimateMargins(ma, mb, opts.Margin)
	c, matched := compareModels(l, ma, mb, margins)
	out := &printer{l: l, w: bufio.NewWriter(w), width: max(width, narrowest)}
	out.runs(l, a, b, ma, mb)
	out.machines(l, ma, mb)
	out.cells(l, c, matched)
	out.conclusion(l, c, margins)
	if err := out.w.Flush(); err != nil {
		return c, fmt.Errorf("compare: %w", err)
	}
	if len(c.Cells) == 0 {
		return c, fmt.Errorf("compare: %w", errNothingToCompare)
	}
	return c, nil
}

func (p *printer) runs(l *language, a, b *record.Folder, ma, mb *model) {
	for _, x := range []struct {
		name   string
		folder *record.Folder
		m      *model
	}{{"A", a, ma}, {"B", b, mb}} {
		text := firstOf(x.m.manifest.Experiment.Title, x.m.manifest.Experiment.Name)
		if l.Code == Russian {
			text = firstOf(x.m.manifest.Experiment.TitleRu, text)
		}
		text += " (" + l.count(len(x.m.rows), l.Trials)
		if s := x.m.manifest.Sessions; len(s) > 0 {
			text += ", " + s[0].Started.UTC().Format("2006-01-02 15:04 UTC")
		}
		p.wrap(x.name+"  ", "   ", x.folder.Dir()+": "+text+")")
	}
	p.line("")
}

// machines prints in what the environments differ, then the costs of the machine.
func (p *printer) machines(l *language, a, b *model) {
	differences := l.machineDifferences(a, b)
	if len(differences) == 0 {
		p.wrap("", "", l.CompareSameMachine)
	} else {
		p.line(l.CompareMachines)
		for _, d := range differences {
			p.wrap("  ", "      ", d.name+": "+firstOf(d.a, textOfNoData)+" → "+firstOf(d.b, textOfNoData))
		}
	}
	p.line("")
	t := table{Columns: []column{{Head: l.CompareCosts}, {Head: "A", Number: true}, {Head: "B", Number: true}, {Head: "B/A", Number: true}}}
	for _, x := range l.calibrations(a, b) {
		t.Rows = append(t.Rows, row{Entries: []entry{{Text: x.name}, {Text: l.us(x.a)}, {Text: l.us(x.b)}, {Text: l.ratioOf(x.a, x.b)}}})
	}
	p.table(t)
	if _, differ := sameDisk(a, b); differ {
		p.wrap("! ", "  ", l.CompareDisk)
	}
	p.line("")
}

type calibration struct {
	name string
	a, b float64 // µs
}

// calibrations are the medians of what the machine cost, over the sessions, and
// of the probes before the trials.
func (l *language) calibrations(a, b *model) []calibration {
	median := func(m *model, of func(record.Calibration) record.Quantiles) float64 {
		var out []float64
		for _, s := range m.manifest.Sessions {
			if q := of(s.Calibration); q.N > 0 {
				out = append(out, q.P50)
			}
		}
		return stats.Median(out)
	}
	both := func(name string, of func(record.Calibration) record.Quantiles) calibration {
		return calibration{name, median(a, of), median(b, of)}
	}
	return []calibration{
		both("fsync, 4 KiB", func(c record.Calibration) record.Quantiles { return c.FsyncUS }),
		both("fdatasync, 4 KiB", func(c record.Calibration) record.Quantiles { return c.FdatasyncUS }),
		{l.CompareProbes, stats.Median(probesInTime(a)), stats.Median(probesInTime(b))},
		{l.CompareWork, stats.Median(inTime(a, workOf)), stats.Median(inTime(b, workOf))},
		both(l.Loopback, func(c record.Calibration) record.Quantiles { return c.LoopbackUS }),
		both(l.Timer, func(c record.Calibration) record.Quantiles { return c.TimerUS }),
	}
}

func (l *language) us(v float64) string {
	if v == 0 {
		return textOfNoData
	}
	return l.latency(v * 1e3)
}

func (l *language) ratioOf(a, b float64) string {
	if a == 0 || b == 0 {
		return textOfNoData
	}
	return l.ratio(b / a)
}

// cells prints each pair of cells with its three quantities.
func (p *printer) cells(l *language, c Comparison, matched matchResult) {
	if c.Differ != "" {
		p.wrap("", "", fill(l.CompareDiffer, c.Differ, valueOf(matched.pairs[0].a, c.Differ), valueOf(matched.pairs[0].b, c.Differ)))
		p.line("")
	}
	t := table{Columns: []column{{Head: ""}, {Head: "A", Number: true}, {Head: "B", Number: true}, {Head: "B/A", Number: true}, {Head: "p", Number: true}, {Head: ""}}}
	for i := range c.Cells {
		x := &c.Cells[i]
		rate := func(v float64) string { return l.number(v, significant(v)) + " " + l.OpsPerSecond }
		for j, q := range x.quantities() {
			write := l.latency
			if j == 2 {
				write = rate
			}
			t.Rows = append(t.Rows, row{First: j == 0, Entries: l.quantityEntries(l.CompareQuantities[j], *q, write)})
		}
	}
	widths := t.widths()
	if len(c.Cells) > 0 {
		var b strings.Builder
		for j, x := range t.Columns {
			b.WriteString("  " + pad(x.Head, widths[j], x.Number))
		}
		p.line(b.String())
	}
	for i := range c.Cells {
		label := c.Cells[i].Label
		for _, u := range c.Cells[i].Unequal {
			label += "; " + markUnequal + " " + u
		}
		p.wrap("", "    ", label)
		for _, r := range t.Rows[3*i : 3*i+3] {
			var b strings.Builder
			for j, e := range r.Entries {
				b.WriteString("  " + pad(e.Text, widths[j], t.Columns[j].Number))
			}
			p.line(b.String())
		}
	}
	for _, only := range []struct {
		phrase string
		names  []string
	}{{l.CompareOnlyA, c.OnlyA}, {l.CompareOnlyB, c.OnlyB}} {
		for _, name := range only.names {
			p.wrap("", "    ", fill(only.phrase, name))
		}
	}
	p.line("")
}

func valueOf(c *cell, key string) string {
	for _, s := range settings(c.info) {
		if s.key == key {
			return s.value
		}
	}
	return textOfNoData
}

func (l *language) quantityEntries(name string, q Quantity, write func(float64) string) []entry {
	a, b := textOfNoData, textOfNoData
	if q.BaseN > 0 {
		a = write(q.Base)
	}
	if q.OtherN > 0 {
		b = write(q.Other)
	}
	ratio, p := textOfNoData, textOfNoData
	if q.HasRatio {
		ratio = l.ratio(q.Ratio)
	}
	if q.HasCI {
		ratio += " " + l.interval(q.CI, 1, significant(q.Ratio))
	}
	if q.Tested {
		p = l.pValue(q.Adjusted)
	}
	return []entry{{Text: name}, {Text: a}, {Text: b}, {Text: ratio}, {Text: p}, {Text: l.Directions[q.Direction]}}
}

// conclusion says how many differences were found, and how sure that is.
func (p *printer) conclusion(l *language, c Comparison, m margins) {
	if c.Tested > 0 {
		p.wrap("", "", fill(l.CompareConclusion, l.count(c.Tested, l.Comparisons), c.Found, l.general(100*stats.FalseDiscoveryRate)))
	}
	percent := func(v float64) string { return l.number(100*v, significantPercent(v)) + " %" }
	switch {
	case m.given > 0:
		p.wrap("", "", fill(l.CompareMarginGiven, percent(m.given)))
	default:
		p.wrap("", "", fill(l.CompareMargin, percent(m.others.middle), percent(m.others.tail),
			percent(m.disk.middle), percent(m.disk.tail)))
	}
	for _, w := range c.Family {
		p.wrap("! ", "  ", l.warning(w))
	}
}

func workOf(r stats.Row) float64 { return r.Probe.WorkUS.P50 }

func significantPercent(v float64) int { return min(1, significant(100*v)) }

// measuredProperties are the rows of the table of the environment that are
// measured, so that they always differ a little.
func (l *language) measuredProperties() []string {
	return []string{"fsync, 4 KiB", "fdatasync, 4 KiB", l.Loopback, l.Timer, l.Clock}
}

func entriesOf(r row) string {
	var texts []string
	for _, e := range r.Entries[1:] {
		if !slices.Contains(texts, e.Text) {
			texts = append(texts, e.Text)
		}
	}
	return joined(texts)
}

func joined(texts []string) string { return strings.Join(texts, ", ") }

func modulesOf(lists ...[]item) []string {
	var out []string
	for _, list := range lists {
		for _, i := range list {
			if !slices.Contains(out, i.Term) {
				out = append(out, i.Term)
			}
		}
	}
	slices.Sort(out)
	return out
}

func versionsOf(list []item, module string) string {
	var out []string
	for _, i := range list {
		if i.Term == module {
			out = append(out, i.Text)
		}
	}
	return joined(out)
}
