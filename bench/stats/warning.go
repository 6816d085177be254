package stats

import (
	"fmt"
	"math"
	"strconv"
)

// Code says what a warning is about.
type Code string

// The warnings, and what Subject, Have and Want hold in each.
const (
	// FewTrials: Have trials, fewer than the Want that an interval needs.
	FewTrials Code = "few-trials"
	// CannotDiffer: with Subject ("3 v 3") trials the test's smallest p is Have,
	// so it can never find a difference and was not made; Want trials each are
	// needed.
	CannotDiffer Code = "cannot-differ"
	// LoneDifference: in a family of comparisons (Subject: "5 v 12", trials and
	// comparisons), one difference among none could not be found with Have
	// trials; Want are needed.
	LoneDifference Code = "lone-difference"
	// ZeroBase: the base has samples of zero, so there is no ratio.
	ZeroBase Code = "zero-base"
	// FewSamples: percentile Subject ("p99.9") has only Have samples beyond it in
	// some trial, Want are needed to rely on it.
	FewSamples Code = "few-samples"
	// WindowDrift: throughput changed by the factor Have from the first half of
	// the window to the second in trial Subject; Want is the most tolerated.
	WindowDrift Code = "window-drift"
	// HighSpread: the trials' Subject ("p50", "throughput") spreads over the
	// share Have of its median; Want is the most tolerated.
	HighSpread Code = "high-spread"
	// MachineDrift: the disk probes before the trials differ by the factor Have;
	// Want is the most tolerated.
	MachineDrift Code = "machine-drift"
	// InvalidTrials: Have of Want trials are valid.
	InvalidTrials Code = "invalid-trials"
)

// What is tolerated without a warning.
const (
	MinSamplesBeyond = 10   // samples beyond a percentile
	MaxWindowDrift   = 1.2  // factor between the halves of a window, either way
	MaxSpread        = 0.3  // (max - min) / median over the trials of a cell
	MaxMachineDrift  = 2.0  // factor between the slowest and the fastest probe
	minHalfCount     = 100  // operations in half a window, to judge drift at all
	minIntervals     = 4    // intervals in a window, to judge drift at all
	perMille         = 1000 // for percentiles in tenths of a percent
)

// Warning says what makes a result less than it seems. It travels with the
// result it concerns. The fields mean what the Code says.
type Warning struct {
	Code       Code
	Subject    string
	Have, Want float64
}

// String implements fmt.Stringer in English.
func (w Warning) String() string {
	switch w.Code {
	case FewTrials:
		return fmt.Sprintf("%g trials: an interval needs %g", w.Have, w.Want)
	case CannotDiffer:
		return fmt.Sprintf("%s trials: the smallest possible p is %.2g, so no difference can be found; %g trials each are needed", w.Subject, w.Have, w.Want)
	case LoneDifference:
		return fmt.Sprintf("a single difference among these comparisons could not be found with %g trials, %g are needed", w.Have, w.Want)
	case ZeroBase:
		return "the base has values of zero: no ratio"
	case FewSamples:
		return fmt.Sprintf("only %g samples beyond %s, %g are needed", math.Floor(w.Have), w.Subject, w.Want)
	case WindowDrift:
		return fmt.Sprintf("%s: throughput changed by the factor %.2f within the window", w.Subject, w.Have)
	case HighSpread:
		return fmt.Sprintf("%s spreads over %.0f %% of its median", w.Subject, 100*w.Have)
	case MachineDrift:
		return fmt.Sprintf("the disk probes differ by the factor %.1f", w.Have)
	case InvalidTrials:
		return fmt.Sprintf("%g of %g trials are valid", w.Have, w.Want)
	default:
		return string(w.Code)
	}
}

func trialsAgainst(n, m int) string { return strconv.Itoa(n) + " v " + strconv.Itoa(m) }

// CheckSpread warns where the trials of a cell lie far apart.
func CheckSpread(subject string, s Summary) []Warning {
	if !s.HasCI() || s.Spread() <= MaxSpread {
		return nil
	}
	return []Warning{{Code: HighSpread, Subject: subject, Have: s.Spread(), Want: MaxSpread}}
}

// CheckTail warns where fewer than [MinSamplesBeyond] of samples lie beyond the
// percentile, given in per mille: 990 is p99.
func CheckTail(percentile int, samples int64) []Warning {
	beyond := float64(samples) * float64(perMille-percentile) / perMille
	if samples == 0 || beyond >= MinSamplesBeyond {
		return nil
	}
	return []Warning{{Code: FewSamples, Subject: PercentileName(percentile), Have: beyond, Want: MinSamplesBeyond}}
}

// PercentileName returns "p99" for 990 and "p99.9" for 999.
func PercentileName(perMille int) string {
	name := "p" + strconv.Itoa(perMille/10)
	if rest := perMille % 10; rest != 0 {
		name += "." + strconv.Itoa(rest)
	}
	return name
}

// CheckWindow warns where throughput changed between the halves of a window by
// more than [MaxWindowDrift]. An odd interval in the middle counts for neither.
func CheckWindow(subject string, intervals []int64) []Warning {
	half := len(intervals) / 2
	var first, second int64
	for i := range half {
		first += intervals[i]
		second += intervals[len(intervals)-1-i]
	}
	if len(intervals) < minIntervals || max(first, second) < minHalfCount {
		return nil
	}
	factor := float64(second) / float64(max(first, 1))
	if factor <= MaxWindowDrift && factor >= 1/MaxWindowDrift {
		return nil
	}
	return []Warning{{Code: WindowDrift, Subject: subject, Have: factor, Want: MaxWindowDrift}}
}

// CheckMachine warns where the medians of the disk probes, in any unit, differ
// by more than [MaxMachineDrift]. Zeros are probes that were not made.
func CheckMachine(probes []float64) []Warning {
	low, high := math.Inf(1), 0.0
	for _, p := range probes {
		if p > 0 {
			low, high = min(low, p), max(high, p)
		}
	}
	if high <= low*MaxMachineDrift {
		return nil
	}
	return []Warning{{Code: MachineDrift, Have: high / low, Want: MaxMachineDrift}}
}

// CheckTrials warns where not all of the trials run are valid.
func CheckTrials(valid, run int) []Warning {
	if valid == run {
		return nil
	}
	return []Warning{{Code: InvalidTrials, Have: float64(valid), Want: float64(run)}}
}
