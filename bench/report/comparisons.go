package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// pairOf is the comparison of a cell with that of its combination that has the baseline; nil
// for the latter.
func (m *model) pairOf(c *cell) *pair {
	for _, x := range m.contrasts {
		for _, p := range x.pairs {
			if x.base == m.base && p.this == c {
				return p
			}
		}
	}
	return nil
}

// ratioCell says how a quantity compares with that of the base.
func (l *language) ratioCell(p *pair, q measure.Quantity) doc.Cell {
	if p == nil {
		return doc.Cell{Text: l.say("base", "база")}
	}
	out := doc.Cell{Text: markNone}
	if vs := p.vs[q.Key]; vs != nil && vs.HasRatio {
		out = ratioOf(*vs, vs.Verdict(stats.DefaultMargin))
	}
	if len(p.unequal) > 0 {
		out.Mark = markUnequal
	}
	return out
}

// ratioOf shows a ratio, marked with what it came to.
func ratioOf(vs stats.Comparison, verdict stats.Verdict) doc.Cell {
	v := ratioValue(vs)
	switch verdict {
	case stats.Equal:
		v.Mark = markSame
	case stats.Undecided:
		v.Mark = markUndecided
	}
	return doc.Cell{Value: v}
}

func ratioValue(vs stats.Comparison) *doc.Value {
	return &doc.Value{X: vs.Ratio, Low: vs.CI.Low, High: vs.CI.High, Ranged: vs.HasCI(), Unit: "×"}
}

func (l *language) pCell(vs *stats.Comparison) doc.Cell {
	if vs == nil || !vs.Testable() {
		return doc.Cell{Text: markNone}
	}
	return doc.Cell{Text: l.pValue(vs.Adjusted)}
}

// ratiosTable shows how the cells compare with those of the baseline; there is none without
// a factor, or where the table of levels says the same.
func (l *language) ratiosTable(m *model) (t doc.Table) {
	if len(m.contrasts) == 0 || len(m.groups) == 1 && len(m.levels()) > 2 {
		return t
	}
	columns := l.nameColumns(m, true)
	for _, q := range m.compared() {
		columns = append(columns,
			column{doc.Column{Head: l.Say(q.Name), Number: true}, func(c *cell) doc.Cell { return l.ratioCell(m.pairOf(c), q) }},
			column{doc.Column{Head: "p", Number: true}, func(c *cell) doc.Cell { return l.pCell(m.pairOf(c).vs[q.Key]) }})
	}
	t = m.table(columns, slices.DeleteFunc(slices.Clone(m.cells), func(c *cell) bool { return m.pairOf(c) == nil }))
	t.Caption = l.fill("Ratios of cells (%s)", "Отношения ячеек (%s)", l.ratioHead(m))
	return t
}

// levelsTable shows every two levels of the compared factor against each other, over all
// combinations of the other factors; there is none where the ratios of the cells say all.
func (l *language) levelsTable(m *model) (t doc.Table) {
	if len(m.contrasts) == 0 || len(m.groups) == 1 && len(m.levels()) == 2 {
		return t
	}
	t.Columns = []doc.Column{{Head: l.say("levels", "уровни")}}
	over := len(m.groups) > 1
	for _, q := range m.compared() {
		t.Columns = append(t.Columns, doc.Column{Head: l.Say(q.Name), Number: true})
		if over {
			t.Columns = append(t.Columns, doc.Column{Head: l.say("range", "размах"), Unit: "×", Number: true})
		}
		t.Columns = append(t.Columns, doc.Column{Head: "p", Number: true, Under: over})
	}
	a := answer{l: l, m: m}
	for _, c := range m.contrasts {
		r := doc.Row{First: true, Cells: []doc.Cell{{Text: l.fill("%s vs %s", "%s к %s", a.wordsAt(c.this).short, a.wordsAt(c.base).short)}}}
		for _, q := range m.compared() {
			s := c.on(q)
			ratio, span := doc.Cell{Text: markNone}, doc.Cell{Text: markNone}
			if s.N > 0 && s.HasRatio {
				ratio = ratioOf(s.Comparison, s.Verdict(stats.DefaultMargin))
				number := func(v float64) string { return l.Locale.Number(v, doc.Digits(v)) }
				span.Text = number(s.Range.Low) + "–" + number(s.Range.High)
			}
			if c.unequal() {
				ratio.Mark = markUnequal
			}
			if r.Cells = append(r.Cells, ratio); over {
				r.Cells = append(r.Cells, span)
			}
			r.Cells = append(r.Cells, l.pCell(&s.Comparison))
		}
		t.Rows = append(t.Rows, r)
	}
	t.Caption = l.say("Levels against each other", "Уровни фактора относительно друг друга")
	if over {
		t.Caption = l.say("Levels against each other, over all combinations of the other factors",
			"Уровни фактора относительно друг друга по всем сочетаниям остальных факторов")
	}
	return t
}

