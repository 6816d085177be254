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
	if t.values.Ramp != nil {
		return nil // it is not to be
	}
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

// failureKinds is how many kinds of failures are told of a cell.
const failureKinds = 3

// failures notes how operations of a cell failed, the most frequent kinds.
func (l *language) failures(c *cell, where string, note func(string, spot)) {
	times := map[string]int64{}
	var kinds []string
	for _, t := range c.run {
		for _, f := range t.values.Failures {
			kinds = appendNew(kinds, f.Text)
			times[f.Text] += f.Times
		}
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return cmp.Compare(times[b], times[a]) })
	for i, text := range kinds {
		if i == failureKinds {
			note(l.say("Operations failed in still other ways", "Операции завершались и другими ошибками"), spot{where: where, said: l.fill("%d kinds", "видов: %d", len(kinds)-i)})
			return
		}
		note(l.fill("Operations failed (%s)", "Операции завершились ошибкой (%s)", text),
			spot{where, fmt.Sprintf("%d×", times[text]), float64(times[text]), false})
	}
}

// failuresCaution says in how many cells operations failed, and the first cause.
func (l *language) failuresCaution(m *model) []string {
	cells, first := 0, ""
	for _, c := range m.cells {
		failed := false
		for _, t := range c.run {
			for _, f := range t.values.Failures {
				failed = true
				if first == "" && f.First >= 0 {
					first = l.fill(" The first in %[1]s, trial %[2]d, %[3]s after the window had opened: %[4]s.",
						" Первая — в %[1]s, испытание %[2]d, через %[3]s после начала окна: %[4]s.", l.fullLabel(m.factors, c.info), t.Trial, l.amount(measure.Seconds, f.First.Seconds()), f.Text)
				}
			}
		}
		cells += btoi(failed)
	}
	if cells == 0 {
		return nil
	}
	return []string{l.fill("Operations failed in %s, and count as slower than all others.%s", "В %s были операции с ошибкой: они считаются самыми медленными.%s",
		l.count(cells, "cell cells", "ячейке ячейках ячейках"), first)}
}

// markLeast is that of a percentile that falls among operations that failed.
const markLeast = "‡"

// atLeast reports whether a value is no more than a lower bound in some trial: a percentile that
// falls among operations that failed, or what was measured no farther.
func (c *cell) atLeast(q measure.Quantity) bool {
	return slices.ContainsFunc(c.used, func(t *trial) bool { return t.values.AmongFailed(q) || t.values.AtLeast[q.Key] })
}

// boundsCaution says where the answer has lower bounds, beside percentiles.
func (l *language) boundsCaution(m *model) []string {
	var out []string
	for _, q := range m.answers() {
		var cells []string
		for _, c := range m.cells {
			if slices.ContainsFunc(c.used, func(t *trial) bool { return t.values.AtLeast[q.Key] }) {
				cells = append(cells, c.info.ID)
			}
		}
		if len(cells) > 0 {
			out = append(out, l.fill("%s: a lower bound in trials of %s, for nothing was measured beyond; these are not compared.",
				"%s: в испытаниях %s это нижняя граница, дальше измерения не заходили; такие испытания не сравниваются.", capital(l.longName(q)), strings.Join(cells, ", ")))
		}
	}
	return out
}

func (l *language) leastNote() doc.Item {
	return doc.Item{Term: markLeast, Text: l.say("at least so much: in some trial it falls among operations that failed, or nothing was measured beyond",
		"не меньше указанного: в каком-то из испытаний приходится на операции, завершившиеся ошибкой, или дальше измерения не заходили")}
}
