package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var nan = math.NaN()

func codes(ws []Warning) (out []Code) {
	for _, w := range ws {
		out = append(out, w.Code)
	}
	return out
}

// TestPairedAgainstAllFlips checks p and the interval against their definitions, with all
// signs and all subsets.
func TestPairedAgainstAllFlips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 8).Draw(t, "rounds")
		base, other := samples(n, n).Draw(t, "base"), samples(n, n).Draw(t, "other")
		d := make([]float64, n)
		for r := range d {
			d[r] = math.Log(other[r] / base[r])
		}
		observed := math.Abs(mean(d))
		extreme, means := 0, []float64{}
		for code := range 1 << n {
			flippedSum, sum, in := 0.0, 0.0, 0
			for i, v := range d {
				if code>>i&1 == 1 {
					flippedSum += v
					sum += v
					in++
				} else {
					flippedSum -= v
				}
			}
			if math.Abs(flippedSum)/float64(n) >= observed-1e-9 {
				extreme++
			}
			if in > 0 {
				means = append(means, sum/float64(in))
			}
		}
		slices.Sort(means)
		k := max(1, int(0.025*float64(int(1)<<n)))
		c := Paired(base, other)
		near(t, "p", c.P, float64(extreme)/float64(int(1)<<n), 1e-12)
		near(t, "ratio", c.Ratio, math.Exp(mean(d)), 1e-12)
		near(t, "low", math.Log(c.CI.Low), means[k-1], 1e-9)
		near(t, "high", math.Log(c.CI.High), means[len(means)-k], 1e-9)
		near(t, "coverage", c.Coverage, 1-2*float64(k)/math.Pow(2, float64(n)), 1e-12)
	})
}

func TestPaired(t *testing.T) {
	// Rounds 2 and 4 lack one or the other; the machine was twice as slow in round 3.
	c := Paired([]float64{10, nan, 22, 10, 11}, []float64{20, 30, 44, nan, 22, 100})
	if c.N != 3 || c.Base != 11 || c.Other != 22 || !c.HasRatio || math.Abs(c.Ratio-2) > 1e-12 || math.Abs(c.Difference-(10+22+11)/3.0) > 1e-12 {
		t.Errorf("missing rounds: %+v", c)
	}
	if c.Coverage != 0.75 || c.P != 0.25 || !slices.Equal(codes(c.Warnings), []Code{CannotDiffer}) || c.Warnings[0].Want != 6 {
		t.Errorf("three rounds: %+v", c)
	}
	infinite := Paired([]float64{10, math.Inf(1), 22, math.Inf(1)}, []float64{20, math.Inf(1), 44, 3})
	if infinite.N != 2 || math.Abs(infinite.Ratio-2) > 1e-12 {
		t.Errorf("infinite values: %+v", infinite)
	}
	one := Paired([]float64{1}, []float64{4})
	if one.HasCI() || one.P != 1 || !slices.Equal(codes(one.Warnings), []Code{FewTrials}) || one.Verdict(DefaultMargin) != Undecided || one.Needed(DefaultMargin) != 6 {
		t.Errorf("one round: %+v", one)
	}
	for _, none := range []Comparison{Paired(nil, []float64{1}), Paired([]float64{nan, 1}, []float64{1, nan})} {
		if none.N != 0 || none.HasRatio || none.Verdict(DefaultMargin) != NotCompared || none.P != 1 {
			t.Errorf("nothing in common: %+v", none)
		}
	}
	many := make([]float64, 40)
	twice := make([]float64, 40)
	for i := range many {
		many[i] = 1 + 0.1*math.Sin(float64(i))
		twice[i] = 2 * many[i] * (1 + 0.01*math.Cos(3*float64(i)))
	}
	c = Paired(many, twice)
	if c.P > 2e-4 || c.Coverage < 0.95 || c.CI.Low > c.Ratio || c.CI.High < c.Ratio || c.CI.Low < 1.99 || c.CI.High > 2.01 {
		t.Errorf("40 rounds, sampled: %+v", c)
	}
}

