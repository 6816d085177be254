package report

import (
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
)

// formationSentence says what one combination shows; empty where nothing was
// measured.
func (l *language) formationSentence(m *model, g group) string {
	base := g.cells[0]
	first := withParts(nil)
	if len(m.factors) > 0 {
		first = m.factors[:1]
	}
	measured := false
	var items []string
	for _, c := range g.cells {
		name := l.label(first, c.info)
		if c.formed.voters.N == 0 {
			items = append(items, fill(l.AnswerItemNone, name))
			continue
		}
		measured = true
		items = append(items, fill(l.FormationItem, name, l.latencySummary(c.formed.leader), l.figure(c))+l.against(first, base, c))
	}
	if !measured {
		return ""
	}
	text := strings.Join(items, "; ") + "."
	if where := l.circumstance(m.others(), base.info); where != "" {
		return capital(where) + " — " + text
	}
	if first[0].Key == keyDiscovery {
		return capital(text)
	}
	return text // it may begin with a name
}

// formationMethod says how the figures came about.
func (l *language) formationMethod(m *model) []item {
	e := m.manifest.Experiment
	distinct := func(of func(*record.CellInfo) string) string { return strings.Join(distinctOf(m, of), ", ") }
	var ways []string
	for _, d := range distinctOf(m, func(c *record.CellInfo) string { return c.Cluster.Discovery }) {
		ways = append(ways, firstOf(l.DiscoveryText[d], d))
	}
	late := 0.0
	for _, r := range m.rows {
		if r.Formation.Whole() {
			late = max(late, float64(r.Formation.LeaderError), float64(r.Formation.VotersError))
		}
	}
	group := fill(l.Group, distinct(func(c *record.CellInfo) string { return strconv.Itoa(c.Cluster.Nodes) }),
		distinct(func(c *record.CellInfo) string { return l.term(c.Cluster.Mode) }))
	items := []item{
		{l.MethodFormation, group + " " + l.MethodFormationText},
		{l.MethodDiscovery, strings.Join(ways, " ")},
		{l.MethodResolution, fill(l.MethodResolutionText, l.latency(late))},
		{l.MethodRest, fill(l.MethodRestText,
			distinct(func(c *record.CellInfo) string { return l.seconds(c.Formation.Rest) }),
			distinct(func(c *record.CellInfo) string { return l.seconds(c.Formation.Settle) }))},
		{l.MethodTrials, fill(l.FormationTrialsText, l.count(e.Trials, l.Trials), strconv.FormatUint(e.Seed, 10))},
		{l.MethodDurability, l.durabilityText(m)},
	}
	return append(items, l.statistics(m, l.FormationTestText)...)
}
