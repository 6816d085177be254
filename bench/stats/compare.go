package stats

import (
	"cmp"
	"math"
	"slices"
)

// Significance is the greatest probability, over a whole family of comparisons, that any
// difference is found where there is none.
const Significance = 0.05

// DefaultMargin is the share by which two quantities may differ and still be called
// equal.
const DefaultMargin = 0.05

// minCoverage is the coverage that an interval needs to show that two quantities are
// equal: 90 %, as in two one-sided tests at 5 % (Schuirmann, Journal of Pharmacokinetics
// and Biopharmaceutics 15, 1987).
const minCoverage = 0.90

// minForEqual is the number of rounds that gives it.
const minForEqual = 5

// MaxNeeded is the largest number of trials that [Comparison.Needed] works out.
const MaxNeeded = 1000

// Verdict is what a comparison came to.
type Verdict int

// The verdicts. No verdict says that there is no difference: that cannot be shown.
const (
	NotCompared Verdict = iota // there is nothing to compare
	Undecided                  // neither of those below; more trials would decide
	Equal                      // the whole interval lies within the margin of equality
	Differs                    // the test found a difference
)

// Comparison sets a quantity against that of a base. [Paired] and [Unpaired] make it.
// The caller passes all comparisons that are looked at together to [AdjustPaired] or
// [AdjustUnpaired] before it asks for the verdict.
type Comparison struct {
	// N is the number of rounds in which both are there; unpaired, the number of values
	// of the smaller side.
	N           int
	Base, Other float64 // medians of what was compared

	// Ratio is Other / Base, where HasRatio: all values are positive. Paired, it is the
	// geometric mean of the rounds' ratios; unpaired, the median of those of all pairs.
	Ratio    float64
	HasRatio bool
	// Difference is Other - Base, likewise, in the unit of the quantity.
	Difference float64
	// CI is of Ratio where HasRatio, and otherwise of Difference; where HasCI. Coverage is
	// the probability that it holds the true value: at least [Confidence] if there are
	// trials enough for that.
	CI       Interval
	Coverage float64

	P        float64 // of this comparison alone
	Adjusted float64 // in its family; 1 until it was adjusted
	Warnings []Warning

	plain   []float64    // paired: the differences by round, NaN where there is none
	d       []float64    // paired: those that count, of logarithms where HasRatio
	runs    [2][]float64 // unpaired: the values of each by round
	effect  float64      // Ratio as a logarithm, or Difference
	scatter float64      // standard deviation of what one further trial says of effect
	least   float64      // the smallest p that so many trials can give
	family  int          // comparisons adjusted together
}

// Testable reports whether there were enough trials for the test to find any difference.
// What is not testable is of no family.
func (c Comparison) Testable() bool { return c.N > 0 && c.least <= Significance }

// HasCI reports whether there were enough trials for an interval.
func (c Comparison) HasCI() bool { return c.N >= MinForInterval }

// Different reports whether the test found a difference.
func (c Comparison) Different() bool { return c.N > 0 && c.Adjusted <= Significance }

// Verdict says what c came to, if quantities that differ by no more than the share
// margin count as equal. A difference that was found is said even if it is smaller.
func (c Comparison) Verdict(margin float64) Verdict {
	switch {
	case c.N == 0:
		return NotCompared
	case c.Different():
		return Differs
	case c.Within(margin):
		return Equal
	default:
		return Undecided
	}
}

// Within reports whether the whole interval lies within the margin of equality, and is
// sure enough for that to mean anything. A difference may be found nevertheless.
func (c Comparison) Within(margin float64) bool {
	return c.HasCI() && c.Coverage >= minCoverage && c.within(c.CI, margin)
}

// within reports whether an interval lies within the margin of equality.
func (c Comparison) within(x Interval, margin float64) bool {
	if c.HasRatio {
		return x.Low >= 1/(1+margin) && x.High <= 1+margin
	}
	most := margin * math.Abs(c.Base)
	return x.Low >= -most && x.High <= most
}