// TestZeros: quantities that may be zero are compared by difference.
func TestZeros(t *testing.T) {
	lost := Paired([]float64{0, 0, 0, 0, 0, 0}, []float64{4, 5, 6, 7, 5, 6})
	AdjustPaired([]*Comparison{&lost})
	if lost.HasRatio || lost.Difference != 5.5 || lost.CI.Low < 4 || lost.CI.High > 7 || lost.Verdict(DefaultMargin) != Differs || !slices.Equal(codes(lost.Warnings), []Code{ZeroBase}) {
		t.Errorf("from zero: %+v", lost)
	}
	none := Paired(make([]float64, 6), make([]float64, 6))
	AdjustPaired([]*Comparison{&none})
	if none.Verdict(DefaultMargin) != Equal || none.P != 1 {
		t.Errorf("all zero: %+v", none)
	}
	unpaired := Unpaired([]float64{0, 0, 0, 0}, []float64{4, 5, 6, 7})
	AdjustUnpaired([]*Comparison{&unpaired})
	if unpaired.HasRatio || unpaired.Difference != 5.5 || unpaired.Verdict(DefaultMargin) != Differs {
		t.Errorf("unpaired from zero: %+v", unpaired)
	}
}

func TestVerdicts(t *testing.T) {
	base := []float64{10, 11, 12, 10, 11, 12}
	times := func(factors ...float64) []float64 {
		out := make([]float64, len(base))
		for i := range out {
			out[i] = base[i] * factors[i]
		}
		return out
	}
	for _, c := range []struct {
		name  string
		other []float64
		want  Verdict
	}{
		{"a tenth more each time", times(1.09, 1.1, 1.11, 1.1, 1.1, 1.1), Differs},
		{"up and down by 2 %", times(1.02, 0.98, 1.01, 0.99, 1.02, 0.98), Equal},
		{"up and down by 20 %", times(1.2, 0.8, 1.1, 0.9, 1.2, 0.8), Undecided},
	} {
		x := Paired(base, c.other)
		AdjustPaired([]*Comparison{&x})
		if got := x.Verdict(DefaultMargin); got != c.want {
			t.Errorf("%s: %v, want %v: %+v", c.name, got, c.want, x)
		}
		if n := x.Needed(DefaultMargin); c.want == Undecided && n < 20 {
			t.Errorf("%s: %d trials would do", c.name, n)
		}
	}
	// Four trials, disjoint by far: nothing is said to be the same.
	few := Paired([]float64{1.80, 1.83, 1.86, 1.83}, []float64{9.5, 9.52, 9.6, 9.4})
	AdjustPaired([]*Comparison{&few})
	if few.Verdict(DefaultMargin) != Undecided || few.Needed(DefaultMargin) != 6 {
		t.Errorf("four trials: %v, %d needed", few.Verdict(DefaultMargin), few.Needed(DefaultMargin))
	}
}

// naiveStepDown follows Westfall & Young's algorithm for complete data.
func naiveStepDown(family [][]float64, p []float64) (worst float64) {
	n := len(family[0])
	z := func(d []float64, code int) float64 {
		sum, squares := 0.0, 0.0
		for i, v := range d {
			squares += v * v
			if code>>i&1 == 1 {
				v = -v
			}
			sum += v
		}
		if squares == 0 {
			return 0
		}
		return math.Abs(sum) / math.Sqrt(squares)
	}
	for i, d := range family {
		// p of i: the largest, over all that are farther or as far, of the share of flips in
		// which something not farther than those goes as far.
		want := 0.0
		for _, j := range family {
			if z(j, 0) < z(d, 0)-1e-9 {
				continue
			}
			as := 0
			for code := range 1 << n {
				for _, k := range family {
					if z(k, 0) <= z(j, 0)+1e-9 && z(k, code) >= z(j, 0)-1e-9 {
						as++
						break
					}
				}
			}
			want = max(want, float64(as)/float64(int(1)<<n))
		}
		worst = max(worst, math.Abs(p[i]-want))
	}
	return worst
}

func TestStepDownNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "rounds")
		family := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []float64 {
			return transformed(samples(n, n).Draw(t, "d"), func(v float64) float64 { return v - 4 })
		}), 1, 5).Draw(t, "family")
		if worst := naiveStepDown(family, signFlips(family)); worst > 1e-9 {
			t.Errorf("off by %g: %v", worst, signFlips(family))
		}
	})
}

