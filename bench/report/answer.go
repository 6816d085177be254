package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Marks in tables and sentences. Each one used is explained.
const (
	markSame    = "~"
	markUnequal = "†"
	markUnsure  = "?"
	markNone    = "–"   // not compared, or not there
	markWarn    = "(!)" // in plots: invalid
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

// answer says what the last combination of the other factors shows, the most loaded
// one, and what the others do.
func (l *language) answer(m *model) (headline string, others []string) {
	for _, g := range m.groups {
		if s := l.statement(m, g); s != "" {
			others = append(others, s)
		}
	}
	if last := len(others) - 1; last >= 0 {
		headline, others = others[last], others[:last]
	}
	return headline, others
}

// statement has one form for whatever was measured:
// "Over tcp at 16 clients: p50 — mdb: 2.20 ms [2.11, 2.31]; bolt: 4.62 ms
// [4.41, 4.90], 2.10× that with mdb." It is empty where nothing was measured.
func (l *language) statement(m *model, g []*cell) string {
	var sentences []string
	for i := range m.kind.Answer { // what cells are compared by comes first
		key := m.kind.Answer[len(m.kind.Answer)-1-i]
		q := m.kind.Quantity(key)
		var items []string
		measured := false
		for _, c := range g {
			_, there := c.sums[key]
			measured = measured || there
			items = append(items, l.item(m, q, c))
		}
		if measured {
			sentences = append(sentences, l.longName(q)+" — "+strings.Join(items, "; "))
		}
	}
	if len(sentences) == 0 {
		return ""
	}
	where := l.fullLabel(nil, g[0].info)
	if len(m.factors) > 0 {
		where = capital(l.circumstance(withParts(m.others(), m.factors), g[0].info))
	}
	for i := range sentences[1:] {
		sentences[i+1] = capital(sentences[i+1])
	}
	return where + ": " + strings.Join(sentences, ". ") + "."
}

// item says what a quantity is in a cell, and how it compares with the base.
func (l *language) item(m *model, q measure.Quantity, c *cell) string {
	name := ""
	for _, f := range m.first() {
		name = l.words(f, c.info).named + ": "
	}
	sum, measured := c.sums[q.Key]
	if !measured {
		return name + l.say("not measured", "нет измерений")
	}
	text := name + l.summary(q.Unit, sum)
	if c.invalid() {
		text += l.say(" (invalid)", " (недостоверно)")
	}
	if c.base == nil || q.Role < measure.Compared {
		return text
	}
	base := l.words(m.factors[0], c.base.info)
	switch vs := c.vs[q.Key]; verdictOf(vs) {
	case differs:
		text += l.fill(", %s that %s", ", %s, чем %s", l.times(vs.Ratio), base.placed)
	case same:
		text += l.fill(", no difference found from %s", ", различие с «%s» не обнаружено", base.named)
	default:
		text += l.say(", not compared", ", сравнение не проводилось")
	}
	if len(c.unequal) > 0 {
		text += " " + markUnequal
	}
	return text
}

// cautions lists what would make the answer untrustworthy.
func (l *language) cautions(m *model) []string {
	var out []string
	run, planned, invalid, invalidTrials, most := len(m.trials), len(m.manifest.Order), 0, 0, 0
	for _, c := range m.cells {
		most = max(most, len(c.run))
		if c.invalid() {
			invalid++
		} else {
			invalidTrials += len(c.run) - c.valid
		}
	}
	if run == 0 {
		return []string{l.say("No trial was run yet: there is nothing to report.", "Ни одного испытания ещё не проведено: сообщать нечего.")}
	}
	if run < planned {
		out = append(out, l.fill("The run is incomplete: %d of %d trials.", "Измерения не завершены: проведено %d испытаний из %d.", run, planned))
	}
	if invalid > 0 {
		out = append(out, l.fill("Invalid and compared with nothing: %d of %s; see the validity gates.",
			"Недостоверны и ни с чем не сравниваются: %d из %s; см. проверки достоверности.",
			invalid, l.count(len(m.cells), "cell cells", "ячейки ячеек ячеек")))
	}
	if invalidTrials > 0 {
		out = append(out, l.fill("Invalid and left out: %d of %s; see the validity gates.",
			"Недостоверны и исключены: %d из %s; см. проверки достоверности.",
			invalidTrials, l.count(run, "trial trials", "испытания испытаний испытаний")))
	}
	if most == 1 {
		out = append(out, l.say("One trial: no interval, nothing is compared.",
			"Одно испытание: доверительного интервала нет, ничего не сравнивается."))
	}
	for _, w := range m.family {
		if told := w.Code == stats.FewTrials && most == 1; !told { // said above
			out = append(out, l.warning(m.kind, w))
		}
	}
	for _, w := range m.machine {
		out = append(out, l.warning(m.kind, w))
	}
	out = append(out, l.failuresCaution(m)...)
	if m.kind.Cautions != nil {
		for _, t := range m.kind.Cautions(m.infos()) {
			out = append(out, l.Say(t))
		}
	}
	if slices.ContainsFunc(m.manifest.Sessions, func(s record.Session) bool { return s.Environment.DataMemory }) {
		out = append(out, l.say("The data directory is in memory: a flush costs nothing there.",
			"Каталог данных расположен в памяти: сброс на диск там ничего не стоит."))
	}
	for _, text := range l.inequalities(m) {
		out = append(out, markUnequal+" "+text)
	}
	return out
}

// inequalities explains the dagger, once for every kind of inequality.
func (l *language) inequalities(m *model) []string {
	type degree struct {
		name   string
		levels []string
	}
	var kinds []measure.Text
	degrees := map[measure.Text][]degree{}
	for _, c := range m.cells {
		for _, u := range c.unequal {
			kinds = appendNew(kinds, u.what)
			for _, x := range []struct {
				name string
				of   *cell
			}{{u.base, c.base}, {u.this, c}} {
				i := slices.IndexFunc(degrees[u.what], func(d degree) bool { return d.name == x.name })
				if i < 0 {
					i, degrees[u.what] = len(degrees[u.what]), append(degrees[u.what], degree{name: x.name})
				}
				d := &degrees[u.what][i]
				d.levels = appendNew(d.levels, l.label(m.first(), x.of.info))
			}
		}
	}
	var out []string
	for _, what := range kinds {
		var texts []string
		for _, d := range degrees[what] {
			texts = append(texts, l.fill("%s: %s", "%s — %s", strings.Join(d.levels, ", "), l.Term(d.name)))
		}
		out = append(out, l.fill("Unequal %s (%s).", "Условия не равны: %s (%s).", l.Say(what), strings.Join(texts, "; ")))
	}
	return out
}

// warning says a warning.
func (l *language) warning(kind *measure.Kind, w stats.Warning) string {
	switch w.Code {
	case stats.FewTrials:
		return l.fill("%s per cell: an interval and a comparison need %d.",
			"На ячейку приходится %s: для интервала и сравнения нужно %d.", l.trials(int(w.Have)), int(w.Want))
	case stats.CannotDiffer:
		return l.fill("%s trials can never differ: the smallest p that the test can give is %s. Use at least %d trials per cell.",
			"При числе испытаний %s различие обнаружить нельзя: наименьшее возможное значение p равно %s. Нужно не менее %d испытаний на ячейку.",
			w.Subject, l.Locale.Number(w.Have, 2), int(w.Want))
	case stats.ZeroBase:
		return l.say("Some values of the base are zero: no ratio.", "Среди значений базы есть нулевые: отношения нет.")
	case stats.HighSpread:
		return l.fill("The trials lie far apart: their %s spreads over %s %% of its median.",
			"Испытания далеко разошлись: %s колеблется в пределах %s %% медианного значения.",
			l.longName(kind.Quantity(w.Subject)), l.Locale.Number(100*w.Have, 0))
	case stats.MachineDrift:
		return l.fill("The machine drifted: fdatasync, probed before each trial, differs by a factor of %s within the run.",
			"Машина вела себя неодинаково: время fdatasync, измеряемое перед каждым испытанием, различается в %s раза.",
			l.Locale.Number(w.Have, 1))
	default:
		return string(w.Code)
	}
}

// concerns lists the warnings of each cell that has any.
func (l *language) concerns(m *model) []doc.List {
	var out []doc.List
	for _, c := range m.cells {
		texts := append(l.invalidTrials(c), l.failureTexts(c)...)
		for _, w := range c.warnings {
			if w.Code != stats.WindowDrift && w.Code != stats.WarmupShort { // said of all trials at once
				texts = append(texts, l.warning(m.kind, w))
			}
		}
		texts = append(texts, l.courseTexts(c)...)
		name := l.fullLabel(m.factors, c.info)
		if len(m.factors) > 0 {
			name = c.info.ID + ", " + name
		}
		if len(texts) > 0 {
			out = append(out, doc.List{Title: name, Items: texts})
		}
	}
	return out
}

// invalidTrials says why trials are invalid, those with the same reason at once.
func (l *language) invalidTrials(c *cell) []string {
	var reasons []string
	trials := map[string][]string{}
	for _, t := range c.run {
		if t.reason != "" {
			why := l.reason(t)
			reasons = appendNew(reasons, why)
			trials[why] = append(trials[why], strconv.Itoa(t.Trial))
		}
	}
	for i, why := range reasons {
		en, ru := "Trial %s is invalid: %s.", "Испытание %s недостоверно: %s."
		if len(trials[why]) > 1 {
			en, ru = "Trials %s are invalid: %s.", "Испытания %s недостоверны: %s."
		}
		reasons[i] = l.fill(en, ru, strings.Join(trials[why], ", "), why)
	}
	return reasons
}

// reason says why a trial is invalid: the failure as it was recorded, or the
// gates with their figures.
func (l *language) reason(t *trial) string {
	var texts []string
	for _, g := range t.gates {
		if g.Verdict == record.Fail {
			texts = append(texts, l.Term(g.Name)+" "+l.gateFigure(g)+" ("+l.gateLimit(g)+")")
		}
	}
	return cmp.Or(strings.Join(texts, ", "), t.reason)
}
