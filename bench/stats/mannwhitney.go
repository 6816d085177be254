package stats

import (
	"cmp"
	"math"
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
	// Distances are compared times N, to stay whole: mean = n * total / N.
	count := len(ranks)
	distance := func(s int) int { return max(s*count-n*total, n*total-s*count) }
	extreme, all := 0.0, 0.0
	for s, w := range ways[n] {
		all += w
		if distance(s) >= distance(observed) {
			extreme += w
		}
	}
	return extreme / all
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

// BenjaminiHochberg returns p-values adjusted for the number of tests
// (Benjamini & Hochberg, 1995): of the tests whose adjusted p is at most q, an
// expected share of at most q was found by chance. It holds for independent
// and for positively dependent tests, as comparisons with one common base are
// (Benjamini & Yekutieli, 2001).
func BenjaminiHochberg(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(p[x], p[y]) })
	adjusted := make([]float64, len(p))
	smallest := 1.0
	for rank, i := range slices.Backward(order) {
		smallest = min(smallest, p[i]*(float64(len(p))/float64(rank+1)))
		adjusted[i] = smallest
	}
	return adjusted
}
