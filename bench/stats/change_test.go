package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// flat are series of runs in which nothing changes; what runs have in common, and what each
// series has to itself, scatters by 2 % each.
func flat(random *rand.Rand, series, runs int) [][]float64 {
	out := make([][]float64, series)
	for range runs {
		common := random.NormFloat64()
		for i := range out {
			out[i] = append(out[i], float64(1+i)*math.Exp(0.02*(common+random.NormFloat64())))
		}
	}
	return out
}

func TestChangesFindsWhatWasPlanted(t *testing.T) {
	for seed := range uint64(5) {
		series := flat(rand.New(rand.NewPCG(seed, 1)), 6, 16)
		for run := 5; run < 10; run++ { // a regression that was mended
			series[2][run] *= 1.3
		}
		for run := 9; run < 16; run++ { // one that stayed
			series[4][run] *= 0.8
		}
		series[4][3], series[2][7] = nan, nan
		found := Changes(series)
		if x := found[2].Changes; len(x) != 2 || x[0].At != 5 || x[1].At != 10 || math.Abs(x[0].After/x[0].Before-1.3) > 0.05 {
			t.Errorf("seed %d, up and down: %+v", seed, x)
		}
		if x := found[4].Changes; len(x) != 1 || x[0].At != 9 || x[0].P > Significance {
			t.Errorf("seed %d, down: %+v", seed, x)
		}
		if s := found[2].Scatter; s < 0.015 || s > 0.045 {
			t.Errorf("seed %d: scatter %g", seed, s)
		}
	}
}

// history is so many runs of one experiment, by series the medians of their trials. Between
// runs the machine drifts by the scatter of w.drift, within one by nothing; effect gives the
// factor of a cell's latency.
func (w world) history(random *rand.Rand, runs int, effect func(run, level int) float64) (series [][]float64) {
	const trials = 5
	series = make([][]float64, levels*3) // of one stratum: that is what takes time
	within := w
	within.drift = 0
	for run := range runs {
		common := math.Exp(w.drift * random.NormFloat64())
		x := within.run(random, trials, func(_, level int) float64 { return common * effect(run, level) })
		for i := range series {
			series[i] = append(series[i], Median(present(x[0][i/3][i%3])))
		}
	}
	return series
}

// falseChanges has the share of histories in which nothing changed and a change was found.
func falseChanges(t *testing.T, out *table) {
	lengths := []int{8, 12}
	out.row("nothing changes; the machine has", "8 runs", "12 runs")
	out.row("---", "--:", "--:")
	var all falsely
	for i, m := range machines {
		w := m.world
		w.drift = 0.01
		cells := []string{m.name}
		for j, runs := range lengths {
			cells = append(cells, all.add(t, fmt.Sprintf("%s, %d runs", m.name, runs), share(uint64(100+10*i+j), func(r *rand.Rand) bool {
				return slices.ContainsFunc(Changes(w.history(r, runs, func(_, _ int) float64 { return 1 })), func(c Course) bool { return len(c.Changes) > 0 })
			})))
		}
		out.row(cells...)
	}
	all.check(t)
}

// foundChanges has how often a planted change of one cell is found, in any of its
// quantities, and how often one where there is none.
func foundChanges(t *testing.T, out *table) {
	out.row("one cell changes by", "noise of a trial", "runs before and after", "found", "at the right run", "anything else found")
	out.row("--:", "--:", "--:", "--:", "--:", "--:")
	for _, x := range []struct {
		effect, noise float64
		before, after int
		found         float64 // at least
	}{
		{1.05, 0.01, 5, 5, 0}, {1.05, 0.01, 8, 8, 0.95},
		{1.05, 0.03, 8, 8, 0}, {1.10, 0.03, 8, 8, 0.95},
	} {
		w := world{drift: 0.01, noise: x.noise}
		var found, right, wrong int
		for i := range histories {
			c := Changes(w.history(rand.New(rand.NewPCG(uint64(x.before), uint64(i))), x.before+x.after, func(run, level int) float64 {
				if run >= x.before && level == 1 {
					return x.effect
				}
				return 1
			}))
			of, others := c[3:6], slices.Concat(c[:3], c[6:])
			at := func(run int) bool {
				return slices.ContainsFunc(of, func(c Course) bool {
					return slices.ContainsFunc(c.Changes, func(x Change) bool { return run == 0 || x.At == run })
				})
			}
			found, right = found+count(at(0)), right+count(at(x.before))
			wrong += count(slices.ContainsFunc(others, func(c Course) bool { return len(c.Changes) > 0 }))
		}
		share := func(n int) float64 { return float64(n) / histories }
		out.row(percent(x.effect-1), percent(x.noise), fmt.Sprintf("%d, %d", x.before, x.after), percent(share(found)), percent(share(right)), percent(share(wrong)))
		if share(found) < x.found {
			t.Errorf("%g at noise %g, %d and %d runs: found %d times of %d", x.effect, x.noise, x.before, x.after, found, histories)
		}
	}
}

func TestChangesOfLittle(t *testing.T) {
	series := [][]float64{nil, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 2, 2, 2}, {nan, 0, 1}}
	for i, x := range Changes(series) {
		if len(x.Changes) > 0 {
			t.Errorf("series %d: %+v", i, x)
		}
	}
	eight := Changes([][]float64{{1, 1.01, 1.02, 0.99, 2, 2.01, 1.98, 2.03}})[0].Changes
	if len(eight) != 1 || eight[0].At != 4 {
		t.Errorf("%d runs: %+v", MinRuns, eight)
	}
}
