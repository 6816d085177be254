package stats

import (
	"cmp"
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

// choices are ways to choose some of n things: all of them, or a fixed random sample.
type choices struct {
	count int
	bytes [][]byte // bytes[b][c] has a bit for each of the things 8b to 8b+7: choice c has it
}

func newChoices(n, count int) choices {
	c := choices{count, make([][]byte, (n+7)/8)}
	for b := range c.bytes {
		c.bytes[b] = make([]byte, count)
	}
	return c
}

// set makes choice i out of the bits of code, from thing 64*word on.
func (c choices) set(i, word int, code uint64) {
	for b := 8 * word; b < min(8*word+8, len(c.bytes)); b++ {
		c.bytes[b][i] = byte(code)
		code >>= 8
	}
}

// sample returns the choice of all n things and [sampled] random ones.
func sample(n int) choices {
	random := rand.New(rand.NewPCG(uint64(n), sampled))
	c := newChoices(n, 1+sampled)
	for i := range c.count {
		for word := range (n + 63) / 64 {
			code := ^uint64(0)
			if i > 0 {
				code = random.Uint64()
			}
			c.set(i, word, code)
		}
	}
	return c
}

// eight has what the values 8b to 8b+7 add up to, by the bits of those that are chosen.
func eight(values []float64, b int) (of [256]float64) {
	for i := range 8 {
		v := 0.0
		if 8*b+i < len(values) {
			v = values[8*b+i]
		}
		for code := range 1 << i {
			of[1<<i|code] = of[code] + v
		}
	}
	return of
}

// sums puts into out, for the choices from one on, the sum of those values that are chosen.
func (c choices) sums(values []float64, from int, out []float64) {
	clear(out)
	for b, column := range c.bytes {
		of := eight(values, b)
		for i, code := range column[from : from+len(out)] {
			out[i] += of[code]
		}
	}
}

// flips returns ways to give n differences a sign, as those that keep it, the one observed
// first: all of them but for mirror images, or, beyond [exactRounds], a sample.
func flips(n int) choices {
	if n > exactRounds {
		return sample(n)
	}
	c := newChoices(n, 1<<max(0, n-1))
	for i := range c.count {
		c.set(i, 0, ^uint64(i))
	}
	return c
}

// reaches reports x >= y, whatever rounding did to values that are equal; they are made of
// values of the order of size.
func reaches(x, y, size float64) bool { return x >= y-1e-9*size }

// So many arrangements are looked at in one go, so that what is known of them stays close to
// the processor; fewer at the beginning, where little may be enough.
const (
	firstBatch   = 64
	largestBatch = 4096
)

// stepDown returns p-values, adjusted for their number, of so many hypotheses by the
// step-down maxT procedure of Westfall & Young (Resampling-Based Multiple Testing, 1993,
// algorithm 4.1; also Ge, Dudoit & Speed, Test 12, 2003, box 3). Arrangements are what
// the data might have looked like if nothing differed, the one observed first; for those
// from one on, statistics says in numbers of the order of 1 how far hypothesis i is from
// holding in each. As all hypotheses see the same arrangement, what makes them depend on
// each other, a common base above all, is kept, and what depends closely costs next to
// nothing.
//
// Values of p above enough need not be known, and once all are sure to be above it, no more
// arrangements are looked at (curtailed: Besag & Clifford, Sequential Monte Carlo p-values,
// Biometrika 78, 1991): such a p is too small, but above enough.
func stepDown(hypotheses, arrangements int, enough float64, statistics func(i, from int, out []float64)) []float64 {
	observed, order := make([]float64, hypotheses), make([]int, hypotheses)
	for i := range order {
		order[i] = i
		statistics(i, 0, observed[i:i+1])
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(observed[b], observed[a]) })
	as := make([]int, hypotheses) // arrangements in which it, or one that held better, goes as far
	p := func(i int) float64 { return float64(as[i]) / float64(arrangements) }
	values, most := make([]float64, largestBatch), make([]float64, largestBatch)
	for from, size := 0, firstBatch; from < arrangements && hypotheses > 0 && p(order[0]) <= enough; from, size = from+size, min(2*size, largestBatch) {
		size = min(size, arrangements-from)
		values, most := values[:size], most[:size]
		clear(most)
		for _, i := range slices.Backward(order) {
			statistics(i, from, values)
			for a, v := range values {
				if v > most[a] {
					most[a] = v
				}
				if reaches(most[a], observed[i], 1) {
					as[i]++
				}
			}
		}
	}
	adjusted := make([]float64, hypotheses)
	largest := 0.0
	for _, i := range order {
		largest = max(largest, p(i))
		adjusted[i] = largest
	}
	return adjusted
}

