package experiment

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/themilchenko/raftlab/internal/conf"
)

// maxCells bounds a matrix: beyond it an experiment is a slip, not a plan.
const maxCells = 10_000

// Combinations is how many cells the matrix has, and at least one; of more than an int
// holds, the greatest int.
func (e *Experiment) Combinations() int {
	total := 1
	for _, f := range e.Matrix {
		if n := max(1, len(f.Levels)); total <= math.MaxInt/n {
			total *= n
		} else {
			return math.MaxInt
		}
	}
	return total
}

// Expand returns every combination of the matrix as a cell, the first factor
// changing slowest, less those that are excluded; without a matrix there is one cell. A
// cell's id is the number of its combination. The cells share nothing
// with e or each other. It needs no catalogue, so an experiment read back from
// a manifest expands as it did when it ran. The error is [ErrInvalid].
func (e *Experiment) Expand() ([]Cell, error) {
	for _, f := range e.Matrix {
		if len(f.Levels) == 0 {
			return nil, fmt.Errorf("%w: factor %s has no levels", ErrInvalid, f.Name)
		}
		if f.Sets != nil && len(f.Sets) != len(f.Levels) {
			return nil, fmt.Errorf("%w: factor %s has %d levels and says what %d of them set", ErrInvalid, f.Name, len(f.Levels), len(f.Sets))
		}
	}
	total := e.Combinations()
	if total > maxCells {
		return nil, fmt.Errorf("%w: the matrix has more than %d cells; take levels or factors away", ErrInvalid, maxCells)
	}
	width := max(2, len(strconv.Itoa(total)))
	keys := Schema(nil)
	var cells []Cell
	for i := range total {
		cell, err := e.cell(keys, i)
		if err != nil {
			return nil, err
		}
		if e.excludes(cell.Levels) {
			continue
		}
		cell.ID = fmt.Sprintf("c%0*d", width, i+1)
		cells = append(cells, cell)
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("%w: [[exclude]] leaves no cell: take one of its tables away", ErrInvalid)
	}
	return cells, nil
}

// excludes reports whether a combination is left out.
func (e *Experiment) excludes(levels []Level) bool {
	return slices.ContainsFunc(e.Exclude, func(x map[string]string) bool {
		has := 0
		for _, l := range levels {
			if value, named := x[l.Factor]; named && value == l.Value {
				has++
			}
		}
		return has == len(x)
	})
}

// cell makes combination number i, counted with the last factor as the lowest
// digit.
func (e *Experiment) cell(keys *conf.Schema, i int) (Cell, error) {
	combined := *e
	levels := make([]Level, len(e.Matrix))
	for k, f := range slices.Backward(e.Matrix) {
		level := i % len(f.Levels)
		i /= len(f.Levels)
		sets := f.sets(level)
		for _, key := range slices.Sorted(maps.Keys(sets)) {
			if err := applyText(keys, &combined, key, sets[key]); err != nil {
				return Cell{}, fmt.Errorf("%w: factor %s, level %q: %s: %w", ErrInvalid, f.Name, f.Levels[level], key, err)
			}
		}
		levels[k] = Level{Factor: f.Name, Value: f.Levels[level]}
	}
	combined.Load.settle()
	c := Cell{
		Levels:    levels,
		Cluster:   combined.Cluster,
		Raft:      combined.Raft,
		Load:      combined.Load,
		Formation: combined.Formation,
		Options:   combined.Options.clone(),
		Settings:  maps.Clone(combined.Settings),
	}
	if slices.Contains(e.Own, c.Cluster.Engine) {
		said := e.said(&c)
		for key, value := range c.Cluster.places() {
			if said[key] == "" {
				*value = Own
			}
		}
	}
	return c, nil
}

// applyText is apply of a level as text wrote it.
func applyText(schema *conf.Schema, e *Experiment, key, text string) error {
	if f := schema.Find(key); f != nil {
		return f.SetText(e, text)
	}
	return apply(schema, e, key, conf.Literal(text))
}

