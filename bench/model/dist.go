package model

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// points is how many quantiles a distribution is kept as: odd, so that one is the median.
const points = 51

// Dist is the distribution of a time in seconds: its quantiles at (i+½)/points,
// ascending. An empty one is that of no time at all.
type Dist []float64

// Of takes the distribution of a histogram in nanoseconds.
func Of(h *hdrhistogram.Histogram) Dist {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	d := make(Dist, points)
	for i := range d {
		d[i] = float64(h.ValueAtPercentile(100*(float64(i)+0.5)/points)) / 1e9
	}
	return d
}

// constant is a time that is always the same.
func constant(seconds float64) Dist {
	if seconds == 0 {
		return nil
	}
	return slices.Repeat(Dist{seconds}, points)
}

// Median returns the middle.
func (d Dist) Median() float64 {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)/2]
}

// Mean returns the expectation.
func (d Dist) Mean() float64 { return d.moment(1) }

func (d Dist) moment(power float64) float64 {
	sum := 0.0
	for _, x := range d {
		sum += math.Pow(x, power)
	}
	return sum / float64(max(1, len(d)))
}

// Residual is how long who comes at any moment waits on average for a service under way
// to end: E[s²] / 2E[s] (Kleinrock, Queueing Systems I, 1975, §5.2, residual life).
func (d Dist) Residual() float64 {
	if mean := d.Mean(); mean > 0 {
		return d.moment(2) / (2 * mean)
	}
	return 0
}

// Plus is the time of one after the other, independent of each other.
func (d Dist) Plus(e Dist) Dist {
	if len(d) == 0 || len(e) == 0 {
		return slices.Concat(d, e)
	}
	sums := make(Dist, 0, len(d)*len(e))
	for _, x := range d {
		for _, y := range e {
			sums = append(sums, x+y)
		}
	}
	slices.Sort(sums)
	out := make(Dist, points)
	for i := range out {
		out[i] = sums[(2*i+1)*len(sums)/(2*points)]
	}
	return out
}

// Minus is what is left of it after so many seconds.
func (d Dist) Minus(seconds float64) Dist {
	out := slices.Clone(d)
	for i := range out {
		out[i] = max(0, out[i]-seconds)
	}
	return out
}

// Times is the time of n in a row, independent of each other.
func (d Dist) Times(n int) (out Dist) {
	for range n {
		out = out.Plus(d)
	}
	return out
}

// Kth is the time until k of several that begin together are done, independent of each
// other: the k-th order statistic of variables that are not alike, by the probability
// that at least k of them are at most t (David and Nagaraja, Order Statistics, 2003,
// §5.2). Flushes of one disk are not quite independent: the file system joins them.
func Kth(k int, of ...Dist) Dist {
	if k < 1 {
		return nil
	}
	var times []float64
	for i, d := range of {
		if len(d) == 0 {
			of[i] = slices.Repeat(Dist{0}, points)
		}
		times = append(times, of[i]...)
	}
	slices.Sort(times)
	out := make(Dist, 0, points)
	for _, t := range times {
		for p := atLeast(k, of, t); len(out) < points && p >= (float64(len(out))+0.5)/points; {
			out = append(out, t)
		}
	}
	for len(out) < points { // rounding of a probability of one
		out = append(out, times[len(times)-1])
	}
	return out
}

// atLeast is the probability that k of them or more are done at t.
func atLeast(k int, of []Dist, t float64) float64 {
	done := make([]float64, len(of)+1) // done[j]: the probability that j are
	done[0] = 1
	for i, d := range of {
		n, _ := slices.BinarySearchFunc(d, t, func(x, t float64) int {
			if x <= t {
				return -1
			}
			return 1
		})
		p := float64(n) / float64(len(d))
		for j := i + 1; j > 0; j-- {
			done[j] = done[j]*(1-p) + done[j-1]*p
		}
		done[0] *= 1 - p
	}
	sum := 0.0
	for _, p := range done[k:] {
		sum += p
	}
	return sum
}
