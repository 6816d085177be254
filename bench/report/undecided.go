package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// undecided is how many trials would decide each thing that the headline says to be
// undecided.
func (a *answer) undecided() (need []int) {
	for _, s := range a.said {
		need = append(need, s.need...)
	}
	return need
}

// undecided says how many comparisons between cells could not be decided, and what would
// decide them.
func (l *language) undecided(m *model, told bool) string {
	all, by := m.comparisons()
	if by[stats.Undecided] == 0 {
		return ""
	}
	var needed []int
	few := 0 // of too few rounds
	for _, c := range m.contrasts {
		for _, p := range c.pairs {
			for _, vs := range p.vs {
				if vs.Verdict(stats.DefaultMargin) == stats.Undecided {
					needed = append(needed, m.trialsFor(vs.Needed(stats.DefaultMargin), vs.N))
					few += btoi(!vs.Testable())
				}
			}
		}
	}
	text := l.fill("Undecided: %d of %s between cells.", "Не решено: %d из %s между ячейками.",
		by[stats.Undecided], l.count(all, "comparison comparisons", "сравнения сравнений сравнений"))
	switch rounds := m.rounds(); {
	case few > 0 && rounds >= stats.MinRounds:
		text += " " + l.fill("Invalid or missing trials leave %d of them fewer than %d rounds, with which the test cannot single out a difference between two cells.",
			"Из-за недостоверных или непроведённых испытаний у %d из них меньше %d раундов: по ним критерий не может выделить различие двух ячеек.", few, stats.MinRounds)
	case few > 0:
		text += " " + l.fill("With %s the test cannot single out a difference between two cells; it takes %d.",
			"По %s критерий не может выделить различие двух ячеек; нужно %d.", l.count(rounds, "round rounds", "раунду раундам раундам"), stats.MinRounds)
	}
	if told {
		return text
	}
	decided, command := l.decided(m, needed)
	return text + " " + strings.TrimSuffix(decided+l.ending(command)+" "+command, " ")
}

// decided says what would decide what is undecided, by how many trials each thing takes:
// first what a run twice as long would, with the command for that.
func (l *language) decided(m *model, need []int) (text, command string) {
	if slices.ContainsFunc(m.manifest.Sessions, func(s record.Session) bool { return slices.Contains(s.Command, "--quick") }) {
		return l.say("A quick run decides nothing: run the experiment without --quick",
			"Пробный запуск ничего не решает: проведите измерения без --quick"), ""
	}
	need = slices.Sorted(slices.Values(need))
	upTo := func(most int) []int {
		n, _ := slices.BinarySearch(need, most+1)
		return need[:n]
	}
	within := upTo(max(2*m.rounds(), stats.MinRounds))
	if len(within) == 0 {
		within = upTo(mostTrials)
	}
	if len(within) == 0 {
		return l.fill("To decide what is undecided would take more than %d trials of each cell",
			"Чтобы решить нерешённое, понадобилось бы более %d испытаний на ячейку", mostTrials), ""
	}
	enough := max(within[len(within)-1], stats.MinForInterval)
	if len(within) == len(need) {
		return l.fill("To decide what is undecided takes about %s of each cell", "Чтобы решить нерешённое, нужно около %s на ячейку",
			l.genitive(enough)), more(m, enough)
	}
	rest := l.fill("about %d", "около %d", need[len(need)-1])
	if need[len(need)-1] > mostTrials {
		rest = l.fill("more than %d", "более %d", mostTrials)
	}
	return l.fill("About %s of each cell would decide %d of the %d things undecided (all: %s)",
		"Около %s на ячейку решили бы %d из %d нерешённых вопросов (все — %s)", l.genitive(enough), len(within), len(need), rest), more(m, enough)
}

// rounds is how many there were, complete or not.
func (m *model) rounds() (most int) {
	for _, c := range m.cells {
		most = max(most, len(c.run))
	}
	return most
}

// trialsFor returns with how many trials of each cell in all there are so many rounds with
// valid ones, if n of the rounds so far have: an invalid trial makes up for none.
func (m *model) trialsFor(rounds, n int) int {
	if !slices.ContainsFunc(m.trials, func(t *trial) bool { return t.reason != "" }) {
		return rounds // what is missing was not run yet
	}
	return rounds + max(0, m.rounds()-n)
}

// ending ends a sentence behind which a command may stand.
func (l *language) ending(command string) string {
	if command != "" {
		return ":"
	}
	return "."
}

// mostTrials is up to how many trials they are told.
const mostTrials = 100

func (l *language) genitive(trials int) string {
	return l.count(trials, "trial trials", "испытания испытаний испытаний")
}

// more is the command that adds trials to the run.
func more(m *model, trials int) string {
	words := []string{"raftlab", "run", "FILE"}
	if n := len(m.manifest.Sessions); n > 0 && len(m.manifest.Sessions[n-1].Command) > 2 {
		words = nil
		for i := 0; i < len(m.manifest.Sessions[n-1].Command); i++ {
			w := m.manifest.Sessions[n-1].Command[i]
			next := ""
			if i+1 < len(m.manifest.Sessions[n-1].Command) {
				next = m.manifest.Sessions[n-1].Command[i+1]
			}
			switch {
			case w == "--resume" || strings.HasPrefix(w, "--trials="):
			case w == "--trials" || w == "--set" && strings.HasPrefix(next, "trials="):
				i++
			default:
				words = append(words, w)
			}
		}
	}
	return shell(append(words, "--resume", "--trials", strconv.Itoa(trials), "--out", "DIR"))
}
