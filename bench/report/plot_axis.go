package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
)

// logFrom is the ratio of the largest to the smallest value from which an axis
// that may be either is logarithmic.
const logFrom = 8

// Most labels that fit below an axis and beside one.
const (
	labelsBelow  = 5
	labelsBeside = 8
)

// logAxis covers the values, all positive, from one nice number to another. Of
// its ticks at most so many are labelled.
func logAxis(label string, values []float64, most int, write func(float64) string) axis {
	low, high := bounds(values)
	low, high = niceBelow(low*0.95), niceAbove(high*1.05)
	if high < 4*low {
		low, high = niceBelow(low*0.9), niceAbove(high*1.1)
	}
	a := axis{label: label, low: low, high: high, scale: plot.LogScale{}}
	first, last := int(math.Floor(math.Log10(low)+1e-9)), int(math.Ceil(math.Log10(high)-1e-9))
	var digits []int
	for e := first; e <= last; e++ {
		for digit := 1; digit <= 9; digit++ {
			if v := decimal(digit, e); v >= low*(1-1e-9) && v <= high*(1+1e-9) {
				a.ticks = append(a.ticks, plot.Tick{Value: v})
				digits = append(digits, digit)
			}
		}
	}
	for _, labelled := range [][]int{{1, 2, 3, 4, 5, 7}, {1, 2, 5}, {1, 3}, {1}} {
		n := 0
		for i, digit := range digits {
			a.ticks[i].Label = ""
			if slices.Contains(labelled, digit) {
				a.ticks[i].Label = write(a.ticks[i].Value)
				n++
			}
		}
		if n <= most {
			break
		}
	}
	return a
}

// linearAxis covers the values from zero to a nice number.
func linearAxis(label string, values []float64, most int, write func(float64) string) axis {
	_, high := bounds(values)
	step := niceAbove(high / float64(most-1))
	a := axis{label: label, low: 0, scale: plot.LinearScale{}}
	for i := 0; ; i++ {
		v := float64(i) * step
		a.ticks = append(a.ticks, plot.Tick{Value: v, Label: write(v)})
		a.high = v
		if v >= high {
			return a
		}
	}
}

// latencyAxis is the axis of nanoseconds beside a plot: logarithmic where it must
// be or where the values span much.
func (l *language) latencyAxis(label string, values []float64, mustLog bool) axis {
	if low, high := bounds(values); mustLog || high/low >= logFrom {
		return logAxis(label, values, labelsBeside, func(ns float64) string {
			u := unitOf(ns)
			return l.general(ns/u.ns) + " " + u.name(l)
		})
	}
	_, high := bounds(values)
	u := unitOf(high)
	return linearAxis(label, values, labelsBeside, func(ns float64) string { return l.general(ns/u.ns) + " " + u.name(l) })
}

// throughputAxis is the axis of operations per second below a plot.
func (l *language) throughputAxis(values []float64) axis {
	if low, high := bounds(values); low > 0 && high/low >= logFrom {
		return logAxis(l.AxisThroughput, values, labelsBelow, l.general)
	}
	return linearAxis(l.AxisThroughput, values, labelsBelow, l.general)
}

// percentileAxis reaches to the highest percentile, a fraction below 1.
func (l *language) percentileAxis(highest float64) axis {
	a := axis{label: l.AxisPercentile, low: 0, high: highest, scale: percentileScale{}}
	for _, t := range []struct {
		value    float64
		percent  float64
		decimals int
	}{{0.5, 50, 0}, {0.9, 90, 0}, {0.99, 99, 0}, {0.999, 99.9, 1}, {0.9999, 99.99, 2}, {0.99999, 99.999, 3}} {
		if t.value <= highest {
			a.ticks = append(a.ticks, plot.Tick{Value: t.value, Label: l.number(t.percent, t.decimals)})
		}
	}
	return a
}

func bounds(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// decimal is digit * 10^e without the rounding of a multiplication.
func decimal(digit, e int) float64 {
	if e < 0 {
		return float64(digit) / math.Pow10(-e)
	}
	return float64(digit) * math.Pow10(e)
}

// niceBelow and niceAbove return the nearest 1, 2 or 5 times a power of ten.
func niceBelow(v float64) float64 {
	e := int(math.Floor(math.Log10(v) + 1e-9))
	for _, digit := range []int{5, 2} {
		if nice := decimal(digit, e); nice <= v*(1+1e-9) {
			return nice
		}
	}
	return decimal(1, e)
}

func niceAbove(v float64) float64 {
	e := int(math.Floor(math.Log10(v) + 1e-9))
	for _, digit := range []int{1, 2, 5} {
		if nice := decimal(digit, e); nice >= v*(1-1e-9) {
			return nice
		}
	}
	return decimal(1, e+1)
}
