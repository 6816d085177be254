package stats

import (
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
	// WindowDrift: throughput changed by the factor Have from the first half of
	// the window to the second in trial Subject; Want is the most tolerated.
	WindowDrift Code = "window-drift"
	// HighSpread: the trials' Subject, a quantity, spreads over the share Have of
	// its median; Want is the most tolerated.
	HighSpread Code = "high-spread"
	// MachineDrift: the disk probes before the trials differ by the factor Have;
	// Want is the most tolerated.
	MachineDrift Code = "machine-drift"
)

// What is tolerated without a warning.
const (
	MinSamplesBeyond = 10  // samples beyond a percentile
	MaxWindowDrift   = 1.2 // factor between the halves of a window, either way
	MaxSpread        = 0.3 // (max - min) / median over the trials of a cell
	MaxMachineDrift  = 2.0 // factor between the slowest and the fastest probe
	minHalfCount     = 100 // operations in half a window, to judge drift at all
	minIntervals     = 4   // intervals in a window, to judge drift at all
)

// Warning says what makes a result less than it seems. It travels with the
// result it concerns. The fields mean what the Code says.
type Warning struct {
	Code       Code
	Subject    string
	Have, Want float64
}

func trialsAgainst(n, m int) string { return strconv.Itoa(n) + " v " + strconv.Itoa(m) }

// Reliable reports whether at least [MinSamplesBeyond] of so many samples lie
// beyond the percentile, given in per mille: 990 is p99.
func Reliable(perMille int, samples int64) bool {
	return samples*int64(1000-perMille) >= MinSamplesBeyond*1000
}

// CheckSpread warns where the trials of a cell lie far apart.
func CheckSpread(subject string, s Summary) []Warning {
	if !s.HasCI() || s.Spread() <= MaxSpread {
		return nil
	}
	return []Warning{{Code: HighSpread, Subject: subject, Have: s.Spread(), Want: MaxSpread}}
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
