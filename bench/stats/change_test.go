package stats

import (
	"math"
	"math/rand/v2"
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

// TestChangesFindsNothingElse: in at most 5 % of histories is anything found where nothing
// changed.
func TestChangesFindsNothingElse(t *testing.T) {
	const tries = 60
	wrong := 0
	for seed := range uint64(tries) {
		for _, x := range Changes(flat(rand.New(rand.NewPCG(seed, 2)), 8, 10)) {
			if len(x.Changes) > 0 {
				wrong++
				break
			}
		}
	}
	if wrong > tries/10 {
		t.Errorf("found changes in %d of %d histories", wrong, tries)
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
