package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/stats"
)

// answer is what the data say to the question of the experiment, in sentences.
type answer struct {
	Headline string   // of the last combination, the most loaded one
	Others   []string // of the other combinations
	Cautions []string // what makes the sentences less than they seem
}

// fill puts args into a phrase.
func fill(phrase string, args ...any) string { return fmt.Sprintf(phrase, args...) }

func (l *language) answer(m *model) answer {
	var a answer
	for _, g := range m.groups {
		if s := l.sentence(m, g); s != "" {
			a.Others = append(a.Others, strings.ReplaceAll(s, latencySlot, l.latencyWord(m)))
		}
	}
	if n := len(a.Others); n > 0 {
		a.Headline, a.Others = a.Others[n-1], a.Others[:n-1]
	}
	a.Cautions = l.cautions(m)
	return a
}

// latencySlot stands in the phrases for what the latency of a run is of.
const latencySlot = "{latency}"

func (l *language) latencyWord(m *model) string {
	if m.reads {
		return l.LatencyOfOperations
	}
	return l.LatencyOfWrites
}

// sentence says what one combination shows; empty where nothing was measured.
func (l *language) sentence(m *model, g group) string {
	if m.formation {
		return l.formationSentence(m, g)
	}
	var measured []*cell
	for _, c := range g.cells {
		if c.p50.N > 0 {
			measured = append(measured, c)
		}
	}
	if len(measured) == 0 {
		return ""
	}
	if len(m.factors) == 0 {
		c := measured[0]
		return fill(l.AnswerSingle, l.label(withParts(nil), c.info), l.figure(c), l.rateSummary(c.throughput))
	}
	first := m.factors[0]
	base := g.cells[0]
	switch {
	case base.p50.N == 0 || len(measured) == 1:
		return l.sentenceOfList(m, g)
	case isNumeric(first):
		return l.sentenceOfGrowth(m, g)
	case len(g.cells) == 2:
		return l.sentenceOfPair(m, g.cells[0], g.cells[1])
	default:
		return l.sentenceOfList(m, g)
	}
}

// withParts adds the store and the transport to the factors that a sentence
// names, where they are not factors themselves: a sentence stands alone.
func withParts(fs []factor) []factor {
	out := slices.Clone(fs)
	for _, key := range []string{keyBackend, keyTransport} {
		if !slices.ContainsFunc(fs, func(f factor) bool { return f.Key == key }) {
			f := factor{index: -1}
			f.Key = key
			out = append(out, f)
		}
	}
	return out
}

// sentenceOfPair: "bolt over tcp at 16 clients: p50 4.62 ms [4.41, 4.90], 2.10×
// mdb's (2.20 ms [2.11, 2.31])".
func (l *language) sentenceOfPair(m *model, base, c *cell) string {
	first := m.factors[:1]
	subject := l.label(withParts(m.factors), c.info)
	baseName := l.label(first, base.info)
	switch c.verdict() {
	case differs:
		return fill(l.AnswerPair, subject, l.figure(c), l.times(first[0], c), l.figure(base)) + l.inequalityMark(c)
	case same:
		return fill(l.AnswerPairSame, subject, l.figure(c), baseName, l.figure(base)) + l.inequalityMark(c)
	default:
		return fill(l.AnswerPairNot, subject, l.figure(c), baseName, l.figure(base))
	}
}

// sentenceOfGrowth compares the first level of an amount with the last.
func (l *language) sentenceOfGrowth(m *model, g group) string {
	first := m.factors[0]
	base, c := g.cells[0], g.cells[len(g.cells)-1]
	for i := len(g.cells) - 1; c.p50.N == 0; i-- {
		c = g.cells[i]
	}
	where := l.label(withParts(m.others()), c.info)
	from, to := l.placed(first, base.info), l.placed(first, c.info)
	var text string
	switch c.verdict() {
	case differs:
		phrase := l.AnswerGrows
		if c.vs.Ratio < 1 {
			phrase = l.AnswerFalls
		}
		text = fill(phrase, where, l.figure(base), from, l.figure(c), to, l.factorOf(c.vs.Ratio))
	case same:
		text = fill(l.AnswerLevel, where, from, l.figure(base), to, l.figure(c))
	default:
		text = fill(l.AnswerGrowthNot, where, from, l.figure(base), to, l.figure(c))
	}
	if first.Key == keyClients || first.Key == keyRate {
		text += fill(l.AnswerThroughput, l.rateSummary(base.throughput), l.rateSummary(c.throughput))
	}
	return text + l.inequalityMark(c)
}

