package report

import (
	"strconv"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// formed is what the trials of a cell say of how its group came into being. It
// is empty where a load was measured.
type formed struct {
	leader, voters  stats.Summary     // nanoseconds
	messages, bytes stats.Summary     // per second at rest
	vsLeader        *stats.Comparison // of the first leader; that of all voters is the cell's
}

func summarizeFormation(rows []stats.Row) formed {
	summary := func(of figureOf) stats.Summary { return stats.Summarize(values(rows, of)) }
	return formed{
		leader: summary(leaderOf), voters: summary(votersOf),
		messages: summary(func(r stats.Row) (float64, bool) {
			return ofFormation(r, func(f *stats.Formation) (float64, bool) { return f.Messages, f.HasTraffic })
		}),
		bytes: summary(func(r stats.Row) (float64, bool) {
			return ofFormation(r, func(f *stats.Formation) (float64, bool) { return f.Bytes, f.HasTraffic })
		}),
	}
}

func ofFormation(r stats.Row, of func(*stats.Formation) (float64, bool)) (float64, bool) {
	if !r.Formation.Whole() {
		return 0, false
	}
	return of(r.Formation)
}

func leaderOf(r stats.Row) (float64, bool) {
	return ofFormation(r, func(f *stats.Formation) (float64, bool) { return float64(f.Leader), true })
}

func votersOf(r stats.Row) (float64, bool) {
	return ofFormation(r, func(f *stats.Formation) (float64, bool) { return float64(f.Voters), true })
}

// formationColumns are the columns of results.csv of a run that watched groups
// come into being.
func formationColumns() []csvColumn {
	figure := func(name string, of func(*stats.Formation) (string, bool)) csvColumn {
		return csvColumn{name, func(r stats.Row) string {
			if r.Formation == nil {
				return ""
			}
			text, there := of(r.Formation)
			return optional(text, there)
		}}
	}
	columns := append(cellColumns(),
		csvColumn{"discovery", func(r stats.Row) string { return r.Cell.Cluster.Discovery }},
		figure("first_leader_ms", func(f *stats.Formation) (string, bool) { return millis(int64(f.Leader)), f.Leader > 0 }),
		figure("first_leader_late_ms", func(f *stats.Formation) (string, bool) { return millis(int64(f.LeaderError)), f.Leader > 0 }),
		figure("all_voters_ms", func(f *stats.Formation) (string, bool) { return millis(int64(f.Voters)), f.Whole() }),
		figure("all_voters_late_ms", func(f *stats.Formation) (string, bool) { return millis(int64(f.VotersError)), f.Whole() }),
		csvColumn{"settle_s", func(r stats.Row) string { return fixed(float64(r.Cell.Formation.Settle)/1e9, 3) }},
		csvColumn{"rest_s", func(r stats.Row) string { return fixed(float64(r.Cell.Formation.Rest)/1e9, 3) }},
		figure("messages_per_s", func(f *stats.Formation) (string, bool) { return fixed(f.Messages, 3), f.HasTraffic }),
		figure("bytes_per_s", func(f *stats.Formation) (string, bool) { return fixed(f.Bytes, 2), f.HasTraffic }))
	return append(append(columns, validColumns()...), trialColumns()...)
}

// millis writes nanoseconds as milliseconds, to the microsecond.
func millis(ns int64) string { return fixed(float64(ns)/1e6, 3) }

// formationLayout says what the table of cells shows.
type formationLayout struct {
	id, leaderRatio, pValue, trials bool
	times, ratios, traffic          spread
}

// formationForms are the tables of cells that there may be, as [language.forms].
func (l *language) formationForms(m *model) []func() table {
	var forms []func() table
	lay := formationLayout{id: true, leaderRatio: true, pValue: true, trials: true}
	for _, giveUp := range []func(){
		func() {},
		func() { lay.id = false },
		func() { lay.pValue = false },
		func() { lay.ratios = none },
		func() { lay.times, lay.traffic = share, share },
		func() { lay.traffic = none },
		func() { lay.trials = !allValid(m) },
		func() { lay.leaderRatio = false },
		func() { lay.times = none },
		func() { lay.trials = false },
	} {
		giveUp()
		now := lay
		forms = append(forms, func() table { return l.formationTable(m, now) })
	}
	return forms
}

// formationTable is the main table: the figures of every cell and how they compare.
func (l *language) formationTable(m *model, lay formationLayout) table {
	compared := len(m.factors) > 0
	lay.leaderRatio = lay.leaderRatio && compared
	lay.pValue = lay.pValue && m.comparisons() > 0
	u := unitFor(append(medians(m, func(c *cell) stats.Summary { return c.formed.leader }),
		medians(m, func(c *cell) stats.Summary { return c.formed.voters })...)...)

	t := table{Columns: l.nameColumns(m, lay.id)}
	comparison := func(show bool) {
		if show {
			t.Columns = append(t.Columns, column{Head: l.ratioHead(m), Number: true})
		}
		if show && lay.pValue {
			t.Columns = append(t.Columns, column{Head: "p", Number: true})
		}
	}
	t.Columns = append(t.Columns, column{l.FirstLeader, u.name(l), true})
	comparison(lay.leaderRatio)
	t.Columns = append(t.Columns, column{l.AllVoters, u.name(l), true})
	comparison(compared)
	t.Columns = append(t.Columns, column{l.MessagesAtRest, l.PerSecond, true}, column{l.BytesAtRest, l.BytesPerSecond, true})
	if lay.trials {
		t.Columns = append(t.Columns, column{Head: l.TrialsHead, Number: true})
	}
	for _, g := range m.groups {
		for i, c := range g.cells {
			t.Rows = append(t.Rows, row{First: i == 0, Entries: l.formationEntries(m, c, lay, compared, u)})
		}
	}
	t.Notes = l.notes(m, t, true)
	return t
}

func (l *language) formationEntries(m *model, c *cell, lay formationLayout, compared bool, u unit) []entry {
	out := l.nameEntries(m, c, lay.id)
	comparison := func(show bool, vs *stats.Comparison) {
		if show {
			out = append(out, l.ratioEntry(c, vs, lay.ratios))
		}
		if show && lay.pValue {
			out = append(out, l.pEntry(c, vs))
		}
	}
	out = append(out, l.summaryEntry(c, c.formed.leader, u.ns, lay.times, ""))
	comparison(lay.leaderRatio, c.formed.vsLeader)
	out = append(out, l.summaryEntry(c, c.formed.voters, u.ns, lay.times, ""))
	comparison(compared, c.vs)
	out = append(out, l.trafficEntry(c, c.formed.messages, lay.traffic), l.trafficEntry(c, c.formed.bytes, lay.traffic))
	if lay.trials {
		out = append(out, entry{Text: strconv.Itoa(c.valid) + "/" + strconv.Itoa(len(c.run))})
	}
	return out
}

// trafficEntry is a summary that may be of nothing but zeros, which have no digits
// to show.
func (l *language) trafficEntry(c *cell, s stats.Summary, sp spread) entry {
	if s.N > 0 && s.Max == 0 {
		return entry{Text: "0", Struck: c.invalid()}
	}
	return l.summaryEntry(c, s, 1, sp, "")
}

// checkFormation looks for contradictions between a formation and its cell.
func checkFormation(cell *record.CellInfo, t record.Trial, add func(field, printed, computed string)) {
	f := t.Formation
	stopped := false
	for _, g := range t.Gates {
		stopped = stopped || (g.Name == "alive" && g.Verdict == record.Fail)
	}
	if n := len(f.Traffic); n != cell.Cluster.Nodes && !(stopped && n == 0) {
		add("formation.traffic", strconv.Itoa(n)+" nodes", strconv.Itoa(cell.Cluster.Nodes)+" nodes")
	}
	for i, x := range f.Traffic {
		name := "formation.traffic[" + strconv.Itoa(i) + "]"
		if x.NS < int64(cell.Formation.Rest) {
			add(name+".ns", strconv.FormatInt(x.NS, 10), "at least "+cell.Formation.Rest.String())
		}
	}
}
