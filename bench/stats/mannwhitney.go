package stats

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// exactUpTo is the total number of samples up to which the test is exact.
const exactUpTo = 50

// Test is the outcome of a Mann-Whitney U test.
type Test struct {
	U     float64 // pairs in which the first sample is the larger; ties count half
	P     float64 // two-sided
	Exact bool    // by permutation; otherwise by the normal approximation
}

// MannWhitney tests whether one of two independent samples tends to be larger
// (Mann & Whitney, 1947). It assumes no distribution.
//
// Up to 50 samples in all, p is exact: the share of all ways to split the
// pooled ranks, ties as midranks, in which U is at least as far from its mean
// as observed (the conditional permutation distribution; counted by the shift
// algorithm of Streitberg & Röhmel, 1986). Beyond that p comes from the normal
// approximation with the tie correction and a continuity correction of 1/2
// (Hollander & Wolfe, Nonparametric Statistical Methods, §4.1). Where all
// values are equal, or one side is empty, p is 1.
func MannWhitney(a, b []float64) Test {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return Test{P: 1, Exact: true}
	}
	ranks, ties := doubledMidranks(a, b)
	sum := 0
	for _, r := range ranks[:n] {
		sum += r
	}
	test := Test{U: float64(sum-n*(n+1)) / 2, Exact: n+m <= exactUpTo}
	if test.Exact {
		test.P = permutationP(ranks, n, sum)
	} else {
		test.P = normalP(test.U, n, m, ties)
	}
	return test
}

// doubledMidranks ranks the pooled samples, those of a first. Ranks are doubled
// so that the midrank of a tie stays whole. ties is the sum of t^3 - t over all
// groups of t equal values.
func doubledMidranks(a, b []float64) (ranks []int, ties float64) {
	pooled := slices.Concat(a, b)
	order := make([]int, len(pooled))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(pooled[x], pooled[y]) })
	ranks = make([]int, len(pooled))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && pooled[order[to]] == pooled[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // twice the mean of ranks from+1 … to
		}
		t := float64(to - from)
		ties += t*t*t - t
		from = to
	}
	return ranks, ties
}

// permutationP returns the share of the n-subsets of ranks whose sum is at
// least as far from the mean as observed.
func permutationP(ranks []int, n, observed int) float64 {
	ways := rankSums(ranks, n)
	count, total := len(ranks), len(ways)-1
	// Distances are compared times N, to stay whole: mean = n * total / N.
	distance := func(s int) int { return max(s*count-n*total, n*total-s*count) }
	extreme, all := 0.0, 0.0
	for s, w := range ways {
		all += w
		if distance(s) >= distance(observed) {
			extreme += w
		}
	}
	return extreme / all
}

// rankSums counts the n-subsets of ranks by their sum, up to that of all ranks.
func rankSums(ranks []int, n int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	// ways[k][s]: how many k-subsets of the ranks seen so far have the sum s.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for k := n; k >= 1; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	return ways[n]
}