// sentenceOfList names every level of the first factor.
func (l *language) sentenceOfList(m *model, g group) string {
	first := m.factors[:1]
	base := g.cells[0]
	var items []string
	for _, c := range g.cells {
		name := l.label(first, c.info)
		if c.p50.N == 0 {
			items = append(items, fill(l.AnswerItemNone, name))
			continue
		}
		items = append(items, fill(l.AnswerItem, name, l.figure(c))+l.against(first, base, c))
	}
	where := l.circumstance(m.others(), base.info)
	if where == "" {
		return fill(l.AnswerListAlone, strings.Join(items, "; "))
	}
	return fill(l.AnswerList, capital(where), strings.Join(items, "; "))
}

// against says how the main figure of c compares with that of the base.
func (l *language) against(first []factor, base, c *cell) string {
	if c == base {
		return ""
	}
	text := ", "
	switch c.verdict() {
	case differs:
		text += l.times(first[0], c)
	case same:
		text += fill(l.AnswerItemSame, l.label(first, base.info))
	default:
		text += l.AnswerItemNot
	}
	return text + l.inequalityMark(c)
}

// figure is the main figure of a cell, marked where the cell is invalid.
func (l *language) figure(c *cell) string {
	text := l.latencySummary(c.main)
	if c.invalid() {
		text += " (" + l.InvalidWord + ")"
	}
	return text
}

// times says how many times the base's main figure that of c is: "2.10× mdb's", or
// "2.10× that over tcp" where the base is no thing that has a p50.
func (l *language) times(first factor, c *cell) string {
	more, less, base := l.TimesMore, l.TimesLess, l.named(first, c.base.info)
	if first.Key != keyBackend && first.Key != keyEngine {
		more, less, base = l.TimesMorePlaced, l.TimesLessPlaced, l.placed(first, c.base.info)
	}
	if c.vs.Ratio < 1 {
		more = less
	}
	return fill(more, l.factorOf(c.vs.Ratio), base)
}

// factorOf writes a ratio as the language puts it in a sentence: English keeps
// 0.48×, Russian says how many times less.
func (l *language) factorOf(ratio float64) string {
	if l.Code != Russian {
		return l.ratio(ratio)
	}
	if ratio < 1 {
		ratio = 1 / ratio
	}
	decimals := significant(ratio)
	text := l.number(ratio, decimals)
	if decimals > 0 {
		return text + " " + l.Times[1] // a fraction governs the genitive singular
	}
	return text + " " + l.Times[l.form(int(math.Round(ratio)))]
}

func (l *language) inequalityMark(c *cell) string {
	if len(c.unequal) == 0 {
		return ""
	}
	return " " + markUnequal
}

// verdict is what a comparison came to.
type verdict int

const (
	notCompared verdict = iota
	same
	differs
)

func (c *cell) verdict() verdict { return verdictOf(c.vs) }

func verdictOf(vs *stats.Comparison) verdict {
	switch {
	case vs == nil || !vs.Tested || !vs.HasRatio:
		return notCompared
	case vs.Different():
		return differs
	default:
		return same
	}
}

// cautions lists what would make the answer untrustworthy.
func (l *language) cautions(m *model) []string {
	var out []string
	run, planned, invalid, invalidTrials, most := 0, 0, 0, 0, 0
	for _, c := range m.cells {
		run += len(c.run)
		planned += c.planned
		most = max(most, len(c.run))
		if c.invalid() {
			invalid++
		} else {
			invalidTrials += len(c.run) - c.valid
		}
	}
	if run == 0 {
		return []string{l.CautionNothing}
	}
	if run < planned {
		out = append(out, fill(l.CautionIncomplete, run, planned))
	}
	if invalid > 0 {
		out = append(out, fill(l.CautionInvalid, invalid, l.count(len(m.cells), l.CellsOf)))
	}
	if invalidTrials > 0 {
		out = append(out, fill(l.CautionInvalidTrials, invalidTrials, l.count(run, l.TrialsOf)))
	}
	if most == 1 {
		out = append(out, l.CautionOneTrial)
	}
	for _, w := range m.family {
		told := w.Code == stats.FewTrials && most == 1                                                                             // said above
		moot := w.Code == stats.LoneDifference && !slices.ContainsFunc(m.cells, func(c *cell) bool { return c.verdict() == same }) // all were found
		if !told && !moot {
			out = append(out, l.warning(w))
		}
	}
	for _, w := range m.machine {
		out = append(out, l.warning(w))
	}
	if m.mixed {
		out = append(out, l.CautionMixed)
	}
	if slices.ContainsFunc(m.manifest.Sessions, func(s session) bool { return s.Environment.DataMemory }) {
		out = append(out, l.CautionMemory)
	}
	return append(out, l.inequalitiesOf(m)...)
}

// inequalitiesOf explains the dagger, once for every kind of inequality.
func (l *language) inequalitiesOf(m *model) []string {
	var out []string
	for _, c := range m.cells {
		for _, u := range c.unequal {
			text := fill(l.UnequalNote, markUnequal, l.Respects[u.what],
				l.label(m.factors[:1], c.base.info), l.term(u.base),
				l.label(m.factors[:1], c.info), l.term(u.this))
			if !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}
