package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// longName is what a sentence calls a quantity.
func (l *language) longName(q measure.Quantity) string {
	return cmp.Or(l.Say(q.Long), l.Say(q.Name))
}

// Brief says in a few words what a trial gave, in English.
func Brief(kind *measure.Kind, v measure.Values) string {
	var out []string
	for _, key := range kind.Answer {
		q := kind.Quantity(key)
		if x, there := v.Of(q); there {
			out = append(out, q.Name.En+" "+newLanguage(English).amount(q.Unit, x))
		}
	}
	return strings.Join(out, ", ")
}

// mostSentences is of how many sentences the headline consists at most.
const mostSentences = 3

// answer is what a run has found: in at most three sentences that answer the question of
// the experiment, and in further ones for what else it asks about.
type answer struct {
	l    *language
	m    *model
	said []sentence
	more []sentence
	need []int // of the sentence that is being made

	// decides reports whether the headline says what would decide what is undecided: this
	// command, if there is one.
	decides bool
	command string
}

// sentence is a sentence with how many trials of each cell would decide each thing that it
// says to be undecided.
type sentence struct {
	text string
	need []int
}

// answer says what the run has found.
func (l *language) answer(m *model) *answer {
	a := &answer{l: l, m: m}
	quantities := m.answers()
	if len(quantities) == 0 {
		return a
	}
	if m.kind.Parts != nil && m.kind.Parts.Leads {
		a.parts()
	}
	switch {
	case len(m.factors) == 0:
		a.said = append(a.said, sentence{text: l.single(m, quantities)})
	case isNumeric(m.factors[0]):
		for i, q := range quantities {
			a.add(a.course(q))
			a.follow(i)
		}
	default:
		first := quantities[0]
		a.add(a.levels(first))
		a.follow(0)
		apart := func(q measure.Quantity) bool { return q.Apart }
		for _, q := range quantities[1:] {
			if apart(q) {
				a.add(a.levels(q))
			}
		}
		if len(a.m.groups) > 1 {
			of, depends := "", a.dependence(first)
			if slices.ContainsFunc(quantities, apart) { // something else was said meanwhile
				of = a.l.fill("for %s, ", "%s: ", a.l.longName(first))
			}
			a.add(btos(depends != "", of+depends))
		}
		a.add(a.ahead(first))
		for _, q := range slices.DeleteFunc(quantities[1:], apart) {
			a.add(a.levels(q))
		}
	}
	if last := mostSentences - 1; len(a.undecided()) > 0 && len(a.said) > last { // that is a sentence, too
		a.said, a.more = a.said[:last:last], append(a.said[last:], a.more...)
	}
	if need := a.undecided(); len(need) > 0 {
		text, command := l.decided(m, need)
		a.said, a.command, a.decides = append(a.said, sentence{text: text + l.ending(command)}), command, true
	}
	return a
}

// headline is the answer to the question.
func (a *answer) headline() string { return strings.Join(texts(a.said), " ") }

// blocks are the answer in a report.
func (a *answer) blocks() []doc.Block {
	out := []doc.Block{doc.Paragraph{Text: a.headline(), Class: doc.Headline}}
	if a.command != "" {
		out = append(out, doc.Code{a.command})
	}
	return out
}

// follow says the parts of a quantity once the first was told, where they do not lead.
func (a *answer) follow(quantity int) {
	if parts := a.m.kind.Parts; quantity == 0 && parts != nil && !parts.Leads {
		a.parts()
	}
}

func texts(of []sentence) []string {
	out := make([]string, len(of))
	for i, s := range of {
		out[i] = s.text
	}
	return out
}

// add says a sentence where there is room for it.
func (a *answer) add(text string) {
	s := sentence{capital(text), a.need}
	a.need = nil
	switch {
	case text == "":
	case len(a.said) < mostSentences:
		a.said = append(a.said, s)
	default:
		a.more = append(a.more, s)
	}
}

// single says what the only cell came to.
func (l *language) single(m *model, quantities []measure.Quantity) string {
	var items []string
	for _, q := range quantities {
		if sum, there := m.cells[0].sums[q.Key]; there {
			items = append(items, l.longName(q)+" "+l.valueOf(q, m.cells[0], sum))
		}
	}
	return l.fullLabel(nil, m.cells[0].info) + ": " + strings.Join(items, ", ") + "."
}

