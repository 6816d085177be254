package stats

import (
	"math"
	"testing"
)

// scaled returns rounds of a machine that drifts, times a factor and a little noise.
func scaled(rounds int, factor float64, salt int) []float64 {
	out := make([]float64, rounds)
	for r := range out {
		out[r] = factor * (1 + 0.3*math.Sin(float64(r))) * (1 + 0.005*math.Sin(float64(13*r+29*salt)))
	}
	return out
}

// TestThreeRoundsOfFourStrataSuffice: what three rounds cannot show in one stratum, they
// show over four.
func TestThreeRoundsOfFourStrataSuffice(t *testing.T) {
	var strata []Comparison
	for i, factor := range []float64{0.90, 0.91, 0.92, 0.91} {
		strata = append(strata, Paired(scaled(3, 10, i), scaled(3, 10*factor, i+10)))
	}
	s := Stratify(append(strata, Comparison{}))
	AdjustHolm([]*Comparison{&s.Comparison})
	if s.Count != 4 || s.N != 3 || s.Pairs != 12 || s.Coverage != 0.75 || len(s.Warnings) != 0 || s.Verdict(DefaultMargin) != Differs || math.Abs(s.Ratio-0.91) > 0.01 || s.Range.Low > 0.905 || s.Range.High < 0.915 {
		t.Errorf("%+v", s)
	}
	for _, c := range strata {
		if c.Different() {
			t.Errorf("one stratum: %+v", c)
		}
	}
	if none := Stratify(nil); none.Verdict(DefaultMargin) != NotCompared || none.HasRatio {
		t.Errorf("no strata: %+v", none)
	}
	mixed := Stratify([]Comparison{strata[0], Paired([]float64{0, 0, 0}, []float64{1, 1, 1})})
	if mixed.HasRatio || mixed.N != 3 || mixed.Pairs != 6 || mixed.Difference >= 1 {
		t.Errorf("ratio and difference: %+v", mixed)
	}
}

// TestOppositeStrataAreNotEqual: 20 % more here and 20 % less there.
func TestOppositeStrataAreNotEqual(t *testing.T) {
	var strata []Comparison
	for i, factor := range []float64{1.07, 1 / 1.07, 1.07, 1 / 1.07} {
		strata = append(strata, Paired(scaled(12, 10, i), scaled(12, 10*factor, i+10)))
	}
	s := Stratify(strata)
	AdjustHolm([]*Comparison{&s.Comparison})
	if s.Comparison.Verdict(DefaultMargin) != Equal || s.Verdict(DefaultMargin) != Undecided {
		t.Errorf("%v, %v: %+v", s.Comparison.Verdict(DefaultMargin), s.Verdict(DefaultMargin), s)
	}
}

func TestDepend(t *testing.T) {
	level := func(factor float64, salt int) []Comparison {
		return []Comparison{
			Paired(scaled(5, 10, salt), scaled(5, 10*factor, salt+1)),
			Paired(scaled(5, 3, salt+2), scaled(5, 3*factor, salt+3)),
		}
	}
	d, ok := Depend([][]Comparison{level(35, 0), level(14, 5)})
	if !ok || d.P > 0.01 || math.Abs(d.Ratios[0]/35-1) > 0.02 || math.Abs(d.Ratios[1]/14-1) > 0.02 || d.Share < 0.99 {
		t.Errorf("35 and 14 times: %+v", d)
	}
	d, ok = Depend([][]Comparison{level(2, 0), level(2, 5)})
	if !ok || d.P < 0.05 {
		t.Errorf("twice at both levels: %+v", d)
	}
	if _, ok := Depend([][]Comparison{level(2, 0), {Comparison{}, Comparison{}}}); ok {
		t.Error("a level without anything")
	}
}

// TestAllocateJain uses the memory-cache study of Jain, §17.3, on logarithms: effects of
// 20, 10 and 5 on a scale where 40 is the mean allocate 76 %, 19 % and 5 %.
func TestAllocateJain(t *testing.T) {
	var cells [][]float64
	for _, y := range []float64{15, 25, 45, 75} { // memory fastest last: (cache, memory) = (-,-) (+,-) (-,+) (+,+)
		cells = append(cells, []float64{math.Exp(y), math.Exp(y)})
	}
	a, ok := Allocate([]int{2, 2}, cells)
	if !ok || a.Rounds != 2 {
		t.Fatalf("%+v", a)
	}
	near(t, "memory", a.Main[0], 1600.0/2100, 1e-9)
	near(t, "cache", a.Main[1], 400.0/2100, 1e-9)
	near(t, "both", a.Pairs[0].Share, 100.0/2100, 1e-9)
	near(t, "rest", a.Rest+a.ByTime+a.Higher, 0, 1e-9)
}

func TestAllocate(t *testing.T) {
	// Three factors of 2, 3 and 2 levels; the last does nothing, rounds drift.
	var cells [][]float64
	for i := range 12 {
		x := scaled(4, math.Exp(float64(i/6)+0.1*float64(i/2%3)), i)
		x[1] = nan
		if i == 5 {
			x[1] = 7
		}
		cells = append(cells, x)
	}
	a, ok := Allocate([]int{2, 3, 2}, cells)
	sum := a.Higher + a.ByTime + a.Rest
	for _, v := range a.Main {
		sum += v
	}
	for _, p := range a.Pairs {
		sum += p.Share
	}
	if !ok || a.Rounds != 3 || a.Main[0] < 0.7 || a.Main[1] < 0.01 || a.Main[2] > 0.001 || a.ByTime < 0.01 {
		t.Errorf("%+v", a)
	}
	near(t, "all shares", sum, 1, 1e-9)
	if a, ok := Allocate([]int{2}, [][]float64{{3, 3}, {3, 3}}); !ok || a.Main[0] != 0 || a.Rest != 0 {
		t.Errorf("nothing varies: %+v", a)
	}
	for _, bad := range [][][]float64{{{1}}, {{1}, {nan}}, {{1}, {0}}, {{1}, {}}} {
		if _, ok := Allocate([]int{2}, bad); ok {
			t.Errorf("%v was allocated", bad)
		}
	}
}
