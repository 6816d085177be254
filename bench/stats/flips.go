package stats

import (
	"iter"
	"math"
	"math/bits"
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
				var bits uint64
				for i := range signs {
					if i%64 == 0 {
						bits = random.Uint64()
					}
					signs[i] = float64(int(bits&1)*2 - 1)
					bits >>= 1
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

// reaches reports x >= y, whatever rounding did to values that are equal; they are made of
// values of the order of size.
func reaches(x, y, size float64) bool { return x >= y-1e-9*size }

// stepDown returns p-values, adjusted for their number, of so many hypotheses by the
// step-down maxT procedure of Westfall & Young (Resampling-Based Multiple Testing, 1993,
// algorithm 4.1; also Ge, Dudoit & Speed, Test 12, 2003, box 3). Arrangements are what
// the data might have looked like if nothing differed, the one observed first; in each,
// a statistic of the order of 1 says how far hypothesis i is from holding. As all hypotheses see the same
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
			if reaches(most, observed[i], 1) {
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
// are symmetric about zero: whole rounds are flipped. The statistic is |Σ ±d| / √Σd²:
// whatever the number of rounds is, its variance under the flips is 1, and it grows with
// Student's t. NaNs do not count.
func signFlips(family [][]float64) []float64 {
	rounds := 0
	scaled := make([][]float64, len(family))
	for i, d := range family {
		rounds = max(rounds, len(d))
		squares := 0.0
		for _, v := range present(d) {
			squares += v * v
		}
		scaled[i] = transformed(d, func(v float64) float64 {
			if math.IsNaN(v) || squares == 0 {
				return 0
			}
			return v / math.Sqrt(squares)
		})
	}
	return stepDown(len(family), flips(rounds), func(i int, signs []float64) float64 {
		sum := 0.0
		for r, v := range scaled[i] {
			sum += signs[r] * v
		}
		return math.Abs(sum)
	})
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

// signFlip returns p of the hypothesis that the differences d are symmetric about zero: the
// share of all ways to flip signs in which the mean is as far from zero as observed (Fisher,
// The Design of Experiments, 1935, §21).
func signFlip(d []float64) float64 {
	all, size, as := 0.0, 0.0, 1
	for _, v := range d {
		all += v
		size += math.Abs(v)
	}
	sums, _ := subsetSums(d)
	for _, sum := range sums {
		if reaches(math.Abs(all-2*sum), math.Abs(all), size) { // the subset's signs are flipped
			as++
		}
	}
	return float64(as) / float64(len(sums)+1)
}

// typicalValues returns an interval of the value about which the differences d are symmetric,
// with its exact coverage: the values that [signFlip] does not reject. The means of the
// 2^n - 1 subsets of d cut the line into 2^n pieces, each of which holds the true value with
// the same probability (Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969).
// With up to five differences the interval is the range from the smallest to the largest, of
// coverage 1 - 2^(1-n). Beyond [exactRounds], subsets are a fixed random sample, which keeps
// it exact (ibid.).
func typicalValues(d []float64) (Interval, float64) {
	means, sizes := subsetSums(d)
	for i, size := range sizes {
		means[i] /= float64(size)
	}
	slices.Sort(means)
	pieces := float64(len(means) + 1)
	k := max(1, int((1-Confidence)/2*pieces+1e-9))
	return Interval{means[k-1], means[len(means)-k]}, 1 - 2*float64(k)/pieces
}

// subsetSums returns the sum and the size of all subsets of d but the empty one, or of a
// sample of them.
func subsetSums(d []float64) (sums []float64, sizes []int) {
	if n := len(d); n <= exactRounds {
		sums, sizes = make([]float64, 1<<n), make([]int, 1<<n)
		for subset := 1; subset < 1<<n; subset++ {
			lowest, others := bits.TrailingZeros(uint(subset)), subset&(subset-1)
			sums[subset], sizes[subset] = sums[others]+d[lowest], sizes[others]+1
		}
		return sums[1:], sizes[1:]
	}
	random := rand.New(rand.NewPCG(uint64(len(d)), sampled))
	sums, sizes = make([]float64, sampled), make([]int, sampled)
	for i := range sums {
		var in uint64
		for j, v := range d {
			if j%64 == 0 {
				in = random.Uint64()
			}
			sums[i] += v * float64(in&1)
			sizes[i] += int(in & 1)
			in >>= 1
		}
		sizes[i] = max(1, sizes[i]) // of 2^15 and more subsets, the empty one
	}
	return sums, sizes
}