// Needed estimates how many trials of each cell would decide c with a probability of
// 80 %, if the effect and the scatter are what they seem to be: the fewer of those that
// show a difference (at the significance of Bonferroni for the family, which is never
// less) and those that show equality. The formulas are those of Student's t (Guenther,
// Sample Size Formulas for Normal Theory T Tests, The American Statistician 35, 1981); it
// is never less than the test needs for its smallest p, and always more than N.
// MaxNeeded stands for that many or more.
func (c Comparison) Needed(margin float64) int {
	if c.d == nil {
		return c.needed(margin, TrialsNeeded(Significance))
	}
	return c.needed(margin, MinRounds)
}

// needed is Needed where the test's smallest p takes so many trials.
func (c Comparison) needed(margin float64, least int) int {
	if c.N < 2 {
		return least
	}
	most := margin * math.Abs(c.Base)
	if c.HasRatio {
		most = math.Log1p(margin)
	}
	level := Significance / float64(max(1, c.family))
	trials := func(level, power, distance float64) float64 {
		if c.scatter == 0 {
			return 0
		}
		critical := normalQuantile(1 - level/2)
		z := (critical + normalQuantile(power)) * c.scatter / distance
		return math.Ceil(z*z + critical*critical/2)
	}
	n := trials(level, 0.8, math.Abs(c.effect)) // infinite where there is no effect
	if far := most - math.Abs(c.effect); far > 0 {
		n = min(n, max(minForEqual, trials(Significance, 0.9, far))) // of either end of the interval
	}
	return max(least, c.N+1, int(min(n, MaxNeeded)))
}

func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Paired sets other against base round by round: the values of one index were measured
// in one round, one soon after the other, so what the machine did meanwhile falls out
// of their ratio. NaN, an infinity or nothing stands where a round has no valid value.
//
// P is that of the sign-flip test: the share of all ways to change the signs of the
// rounds' differences in which their mean is at least as far from zero as observed. It is
// exact whatever the distribution, if that is symmetric about zero where nothing
// differs, as it is between two cells that are alike. The interval is Hartigan's, which is
// the same test turned round. Sources: Fisher, The Design of Experiments, 1935, §21;
// Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969.
func Paired(base, other []float64) Comparison {
	c := differences(base, other)
	c.judge()
	return c
}

// differences is a comparison with its differences only.
func differences(base, other []float64) Comparison {
	c := Comparison{P: 1, Adjusted: 1, HasRatio: true}
	c.plain = make([]float64, min(len(base), len(other)))
	var x, y []float64
	for r := range c.plain {
		b, o := base[r], other[r]
		if c.plain[r] = o - b; !finite(c.plain[r]) {
			c.plain[r] = math.NaN()
			continue
		}
		x, y = append(x, b), append(y, o)
		c.HasRatio = c.HasRatio && b > 0 && o > 0
	}
	if c.d = c.plain; c.HasRatio {
		c.d = slices.Clone(c.plain)
		for r, v := range c.d {
			if finite(v) {
				c.d[r] = math.Log(other[r] / base[r])
			}
		}
	}
	c.N, c.Base, c.Other = len(x), Median(x), Median(y)
	c.least = math.Pow(2, float64(1-c.N))
	return c
}

// judge completes a paired comparison from its differences.
func (c *Comparison) judge() {
	d := present(c.d)
	if c.N = len(d); c.N == 0 {
		c.HasRatio = false
		return
	}
	c.Difference = mean(present(c.plain))
	of := newSubsets(d)
	c.P = of.signFlip()
	c.effect, c.scatter, c.least = mean(d), deviation(d), math.Pow(2, float64(1-c.N))
	if c.HasRatio {
		c.Ratio = math.Exp(c.effect)
	} else {
		c.Warnings = append(c.Warnings, Warning{Code: ZeroBase})
	}
	if !c.HasCI() {
		c.Warnings = append(c.Warnings, Warning{Code: FewTrials, Have: float64(c.N), Want: MinForInterval})
		return
	}
	c.CI, c.Coverage = of.typicalValues()
	if c.HasRatio {
		c.CI = Interval{math.Exp(c.CI.Low), math.Exp(c.CI.High)}
	}
	if !c.Testable() {
		c.Warnings = append(c.Warnings, cannotDiffer(c.N, c.least, MinRounds))
	}
}

