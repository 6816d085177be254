package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// tailTable shows more of each cell: the mean, the outer percentiles, what the
// machine did meanwhile, and throughput over the window.
func (l *language) tailTable(m *model) table {
	t := table{Columns: l.nameColumns(m, true)}
	type figure struct {
		head     string
		perMille int
		of       func(stats.Latency) float64
	}
	figures := []figure{
		{l.Mean, 0, func(x stats.Latency) float64 { return x.Mean }},
		{"p90", 900, func(x stats.Latency) float64 { return float64(x.P90) }},
		{"p99" + l.decimal + "9", 999, func(x stats.Latency) float64 { return float64(x.P999) }},
		{l.Max, 0, func(x stats.Latency) float64 { return float64(x.Max) }},
	}
	median := func(c *cell, f figure) stats.Summary {
		return stats.Summarize(values(c.used, func(r stats.Row) (float64, bool) { return f.of(r.All), r.All.Samples > 0 }))
	}
	var units []unit
	for _, f := range figures {
		u := unitFor(medians(m, func(c *cell) stats.Summary { return median(c, f) })...)
		units = append(units, u)
		t.Columns = append(t.Columns, column{f.head, u.name(l), true})
	}
	extra := l.resourceColumns(m)
	for _, x := range extra {
		t.Columns = append(t.Columns, x.column)
	}
	t.Columns = append(t.Columns, column{Head: l.OverTime})
	for _, g := range m.groups {
		for i, c := range g.cells {
			r := row{First: i == 0, Entries: l.nameEntries(m, c, true)}
			for j, f := range figures {
				perMille := f.perMille
				r.Entries = append(r.Entries, l.latencyEntry(c, median(c, f), units[j], none, perMille, samplesOf(c)))
			}
			for _, x := range extra {
				r.Entries = append(r.Entries, l.summaryEntry(c, x.of(c), 1, none, ""))
			}
			r.Entries = append(r.Entries, entry{Spark: overTime(c)})
			t.Rows = append(t.Rows, r)
		}
	}
	t.Notes = append([]item{{"", l.NoteTail}}, l.notes(m, t, false)...)
	return t
}

type resource struct {
	column column
	of     func(*cell) stats.Summary
}

// resourceColumns are the columns that only some runs can fill.
func (l *language) resourceColumns(m *model) []resource {
	all := []resource{
		{column{l.CPUHead, l.CoresUnit, true}, func(c *cell) stats.Summary {
			return stats.Summarize(values(c.used, func(r stats.Row) (float64, bool) { return r.CPUCores, r.CPUCores > 0 }))
		}},
		{column{l.SyncsHead, "", true}, func(c *cell) stats.Summary {
			return stats.Summarize(values(c.used, func(r stats.Row) (float64, bool) { return r.SyncsPerCommand, r.HasSyncs }))
		}},
		{column{l.LagHead, l.Milliseconds, true}, func(c *cell) stats.Summary {
			return stats.Summarize(values(c.used, func(r stats.Row) (float64, bool) {
				return float64(r.Lag.P99) / 1e6, r.Lag.Samples > 0
			}))
		}},
	}
	var out []resource
	for _, x := range all {
		if slices.ContainsFunc(m.cells, func(c *cell) bool { return x.of(c).N > 0 }) {
			out = append(out, x)
		}
	}
	return out
}

// sparkPoints is how many points a sparkline has at most.
const sparkPoints = 20

// overTime adds up the intervals of all trials used, in at most sparkPoints
// steps of equal length.
func overTime(c *cell) []int64 {
	length := 0
	for i, r := range c.used {
		if i == 0 || len(r.Intervals) < length {
			length = len(r.Intervals)
		}
	}
	if length == 0 {
		return nil
	}
	step := (length + sparkPoints - 1) / sparkPoints
	out := make([]int64, length/step) // what is left over at the end is dropped
	for _, r := range c.used {
		for i, n := range r.Intervals[:len(out)*step] {
			out[i/step] += n
		}
	}
	return out
}

// spark draws a series with block characters, from zero.
func spark(series []int64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	top := int64(1)
	for _, n := range series {
		top = max(top, n)
	}
	var b strings.Builder
	for _, n := range series {
		b.WriteRune(blocks[int(math.Round(float64(n)/float64(top)*float64(len(blocks)-1)))])
	}
	return b.String()
}