// factorialTable shows what share of the variation of each quantity each factor explains;
// there is none with fewer than two factors, or where cells or values are missing.
func (l *language) factorialTable(m *model) (t doc.Table) {
	if len(m.factors) < 2 {
		return t
	}
	t.Columns = []doc.Column{{Head: l.say("source of variation", "источник изменчивости")}}
	var all []stats.Allocation
	for _, q := range m.compared() {
		if x, full := m.allocation(q); full {
			all = append(all, x)
			t.Columns = append(t.Columns, doc.Column{Head: l.Say(q.Name), Unit: "%", Number: true})
		}
	}
	if len(all) == 0 {
		return t
	}
	row := func(name string, of func(stats.Allocation) float64) {
		r := doc.Row{First: true, Cells: []doc.Cell{{Text: name}}}
		for _, x := range all {
			r.Cells = append(r.Cells, doc.Cell{Text: l.Locale.Number(100*of(x), 1)})
		}
		t.Rows = append(t.Rows, r)
	}
	head := func(f int) string { return l.words(m.factors[f], m.cells[0].info).head }
	for f := range m.factors {
		row(head(f), func(x stats.Allocation) float64 { return x.Main[f] })
	}
	for i, p := range all[0].Pairs {
		row(head(p.A)+" × "+head(p.B), func(x stats.Allocation) float64 { return x.Pairs[i].Share })
	}
	if len(m.factors) > 2 {
		row(l.say("three factors and more", "три фактора и более"), func(x stats.Allocation) float64 { return x.Higher })
	}
	row(l.say("rounds", "раунды"), func(x stats.Allocation) float64 { return x.ByTime })
	row(l.say("trials", "испытания"), func(x stats.Allocation) float64 { return x.Rest })
	t.Caption = l.say("Shares of the variation", "Доли изменчивости")
	t.Notes = []doc.Item{{Text: l.say(
		"Shares of the variation of the quantity’s logarithm: what each factor explains by itself, what two change together (an interaction), what is common to a round, and the rest (Jain, The Art of Computer Systems Performance Analysis, 1991, ch. 17–23).",
		"Доли изменчивости логарифма величины: что объясняет сам фактор, что меняют два фактора вместе (взаимодействие), что общего у испытаний одного раунда и остаток (Jain, The Art of Computer Systems Performance Analysis, 1991, гл. 17–23).")}}
	return t
}

// notes explain the marks that tables use, but for that of unequal cells: it is among what
// limits the answer.
func (l *language) notes(m *model) []doc.Item {
	interval := l.coverage(m)
	ends := l.say("interval of the median over the trials: ", "доверительный интервал медианы по испытаниям: ") + interval
	if len(m.contrasts) > 0 {
		ends += l.say("; of a ratio over the rounds: ", "; отношения по раундам: ") + l.ratioCoverage(m)
	}
	margin := strconv.Itoa(int(100 * stats.DefaultMargin))
	return []doc.Item{
		{Term: doc.MarkEnds, Text: ends},
		{Term: doc.MarkShare, Text: l.say("the farther end of the interval of the median over the trials: ",
			"дальняя граница доверительного интервала медианы по испытаниям: ") + interval},
		{Term: markSame, Text: l.fill("equal within ±%s %%: the whole interval lies there", "равны в пределах ±%s %%: весь интервал лежит в этих пределах", margin)},
		{Term: markUndecided, Text: l.fill("undecided: neither a difference nor equality within ±%s %% is shown", "не решено: не показано ни различие, ни равенство в пределах ±%s %%", margin)},
		{Term: markNone, Text: l.say("nothing valid to compare, or not measured", "нет достоверных данных для сравнения или нет измерений")},
		{Term: markUnsure, Text: l.say("fewer than 10 independent samples lie beyond this percentile in some trial: not reliable",
			"в каком-то из испытаний за этим перцентилем лежит меньше 10 независимых измерений: значение ненадёжно")},
		l.leastNote(),
		{Term: doc.MarkInvalid, Text: l.say("the cell is invalid: no more than half of its trials passed the validity gates; its figures must not be used",
			"ячейка недостоверна: проверки прошло не более половины её испытаний; эти значения использовать нельзя")},
		{Term: "p", Text: l.testText(m)},
	}
}

// testText names the test that p is of.
func (l *language) testText(runs ...*model) string {
	text := l.say("paired permutation test over the rounds, adjusted for all comparisons of cells (Westfall and Young, 1993)",
		"парный перестановочный критерий по раундам с поправкой на все сравнения ячеек (Westfall и Young, 1993)")
	if slices.ContainsFunc(runs, func(m *model) bool { return len(m.groups) > 1 }) {
		text += l.say("; of levels over all combinations, stratified, adjusted after Holm (1979)",
			"; для уровней по всем сочетаниям — стратифицированный, с поправкой по Холму (Holm, 1979)")
	}
	return text
}

