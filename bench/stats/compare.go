package stats

import (
	"cmp"
	"slices"
)

// FalseDiscoveryRate is the share of the differences found that may be found by
// chance.
const FalseDiscoveryRate = 0.05

// Comparison sets a sample against a base sample.
type Comparison struct {
	BaseN, OtherN int
	Base, Other   float64 // medians

	// Ratio is Other / Base; where HasRatio.
	Ratio    float64
	HasRatio bool
	// CI is the bootstrap interval of the ratio, where HasCI.
	CI    Interval
	HasCI bool

	// Tested says that both samples were large enough for the test to find a
	// difference, if there is one; P is of the Mann-Whitney test, and Adjusted
	// what [Adjust] made of it in its family. Adjusted is 1 until then.
	Tested   bool
	P        float64
	Adjusted float64
	Exact    bool

	Warnings []Warning
}

// Compare sets other against base. The medians' ratio has the
// percentile-bootstrap interval for two independent samples, computed from the
// exact bootstrap distributions of both medians. The caller passes all
// comparisons of one table to [Adjust] before it asks whether they differ.
func Compare(base, other []float64) Comparison {
	b, o := Summarize(base), Summarize(other)
	c := Comparison{BaseN: b.N, OtherN: o.N, Base: b.Median, Other: o.Median, P: 1, Adjusted: 1}
	if b.N > 0 && o.N > 0 && b.Min > 0 {
		c.Ratio, c.HasRatio = o.Median/b.Median, true
	} else if b.N > 0 && o.N > 0 {
		c.Warnings = append(c.Warnings, Warning{Code: ZeroBase})
	}
	if !b.HasCI() || !o.HasCI() {
		c.Warnings = append(c.Warnings, Warning{Code: FewTrials, Have: float64(min(b.N, o.N)), Want: MinForInterval})
		return c
	}
	if c.HasRatio {
		c.CI, c.HasCI = ratioInterval(base, other), true
	}
	if SmallestP(b.N, o.N) > FalseDiscoveryRate {
		c.Warnings = append(c.Warnings, Warning{
			Code: CannotDiffer, Subject: trialsAgainst(o.N, b.N),
			Have: SmallestP(b.N, o.N), Want: float64(TrialsNeeded(FalseDiscoveryRate)),
		})
		return c
	}
	test := MannWhitney(other, base)
	c.Tested, c.P, c.Exact = true, test.P, test.Exact
	return c
}

// ratioInterval combines the two bootstrap distributions; base is positive.
func ratioInterval(base, other []float64) Interval {
	b := bootstrapMedian(slices.Sorted(slices.Values(base)))
	o := bootstrapMedian(slices.Sorted(slices.Values(other)))
	ratios := make(distribution, 0, len(b)*len(o))
	for _, x := range b {
		for _, y := range o {
			if p := x.p * y.p; p > negligible {
				ratios = append(ratios, mass{y.value / x.value, p})
			}
		}
	}
	slices.SortFunc(ratios, func(x, y mass) int { return cmp.Compare(x.value, y.value) })
	return ratios.interval()
}

// Adjust corrects the comparisons of one family for their number. Untested ones
// do not count. The warning, if there is one, concerns the whole family.
func Adjust(family []*Comparison) []Warning {
	var tested []*Comparison
	for _, c := range family {
		if c.Tested {
			tested = append(tested, c)
		}
	}
	p := make([]float64, len(tested))
	reach, n := 1.0, 0 // of the comparison that could be surest
	for i, c := range tested {
		p[i] = c.P
		if s := SmallestP(c.BaseN, c.OtherN); s < reach {
			reach, n = s, min(c.BaseN, c.OtherN)
		}
	}
	for i, adjusted := range BenjaminiHochberg(p) {
		tested[i].Adjusted = adjusted
	}
	alone := FalseDiscoveryRate / float64(max(1, len(tested)))
	if len(tested) < 2 || reach <= alone {
		return nil
	}
	return []Warning{{
		Code: LoneDifference, Subject: trialsAgainst(n, len(tested)),
		Have: float64(n), Want: float64(TrialsNeeded(alone)),
	}}
}

// Different reports whether the test found a difference, at the
// [FalseDiscoveryRate] of the family.
func (c Comparison) Different() bool { return c.Tested && c.Adjusted <= FalseDiscoveryRate }