// gatesTable shows the worst figure of each validity gate over the trials.
func (l *language) gatesTable(m *model) table {
	t := table{Columns: l.nameColumns(m, true)}
	var names []string
	limits := map[string][]string{}
	for _, c := range m.cells {
		for _, g := range c.gates {
			if !slices.Contains(names, g.Name) {
				names = append(names, g.Name)
			}
			if text := l.gateLimit(g.Gate); g.Verdict != record.Skip && !slices.Contains(limits[g.Name], text) {
				limits[g.Name] = append(limits[g.Name], text)
			}
		}
	}
	for _, n := range names {
		t.Columns = append(t.Columns, column{Head: l.term(n), Unit: strings.Join(limits[n], " / "), Number: true})
	}
	t.Columns = append(t.Columns, column{Head: l.TrialsHead, Number: true})
	for _, g := range m.groups {
		for i, c := range g.cells {
			r := row{First: i == 0, Entries: l.nameEntries(m, c, true)}
			for _, n := range names {
				r.Entries = append(r.Entries, l.gateEntry(c, n))
			}
			r.Entries = append(r.Entries, entry{Text: strconv.Itoa(c.valid) + "/" + strconv.Itoa(len(c.run))})
			t.Rows = append(t.Rows, r)
		}
	}
	return t
}

func (l *language) gateEntry(c *cell, name string) entry {
	for _, g := range c.gates {
		if g.Name != name {
			continue
		}
		switch g.Verdict {
		case record.Skip:
			return entry{Text: "SKIP", Class: "skip"}
		case record.Fail:
			text := "FAIL " + l.gateFigure(g.Gate)
			if g.judged > 1 {
				text += fill(" (%d/%d)", g.failed, g.judged)
			}
			return entry{Text: text, Class: "fail"}
		default:
			return entry{Text: "PASS " + l.gateFigure(g.Gate), Class: "pass"}
		}
	}
	return entry{Text: textOfNoData, Class: "skip"}
}

func (l *language) gateFigure(g record.Gate) string {
	return strings.TrimSpace(l.number(g.Figure, figureDecimals(g)) + " " + l.term(g.Unit))
}

// figureDecimals shows enough of a gate's figure to see on which side of the
// limit it lies.
func figureDecimals(g record.Gate) int {
	decimals := significant(g.Figure)
	if g.Figure == math.Trunc(g.Figure) {
		decimals = 0
	}
	for ; decimals < 6; decimals++ {
		scale := math.Pow10(decimals)
		shown := math.Round(g.Figure*scale) / scale
		if cmp.Compare(shown, g.Limit) == cmp.Compare(g.Figure, g.Limit) {
			break
		}
	}
	return decimals
}

func (l *language) gateLimit(g record.Gate) string {
	sign := "≤ "
	if g.AtLeast {
		sign = "≥ "
	}
	return strings.TrimSpace(sign + l.general(g.Limit) + " " + l.term(g.Unit))
}

// machineTable describes where the sessions of the run took place.
func (l *language) machineTable(m *model) table {
	t := table{Columns: []column{{Head: ""}}}
	type property struct {
		name string
		of   func(s session) string
	}
	properties := []property{
		{l.CPUName, func(s session) string { return s.Environment.CPU }},
		{l.Cores, func(s session) string {
			return strconv.Itoa(s.Environment.Cores) + " (GOMAXPROCS " + strconv.Itoa(s.Environment.GOMAXPROCS) + ")"
		}},
		{l.Memory, func(s session) string { return l.memory(s.Environment.MemoryBytes) }},
		{l.System, func(s session) string {
			return strings.TrimSpace(s.Environment.OS + " " + s.Environment.Kernel + " " + s.Environment.Arch)
		}},
		{l.FileSystem, l.fileSystem},
		{"fsync, 4 KiB", func(s session) string { return l.probeText(s.Calibration.FsyncUS) }},
		{"fdatasync, 4 KiB", func(s session) string { return l.probeText(s.Calibration.FdatasyncUS) }},
		{l.Loopback, func(s session) string { return l.probeText(s.Calibration.LoopbackUS) }},
		{l.Timer, func(s session) string { return l.probeText(s.Calibration.TimerUS) }},
		{l.Clock, func(s session) string { return l.general(s.Calibration.ClockResolution) + " " + l.Nanoseconds }},
		{"Go", func(s session) string { return s.Environment.Go }},
		{"raftlab", func(s session) string {
			return strings.TrimSpace(s.Environment.Raftlab + " " + s.Environment.Commit)
		}},
	}
	for i, s := range m.manifest.Sessions {
		head := l.Measured
		if len(m.manifest.Sessions) > 1 {
			head = fill(l.SessionHead, i+1)
		}
		t.Columns = append(t.Columns, column{Head: head + " " + s.Started.UTC().Format(time.DateOnly+" 15:04 UTC")})
	}
	for _, p := range properties {
		r := row{Entries: []entry{{Text: p.name}}}
		for _, s := range m.manifest.Sessions {
			r.Entries = append(r.Entries, entry{Text: firstOf(p.of(s), textOfNoData)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func (l *language) fileSystem(s session) string {
	text := s.Environment.DataFileSystem
	if s.Environment.DataDevice != "" {
		text += " (" + s.Environment.DataDevice + ")"
	}
	if s.Environment.DataMemory {
		text += ", " + l.InMemory
	}
	return text
}
