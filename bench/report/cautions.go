package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Marks in tables and sentences. Each one used is explained.
const (
	markSame      = "~"
	markUndecided = "?"
	markUnequal   = "†"
	markUnsure    = "*"
	markNone      = "–"   // not compared, or not there
	markWarn      = "(!)" // in plots: invalid
)

// cautions say what limits the answer; told: the headline names the command that would decide
// what is undecided.
func (l *language) cautions(m *model, told bool) []string {
	var out []string
	run, planned, invalid, invalidTrials, most := len(m.trials), len(m.manifest.Planned()), 0, 0, 0
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
		out = append(out, l.fill("Invalid and compared with nothing: %d of %s; see “Validity”.",
			"Недостоверны и ни с чем не сравниваются: %d из %s; см. «Достоверность».",
			invalid, l.count(len(m.cells), "cell cells", "ячейки ячеек ячеек")))
	}
	if invalidTrials > 0 {
		out = append(out, l.fill("Invalid and left out: %d of %s; see “Validity”.",
			"Недостоверны и исключены: %d из %s; см. «Достоверность».",
			invalidTrials, l.count(run, "trial trials", "испытания испытаний испытаний")))
	}
	if most == 1 {
		out = append(out, l.say("One trial: no interval, nothing is compared.",
			"Одно испытание: доверительного интервала нет, ничего не сравнивается."))
	}
	if text := l.undecided(m, told); text != "" && most > 1 {
		out = append(out, text)
	}
	for _, w := range m.machine {
		out = append(out, l.warning(m.kind, w))
	}
	out = slices.Concat(out, l.failuresCaution(m), l.boundsCaution(m))
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

// undecided says how many comparisons between cells could not be decided, and what would
// decide them.
func (l *language) undecided(m *model, told bool) string {
	all, by := m.comparisons()
	if by[stats.Undecided] == 0 {
		return ""
	}
	var needed []int
	fewest := stats.MinRounds
	for _, c := range m.contrasts {
		for _, p := range c.pairs {
			for _, vs := range p.vs {
				if vs.Verdict(stats.DefaultMargin) == stats.Undecided {
					needed, fewest = append(needed, vs.Needed(stats.DefaultMargin)), min(fewest, vs.N)
				}
			}
		}
	}
	slices.Sort(needed)
	text := l.fill("Undecided: %d of %s between cells.", "Не решено: %d из %s между ячейками.",
		by[stats.Undecided], l.count(all, "comparison comparisons", "сравнения сравнений сравнений"))
	if fewest < stats.MinRounds {
		text += " " + l.fill("With %s the test cannot single out a difference between two cells; it takes %d.",
			"По %s критерий не может выделить различие двух ячеек; нужно %d.", l.count(fewest, "round rounds", "раунду раундам раундам"), stats.MinRounds)
	}
	if told {
		return text
	}
	within := slices.IndexFunc(needed, func(n int) bool { return n > mostTrials }) // what more trials can decide
	if within < 0 {
		within = len(needed)
	}
	if within == 0 {
		return text + " " + l.decided(m, needed)
	}
	enough := needed[(within-1)*4/5] // the last few may take as many again
	decides := 0
	for _, n := range needed {
		decides += btoi(n <= enough)
	}
	return text + " " + l.fill("About %s of each cell would decide %d of them: %s.", "Около %s на ячейку решили бы %d из них: %s.",
		l.genitive(enough), decides, more(m, enough))
}