// The lengths that Quick cuts a trial to: about a second in all, beside what a
// group takes to come into being.
const (
	quickDuration = 800 * time.Millisecond
	quickWarmup   = 200 * time.Millisecond
	quickSettle   = 200 * time.Millisecond
	quickRest     = time.Second

	quickOperations = 2000
)

// Quick cuts the experiment down to a trial run: one trial of each cell, at
// most 800 ms measured after at most 200 ms of warm-up and no operations before
// that, or a second at rest. Its figures only show that the experiment works.
// Levels of a factor that become equal are merged.
func (e *Experiment) Quick() {
	e.Trials, e.Until = 1, ""
	e.Load.Duration = min(e.Load.Duration, Duration(quickDuration))
	e.Load.Operations = min(e.Load.Operations, quickOperations)
	if e.Load.WarmupOperations != nil {
		e.Load.WarmupOperations = new(int64)
	}
	e.Load.Warmup = min(e.Load.Warmup, Duration(quickWarmup))
	e.Formation.Settle = min(e.Formation.Settle, Duration(quickSettle))
	e.Formation.Rest = min(e.Formation.Rest, Duration(quickRest))
	limits := map[string]time.Duration{
		"load.duration": quickDuration, "load.warmup": quickWarmup, "formation.settle": quickSettle, "formation.rest": quickRest,
	}
	numbers := map[string]int64{"load.operations": quickOperations, "load.warmup_operations": 0}
	e.Matrix = slices.Clone(e.Matrix)
	for i, f := range e.Matrix {
		if limit, ok := limits[f.Key]; ok {
			e.Matrix[i].Levels = capDurations(f.Levels, limit)
		}
		if most, ok := numbers[f.Key]; ok {
			e.Matrix[i].Levels = capNumbers(f.Levels, most)
		}
		e.Matrix[i].Sets = slices.Clone(f.Sets)
		for n, sets := range f.Sets {
			sets = maps.Clone(sets)
			for key, limit := range limits {
				if text, ok := sets[key]; ok {
					sets[key] = capDurations([]string{text}, limit)[0]
				}
			}
			for key, most := range numbers {
				if text, ok := sets[key]; ok {
					sets[key] = capNumbers([]string{text}, most)[0]
				}
			}
			e.Matrix[i].Sets[n] = sets
		}
	}
}

func capDurations(levels []string, limit time.Duration) []string {
	var capped []string
	for _, level := range levels {
		if d, err := time.ParseDuration(level); err == nil {
			level = min(d, limit).String()
		}
		if !slices.Contains(capped, level) {
			capped = append(capped, level)
		}
	}
	return capped
}

// Cap cuts a whole-numbered setting of what is measured down to most, for a trial run as
// Quick makes it. Levels that become equal are merged.
func (e *Experiment) Cap(option string, most int64) {
	switch v := e.Settings[option].(type) {
	case int64:
		if v > most {
			e.Settings = with(e.Settings, option, most)
		}
	case string: // a duration, or there is nothing to cap
		if d, err := time.ParseDuration(v); err == nil && int64(d) > most {
			e.Settings = with(e.Settings, option, time.Duration(most).String())
		}
	}
	e.Matrix = slices.Clone(e.Matrix)
	for i, f := range e.Matrix {
		if f.Key != conf.Qualify(e.Measure, option) {
			continue
		}
		e.Matrix[i].Levels = capNumbers(f.Levels, most)
	}
}

func capNumbers(levels []string, most int64) []string {
	var capped []string
	for _, level := range levels {
		if n, err := strconv.ParseInt(level, 10, 64); err == nil {
			level = strconv.FormatInt(min(n, most), 10)
		}
		if !slices.Contains(capped, level) {
			capped = append(capped, level)
		}
	}
	return capped
}
