package report

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/stats"
)

// mostCourses is of how many combinations of the other factors a course is told each; of
// more, only how far it goes.
const mostCourses = 3

// course says how a quantity goes along the amounts of the compared factor.
func (a *answer) course(q measure.Quantity) string {
	levels := a.measured(q)
	if len(levels) == 0 {
		return ""
	}
	if len(levels) == 1 || q.Role < measure.Compared || !a.ratios(q) {
		return a.values(q)
	}
	first, last := levels[0], levels[len(levels)-1]
	text, decided := a.fromTo(q, first, last)
	if text == "" {
		return a.values(q)
	}
	if decided {
		text += a.bends(q, levels)
	}
	return text + a.unmeasured(levels) + "."
}

// measured are the levels of which some cell is valid.
func (a *answer) measured(q measure.Quantity) []int {
	var out []int
	for level := range a.m.levels() {
		if slices.ContainsFunc(a.m.groups, func(g []*cell) bool {
			c := a.m.at(g, level)
			return c != nil && !c.invalid() && c.sums[q.Key].N > 0
		}) {
			out = append(out, level)
		}
	}
	return out
}

// turned is a comparison of two levels over all combinations, the one that is later in the
// file against the earlier one.
func (a *answer) turned(q measure.Quantity, from, to int) (stats.Strata, *contrast) {
	c := a.m.between(from, to)
	if c == nil || c.on(q).N == 0 || !c.on(q).HasRatio {
		return stats.Strata{}, nil
	}
	if c.base == from {
		return *c.on(q), c
	}
	return inverted(*c.on(q)), c
}

// fromTo says where the course begins and ends.
func (a *answer) fromTo(q measure.Quantity, first, last int) (text string, decided bool) {
	over, c := a.turned(q, first, last)
	if c == nil {
		return "", false
	}
	say := a.l.changeOf(over.Ratio)
	verdict := over.Verdict(stats.DefaultMargin)
	verb := a.l.say("goes", "меняется")
	switch {
	case verdict == stats.Differs && over.Ratio > 1:
		verb = a.l.say("grows", "растёт")
	case verdict == stats.Differs:
		verb = a.l.say("falls", "снижается")
	}
	if len(a.m.groups) > mostCourses {
		how := a.verdict(&over, say)
		return a.l.fill("%s %s from %s to %s: %s (%s %s)", "%[1]s %[2]s (от «%[3]s» до «%[4]s»): %[5]s (%[6]s %[7]s)", a.l.longName(q), verb,
			a.wordsAt(first).named, a.wordsAt(last).named, how, say.from(over.Range), a.combinations(&over)) + a.dagger(c), verdict == stats.Differs
	}
	var items []string
	told := [2]int{-1, -1} // the levels of the item before
	for i := range a.m.groups {
		item, levels := a.inGroup(q, i, told)
		if item != "" {
			items, told = append(items, item), levels
		}
	}
	text = a.l.longName(q) + " " + verb + " " + a.l.list(items) + a.dagger(c)
	switch verdict {
	case stats.Equal:
		text += a.l.fill(": the same within ±%d %%", ": одинаково в пределах ±%d %%", int(100*stats.DefaultMargin))
	case stats.Undecided:
		a.need = append(a.need, a.m.trialsFor(over.Needed(stats.DefaultMargin), over.N))
		text += a.l.fill(", which %s cannot tell from chance (undecided)", "; отличить это от случайности по %s нельзя (не решено)", a.l.roundsOf(over))
	}
	return text, verdict == stats.Differs
}

// inGroup says where the course begins and ends in one combination of the other factors, at
// its first and last valid levels; those that are as told are not named again.
func (a *answer) inGroup(q measure.Quantity, group int, told [2]int) (string, [2]int) {
	var levels []int
	for level := range a.m.levels() {
		if c := a.m.at(a.m.groups[group], level); c != nil && !c.invalid() && c.sums[q.Key].N > 0 {
			levels = append(levels, level)
		}
	}
	if len(levels) < 2 {
		return "", told
	}
	ends := [2]int{levels[0], levels[len(levels)-1]}
	c := a.m.between(ends[0], ends[1])
	if c == nil || c.pairs[group].vs[q.Key] == nil || !c.pairs[group].vs[q.Key].HasRatio {
		return "", told
	}
	one := stats.Strata{Comparison: *c.pairs[group].vs[q.Key], Count: 1}
	if c.base != ends[0] {
		one = inverted(one)
	}
	amount := func(end int) string {
		text := a.l.amount(q.Unit, a.m.at(a.m.groups[group], ends[end]).sums[q.Key].Median)
		if ends != told {
			text += " " + a.wordsAt(ends[end]).placed
		}
		return text
	}
	how := a.l.changeOf(one.Ratio)
	text := a.l.fill("from %s to %s", "с %s до %s", amount(0), amount(1)) + " (" + how.say(one.Ratio)
	if one.HasCI() {
		text += " " + how.within(one.CI)
	}
	if text += ")"; len(a.m.groups) > 1 {
		text += " " + a.l.circumstance(a.m.others(), a.m.groups[group][0].info)
	}
	return text, ends
}

