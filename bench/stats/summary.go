package stats

import (
	"cmp"
	"math"
	"slices"
)

// Confidence is the nominal level of every interval.
const Confidence = 0.95

// MinForInterval is the smallest number of samples that gets an interval.
const MinForInterval = 3

// Interval is a closed interval.
type Interval struct{ Low, High float64 }

// Summary is what is known of one quantity from the trials of one cell. The
// zero value sums up no samples.
type Summary struct {
	N      int
	Median float64
	Min    float64
	Max    float64

	// CI is the percentile-bootstrap interval of the median, where HasCI.
	CI Interval
	// Coverage is the probability that CI holds the true median, whatever the
	// distribution (order statistics; Conover, Practical Nonparametric
	// Statistics, §3.2). Where it is below Confidence, n is too small for the
	// nominal level.
	Coverage float64
}

// HasCI reports whether there were enough samples for an interval.
func (s Summary) HasCI() bool { return s.N >= MinForInterval }

// Spread returns (max - min) / median, 0 where there is no median.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// Summarize returns the median of samples and its interval. The samples must be
// finite; they are left in their order.
func Summarize(samples []float64) Summary {
	if len(samples) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	s := Summary{N: len(sorted), Median: medianOf(sorted), Min: sorted[0], Max: sorted[len(sorted)-1]}
	if s.HasCI() {
		s.CI = bootstrapMedian(sorted).interval()
		s.Coverage = coverage(sorted, s.CI)
	}
	return s
}

// Median returns the median of samples, 0 if there are none.
func Median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	return medianOf(slices.Sorted(slices.Values(samples)))
}

func medianOf(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return mid(sorted[n/2-1], sorted[n/2])
}

func mid(a, b float64) float64 { return a + (b-a)/2 }

// coverage asks how likely it is that so few samples fall below the true median
// that it lies below ci, or so few above that it lies above. An end between two
// samples counts as the inner one.
func coverage(sorted []float64, ci Interval) float64 {
	n := len(sorted)
	below, above := 1, 1
	for _, v := range sorted {
		if v < ci.Low {
			below++
		}
		if v > ci.High {
			above++
		}
	}
	miss := 0.0
	for i := range below {
		miss += binomial(n, i, 0.5)
	}
	for i := range above {
		miss += binomial(n, i, 0.5)
	}
	return 1 - miss
}

// mass is one value of a discrete distribution and its probability.
type mass struct{ value, p float64 }

// distribution is sorted by value; equal values may be there more than once.
type distribution []mass

// interval returns the central Confidence of d: each end is the outermost value
// beyond which, itself included, lies at least (1-Confidence)/2.
func (d distribution) interval() Interval {
	const tail = (1-Confidence)/2 - 1e-12 // so that rounding cannot flip a tie
	low, high := d[0].value, d[len(d)-1].value
	sum := 0.0
	for _, m := range d {
		if sum += m.p; sum >= tail {
			low = m.value
			break
		}
	}
	sum = 0
	for _, m := range slices.Backward(d) {
		if sum += m.p; sum >= tail {
			high = m.value
			break
		}
	}
	return Interval{low, high}
}

// negligible is the probability below which a value of a bootstrap distribution
// is left out. It keeps the distribution small when there are many samples.
const negligible = 1e-12

// bootstrapMedian returns the exact distribution of the median of n draws with
// replacement from the n sorted samples.
func bootstrapMedian(sorted []float64) distribution {
	if len(sorted)%2 == 0 {
		return bootstrapEven(sorted)
	}
	n := len(sorted)
	var d distribution
	before := 0.0
	for i, v := range sorted {
		// The median is at most the i-th sample if more than half of the draws
		// are: a binomial tail.
		upTo := binomialTail(n, n/2+1, float64(i+1)/float64(n))
		d = d.with(v, upTo-before)
		before = upTo
	}
	return d
}

// bootstrapEven handles an even number of draws, where the median lies midway
// between the two middle ones.
func bootstrapEven(sorted []float64) distribution {
	n := len(sorted)
	half := n / 2
	splits := choose(n, half)
	power := make([]float64, n+1) // power[k]: half of the draws are among k given samples
	for k := range power {
		power[k] = math.Pow(float64(k)/float64(n), float64(half))
	}
	var d distribution
	for i, low := range sorted {
		// Both middle draws are sample i: the upper one is at most i, without
		// the lower one being below i; the last term was taken off too much.
		both := binomialTail(n, half+1, float64(i+1)/float64(n)) -
			binomialTail(n, half, float64(i)/float64(n)) + splits*power[i]*power[n-i-1]
		d = d.with(low, both)
		for j := i + 1; j < n; j++ {
			// Half of the draws are at most i, with i among them, and the other
			// half at least j, with j among them.
			p := splits * (power[i+1] - power[i]) * (power[n-j] - power[n-j-1])
			d = d.with(mid(low, sorted[j]), p)
		}
	}
	slices.SortFunc(d, func(a, b mass) int { return cmp.Compare(a.value, b.value) })
	return d
}

// with appends a value, unless it is negligible.
func (d distribution) with(value, p float64) distribution {
	if p <= negligible {
		return d
	}
	return append(d, mass{value, p})
}

// binomialTail is P(X >= k) for X ~ Binomial(n, p).
func binomialTail(n, k int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += binomial(n, i, p)
	}
	return sum
}

// binomial is P(X = k) for X ~ Binomial(n, p).
func binomial(n, k int, p float64) float64 {
	return choose(n, k) * math.Pow(p, float64(k)) * math.Pow(1-p, float64(n-k))
}

// choose is the binomial coefficient, as a float: exact up to 2^53, and with a
// relative error near 1e-15 beyond.
func choose(n, k int) float64 {
	if k < 0 || k > n {
		return 0
	}
	k = min(k, n-k)
	c := 1.0
	for i := 1; i <= k; i++ {
		c = c * float64(n-k+i) / float64(i)
	}
	return c
}
