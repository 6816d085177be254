package doc

import (
	"math"
	"slices"
)

// Figure is a drawing of data: a file of its own, or its panels one by one on a
// page that arranges them to its width.
type Figure struct {
	File    string // the slash-separated name of the drawing's file
	Number  int    // among the document's figures, from 1; see [Document.Add]
	Title   string // without a full stop
	Caption string // sentences that explain it
	Panels  []Panel
}

// Panel is one small plot. All panels of a figure are drawn to the same size.
type Panel struct {
	Title  string
	X, Y   Axis
	Series []Series
	// Numbered: the series have numbers, by which a key below names them, rather than
	// names beside them.
	Numbered bool
}

// Axis is the range of a panel in one direction.
type Axis struct {
	Label     string
	Low, High float64
	Scale     Scale
	Ticks     []Tick
}

// Scale is how values are laid out along an axis.
type Scale int

// The scales.
const (
	Linear Scale = iota
	Log
	Nines // fractions below 1, stretched towards it: equal steps divide the rest by equal factors
)

// Tick is a place on an axis; one without a label is a small one.
type Tick struct {
	Value float64
	Label string
}

// Series is one line of a panel, in the units of its axes.
type Series struct {
	Label string
	Style int // colour, dashes and shape: the same for the same thing in all panels
	Line  []Point
	Marks []Mark
	Bars  []Bar
}

// Point is a place in a panel.
type Point struct{ X, Y float64 }

// Mark is a measured point with its intervals; those of no length are not drawn.
type Mark struct {
	Point
	XLow, XHigh float64
	YLow, YHigh float64
	Label       string
}

// Most labels that fit below an axis and beside one.
const (
	LabelsBelow  = 5
	LabelsBeside = 8
)

// LogAxis covers the values, all positive, from one nice number to another. Of
// its ticks at most so many are labelled.
func LogAxis(label string, values []float64, most int, write func(float64) string) Axis {
	low, high := slices.Min(values), slices.Max(values)
	low, high = niceBelow(low*0.95), niceAbove(high*1.05)
	if high < 4*low {
		low, high = niceBelow(low*0.9), niceAbove(high*1.1)
	}
	a := Axis{Label: label, Low: low, High: high, Scale: Log}
	first, last := int(math.Floor(math.Log10(low)+1e-9)), int(math.Ceil(math.Log10(high)-1e-9))
	var digits []int
	for e := first; e <= last; e++ {
		for digit := 1; digit <= 9; digit++ {
			if v := decimal(digit, e); v >= low*(1-1e-9) && v <= high*(1+1e-9) {
				a.Ticks = append(a.Ticks, Tick{Value: v})
				digits = append(digits, digit)
			}
		}
	}
	for _, labelled := range [][]int{{1, 2, 3, 4, 5, 7}, {1, 2, 5}, {1, 3}, {1}} {
		n := 0
		for i, digit := range digits {
			a.Ticks[i].Label = ""
			if slices.Contains(labelled, digit) {
				a.Ticks[i].Label = write(a.Ticks[i].Value)
				n++
			}
		}
		if n <= most {
			break
		}
	}
	return a
}

// LinearAxis covers the values, of which one is positive, from zero to a nice number.
func LinearAxis(label string, values []float64, most int, write func(float64) string) Axis {
	high := slices.Max(values)
	step := niceAbove(high / float64(most-1))
	a := Axis{Label: label}
	for i := 0; ; i++ {
		v := float64(i) * step
		a.Ticks = append(a.Ticks, Tick{v, write(v)})
		a.High = v
		if v >= high {
			return a
		}
	}
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