// roundsOf counts the rounds that a comparison stands on, as a subject, or in Russian in the
// dative.
func (l *language) roundsOf(over stats.Strata) string {
	return l.count(over.N, "round rounds", "раунду раундам раундам")
}

// bends says where a course differs from its beginning first, where it goes fastest, and
// from where on it goes no further.
func (a *answer) bends(q measure.Quantity, levels []int) string {
	var clauses []string
	verdict := func(from, to int) stats.Verdict {
		over, c := a.turned(q, from, to)
		if c == nil {
			return stats.NotCompared
		}
		return over.Verdict(stats.DefaultMargin)
	}
	margin := strconv.Itoa(int(100 * stats.DefaultMargin))
	named := func(i int) string { return a.wordsAt(levels[i]).placed }
	end := len(levels) - 1
	equal, onset := 0, end
	for equal < end && verdict(levels[0], levels[equal+1]) == stats.Equal {
		equal++
	}
	for onset > 1 && verdict(levels[0], levels[onset-1]) == stats.Differs {
		onset--
	}
	if equal > 0 {
		clauses = append(clauses, a.l.fill("up to %s it is the same within ±%s %%", "%s — ещё в пределах ±%s %%", a.l.say(a.wordsAt(levels[equal]).named, named(equal)), margin))
	}
	if onset > 1 {
		clauses = append(clauses, a.l.fill("%s it differs first", "отличие впервые видно %s", named(onset)))
	}
	if i := a.fastest(q, levels); i > 0 && end > 1 && i != onset {
		clauses = append(clauses, a.l.fill("fastest between %s and %s", "быстрее всего — от %s до %s", a.l.say(a.wordsAt(levels[i-1]).named, a.wordsAt(levels[i-1]).short),
			a.l.say(a.wordsAt(levels[i]).named, a.wordsAt(levels[i]).short)))
	}
	flat := end
	for flat > 0 && verdict(levels[flat-1], levels[flat]) == stats.Equal {
		flat--
	}
	if flat < end && flat > 0 {
		clauses = append(clauses, a.l.fill("beyond that %s it stays within ±%s %%", "%s и далее — в пределах ±%s %%", named(flat), margin))
	}
	if len(clauses) == 0 {
		return ""
	}
	return "; " + strings.Join(clauses, "; ")
}

// fastest is the step of the course that goes fastest in its direction, for the factor's
// amounts on a logarithmic scale where they are all positive; 0 where none stands out.
func (a *answer) fastest(q measure.Quantity, levels []int) int {
	amount := func(i int) float64 {
		v, err := strconv.ParseFloat(a.m.levels()[levels[i]], 64)
		if err != nil || v <= 0 {
			return math.NaN()
		}
		return math.Log(v)
	}
	whole, c := a.turned(q, levels[0], levels[len(levels)-1])
	if c == nil {
		return 0
	}
	slope := func(over stats.Strata, from, to int) float64 {
		wide := amount(to) - amount(from)
		if math.IsNaN(amount(0)) || math.IsNaN(wide) || wide == 0 {
			wide = float64(to - from)
		}
		return math.Log(over.Ratio) / wide
	}
	mean := slope(whole, 0, len(levels)-1)
	best, steepest := 0, 1.5*math.Abs(mean)
	for i := 1; i < len(levels); i++ {
		step, c := a.turned(q, levels[i-1], levels[i])
		if c == nil || step.Verdict(stats.DefaultMargin) != stats.Differs {
			continue
		}
		if s := slope(step, i-1, i) * math.Copysign(1, mean); s > steepest {
			best, steepest = i, s
		}
	}
	return best
}

// unmeasured says at which levels no cell is valid, and why.
func (a *answer) unmeasured(levels []int) string {
	var text string
	for level := range a.m.levels() {
		if slices.Contains(levels, level) {
			continue
		}
		for _, g := range a.m.groups {
			c := a.m.at(g, level)
			if c == nil || len(c.run) == 0 {
				continue
			}
			i := slices.IndexFunc(c.run, func(t *trial) bool { return t.reason != "" })
			if i >= 0 {
				text += a.l.fill("; %s it is invalid: %s", "; %s — недостоверно: %s", a.wordsAt(level).placed, a.l.reason(c.run[i]))
				break
			}
		}
	}
	return text
}
