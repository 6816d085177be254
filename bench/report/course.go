package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// courseWarnings tells where a trial was not at rest: at most one about its window, and one
// about its warm-up.
func courseWarnings(kind *measure.Kind, t *trial) []stats.Warning {
	var window, warmup []stats.Warning
	for _, line := range kind.Lines {
		if !line.Level {
			continue
		}
		of := t.values.Timeline
		window = append(window, stats.CheckWindow(fmt.Sprint(t.Trial), of.Window(line.Key))...)
		warmup = append(warmup, stats.CheckWarmup(fmt.Sprint(t.Trial), of.Warmup(line.Key), of.Window(line.Key))...)
	}
	return slices.Concat(window[:min(1, len(window))], warmup[:min(1, len(warmup))])
}

// courseTexts says of a cell where its trials were not at rest, all trials at once.
func (l *language) courseTexts(c *cell) []string {
	trials := map[stats.Code][]string{}
	for _, w := range c.warnings {
		trials[w.Code] = append(trials[w.Code], l.fill("%[2]s in trial %[1]s", "%[2]s в испытании %[1]s", w.Subject, l.ratio(w.Have)))
	}
	var out []string
	for _, x := range []struct {
		code stats.Code
		text measure.Text
	}{
		{stats.WindowDrift, measure.Text{
			En: "Not steady: throughput or p50 in the last third of the window against the first was %s.",
			Ru: "Нагрузка шла неравномерно; отношение пропускной способности или p50 в последней трети окна к первой: %s.",
		}},
		{stats.WarmupShort, measure.Text{
			En: "The warm-up was too short, or something began with the window: throughput or p50 in the window’s first third against the warm-up’s last was %s.",
			Ru: "Прогрева не хватило, или вместе с окном что-то началось; отношение пропускной способности или p50 в первой трети окна к последней трети прогрева: %s.",
		}},
	} {
		if of := trials[x.code]; len(of) > 0 {
			out = append(out, l.fill(x.text.En, x.text.Ru, strings.Join(of, ", ")))
		}
	}
	return out
}

// failureKinds is how many kinds of failures are told of a cell.
const failureKinds = 3

// failureTexts says how operations of a cell failed, the most frequent kinds, and which
// failure came first.
func (l *language) failureTexts(c *cell) []string {
	times := map[string]int64{}
	var kinds []string
	first := ""
	for _, t := range c.run {
		for _, f := range t.values.Failures {
			kinds = appendNew(kinds, f.Text)
			times[f.Text] += f.Times
			if f.First >= 0 && first == "" {
				first = l.fill("The first of them, in trial %d, %s after the window had opened: %s.",
					"Первый из них, в испытании %d, через %s после начала окна: %s.", t.Trial, l.amount(measure.Seconds, f.First.Seconds()), f.Text)
			}
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return int(min(1, max(-1, times[b]-times[a]))) })
	var texts []string
	for _, text := range kinds[:min(failureKinds, len(kinds))] {
		texts = append(texts, l.fill("%d × %s", "%d × %s", times[text], text))
	}
	if more := len(kinds) - len(texts); more > 0 {
		texts = append(texts, l.fill("and %d other kinds", "и ещё видов: %d", more))
	}
	out := []string{l.fill("Operations failed: %s.", "Операции завершились ошибкой: %s.", strings.Join(texts, "; "))}
	if first != "" {
		out = append(out, first)
	}
	return out
}

// failuresCaution says in which cells operations failed, and the first cause.
func (l *language) failuresCaution(m *model) []string {
	var cells []string
	cause := ""
	for _, c := range m.cells {
		for _, t := range c.run {
			for _, f := range t.values.Failures {
				cells = appendNew(cells, c.info.ID)
				if cause == "" && f.First >= 0 {
					cause = f.Text
				}
			}
		}
	}
	if len(cells) == 0 {
		return nil
	}
	return []string{l.fill("Operations failed in %s: %s. They count as slower than all others; the warnings by cell have their number.",
		"Операции завершались ошибкой в %s: %s. Они считаются самыми медленными; их число приведено в предупреждениях по ячейкам.",
		l.count(len(cells), "cell cells", "ячейке ячейках ячейках")+" ("+strings.Join(cells, ", ")+")", cause)}
}

// markLeast is that of a percentile that falls among operations that failed.
const markLeast = "‡"

// atLeast reports whether a percentile falls among operations that failed in some trial.
func (c *cell) atLeast(q measure.Quantity) bool {
	return slices.ContainsFunc(c.used, func(t *trial) bool { return t.values.AmongFailed(q) })
}

func (l *language) leastNote() doc.Item {
	return doc.Item{Term: markLeast, Text: l.say("falls among operations that failed in some trial: at least so much",
		"в каком-то из испытаний приходится на операции, завершившиеся ошибкой: не меньше указанного")}
}
