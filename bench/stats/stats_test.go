package stats

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func near(t rapid.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s = %.10g, want %.10g", what, got, want)
	}
}

// samples draws few values from few, so that ties are common.
func samples(least, most int) *rapid.Generator[[]float64] {
	return rapid.Custom(func(t *rapid.T) []float64 {
		ints := rapid.SliceOfN(rapid.IntRange(1, 12), least, most).Draw(t, "samples")
		out := make([]float64, len(ints))
		for i, v := range ints {
			out[i] = float64(v)
		}
		return out
	})
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    Summary
	}{
		{nil, Summary{}},
		{[]float64{4}, Summary{N: 1, Median: 4, Min: 4, Max: 4}},
		{[]float64{4, 2}, Summary{N: 2, Median: 3, Min: 2, Max: 4}},
		{[]float64{3, 1, 2}, Summary{N: 3, Median: 2, Min: 1, Max: 3, CI: Interval{1, 3}, Coverage: 0.75}},
		{[]float64{5, 4, 1, 2, 3}, Summary{N: 5, Median: 3, Min: 1, Max: 5, CI: Interval{1, 5}, Coverage: 0.9375}},
		{[]float64{1, 2, 3, 4, 5, 6, 7}, Summary{N: 7, Median: 4, Min: 1, Max: 7, CI: Interval{1, 7}, Coverage: 0.984375}},
	} {
		if diff := cmp.Diff(c.want, Summarize(c.samples), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.samples, diff)
		}
	}
	nine := Summarize([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9})
	if nine.CI != (Interval{2, 8}) || math.Abs(nine.Coverage-0.9609375) > 1e-12 {
		t.Errorf("nine: %+v", nine)
	}
	order := []float64{3, 1, 2}
	Summarize(order)
	if !slices.Equal(order, []float64{3, 1, 2}) {
		t.Errorf("the samples were sorted in place: %v", order)
	}
	many := make([]float64, 200)
	for i := range many {
		many[i] = float64(i)
	}
	s := Summarize(many)
	if s.CI.Low < 80 || s.CI.High > 119 || s.Coverage < 0.95 || s.Coverage > 0.97 {
		t.Errorf("200 samples: %+v", s)
	}
}

// naiveP enumerates all splits of the pooled samples and counts pairs.
func naiveP(a, b []float64) float64 {
	pooled := slices.Concat(a, b)
	n := len(a)
	u := func(inA uint) float64 {
		sum := 0.0
		for i, x := range pooled {
			for j, y := range pooled {
				if inA>>i&1 == 1 && inA>>j&1 == 0 {
					if x > y {
						sum++
					} else if x == y {
						sum += 0.5
					}
				}
			}
		}
		return sum
	}
	mean := float64(n*len(b)) / 2
	observed := math.Abs(u(1<<n-1) - mean)
	extreme, all := 0, 0
	for mask := range uint(1) << len(pooled) {
		bits := 0
		for m := mask; m != 0; m &= m - 1 {
			bits++
		}
		if bits != n {
			continue
		}
		all++
		if math.Abs(u(mask)-mean) >= observed-1e-9 {
			extreme++
		}
	}
	return float64(extreme) / float64(all)
}

func TestMannWhitneyAgainstAllSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := samples(1, 5).Draw(t, "a"), samples(1, 5).Draw(t, "b")
		near(t, "p", MannWhitney(a, b).P, naiveP(a, b), 1e-12)
		near(t, "p the other way round", MannWhitney(b, a).P, MannWhitney(a, b).P, 1e-12)
		near(t, "U of both", MannWhitney(a, b).U+MannWhitney(b, a).U, float64(len(a)*len(b)), 1e-12)
	})
}

// TestMannWhitneyKnown checks published values.
func TestMannWhitneyKnown(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		u, p float64
	}{
		// Hollander & Wolfe, example 4.1: permeability of the human chorioamnion;
		// R's wilcox.test gives W = 35 and a two-sided p of 0.2544.
		{"placenta", []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}, []float64{1.15, 0.88, 0.90, 0.74, 1.21}, 35, 0.2544},
		{"no overlap, 3 v 3", []float64{1, 2, 3}, []float64{4, 5, 6}, 0, 0.1},
		{"no overlap, 4 v 4", []float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 0, 0.02857},
		{"no overlap, 5 v 5", []float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 0, 0.007937},
		{"all equal", []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}, 8, 1},
		{"empty", nil, []float64{1}, 0, 1},
	} {
		got := MannWhitney(c.a, c.b)
		near(t, c.name+": U", got.U, c.u, 0)
		near(t, c.name+": p", got.P, c.p, 5e-5)
		if !got.Exact {
			t.Errorf("%s: not exact", c.name)
		}
	}
}

// TestMannWhitneyNormal checks the approximation against the exact test where
// both can be had.
func TestMannWhitneyNormal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// What is measured is seldom equal: values are tied between the samples only, for
		// which the approximation is good to two decimals. Where most are equal it is not.
		distinct := rapid.SliceOfNDistinct(rapid.Float64Range(1, 100), 12, 15, rapid.ID[float64])
		a, b := distinct.Draw(t, "a"), distinct.Draw(t, "b")
		exact := MannWhitney(a, b)
		_, ties := doubledMidranks(a, b)
		near(t, "approximate p", normalP(exact.U, len(a), len(b), ties), exact.P, 0.02)
	})
	equal := slices.Repeat([]float64{7}, 40)
	if got := MannWhitney(equal, equal); got.Exact || got.P != 1 {
		t.Errorf("80 equal samples: %+v", got)
	}
	low, high := make([]float64, 40), make([]float64, 40)
	for i := range low {
		low[i], high[i] = float64(i), float64(100+i)
	}
	if got := MannWhitney(low, high); got.P > 1e-10 {
		t.Errorf("40 v 40 without overlap: p = %g", got.P)
	}
}

func TestSmallestPIsReached(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for m := 1; m <= 6; m++ {
			var a, b []float64
			for i := range n {
				a = append(a, float64(i))
			}
			for i := range m {
				b = append(b, float64(100+i))
			}
			near(t, "smallest p", SmallestP(n, m), MannWhitney(a, b).P, 1e-12)
		}
	}
	if got := TrialsNeeded(0.05); got != 4 {
		t.Errorf("TrialsNeeded(0.05) = %d, want 4", got)
	}
}