// signFlips is [stepDown] for the hypotheses that differences, one slice each and by round,
// are symmetric about zero: whole rounds are flipped. The statistic is |Σ ±d| / √Σd²:
// whatever the number of rounds is, its variance under the flips is 1, and it grows with
// Student's t. NaNs do not count.
func signFlips(family [][]float64) []float64 {
	rounds := 0
	scaled, totals := make([][]float64, len(family)), make([]float64, len(family))
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
		for _, v := range scaled[i] {
			totals[i] += v
		}
	}
	kept := flips(rounds)
	return stepDown(len(family), kept.count, 1, func(i, from int, out []float64) {
		kept.sums(scaled[i], from, out)
		for a, sum := range out {
			out[a] = math.Abs(2*sum - totals[i])
		}
	})
}

// subsets has the sums of all subsets of some differences but the empty one, or, beyond
// [exactRounds], of a sample of them.
type subsets struct {
	of    []float64
	sums  []float64
	sizes []int // nil: the subset at i has a difference for each bit of i+1
}

func newSubsets(d []float64) subsets {
	if n := len(d); n <= exactRounds {
		sums := make([]float64, 1<<n)
		for i, v := range d {
			for others := range 1 << i {
				sums[1<<i|others] = sums[others] + v
			}
		}
		return subsets{of: d, sums: sums[1:]}
	}
	s := subsets{d, make([]float64, sampled), make([]int, sampled)}
	of := make([][256]float64, (len(d)+7)/8)
	for b := range of {
		of[b] = eight(d, b)
	}
	random := rand.New(rand.NewPCG(uint64(len(d)), sampled)) // as in sample, which would be large
	for i := range s.sums {
		for b := 0; b < len(of); b += 8 {
			code := random.Uint64()
			s.sizes[i] += bits.OnesCount64(code << max(0, 8*b+64-len(d)))
			for j := b; j < min(b+8, len(of)); j++ {
				s.sums[i] += of[j][byte(code)]
				code >>= 8
			}
		}
	}
	return s
}

// signFlip returns p of the hypothesis that the differences are symmetric about zero: the
// share of all ways to flip signs in which the mean is as far from zero as observed (Fisher,
// The Design of Experiments, 1935, §21).
func (s subsets) signFlip() float64 {
	all, size, as := 0.0, 0.0, 1
	for _, v := range s.of {
		all += v
		size += math.Abs(v)
	}
	for _, sum := range s.sums {
		if reaches(math.Abs(all-2*sum), math.Abs(all), size) { // the subset's signs are flipped
			as++
		}
	}
	return float64(as) / float64(len(s.sums)+1)
}

// typicalValues returns an interval of the value about which the differences are symmetric,
// with its exact coverage: the values that signFlip does not reject. The means of the
// 2^n - 1 subsets cut the line into 2^n pieces, each of which holds the true value with
// the same probability (Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969).
// With up to five differences the interval is the range from the smallest to the largest, of
// coverage 1 - 2^(1-n). A fixed random sample of the subsets keeps it exact (ibid.).
func (s subsets) typicalValues() (Interval, float64) {
	means := make([]float64, len(s.sums))
	for i, sum := range s.sums {
		size := bits.OnesCount(uint(i + 1))
		if s.sizes != nil {
			size = max(1, s.sizes[i]) // of 2^15 and more subsets, the empty one
		}
		means[i] = sum / float64(size)
	}
	pieces := float64(len(means) + 1)
	k := max(1, int((1-Confidence)/2*pieces+1e-9))
	return Interval{ranked(means, k-1), ranked(means, len(means)-k)}, 1 - 2*float64(k)/pieces
}

// ranked returns the value that sorted values would have at place k, and changes their order
// (Hoare, Algorithm 65: FIND, Communications of the ACM 4, 1961).
func ranked(values []float64, k int) float64 {
	from, to := 0, len(values)-1
	for from < to {
		pivot, i, j := values[k], from, to
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for pivot < values[j] {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		if j < k {
			from = i
		}
		if k < i {
			to = j
		}
	}
	return values[k]
}
