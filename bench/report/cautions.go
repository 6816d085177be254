package report

import (
	"cmp"
	"math"
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
	run, planned, invalid, invalidTrials, rounds := len(m.trials), len(m.manifest.Planned()), 0, 0, m.rounds()
	for _, c := range m.cells {
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
	if rounds == 1 {
		out = append(out, l.say("One trial: no interval, nothing is compared.",
			"Одно испытание: доверительного интервала нет, ничего не сравнивается."))
	}
	if text := l.undecided(m, told); text != "" && rounds > 1 {
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
					d.levels = appendNew(d.levels, l.levelName(m.factors[0], x.of.info))
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

// spot is where a warning applies: a cell, or a trial of it.
type spot struct {
	where string
	said  string  // how much it is there
	far   float64 // the same as a number; 0 of all: there is no most
	trial bool
}

// mostPlaces is how many places a warning names; of more that have a figure, it names the one
// where that is farthest.
const mostPlaces = 4

// concerns are the warnings of cells, by what they limit: what is true of several cells is
// said once.
func (l *language) concerns(m *model) []string {
	var subjects []string
	places := map[string][]spot{}
	note := func(subject string, at spot) {
		subjects = appendNew(subjects, subject)
		places[subject] = append(places[subject], at)
	}
	for _, c := range m.cells {
		where := l.fullLabel(m.factors, c.info)
		l.invalidTrials(c, where, note)
		l.failures(c, where, note)
		skipped := func(name string) bool {
			return slices.ContainsFunc(c.gates, func(g gateSummary) bool { return g.Name == name && g.judged == 0 })
		}
		if skipped(measure.ColdGate) {
			note(l.say("Cold: members are programs that are compiled while they run, and had not served as many operations as they say that this takes",
				"Холодный код: узлы — программы, которые компилируются по ходу работы, и не выполнили до измерения стольких операций, сколько, по их словам, на это нужно"), spot{where: where})
		}
		if skipped(measure.FlushGate) {
			note(l.say("That acknowledged writes are on the disk is not proved: their flushes were not counted",
				"Не доказано, что подтверждённые записи лежат на диске: их сбросы не считались"), spot{where: where})
		}
		for _, w := range c.warnings {
			trial := spot{l.fill("%s, trial %s", "%s, испытание %s", where, w.Subject), l.ratio(w.Have), math.Abs(math.Log(w.Have)), true}
			switch w.Code {
			case stats.HighSpread:
				note(l.fill("%s: the trials lie apart by more than %s %% of their median", "%s: разброс испытаний больше %s %% медианы",
					capital(l.longName(m.kind.Quantity(w.Subject))), l.Locale.Number(100*w.Want, 0)),
					spot{where, l.Locale.Number(100*w.Have, 0) + " %", w.Have, false})
			case stats.WindowDrift:
				note(l.say("Not steady: the figures are of a window in which throughput or p50 changed",
					"Нагрузка неравномерна: пропускная способность или p50 менялись в пределах окна"), trial)
			case stats.WarmupShort:
				note(l.say("The warm-up was too short, or something began with the window: its beginning was not as the warm-up’s end",
					"Прогрева не хватило, или вместе с окном что-то началось: начало окна не таково, как конец прогрева"), trial)
			default:
				note(l.warning(m.kind, w), spot{where: where})
			}
		}
	}
	out := make([]string, len(subjects))
	for i, s := range subjects {
		out[i] = s + ": " + l.at(places[s]) + "."
	}
	return out
}

// at says where something is so.
func (l *language) at(of []spot) string {
	say := func(p spot) string { return strings.TrimSpace(p.where + " " + btos(p.said != "", "("+p.said+")")) }
	most := slices.MaxFunc(of, func(x, y spot) int { return cmp.Compare(x.far, y.far) })
	if len(of) > mostPlaces && most.far > 0 {
		count := l.count(len(of), "cell cells", "ячейка ячейки ячеек")
		if most.trial {
			count = l.trials(len(of))
		}
		return l.fill("%s, farthest %s", "%s, сильнее всего %s", count, say(most))
	}
	var items []string
	for _, p := range of[:min(len(of), 2*mostPlaces)] {
		items = append(items, say(p))
	}
	if more := len(of) - len(items); more > 0 {
		items = append(items, l.fill("and %d more", "и ещё %d", more))
	}
	return strings.Join(items, "; ")
}

// invalidTrials says why trials are invalid, those with the same reason at once.
func (l *language) invalidTrials(c *cell, where string, note func(string, spot)) {
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
			spot{where: l.fill("%s, %s %s", "%s, %s %s", where, l.plural(len(trials[why]), "trial trials", "испытание испытания"), strings.Join(trials[why], ", "))})
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