func normalP(u float64, n, m int, ties float64) float64 {
	nm, count := float64(n)*float64(m), float64(n+m)
	variance := nm / 12 * (count + 1 - ties/(count*(count-1)))
	if variance <= 0 {
		return 1
	}
	z := max(0, math.Abs(u-nm/2)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}

// SmallestP returns the smallest p that the exact test can give for samples of
// n and m: that of two samples that do not overlap at all.
func SmallestP(n, m int) float64 { return min(1, 2/choose(n+m, n)) }

// TrialsNeeded returns how many trials each of two cells needs at least so that
// the test can give p <= alpha.
func TrialsNeeded(alpha float64) int {
	n := 1
	for SmallestP(n, n) > alpha {
		n++
	}
	return n
}

// shift returns the Hodges-Lehmann estimate of by how much y lies above x, the median of
// all differences between a value of y and one of x, and the interval of those shifts
// that the Mann-Whitney test does not reject, with its coverage: exact up to 50 values in
// all, and by the normal approximation beyond.
func shift(x, y []float64) (float64, Interval, float64) {
	n, m := len(x), len(y)
	differences := make([]float64, 0, n*m)
	for _, a := range x {
		for _, b := range y {
			differences = append(differences, b-a)
		}
	}
	slices.Sort(differences)
	k, coverage := 1, Confidence
	if n+m <= exactUpTo {
		k, coverage = shiftEnds(n, m)
	} else {
		nm := float64(n * m)
		k = max(1, int(nm/2-normalQuantile((1+Confidence)/2)*math.Sqrt(nm*float64(n+m+1)/12)))
	}
	return medianOf(differences), Interval{differences[k-1], differences[n*m-k]}, coverage
}

// shiftEnds returns how many of the n*m differences lie at or beyond an end of the
// interval, and its coverage.
func shiftEnds(n, m int) (k int, coverage float64) {
	ranks := make([]int, n+m)
	for i := range ranks {
		ranks[i] = i + 1
	}
	ways, all := rankSums(ranks, n), choose(n+m, n)
	least := n * (n + 1) / 2 // the sum at which U is 0
	below := ways[least] / all
	for k = 1; below+ways[least+k]/all <= (1-Confidence)/2+1e-12; k++ {
		below += ways[least+k] / all
	}
	return k, 1 - 2*below
}

// exchanges is [stepDown] for the hypotheses that the rounds of two runs come from the same
// distribution, one pair of runs each: whole rounds change their run. The statistic is that
// of Mann and Whitney, standardised.
func exchanges(family [][2][]float64) []float64 {
	n, m := 0, 0
	for _, x := range family {
		n, m = max(n, len(x[0])), max(m, len(x[1]))
	}
	ranks, there := make([][]float64, len(family)), make([][]float64, len(family)) // of the n + m rounds; 0 where there is no value
	for i, x := range family {
		ranks[i], there[i] = ranksOf(n, m, x)
	}
	first, taken := splits(n, m), make([]float64, largestBatch)
	return stepDown(len(family), first.count, 1, func(i, from int, out []float64) {
		taken := taken[:len(out)]
		first.sums(ranks[i], from, out)
		first.sums(there[i], from, taken)
		all := 0.0
		for _, v := range there[i] {
			all += v
		}
		for a, sum := range out {
			out[a] = standardRankSum(sum, taken[a], all-taken[a])
		}
	})
}

// ranksOf ranks the values of two runs, with room for n rounds of the first and m of the
// second, and says with 1 or 0 which are there.
func ranksOf(n, m int, runs [2][]float64) (ranks, there []float64) {
	doubled, _ := doubledMidranks(present(runs[0]), present(runs[1]))
	ranks, there = make([]float64, n+m), make([]float64, n+m)
	for run, values := range runs {
		for r, v := range values {
			if finite(v) {
				ranks[run*n+r], there[run*n+r], doubled = float64(doubled[0])/2, 1, doubled[1:]
			}
		}
	}
	return ranks, there
}

// standardRankSum is the distance of the rank sum of n values, beside m others, from its
// mean, in its standard deviations without ties.
func standardRankSum(sum, n, m float64) float64 {
	if n == 0 || m == 0 {
		return 0
	}
	return math.Abs(sum-n*(n+m+1)/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// splits returns ways to take n of n + m rounds for the first run, the one observed first:
// all of them where they are few, and otherwise a fixed random sample.
func splits(n, m int) choices {
	if n+m <= 20 && choose(n+m, n) <= sampled {
		c, i := newChoices(n+m, int(choose(n+m, n))), 0
		for code := uint64(1)<<n - 1; code < 1<<(n+m); code++ {
			if bits.OnesCount64(code) == n {
				c.set(i, 0, code)
				i++
			}
		}
		return c
	}
	c := newChoices(n+m, 1+sampled)
	first := append(slices.Repeat([]bool{true}, n), make([]bool, m)...)
	random := rand.New(rand.NewPCG(uint64(n), uint64(m)))
	for i := range c.count {
		for r, is := range first {
			if is {
				c.bytes[r/8][i] |= 1 << (r % 8)
			}
		}
		random.Shuffle(n+m, func(i, j int) { first[i], first[j] = first[j], first[i] })
	}
	return c
}
