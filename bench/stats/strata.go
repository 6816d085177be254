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
	// Comparison is of all rounds of all strata: each is a pair of its own, so three rounds
	// of four strata are twelve pairs, and Ratio is the geometric mean of all their ratios.
	// Its interval is exact if the ratio is the same in all strata; otherwise it is too
	// wide, as it takes what differs between them for chance.
	Comparison
	Count int      // strata in which there is something to compare
	Range Interval // of the strata's own ratios, or differences
}

// Stratify joins paired comparisons of the same two levels, one of each stratum. P is
// that of the sign-flip test with every round of every stratum flipped by itself (the
// stratified permutation test; Pesarin & Salmaso, Permutation Tests for Complex Data,
// 2010, ch. 2). Strata have a ratio together only if they have one each; otherwise only
// differences are joined.
func Stratify(strata []Comparison) Strata {
	s := Strata{Comparison: Comparison{P: 1, Adjusted: 1, HasRatio: true}}
	var of []Comparison
	for _, c := range strata {
		if c.N > 0 {
			of = append(of, c)
			s.HasRatio = s.HasRatio && c.HasRatio
		}
	}
	s.Count, s.Range = len(of), Interval{math.Inf(1), math.Inf(-1)}
	var bases, others []float64
	for _, c := range of {
		x := c.Ratio
		if !s.HasRatio {
			x = c.Difference
		}
		s.Range = Interval{min(s.Range.Low, x), max(s.Range.High, x)}
		s.plain = append(s.plain, c.plain...)
		if s.HasRatio {
			s.d = append(s.d, c.d...)
		}
		bases, others = append(bases, c.Base), append(others, c.Other)
	}
	s.Base, s.Other = Median(bases), Median(others)
	if !s.HasRatio {
		s.d = s.plain
	}
	s.judge()
	return s
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

// Needed is that of [Comparison.Needed], in trials of each cell.
func (s Strata) Needed(margin float64) int {
	if s.Count == 0 {
		return MinRounds
	}
	pairs := s.Comparison.Needed(margin)
	return max((pairs+s.Count-1)/s.Count, s.N/s.Count+1)
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
	out.P = exchangeP(blocks, between)
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
// that vary between the levels as much as observed.
func exchangeP(blocks [][]float64, observed float64) float64 {
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
		if _, between := sumsOf(mixed); reaches(between, observed) {
			as++
		}
	}
	return float64(as) / float64(sampled+1)
}