// inequalities explains the dagger, once for every kind of inequality.
func (l *language) inequalities(m *model) []string {
	type degree struct {
		name   string
		levels []string
	}
	var kinds []measure.Text
	degrees := map[measure.Text][]degree{}
	for _, c := range m.contrasts {
		for _, p := range c.pairs {
			for _, u := range p.unequal {
				kinds = appendNew(kinds, u.what)
				for _, x := range []struct {
					name string
					of   *cell
				}{{u.base, p.base}, {u.this, p.this}} {
					i := slices.IndexFunc(degrees[u.what], func(d degree) bool { return d.name == x.name })
					if i < 0 {
						i, degrees[u.what] = len(degrees[u.what]), append(degrees[u.what], degree{name: x.name})
					}
					d := &degrees[u.what][i]
					d.levels = appendNew(d.levels, l.label(m.first(), x.of.info))
				}
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
	case stats.MachineDrift:
		return l.fill("Conditions on the machine changed: fdatasync, probed before each trial, differs by a factor of %s within the run.",
			"Условия на машине менялись: контрольные замеры fdatasync перед испытаниями различаются в %s раза (дрейф контрольных замеров).",
			l.Locale.Number(w.Have, 1))
	default:
		return string(w.Code)
	}
}

// mostPlaces is how many cells a warning names.
const mostPlaces = 8

// concerns are the warnings of cells, by what they limit: what is true of several cells is
// said once.
func (l *language) concerns(m *model) []string {
	var subjects []string
	places := map[string][]string{}
	note := func(subject, place string) {
		subjects = appendNew(subjects, subject)
		places[subject] = append(places[subject], place)
	}
	for _, c := range m.cells {
		l.invalidTrials(c, note)
		l.failures(c, note)
		for _, w := range c.warnings {
			switch w.Code {
			case stats.HighSpread:
				note(l.fill("%s: the trials lie apart by more than %s %% of their median", "%s: разброс испытаний больше %s %% медианы",
					capital(l.longName(m.kind.Quantity(w.Subject))), l.Locale.Number(100*w.Want, 0)),
					c.info.ID+" "+l.Locale.Number(100*w.Have, 0)+" %")
			case stats.WindowDrift:
				note(l.say("Not steady: the figures are of a window in which throughput or p50 changed",
					"Нагрузка неравномерна: пропускная способность или p50 менялись в пределах окна"),
					l.fill("%[1]s trial %[2]s %[3]s", "%[1]s, испытание %[2]s, %[3]s", c.info.ID, w.Subject, l.ratio(w.Have)))
			case stats.WarmupShort:
				note(l.say("The warm-up was too short, or something began with the window: its beginning was not as the warm-up’s end",
					"Прогрева не хватило, или вместе с окном что-то началось: начало окна не таково, как конец прогрева"),
					l.fill("%[1]s trial %[2]s %[3]s", "%[1]s, испытание %[2]s, %[3]s", c.info.ID, w.Subject, l.ratio(w.Have)))
			default:
				note(l.warning(m.kind, w), c.info.ID)
			}
		}
	}
	out := make([]string, len(subjects))
	for i, s := range subjects {
		of := places[s]
		if more := len(of) - mostPlaces; more > 0 {
			of = append(of[:mostPlaces:mostPlaces], l.fill("and %d more", "и ещё %d", more))
		}
		out[i] = s + ": " + strings.Join(of, "; ") + "."
	}
	return out
}

// invalidTrials says why trials are invalid, those with the same reason at once.
func (l *language) invalidTrials(c *cell, note func(subject, place string)) {
	var reasons []string
	trials := map[string][]string{}
	for _, t := range c.run {
		if t.reason != "" {
			why := l.failed(t)
			reasons = appendNew(reasons, why)
			trials[why] = append(trials[why], strconv.Itoa(t.Trial))
		}
	}
	for _, why := range reasons {
		note(l.fill("Left out as invalid (%s)", "Исключены как недостоверные (%s)", why),
			l.fill("%s %s %s", "%s, %s %s", c.info.ID, l.plural(len(trials[why]), "trial trials", "испытание испытания"), strings.Join(trials[why], ", ")))
	}
}

// plural picks the noun for one, or for several.
func (l *language) plural(n int, en, ru string) string {
	return strings.Fields(l.say(en, ru))[btoi(n > 1)]
}

// failed names the gates that a trial failed, with their limits, or else says its failure as
// it was recorded.
func (l *language) failed(t *trial) string {
	var texts []string
	for _, g := range t.gates {
		if g.Verdict == record.Fail {
			texts = append(texts, l.Term(g.Name)+" "+l.gateLimit(g))
		}
	}
	return cmp.Or(strings.Join(texts, ", "), t.reason)
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