// coverage says how likely the intervals of medians hold what they are of, for the numbers of
// trials that there are.
func (l *language) coverage(m *model) string {
	least := map[int]float64{} // by the number of trials: equal values make it differ
	for _, c := range m.cells {
		if sum := c.sums[m.headline().Key]; sum.HasCI() {
			keepLeast(least, sum.N, sum.Coverage)
		}
	}
	return l.covered(least, "trial trials", "испытании испытаниях испытаниях")
}

// ratioCoverage says the same of the intervals of ratios between cells.
func (l *language) ratioCoverage(runs ...*model) string {
	least := map[int]float64{}
	for _, m := range runs {
		for _, c := range m.contrasts {
			for _, p := range c.pairs {
				for _, vs := range p.vs {
					if vs.HasCI() {
						keepLeast(least, vs.N, vs.Coverage)
					}
				}
			}
		}
	}
	return l.covered(least, "round rounds", "раунде раундах раундах")
}

func keepLeast(least map[int]float64, n int, coverage float64) {
	if was, there := least[n]; !there || coverage < was {
		least[n] = coverage
	}
}

// covered writes coverages by numbers of something.
func (l *language) covered(least map[int]float64, en, ru string) string {
	var said []string
	for _, n := range slices.Sorted(maps.Keys(least)) {
		said = append(said, l.fill("%s %% with %s", "%s %% при %s", l.Locale.Number(100*least[n], 0), l.count(n, en, ru)))
	}
	if len(said) == 0 {
		return l.say("nominally 95 %", "номинально 95 %")
	}
	return l.say("nominally 95 %, in fact ", "номинально 95 %, на деле ") + strings.Join(said, ", ")
}

// gates says what came of the validity gates: in a sentence where all passed, and otherwise
// the cells that failed one, with the worst figure of each.
func (l *language) gates(m *model) []doc.Block {
	var names, failing, skipped []string
	limits := map[string][]string{}
	var cells []*cell
	for _, c := range m.cells {
		for _, g := range c.gates {
			names = appendNew(names, g.Name)
			if g.Verdict == record.Fail {
				failing, cells = appendNew(failing, g.Name), appendNew(cells, c)
				limits[g.Name] = appendNew(limits[g.Name], l.gateLimit(g.Gate))
			}
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(m.cells, func(c *cell) bool {
			return slices.ContainsFunc(c.gates, func(g gateSummary) bool { return g.Name == n && g.judged > 0 })
		}) {
			skipped = append(skipped, l.Term(n))
		}
	}
	var terms []string
	for _, n := range names {
		terms = append(terms, l.Term(n))
	}
	valid := 0
	for _, t := range m.trials {
		valid += btoi(t.reason == "")
	}
	text := l.fill("All %s passed all %d checks: %s.", "Все %s прошли все проверки (%d): %s.",
		l.trials(len(m.trials)), len(names), strings.Join(terms, ", "))
	if valid < len(m.trials) {
		text = l.fill("Valid are %d of %s. The checks: %s.", "Достоверны %d из %s. Проверки: %s.",
			valid, l.count(len(m.trials), "trial trials", "испытания испытаний испытаний"), strings.Join(terms, ", "))
	}
	if len(skipped) > 0 {
		text += l.fill(" Not applied: %s.", " Не применялись: %s.", strings.Join(skipped, ", "))
	}
	if len(m.trials) == 0 || len(names) == 0 {
		return nil
	}
	blocks := []doc.Block{doc.Paragraph{Text: text}}
	if len(failing) == 0 {
		return blocks
	}
	columns := l.nameColumns(m, true)
	for _, n := range failing {
		columns = append(columns, column{doc.Column{Head: l.Term(n), Unit: strings.Join(limits[n], " / "), Number: true},
			func(c *cell) doc.Cell { return l.gateCell(c, n) }})
	}
	t := m.table(append(columns, l.validColumn()), cells)
	t.Caption = l.say("Cells with a failed check: its worst figure over the trials", "Ячейки с непройденной проверкой: её худшее значение по испытаниям")
	return append(blocks, t)
}

func (l *language) gateCell(c *cell, name string) doc.Cell {
	i := slices.IndexFunc(c.gates, func(g gateSummary) bool { return g.Name == name })
	if i < 0 {
		return doc.Cell{Text: markNone, Class: doc.Skip}
	}
	switch g := c.gates[i]; g.Verdict {
	case record.Skip:
		return doc.Cell{Text: l.say("not applied", "не применялась"), Class: doc.Skip}
	case record.Fail:
		text := l.gateFigure(g.Gate)
		if g.judged > 1 {
			text += l.fill(", failed %d of %d", ", не пройдена: %d из %d", g.failed, g.judged)
		}
		return doc.Cell{Text: text, Class: doc.Fail}
	default:
		return doc.Cell{Text: l.gateFigure(g.Gate), Class: doc.Pass}
	}
}