// AdjustPaired corrects the paired comparisons that are looked at together for their
// number, see [Paired]: index r is the same round in all of them. The probability that
// any difference is found among those that are none is at most [Significance]; how
// many comparisons there are costs little, since rounds are flipped as a whole.
// [MinRounds] rounds can single out one difference among any number.
func AdjustPaired(family []*Comparison) {
	adjust(family, func(of []*Comparison) []float64 {
		differences := make([][]float64, len(of))
		for i, c := range of {
			differences[i] = c.d
		}
		return signFlips(differences)
	})
}

// Unpaired sets other against base where their trials have nothing to do with each
// other: two runs at two times. NaN, or nothing, stands where a round of a run has no valid
// trial. P is that of [MannWhitney]; the ratio, or difference,
// is the Hodges-Lehmann estimate with the interval that belongs to the test (Hollander &
// Wolfe, Nonparametric Statistical Methods, §4.2 and 4.3).
func Unpaired(base, other []float64) Comparison {
	c := Comparison{P: 1, Adjusted: 1, runs: [2][]float64{base, other}}
	base, other = present(base), present(other)
	n, m := len(base), len(other)
	c.N, c.Base, c.Other = min(n, m), Median(base), Median(other)
	if c.N == 0 {
		return c
	}
	c.HasRatio = slices.Min(base) > 0 && slices.Min(other) > 0
	value := func(v float64) float64 { return v }
	if c.HasRatio {
		value = math.Log
	} else {
		c.Warnings = append(c.Warnings, Warning{Code: ZeroBase})
	}
	c.Difference, _, _ = shift(base, other)
	x, y := transformed(base, value), transformed(other, value)
	var coverage float64
	c.effect, c.CI, coverage = shift(x, y)
	c.scatter = math.Hypot(deviation(x), deviation(y))
	if c.HasRatio {
		c.Ratio, c.CI = math.Exp(c.effect), Interval{math.Exp(c.CI.Low), math.Exp(c.CI.High)}
	}
	c.P, c.least = MannWhitney(other, base).P, SmallestP(n, m)
	if !c.HasCI() {
		c.CI = Interval{}
		c.Warnings = append(c.Warnings, Warning{Code: FewTrials, Have: float64(c.N), Want: MinForInterval})
		return c
	}
	c.Coverage = coverage
	if !c.Testable() {
		c.Warnings = append(c.Warnings, cannotDiffer(c.N, c.least, TrialsNeeded(Significance)))
	}
	return c
}

// AdjustUnpaired corrects the comparisons of two runs that are looked at together for
// their number, see [Unpaired]. It is what [AdjustPaired] is, with whole rounds exchanged
// between the runs.
func AdjustUnpaired(family []*Comparison) {
	adjust(family, func(of []*Comparison) []float64 {
		runs := make([][2][]float64, len(of))
		for i, c := range of {
			runs[i] = c.runs
		}
		return exchanges(runs)
	})
}

// AdjustHolm corrects comparisons of any sort that are looked at together for their number,
// by [Holm].
func AdjustHolm(family []*Comparison) {
	adjust(family, func(of []*Comparison) []float64 {
		p := make([]float64, len(of))
		for i, c := range of {
			p[i] = c.P
		}
		return Holm(p)
	})
}

// adjust adjusts what is testable.
func adjust(family []*Comparison, by func([]*Comparison) []float64) {
	of := slices.DeleteFunc(slices.Clone(family), func(c *Comparison) bool { return !c.Testable() })
	for i, p := range by(of) {
		of[i].Adjusted, of[i].family = p, len(of)
	}
}

// Holm returns p-values adjusted for the number of tests, however they depend on each
// other: the probability that any true hypothesis gets one of at most α is at most α
// (Holm, Scandinavian Journal of Statistics 6, 1979).
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	adjusted := make([]float64, len(p))
	largest := 0.0
	for rank, i := range order {
		largest = max(largest, min(1, p[i]*float64(len(p)-rank)))
		adjusted[i] = largest
	}
	return adjusted
}

// present leaves out what is not there, and what is infinite.
func present(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) })
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func transformed(values []float64, by func(float64) float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = by(v)
	}
	return out
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// deviation is the standard deviation, 0 for fewer than two values.
func deviation(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	middle, sum := mean(values), 0.0
	for _, v := range values {
		sum += (v - middle) * (v - middle)
	}
	return math.Sqrt(sum / float64(len(values)-1))
}
