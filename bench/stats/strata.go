package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Strata sets one level of a factor against another over all combinations of the other
// factors, the strata. [Stratify] makes it. As a family of such statements stands on few
// tests, [AdjustHolm] is what corrects them for their number.
type Strata struct {
	// Comparison is of the strata's means: Ratio is the geometric mean of the strata's
	// ratios, each counting alike, and N the number of rounds that all of them have. P
	// stands on all Pairs, and so does the interval from [MinRounds] rounds on; with fewer
	// it is over the rounds, of low Coverage. Either way the strata may be as unlike as
	// they are.
	Comparison
	Pairs int      // rounds of all strata
	Count int      // strata in which there is something to compare
	Range Interval // of the strata's own ratios, or differences
}

// Stratify joins paired comparisons of the same two levels, one of each stratum. P is
// that of the sign-flip test with every round of every stratum flipped by itself (the
// stratified permutation test; Pesarin & Salmaso, Permutation Tests for Complex Data,
// 2010, ch. 2): three rounds of four strata are twelve pairs. Strata have a ratio together
// only if they have one each; otherwise differences are joined.
func Stratify(strata []Comparison) Strata {
	s := stratified(strata)
	if s.N > 0 {
		s.judge()
		s.P, s.least = newSubsets(s.pairs).signFlip(), math.Pow(2, float64(1-s.Pairs))
		if s.HasCI() {
			s.CI, s.Coverage = s.interval()
			if s.HasRatio {
				s.CI = Interval{math.Exp(s.CI.Low), math.Exp(s.CI.High)}
			}
		}
		s.Warnings = slices.DeleteFunc(s.Warnings, func(w Warning) bool { return w.Code == CannotDiffer })
		if s.HasCI() && !s.Testable() {
			s.Warnings = append(s.Warnings, cannotDiffer(s.N, s.least, s.leastRounds()))
		}
	}
	return s.Strata
}

// stratification is Strata with the differences of all pairs.
type stratification struct {
	Strata
	pairs   []float64
	centred []float64 // their distances from their stratum's mean, as wide as those from the true one
}

// interval is the one over the rounds, in whose means the strata's unlikeness is no scatter;
// with so many rounds that a stratum's own mean is well known, of typical values of all
// pairs, each stratum moved to the mean of all. Then it goes with P, which has the same pairs.
func (s stratification) interval() (Interval, float64) {
	if s.N < MinRounds {
		return newSubsets(s.d).typicalValues()
	}
	middle := mean(s.d)
	return newSubsets(transformed(s.centred, func(v float64) float64 { return middle + v })).typicalValues()
}

// stratified is what Stratify makes, without judging it.
func stratified(strata []Comparison) stratification {
	s := stratification{Strata: Strata{Comparison: Comparison{P: 1, Adjusted: 1, HasRatio: true}}}
	var of []Comparison
	for _, c := range strata {
		if c.N > 0 {
			of = append(of, c)
			s.HasRatio = s.HasRatio && c.HasRatio
		}
	}
	if s.Count = len(of); s.Count == 0 {
		s.HasRatio = false
		return s
	}
	s.Range = Interval{math.Inf(1), math.Inf(-1)}
	var bases, others []float64
	var plain, d [][]float64
	for _, c := range of {
		plain, d = append(plain, c.plain), append(d, c.d)
		bases, others = append(bases, c.Base), append(others, c.Other)
	}
	if !s.HasRatio {
		d = plain
	}
	for _, x := range d {
		x = present(x)
		s.pairs = append(s.pairs, x...)
		middle := mean(x)
		wider := math.Sqrt(float64(len(x)) / float64(max(1, len(x)-1)))
		for _, v := range x {
			s.centred = append(s.centred, wider*(v-middle))
		}
		if s.HasRatio {
			middle = math.Exp(middle)
		}
		s.Range = Interval{min(s.Range.Low, middle), max(s.Range.High, middle)}
	}
	s.plain, s.d = meansOver(plain), meansOver(d)
	s.N, s.Pairs, s.Base, s.Other = len(s.d), len(s.pairs), Median(bases), Median(others)
	return s
}

// meansOver returns the means over strata of the first differences that are there, of the
// second ones and so on: what their rounds had in common fell out of the differences, so it
// does not matter that they are of different rounds where one is missing.
func meansOver(strata [][]float64) []float64 {
	rounds := math.MaxInt
	there := make([][]float64, len(strata))
	for i, d := range strata {
		there[i] = present(d)
		rounds = min(rounds, len(there[i]))
	}
	out := make([]float64, rounds)
	for r := range out {
		for _, d := range there {
			out[r] += d[r] / float64(len(strata))
		}
	}
	return out
}