// valueOf writes the median of a cell, and whether it may be believed.
func (l *language) valueOf(q measure.Quantity, c *cell, sum stats.Summary) string {
	text := l.summary(q.Unit, sum)
	if c.invalid() {
		text += l.say(" (invalid)", " (недостоверно)")
	}
	return text
}

// wordsAt are those of a level of the compared factor.
func (a *answer) wordsAt(level int) factorWords {
	for _, g := range a.m.groups {
		if c := a.m.at(g, level); c != nil {
			return a.l.words(a.m.factors[0], c.info)
		}
	}
	return factorWords{}
}

// named names a level of the compared factor by itself, set apart where it is a name of the
// experiment's own.
func (a *answer) named(level int) string {
	for _, g := range a.m.groups {
		if c := a.m.at(g, level); c != nil {
			return a.l.levelName(a.m.factors[0], c.info)
		}
	}
	return ""
}

func (l *language) levelName(f factor, c *record.CellInfo) string {
	name := l.words(f, c).named
	if f.Sets != nil {
		name = l.quoted(name)
	}
	return name
}

// combinations names those of the other factors in which there was something to compare:
// "over the 4 combinations of transport, clients".
func (a *answer) combinations(over *stats.Strata) string {
	if all := len(a.m.groups); over.Count < all {
		return a.l.fill("over %d of the %d combinations", "в %d из %d сочетаний", over.Count, all)
	}
	if others := a.m.others(); len(others) == 1 {
		return a.l.fill("over the %d levels of %s", "на %d уровнях фактора «%s»", over.Count, a.l.words(others[0], a.m.cells[0].info).head)
	}
	var names []string
	for _, f := range a.m.others() {
		names = append(names, a.l.fill("%s", "«%s»", a.l.words(f, a.m.cells[0].info).head))
	}
	return a.l.fill("over the %d combinations of %s", "в %d сочетаниях факторов %s", over.Count, a.l.list(names))
}

// list joins the items of a sentence.
func (l *language) list(items []string) string {
	if last := len(items) - 1; last > 0 {
		return strings.Join(items[:last], ", ") + l.say(" and ", " и ") + items[last]
	}
	return strings.Join(items, "")
}

// levels says what a quantity is at each level of the compared factor, against the baseline.
func (a *answer) levels(q measure.Quantity) string {
	if len(a.m.groups) == 1 || q.Role < measure.Compared || !a.ratios(q) {
		return a.values(q)
	}
	if a.free(q) {
		return a.shares(q)
	}
	var items []string
	for _, c := range a.told(q) {
		items = append(items, a.ratio(q, c, len(items) == 0))
	}
	if len(items) == 0 {
		return ""
	}
	return a.l.fill("against %[1]s, %[2]s is %[3]s.", "%[2]s по сравнению с %[1]s: %[3]s.",
		a.named(a.m.base), a.l.longName(q), a.l.list(items))
}

// mostLevels is how many levels one sentence tells.
const mostLevels = 4

