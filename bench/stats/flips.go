package stats

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// exactRounds is the number of pairs up to which all flips of signs are tried; sampled
// is how many of them are tried beyond it.
const (
	exactRounds = 14
	sampled     = 9999
)

// MinRounds is the smallest number of rounds in which the paired test can find a
// difference: with n rounds its smallest p is 2 / 2^n.
const MinRounds = 6

// flips yields ways to give n differences a sign, the one observed (no sign changed)
// first: all of them but for mirror images, or, beyond [exactRounds], a fixed random
// sample. The slice is valid until the next one.
func flips(n int) iter.Seq[[]float64] {
	return func(yield func([]float64) bool) {
		signs := slices.Repeat([]float64{1}, n)
		if n > exactRounds {
			random := rand.New(rand.NewPCG(uint64(n), sampled))
			for tried := 0; tried <= sampled && yield(signs); tried++ {
				for i := range signs {
					signs[i] = float64(1 - 2*int(random.Uint64()>>63))
				}
			}
			return
		}
		for code := range 1 << max(0, n-1) {
			for i := range max(0, n-1) {
				signs[i] = float64(1 - 2*(code>>i&1))
			}
			if !yield(signs) {
				return
			}
		}
	}
}

// flipped is the statistic of the sign-flip test, |Σ ±d| / √Σd²: whatever n is, its
// variance under the flips is 1, and it grows with Student's t. NaNs do not count.
func flipped(d, signs []float64) float64 {
	sum, squares := 0.0, 0.0
	for i, v := range d {
		if !math.IsNaN(v) {
			sum += signs[i] * v
			squares += v * v
		}
	}
	if squares == 0 {
		return 0
	}
	return math.Abs(sum) / math.Sqrt(squares)
}

// reaches reports x >= y, whatever rounding did to values that are equal.
func reaches(x, y float64) bool { return x >= y*(1-1e-9) }

// stepDown returns p-values, adjusted for their number, of so many hypotheses by the
// step-down maxT procedure of Westfall & Young (Resampling-Based Multiple Testing, 1993,
// algorithm 4.1; also Ge, Dudoit & Speed, Test 12, 2003, box 3). Arrangements are what
// the data might have looked like if nothing differed, the one observed first; in each,
// a statistic says how far hypothesis i is from holding. As all hypotheses see the same
// arrangement, what makes them depend on each other, a common base above all, is kept,
// and what depends closely costs next to nothing.
func stepDown[A any](hypotheses int, arrangements iter.Seq[A], statistic func(i int, a A) float64) []float64 {
	observed, order := make([]float64, hypotheses), make([]int, hypotheses)
	as := make([]int, hypotheses) // arrangements in which it, or one that held better, goes as far
	tried := 0
	for a := range arrangements {
		if tried == 0 {
			for i := range order {
				order[i], observed[i] = i, statistic(i, a)
			}
			slices.SortStableFunc(order, func(i, j int) int { return compareDown(observed[i], observed[j]) })
		}
		tried++
		most := 0.0
		for _, i := range slices.Backward(order) {
			most = max(most, statistic(i, a))
			if reaches(most, observed[i]) {
				as[i]++
			}
		}
	}
	adjusted := make([]float64, hypotheses)
	p := 0.0
	for _, i := range order {
		p = max(p, float64(as[i])/float64(tried))
		adjusted[i] = p
	}
	return adjusted
}

// signFlips is [stepDown] for the hypotheses that differences, one slice each and by round,
// are symmetric about zero: whole rounds are flipped.
func signFlips(family [][]float64) []float64 {
	rounds := 0
	for _, d := range family {
		rounds = max(rounds, len(d))
	}
	return stepDown(len(family), flips(rounds), func(i int, signs []float64) float64 { return flipped(family[i], signs) })
}

func compareDown(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	default:
		return 0
	}
}

// typicalValues returns an interval of the value about which the differences d are
// symmetric, and its exact coverage: the means of all 2^n - 1 subsets of d cut the line
// into 2^n pieces, each of which holds that value with the same probability (Hartigan,
// Using Subsample Values as Typical Values, JASA 64, 1969). It is the sign-flip test
// turned round: the values that the test does not reject. With up to five differences it
// is the range from the smallest to the largest, of coverage 1 - 2^(1-n). Beyond
// [exactRounds] subsets are sampled, which keeps the coverage exact (ibid.).
func typicalValues(d []float64) (Interval, float64) {
	n := len(d)
	var means []float64
	if n > exactRounds {
		random := rand.New(rand.NewPCG(uint64(n), sampled))
		for len(means) < sampled {
			means = appendMean(means, d, func(int) bool { return random.Uint64()>>63 == 1 })
		}
	} else {
		for subset := range 1 << n {
			means = appendMean(means, d, func(i int) bool { return subset>>i&1 == 1 })
		}
	}
	slices.Sort(means)
	pieces := float64(len(means) + 1)
	k := max(1, int((1-Confidence)/2*pieces+1e-9))
	return Interval{means[k-1], means[len(means)-k]}, 1 - 2*float64(k)/pieces
}

// appendMean appends the mean of the differences that are in; of none, there is none.
func appendMean(to, d []float64, in func(int) bool) []float64 {
	sum, n := 0.0, 0
	for i, v := range d {
		if in(i) {
			sum += v
			n++
		}
	}
	if n == 0 {
		return to
	}
	return append(to, sum/float64(n))
}
