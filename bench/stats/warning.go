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
	// CannotDiffer: with so few trials (Subject) the test's smallest p is Have, so it can
	// never find a difference; Want trials are needed.
	CannotDiffer Code = "cannot-differ"
	// ZeroBase: some values are not positive, so there is no ratio but a difference.
	ZeroBase Code = "zero-base"
	// WindowDrift: a quantity changed by the factor Have from the first third of the
	// window to the last in trial Subject; Want is the most tolerated.
	WindowDrift Code = "window-drift"
	// WarmupShort: a quantity in the first third of the window was Have times that of the
	// warm-up's last third in trial Subject; Want is the most tolerated.
	WarmupShort Code = "warmup-short"
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
	MaxWindowDrift   = 1.2 // factor between parts of a window, either way
	MaxSpread        = 0.3 // (max - min) / median over the trials of a cell
	MaxMachineDrift  = 2.0 // factor between the slowest and the fastest probe
)

// Warning says what makes a result less than it seems. It travels with the
// result it concerns. The fields mean what the Code says.
type Warning struct {
	Code       Code
	Subject    string
	Have, Want float64
}

func cannotDiffer(n int, smallestP float64, needed int) Warning {
	return Warning{Code: CannotDiffer, Subject: strconv.Itoa(n), Have: smallestP, Want: float64(needed)}
}

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
