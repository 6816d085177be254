// Package until decides which cells of a run have been measured closely enough and are
// left out of its later rounds. The runner asks it after each round, and verify again for
// all of them: the answer depends on the trials alone.
//
// The rule. From the sixth round on, a cell is narrow once the interval of the quantity
// over its valid trials so far, the one that the report prints, is on neither side farther
// from the median than so many percent of it. A narrow cell is left out of all rounds that
// follow. The baseline of a comparison stays for as long as one of the cells that are set
// against it does, since cells are compared within rounds.
//
// To stop when an interval looks narrow makes it a little narrower than it should be, so
// reports say that it was done.
package until

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Rule is what an experiment says of it, and the trials that it has seen. It is not safe for
// concurrent use.
type Rule struct {
	quantity measure.Quantity
	share    float64
	kind     *measure.Kind
	seen     map[record.TrialID]sample
}

// sample is what a trial gave, if it did.
type sample struct {
	value float64
	valid bool
}

// NewRule returns the rule of an experiment, nil if it has none. The error names the
// quantities that there are.
func NewRule(e *experiment.Experiment, kind *measure.Kind) (*Rule, error) {
	if e.Until == "" {
		return nil, nil
	}
	u, err := experiment.ParseUntil(e.Until)
	if err != nil {
		return nil, fmt.Errorf("until = %q: %w", e.Until, err)
	}
	var names []string
	for _, q := range kind.With(measure.Shown) {
		if q.Key == u.Quantity || strings.HasSuffix(q.Key, "."+u.Quantity) {
			return &Rule{q, u.Percent / 100, kind, map[record.TrialID]sample{}}, nil
		}
		names = append(names, q.Key[strings.LastIndexByte(q.Key, '.')+1:])
	}
	return nil, fmt.Errorf("until = %q: measure = %q has no quantity %q; it has %s", e.Until, e.Measure, u.Quantity, strings.Join(names, ", "))
}

// See takes a trial of a cell, in any order.
func (r *Rule) See(c *record.CellInfo, t *record.Trial) error {
	values, err := r.kind.Read(c, t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.File(), err)
	}
	x, there := values.Of(r.quantity)
	r.seen[t.TrialID] = sample{x, there && t.InvalidReason() == ""}
	return nil
}

// LeftOut tells which cells are left out, and after which round, by the trials seen. A
// round counts once it is complete: each cell that takes part has its trial.
func (r *Rule) LeftOut(m *record.Manifest) []record.LeftOut {
	samples := map[string][]float64{}
	var out []record.LeftOut
	isOut := func(id string) bool {
		return slices.ContainsFunc(out, func(l record.LeftOut) bool { return l.Cell == id })
	}
	for round := 1; round <= m.Rounds(); round++ {
		for i := range m.Cells {
			id := m.Cells[i].ID
			if isOut(id) {
				continue
			}
			x, there := r.seen[record.TrialID{Cell: id, Trial: round}]
			if !there {
				return out // the round is not complete
			}
			if x.valid {
				samples[id] = append(samples[id], x.value)
			}
		}
		if round >= experiment.MinRoundsUntil {
			out = append(out, r.after(round, m, samples, isOut)...)
		}
	}
	return out
}

// after tells which cells are left out after a round beside those that are already.
func (r *Rule) after(round int, m *record.Manifest, samples map[string][]float64, isOut func(string) bool) (out []record.LeftOut) {
	gone := func(c *record.CellInfo) bool { return isOut(c.ID) || r.narrow(samples[c.ID]) }
	for i := range m.Cells {
		c := &m.Cells[i]
		if isOut(c.ID) || !r.narrow(samples[c.ID]) {
			continue
		}
		partner := func(other record.CellInfo) bool { return setAgainst(&m.Experiment, &other, c) && !gone(&other) }
		if !slices.ContainsFunc(m.Cells, partner) {
			out = append(out, record.LeftOut{Cell: c.ID, After: round})
		}
	}
	return out
}

// narrow reports whether the interval of samples is within the bound.
func (r *Rule) narrow(samples []float64) bool {
	s := stats.Summarize(samples)
	if len(samples) < experiment.MinRoundsUntil || !s.HasCI() || s.Median <= 0 {
		return false
	}
	return math.Max(s.CI.High-s.Median, s.Median-s.CI.Low) <= r.share*s.Median
}

// setAgainst reports whether a cell is compared with another as its baseline: the two
// differ in the compared factor alone.
func setAgainst(e *experiment.Experiment, c, baseline *record.CellInfo) bool {
	f, ok := e.Compared()
	if !ok {
		return false
	}
	for i, l := range baseline.Levels {
		compared := l.Factor == f.Name
		if compared && (l.Value != cmp.Or(e.Baseline, f.Levels[0]) || c.Levels[i].Value == l.Value) || !compared && c.Levels[i] != l {
			return false
		}
	}
	return true
}