// Verdict is that of [Comparison.Verdict]; to be equal, the levels must be so in each
// stratum, too, by the best estimate there is.
func (s Strata) Verdict(margin float64) Verdict {
	v := s.Comparison.Verdict(margin)
	if v == Equal && !s.within(s.Range, margin) {
		return Undecided
	}
	return v
}

// Needed is that of [Comparison.Needed]; fewer rounds may do for the test's smallest p.
func (s Strata) Needed(margin float64) int {
	return s.needed(margin, s.leastRounds())
}

// leastRounds is the smallest number of rounds in which the test can find a difference, as
// the only one of its family. A single stratum stands on its own test, see [AdjustPaired].
func (s Strata) leastRounds() int {
	if s.Count <= 1 {
		return MinRounds
	}
	pairs := 1 + int(math.Ceil(math.Log2(float64(max(1, s.family))/Significance)))
	return (pairs + s.Count - 1) / s.Count
}

// Dependence says whether a further factor changes a ratio. [Depend] makes it.
type Dependence struct {
	// Ratios has the geometric mean of the ratio at each level of the factor, over those
	// rounds and strata that all levels have.
	Ratios []float64
	// Share is the share that the factor has in the variation of the ratio's logarithm
	// over strata and rounds.
	Share float64
	P     float64 // permutation test of the hypothesis that the ratio is the same at all levels
}

// Depend asks whether the ratio of two levels depends on a further factor (an
// interaction). levels[i] has the comparisons at the factor's level i, one for each
// combination of the factors that remain, in the same order; a zero Comparison stands
// where there is none. The test exchanges the levels within each round of each
// combination, and looks at the variation between the levels' means (a permutation test
// for randomised blocks: Pesarin & Salmaso, 2010, ch. 2; Edgington & Onghena,
// Randomization Tests, 2007, ch. 6). It takes the scatter to be the same at all levels.
// Nothing is returned where there is no round that all levels have with a ratio.
func Depend(levels [][]Comparison) (Dependence, bool) {
	var blocks [][]float64
	if len(levels) < 2 {
		return Dependence{}, false
	}
	for combination := range levels[0] {
		for r := 0; ; r++ {
			block, more := blockOf(levels, combination, r)
			if !more {
				break
			}
			if !slices.ContainsFunc(block, math.IsNaN) {
				blocks = append(blocks, block)
			}
		}
	}
	if len(blocks) == 0 {
		return Dependence{}, false
	}
	var out Dependence
	sums, between := sumsOf(blocks)
	for _, sum := range sums {
		out.Ratios = append(out.Ratios, math.Exp(sum/float64(len(blocks))))
	}
	all := slices.Concat(blocks...)
	total, middle := 0.0, mean(all)
	for _, v := range all {
		total += (v - middle) * (v - middle)
	}
	if total > 0 {
		out.Share = between / float64(len(blocks)) / total
	}
	out.P = exchangeP(blocks, between, total)
	return out, true
}

// blockOf takes the differences of one round at all levels; more is false beyond the last.
func blockOf(levels [][]Comparison, combination, round int) (block []float64, more bool) {
	for _, comparisons := range levels {
		v := math.NaN()
		if c := comparisons[combination]; round < len(c.d) {
			more = true
			if c.HasRatio {
				v = c.d[round]
			}
		}
		block = append(block, v)
	}
	return block, more
}

// sumsOf returns the sum of each level over the blocks, and the variation between levels:
// the sum of squares of these sums about their mean.
func sumsOf(blocks [][]float64) (sums []float64, between float64) {
	sums = make([]float64, len(blocks[0]))
	for _, b := range blocks {
		for i, v := range b {
			sums[i] += v
		}
	}
	middle := mean(sums)
	for _, s := range sums {
		between += (s - middle) * (s - middle)
	}
	return sums, between
}

// exchangeP is the share of random exchanges within blocks, the one observed among them,
// that vary between the levels as much as observed; total is the variation of all values.
func exchangeP(blocks [][]float64, observed, total float64) float64 {
	random := rand.New(rand.NewPCG(uint64(len(blocks)), sampled))
	mixed := make([][]float64, len(blocks))
	for i, b := range blocks {
		mixed[i] = slices.Clone(b)
	}
	as := 1
	for range sampled {
		for _, b := range mixed {
			random.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		}
		if _, between := sumsOf(mixed); reaches(between, observed, total) {
			as++
		}
	}
	return float64(as) / float64(sampled+1)
}