// TestSixRoundsSingleOneOut: one difference among 100 comparisons, in six rounds.
func TestSixRoundsSingleOneOut(t *testing.T) {
	base := []float64{10, 11, 9, 10.5, 9.5, 10}
	var family []*Comparison
	for i := range 100 {
		other := make([]float64, len(base))
		for r := range other {
			other[r] = base[r] * (1 + 0.02*math.Sin(float64(7*i+3*r)))
			if i == 42 {
				other[r] = 3 * base[r] * (1 + 0.01*math.Sin(float64(r)))
			}
		}
		c := Paired(base, other)
		family = append(family, &c)
	}
	AdjustPaired(family)
	for i, c := range family {
		if c.Different() != (i == 42) {
			t.Errorf("comparison %d: %v, adjusted p %g", i, c.Verdict(DefaultMargin), c.Adjusted)
		}
	}
	near(t, "adjusted", family[42].Adjusted, 2.0/64, 1e-12)
}

func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		near(t, "adjusted", got[i], want, 1e-12)
	}
}

func TestUnpaired(t *testing.T) {
	c := Unpaired([]float64{10, 11, 12, 13, 14}, []float64{20, 22, 24, 26, 28})
	near(t, "ratio", c.Ratio, 2, 1e-12)
	near(t, "p", c.P, 2.0/252, 1e-12)
	if c.CI.Low > 2 || c.CI.High < 2 || len(c.Warnings) != 0 || c.Different() {
		t.Errorf("before it is adjusted: %+v", c)
	}
	if AdjustUnpaired([]*Comparison{&c}); !c.Different() {
		t.Errorf("alone: %+v", c)
	}
	three := Unpaired([]float64{1, 2, 3}, []float64{4, 5, 6})
	if !three.HasCI() || math.Abs(three.Coverage-0.9) > 1e-12 || !slices.Equal(codes(three.Warnings), []Code{CannotDiffer}) || three.Warnings[0].Want != 4 {
		t.Errorf("3 and 3: %+v", three)
	}
	if empty := Unpaired(nil, []float64{1, 2, 3}); empty.HasRatio || empty.Verdict(0.05) != NotCompared {
		t.Errorf("empty base: %+v", empty)
	}
}

// TestShiftInvertsTheTest: the interval holds just those shifts that the test does not
// reject.
func TestShiftInvertsTheTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := transformed(samples(8, 16).Draw(t, "values"), math.Log)
		for i := range values { // no ties
			values[i] += 0.001 * math.Sqrt(float64(i))
		}
		x, y := values[:len(values)/2], values[len(values)/2:]
		_, ci, coverage := shift(x, y)
		for _, at := range []struct {
			by float64
			in bool
		}{{ci.Low - 1e-9, false}, {ci.Low + 1e-9, true}, {ci.High - 1e-9, true}, {ci.High + 1e-9, false}} {
			moved := transformed(y, func(v float64) float64 { return v - at.by })
			if p := MannWhitney(moved, x).P; (p > 1-coverage+1e-9) != at.in {
				t.Errorf("shift %g of %v: p = %g, coverage %g", at.by, ci, p, coverage)
			}
		}
	})
}

// TestExchangesAlone: for one comparison the procedure is the Mann-Whitney test.
func TestExchangesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := samples(1, 5).Draw(t, "a"), samples(1, 5).Draw(t, "b")
		near(t, "p", exchanges([][2][]float64{{a, b}})[0], MannWhitney(a, b).P, 1e-12)
	})
}

// TestExchangesOfRounds: runs that differ in all comparisons are found to with four rounds,
// however many comparisons there are, and one difference among 50 with eight.
func TestExchangesOfRounds(t *testing.T) {
	for _, x := range []struct {
		rounds int
		differ func(i int) bool
	}{{4, func(int) bool { return true }}, {8, func(i int) bool { return i == 42 }}} {
		var family []*Comparison
		for i := range 50 {
			a, b := scaled(x.rounds, 10, 2*i), scaled(x.rounds, 10, 2*i+1)
			if x.differ(i) {
				b = scaled(x.rounds, 30, 2*i+1)
			} else if i%3 == 0 {
				b[1] = nan
			}
			c := Unpaired(a, b)
			family = append(family, &c)
		}
		AdjustUnpaired(family)
		for i, c := range family {
			if c.Different() != x.differ(i) {
				t.Errorf("%d rounds, comparison %d: adjusted p %g", x.rounds, i, c.Adjusted)
			}
		}
	}
}

// TestBalanced: where ups and downs cancel out, every flip goes as far.
func TestBalanced(t *testing.T) {
	d := []float64{0.1, 0.2, -0.2, -0.1}
	near(t, "p", newSubsets(d).signFlip(), 1, 0)
	near(t, "adjusted p", signFlips([][]float64{d})[0], 1, 0)
}
