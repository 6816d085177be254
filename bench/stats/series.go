package stats

import "math"

// minSteps is the number of steps that a series within a trial needs to be judged.
const minSteps = 8

// Autocorrelation returns the correlation of a series with itself one step later (Box,
// Jenkins & Reinsel, Time Series Analysis, 1994, §2.1.5). It is 0 where the series is
// too short or constant. NaNs, steps without a value, are left out.
func Autocorrelation(series []float64) float64 {
	x := present(series)
	if len(x) < minSteps {
		return 0
	}
	middle, all, next := mean(x), 0.0, 0.0
	for i, v := range x {
		all += (v - middle) * (v - middle)
		if i > 0 {
			next += (v - middle) * (x[i-1] - middle)
		}
	}
	if all == 0 {
		return 0
	}
	return next / all
}

// Effective returns how many of n observations count as independent if they were taken
// in a time of which series is a course: n (1-ρ)/(1+ρ), ρ being the [Autocorrelation] of
// the series (Bayley & Hammersley, Supplement to the Journal of the Royal Statistical
// Society 8, 1946; for a process of first order). It is n where ρ is not positive.
func Effective(n int64, series []float64) int64 {
	rho := max(0, Autocorrelation(series))
	return int64(float64(n) * (1 - rho) / (1 + rho))
}

// Trend is how a series goes on the whole. [TrendOf] makes it.
type Trend struct {
	P      float64 // of the test; 1 for series too short to be judged
	Factor float64 // median of the last third over that of the first, from 1/1000 to 1000
}

// TrendOf tests a series within a trial for a trend with the Mann-Kendall test (Mann,
// Econometrica 13, 1945; the normal approximation with the correction for ties of
// Kendall, Rank Correlation Methods, 1975). The test takes the steps as independent: a
// slow wave of which the series shows a part is a trend to it, as it is to the window.
func TrendOf(series []float64) Trend {
	x := present(series)
	t := Trend{P: 1, Factor: 1}
	if len(x) < minSteps {
		return t
	}
	third := len(x) / 3
	first, last := Median(x[:third]), Median(x[len(x)-third:])
	if least := max(first, last) / 1000; least > 0 {
		t.Factor = max(last, least) / max(first, least)
	}
	s := 0.0
	ties := map[float64]float64{}
	for i, v := range x {
		ties[v]++
		for _, w := range x[:i] {
			switch {
			case v > w:
				s++
			case v < w:
				s--
			}
		}
	}
	n := float64(len(x))
	variance := n * (n - 1) * (2*n + 5)
	for _, k := range ties {
		variance -= k * (k - 1) * (2*k + 5)
	}
	if variance /= 18; variance > 0 {
		t.P = math.Erfc(max(0, math.Abs(s)-1) / math.Sqrt(variance) / math.Sqrt2)
	}
	return t
}

// CheckWindow warns where a quantity went up or down within the window of a trial by more
// than [MaxWindowDrift], and [TrendOf] its course does not take that for chance.
func CheckWindow(subject string, window []float64) []Warning {
	t := TrendOf(window)
	if t.P > Significance || steady(t.Factor, MaxWindowDrift) {
		return nil
	}
	return []Warning{{Code: WindowDrift, Subject: subject, Have: t.Factor, Want: MaxWindowDrift}}
}

// CheckWarmup warns where the head of the window, a third, is not as the tail of the
// warm-up was, a third too: their medians differ by more than [MaxWindowDrift], and the
// Mann-Whitney test does not take that for chance. Then the warm-up was too short, or
// something began with the window.
func CheckWarmup(subject string, warmup, window []float64) []Warning {
	before, after := present(warmup), present(window)
	before, after = before[len(before)-len(before)/3:], after[:len(after)/3]
	tail, head := Median(before), Median(after)
	if tail <= 0 || head <= 0 || steady(head/tail, MaxWindowDrift) || MannWhitney(before, after).P > Significance {
		return nil
	}
	return []Warning{{Code: WarmupShort, Subject: subject, Have: head / tail, Want: MaxWindowDrift}}
}

// steady reports whether a factor is at most so much, either way.
func steady(factor, most float64) bool { return factor <= most && factor >= 1/most }
