package stats

import (
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

	// CI is an interval of the median, where HasCI, and Coverage the probability that it
	// holds the true one, whatever the distribution. Below six samples that is less than
	// Confidence.
	CI       Interval
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
		s.CI, s.Coverage = medianInterval(sorted)
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

// medianInterval returns the narrowest interval between two of the sorted samples, as many
// from either end, that holds the true median with a probability of at least [Confidence],
// and that probability, whatever the distribution; with fewer than six samples, that from the
// smallest to the largest (order statistics; Conover, Practical Nonparametric Statistics,
// §3.2): the median is missed if no more than k samples lie on one side of it.
func medianInterval(sorted []float64) (Interval, float64) {
	n := len(sorted)
	k, missed := 0, 0.0
	for ; k < n/2; k++ {
		further := missed + 2*halves(n, k)
		if k > 0 && further > 1-Confidence {
			break
		}
		missed = further
	}
	return Interval{sorted[k-1], sorted[n-k]}, 1 - missed
}

// halves is the probability of k heads in n throws of a coin.
func halves(n, k int) float64 {
	lgamma := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	return math.Exp(lgamma(n) - lgamma(k) - lgamma(n-k) - float64(n)*math.Ln2)
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
