package report

import (
	"cmp"
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

// courseText says what such a warning is about.
func (l *language) courseText(code stats.Code) string {
	if code == stats.WarmupShort {
		return l.say("The warm-up was too short, or something began with the window: throughput or p50 in the window’s first third against the warm-up’s last",
			"Прогрева не хватило, или вместе с окном что-то началось; отношение пропускной способности или p50 в первой трети окна к последней трети прогрева")
	}
	return l.say("Not steady: throughput or p50 in the last third of the window against the first",
		"Нагрузка шла неравномерно; отношение пропускной способности или p50 в последней трети окна к первой")
}

// failureKinds is how many kinds of failures are told of a cell.
const failureKinds = 3

// failures says how operations of a cell failed: the most frequent kinds.
func (l *language) failures(c *cell, note func(subject, place string)) {
	times := map[string]int64{}
	var kinds []string
	for _, t := range c.run {
		for _, f := range t.values.Failures {
			kinds = appendNew(kinds, f.Text)
			times[f.Text] += f.Times
		}
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return cmp.Compare(times[b], times[a]) })
	for _, text := range kinds[:min(failureKinds, len(kinds))] {
		note(l.fill("Operations failed (%s)", "Операции завершились ошибкой (%s)", text), fmt.Sprintf("%s %d×", c.info.ID, times[text]))
	}
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
					cause = l.fill("; the first, in trial %d of %s, %s after the window had opened: %s", "; первая — в испытании %d ячейки %s, через %s после начала окна: %s",
						t.Trial, c.info.ID, l.amount(measure.Seconds, f.First.Seconds()), f.Text)
				}
			}
		}
	}
	if len(cells) == 0 {
		return nil
	}
	return []string{l.fill("Operations failed in %s%s. They count as slower than all others.",
		"Операции завершались ошибкой в %s%s. Они считаются самыми медленными.",
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