// told are the contrasts with the baseline that a sentence tells: all, or, where they are
// many, those that lie farthest from it.
func (a *answer) told(q measure.Quantity) []*contrast {
	var out []*contrast
	for _, c := range a.m.against() {
		if over := c.on(q); over.N > 0 {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(x, y *contrast) int { return btoi(x.unequal()) - btoi(y.unequal()) })
	if len(out) <= mostLevels {
		return out
	}
	far := func(c *contrast) float64 { return math.Abs(math.Log(c.on(q).Ratio)) }
	sorted := slices.Clone(out)
	slices.SortStableFunc(sorted, func(x, y *contrast) int { return cmp.Compare(far(y), far(x)) })
	return slices.DeleteFunc(out, func(c *contrast) bool { return slices.Contains(sorted[mostLevels:], c) })
}

// ratios reports whether all comparisons of a quantity have a ratio.
func (a *answer) ratios(q measure.Quantity) bool {
	return !slices.ContainsFunc(a.m.against(), func(c *contrast) bool { return c.on(q).N > 0 && !c.on(q).HasRatio })
}

// ratio says how a level compares with the baseline over all combinations.
func (a *answer) ratio(q measure.Quantity, c *contrast, first bool) string {
	over, w := c.on(q), a.wordsAt(c.this)
	say := a.l.changeOf(over.Ratio)
	text, where := a.verdict(over, say), a.combinations(over)
	switch {
	case over.Verdict(stats.DefaultMargin) == stats.Undecided:
		return a.l.fill("%s %s", "%[2]s — %[1]s", text, w.placed) + a.dagger(c)
	case over.Count > 1:
		where = a.span(say.from(over.Range)+a.by(q, c), over, first)
	}
	return a.l.fill("%s %s (%s)", "%[2]s — %[1]s (%[3]s)", text, w.placed, where) + a.dagger(c)
}

// span is a range over the combinations of the other factors, named where it is the first of
// a sentence.
func (a *answer) span(text string, over *stats.Strata, first bool) string {
	if !first && over.Count == len(a.m.groups) {
		return text
	}
	return text + " " + a.combinations(over)
}

// by says by how much a time differs, where no other level is told beside it: what something
// adds, rather than how many times it is longer.
func (a *answer) by(q measure.Quantity, c *contrast) string {
	if q.Unit != measure.Seconds || len(a.m.against()) > 1 || c.on(q).Verdict(stats.DefaultMargin) != stats.Differs {
		return ""
	}
	var all []float64
	for _, vs := range c.of(q.Key) {
		if vs.N > 0 {
			all = append(all, math.Abs(vs.Other-vs.Base))
			if (vs.Other > vs.Base) != (c.on(q).Ratio > 1) {
				return ""
			}
		}
	}
	return a.l.fill(", by %s,", ", разница %s,", a.l.span(q.Unit, slices.Min(all), slices.Max(all)))
}

func (a *answer) dagger(c *contrast) string {
	if c.unequal() {
		return " " + markUnequal
	}
	return ""
}

// verdict says what a comparison came to: never that there is no difference.
func (a *answer) verdict(over *stats.Strata, say change) string {
	interval := ""
	if over.HasCI() {
		interval = " " + say.within(over.CI)
	}
	switch over.Verdict(stats.DefaultMargin) {
	case stats.Differs:
		return say.say(over.Ratio) + interval
	case stats.Equal:
		return a.l.fill("the same within ±%d %%", "одинаково в пределах ±%d %%", int(100*stats.DefaultMargin)) + interval
	default:
		a.need = append(a.need, a.m.trialsFor(over.Needed(stats.DefaultMargin), over.N))
		if over.HasCI() && !over.Testable() {
			return say.say(over.Ratio) + interval + a.l.say(" (undecided: too few rounds)", " (не решено: мало раундов)")
		}
		return say.say(over.Ratio) + interval + a.l.say(" (undecided)", " (не решено)")
	}
}

// values says a quantity of each level in its unit: the value where there is one combination
// of the other factors, else the range over them.
func (a *answer) values(q measure.Quantity) string {
	alike := []float64{}
	for _, c := range a.m.cells {
		if sum, there := c.sums[q.Key]; there && sum.Min == sum.Max {
			alike = appendNew(alike, sum.Median)
		} else if there {
			alike = append(alike, sum.Min, sum.Max)
		}
	}
	if len(alike) == 1 {
		return a.l.fill("%s: %s in all cells.", "%s: %s во всех ячейках.", a.l.longName(q), a.l.amount(q.Unit, alike[0]))
	}
	if a.many() {
		return a.inOrder(q)
	}
	type amount struct {
		text, against string
		places        []string
	}
	var amounts []amount // levels that have the same are told together
	for level := range a.m.levels() {
		text, against := a.value(q, level)
		i := slices.IndexFunc(amounts, func(x amount) bool { return x.text == text && x.against == against })
		switch {
		case text == "":
		case i >= 0:
			amounts[i].places = append(amounts[i].places, a.named(level))
		default:
			amounts = append(amounts, amount{text, against, []string{a.wordsAt(level).placed}})
		}
	}
	var items []string
	for _, x := range amounts {
		items = append(items, a.l.fill("%s %s", "%[2]s — %[1]s", x.text, a.l.list(x.places))+x.against)
	}
	if len(items) == 0 {
		return ""
	}
	if len(items) > mostLevels+1 {
		items = append(items[:mostLevels], a.l.say("the rest is in the table", "остальное — в таблице"))
	}
	return a.l.fill("%s: %s.", "%s: %s.", a.l.longName(q), strings.Join(items, "; "))
}

// many reports whether there are so many levels that they are told in their order.
func (a *answer) many() bool { return len(a.m.levels()) > mostLevels+1 && len(a.m.groups) == 1 }

// inOrder says a quantity of each of many levels, the best first, and which of them are not
// known to differ from the baseline.
func (a *answer) inOrder(q measure.Quantity) string {
	type place struct {
		level int
		sum   stats.Summary
	}
	var places []place
	verdicts, tested := map[stats.Verdict][]string{}, false
	for level := range a.m.levels() {
		c := a.m.at(a.m.groups[0], level)
		if c == nil || c.invalid() || c.sums[q.Key].N == 0 {
			continue
		}
		places = append(places, place{level, c.sums[q.Key]})
		if level == a.m.base {
			continue
		}
		over := a.m.between(a.m.base, level).on(q)
		v := over.Verdict(stats.DefaultMargin)
		tested = tested || over.Testable()
		if verdicts[v] = append(verdicts[v], a.named(level)); v == stats.Undecided {
			a.need = append(a.need, a.m.trialsFor(over.Needed(stats.DefaultMargin), over.N))
		}
	}
	slices.SortStableFunc(places, func(x, y place) int { return cmp.Compare(x.sum.Median, y.sum.Median) })
	order := a.l.say("lowest first", "по возрастанию")
	if q.More {
		slices.Reverse(places)
		order = a.l.say("highest first", "по убыванию")
	}
	var items, not []string
	for _, p := range places {
		items = append(items, a.l.fill("%s %s", "%s — %s", a.named(p.level), a.l.amount(q.Unit, p.sum.Median)))
	}
	text := a.l.fill("%s, %s: %s", "%s %s: %s", a.l.longName(q), order, strings.Join(items, a.l.say(", ", "; ")))
	if of := verdicts[stats.Equal]; len(of) > 0 {
		not = append(not, a.l.fill("the same within ±%d %% with %s", "одинаково в пределах ±%d %% — %s", int(100*stats.DefaultMargin), a.l.list(of)))
	}
	if of := verdicts[stats.Undecided]; len(of) > 0 {
		not = append(not, a.l.fill("undecided with %s", "не решено — %s", a.l.list(of)))
	}
	all := func(v stats.Verdict) bool { return len(verdicts[v]) > 0 && len(verdicts[v]) == len(places)-1 }
	switch {
	case all(stats.Undecided) && !tested:
		text += a.l.fill("; all undecided against %s: too few rounds", "; относительно %s не решено: мало раундов", a.named(a.m.base))
	case len(not) > 0:
		text += a.l.fill("; against %s it is %s", "; относительно %s: %s", a.named(a.m.base), strings.Join(not, a.l.say(" and ", "; ")))
	case all(stats.Differs):
		text += a.l.fill("; each differs from %s", "; каждое отличается от %s", a.named(a.m.base))
	}
	return text + "."
}

// value says a quantity at one level of the compared factor, and how that stands against
// the baseline.
func (a *answer) value(q measure.Quantity, level int) (text, against string) {
	var low, high stats.Summary
	invalid := true
	n := 0
	for _, g := range a.m.groups {
		c := a.m.at(g, level)
		if c == nil {
			continue
		}
		sum, there := c.sums[q.Key]
		if !there {
			continue
		}
		if n == 0 || sum.Median < low.Median {
			low = sum
		}
		if n == 0 || sum.Median > high.Median {
			high = sum
		}
		invalid, n = invalid && c.invalid(), n+1
	}
	if n == 0 {
		return "", ""
	}
	text = a.l.summary(q.Unit, low)
	if n > 1 {
		text = a.l.span(q.Unit, low.Median, high.Median)
	}
	if invalid {
		against = a.l.say(" (invalid)", " (недостоверно)")
	}
	if level == a.m.base || q.Role < measure.Compared || n > 1 {
		return text, against
	}
	c := a.m.between(a.m.base, level)
	if over := c.on(q); over.HasRatio {
		against += ", " + a.verdict(over, a.l.changeOf(over.Ratio))
	}
	return text, against + a.dagger(c)
}

// span writes the ends of a range in one unit.
func (l *language) span(u measure.Unit, low, high float64) string {
	if low == high {
		return l.amount(u, low)
	}
	s := l.scaleOf(u, high)
	if high > 100*low { // in one unit, one of them would be hard to read
		return l.fill("%s to %s", "от %s до %s", l.amount(u, low), l.amount(u, high))
	}
	number := func(v float64) string { return l.Locale.Number(v/s.one, doc.Digits(v/s.one)) }
	return strings.TrimSpace(l.fill("%s to %s %s", "от %s до %s %s", number(low), number(high), s.name))
}

// free reports whether the baseline lacks what the other levels are paid for: it keeps
// nothing, or has no wire. What they take beyond it is then their share.
func (a *answer) free(q measure.Quantity) bool {
	if q.More {
		return false
	}
	for _, c := range a.m.against() {
		over := c.on(q)
		if over.N == 0 || over.Verdict(stats.DefaultMargin) != stats.Differs || over.Range.Low < 1 {
			return false
		}
		for _, p := range c.pairs {
			if p.base == nil || p.this == nil {
				return false
			}
			base, this := p.base.info, p.this.info
			stores := base.Durability == "nothing" && this.Durability != "nothing"
			sends := !base.Wire && this.Wire
			if !stores && !sends {
				return false
			}
		}
	}
	return true
}

// shares says what share of a quantity each level adds to a baseline that is free.
func (a *answer) shares(q measure.Quantity) string {
	share := func(ratio float64) float64 { return 100 * (1 - 1/ratio) }
	number := func(v float64) string { return a.l.Locale.Number(v, btoi(v > 99.4)) }
	var items []string
	for _, c := range a.told(q) {
		over := c.on(q)
		span := a.l.fill("%s–%s %%", "%s–%s %%", number(share(over.Range.Low)), number(share(over.Range.High)))
		if number(share(over.Range.Low)) == number(share(over.Range.High)) {
			span = number(share(over.Ratio)) + " %"
		}
		items = append(items, a.l.fill("%s %% %s (%s)", "%s %% %s (%s)", number(share(over.Ratio)), a.wordsAt(c.this).placed, a.span(span, over, len(items) == 0)))
	}
	return a.l.fill("of %[1]s, %[2]s makes up %[3]s: what it takes beyond %[4]s%[5]s.",
		"%[1]s: доля %[2]s, то есть сверх %[4]s%[5]s, составляет %[3]s.",
		a.l.longName(q), a.wordsAt(a.m.base).what, a.l.list(items), a.named(a.m.base), a.dagger(a.m.against()[0]))
}

// dependence says which other factor changes a contrast with the baseline most, and how.
func (a *answer) dependence(q measure.Quantity) string {
	shares, full := a.m.allocation(q)
	share := func(f factor) float64 { // of the interaction with the compared factor
		at := slices.IndexFunc(a.m.factors, func(x factor) bool { return x.index == f.index })
		for _, p := range shares.Pairs {
			if p.A == 0 && p.B == at {
				return p.Share
			}
		}
		return 0
	}
	spread := func(d dependence) float64 { return slices.Max(d.Ratios) / slices.Min(d.Ratios) }
	var most *dependence
	for _, d := range a.m.dependences(q) {
		if d.P <= stats.Significance && (most == nil || spread(d) > spread(*most)) {
			most = &d
		}
	}
	if most == nil || spread(*most) < 1+stats.DefaultMargin {
		text := a.extremes(q)
		if full && text != "" {
			all := shares.Higher
			for _, p := range shares.Pairs {
				if p.A == 0 {
					all += p.Share
				}
			}
			text += a.l.fill(" (interactions: %s %% of the variation)", " (взаимодействия: %s %% изменчивости)", a.l.percent(all))
		}
		return text + btos(text != "", ".")
	}
	low, high := slices.Index(most.Ratios, slices.Min(most.Ratios)), slices.Index(most.Ratios, slices.Max(most.Ratios))
	var items []string
	for _, i := range []int{min(low, high), max(low, high)} {
		items = append(items, a.l.changeOf(most.Ratios[i]).say(most.Ratios[i])+" "+a.placed(most.factor, i))
	}
	what := a.l.words(most.factor, a.m.cells[0].info).what
	text := a.l.fill("that depends most on %s", "сильнее всего это зависит от %s", what)
	if full {
		text += a.l.fill(" (interaction: %s %% of the variation)", " (взаимодействие: %s %% изменчивости)", a.l.percent(share(most.factor)))
	}
	return text + ": " + a.set(most.contrast, a.l.list(items)) + "."
}

// extremes says in which combinations a contrast with the baseline is least and greatest: of
// the one that changes most.
func (a *answer) extremes(q measure.Quantity) string {
	var most *contrast
	var from, to int // groups
	widest := 1.0    // of a single combination there are none
	for _, c := range a.told(q) {
		over := c.on(q)
		if !over.HasRatio || over.Verdict(stats.DefaultMargin) != stats.Differs {
			continue
		}
		if wide := over.Range.High / over.Range.Low; wide > widest {
			most, widest = c, wide
			for i, vs := range c.of(q.Key) {
				switch vs.Ratio {
				case over.Range.Low:
					from = i
				case over.Range.High:
					to = i
				}
			}
		}
	}
	if most == nil {
		return ""
	}
	say := func(group int) string {
		ratio := most.pairs[group].vs[q.Key].Ratio
		return a.l.changeOf(ratio).say(ratio) + " " + a.l.circumstance(a.m.others(), a.m.groups[group][0].info)
	}
	return a.l.say("the extremes: ", "крайние значения: ") + a.set(most, a.l.list([]string{say(min(from, to)), say(max(from, to))}))
}

// set says what comes of setting a level against another.
func (a *answer) set(c *contrast, what string) string {
	if a.l.ru {
		return a.named(c.this) + " относительно " + a.named(c.base) + " — " + what
	}
	return "against " + a.named(c.base) + ", " + a.wordsAt(c.this).placed + " it is " + what
}

func btos(yes bool, text string) string {
	if yes {
		return text
	}
	return ""
}

// percent writes a share.
func (l *language) percent(share float64) string {
	return l.Locale.Number(100*share, btoi(share < 0.0995))
}

// placed names a level of another factor as a circumstance.
func (a *answer) placed(f factor, level int) string {
	for _, c := range a.m.cells {
		if f.value(c.info) == f.Levels[level] {
			return a.l.words(f, c.info).placed
		}
	}
	return ""
}

// ahead sets the best level, of those that keep most of what was acknowledged, against the
// next; nothing where that was said already.
func (a *answer) ahead(q measure.Quantity) string {
	ranked, durable := a.ranking(q)
	if len(ranked) < 2 || len(a.m.levels()) < 3 || a.many() {
		return ""
	}
	best, next := ranked[0], ranked[1]
	c := a.m.between(best, next)
	if c == nil || best == a.m.base || next == a.m.base || c.on(q).N == 0 {
		return ""
	}
	over := *c.on(q)
	if c.this == next { // say it of the best
		over = inverted(over)
	}
	say := a.l.changeOf(over.Ratio)
	among := ""
	if durable != "" {
		among = a.l.fill("of equal durability (%s), ", "при равной сохранности (%s) ", a.l.Term(durable))
	}
	text := a.verdict(&over, say)
	if over.Verdict(stats.DefaultMargin) != stats.Differs {
		return among + a.l.fill("best are %s and %s: %s is %s.", "лучшие результаты — %s и %s: %s — %s.",
			a.named(best), a.named(next), a.l.longName(q), text)
	}
	if over.Count > 1 {
		text += " (" + say.from(over.Range) + ")"
	}
	return among + a.l.fill("best is %[1]s: %[2]s is %[3]s than %[4]s, the next.", "лучший результат — %[1]s: %[2]s %[3]s, чем %[4]s на втором месте.",
		a.named(best), a.l.longName(q), text, a.wordsAt(next).placed)
}

// ranking sorts the levels of the greatest durability by a quantity, the best first. The
// durability is told where not all levels have it.
func (a *answer) ranking(q measure.Quantity) (levels []int, durable string) {
	degrees := []string{"nothing", "os-buffer", "disk"}
	degree := func(level int) int {
		least := len(degrees)
		for _, g := range a.m.groups {
			if c := a.m.at(g, level); c != nil {
				least = min(least, slices.Index(degrees, c.info.Durability))
			}
		}
		return least
	}
	all := len(a.m.levels())
	greatest := 0
	for level := range all {
		greatest = max(greatest, degree(level))
	}
	effect := func(level int) float64 { // against the baseline; the less, the better
		if level == a.m.base {
			return 0
		}
		v := math.Log(a.m.between(a.m.base, level).on(q).Ratio)
		if q.More {
			return -v
		}
		return v
	}
	for level := range all {
		if degree(level) != greatest {
			durable = degrees[greatest]
			continue
		}
		if level == a.m.base || a.m.between(a.m.base, level).on(q).HasRatio {
			levels = append(levels, level)
		}
	}
	slices.SortStableFunc(levels, func(x, y int) int { return cmp.Compare(effect(x), effect(y)) })
	return levels, durable
}

// inverted is a comparison the other way round.
func inverted(s stats.Strata) stats.Strata {
	turn := func(x stats.Interval) stats.Interval { return stats.Interval{Low: 1 / x.High, High: 1 / x.Low} }
	s.Ratio, s.CI, s.Range = 1/s.Ratio, turn(s.CI), turn(s.Range)
	s.Base, s.Other = s.Other, s.Base
	return s
}
