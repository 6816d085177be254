package doc

import (
	"math"
	"slices"
	"strconv"
)

// Figure is a drawing of data: a file of its own, or its panels one by one on a
// page that arranges them to its width.
type Figure struct {
	File    string // the slash-separated name of the drawing's file
	Number  int    // among the document's figures, from 1; see [Document.Add]
	Title   string // without a full stop
	Caption string // sentences that explain it
	Panels  []Panel
	Folded  bool // of use to few: a page shows it when asked to
}

// Panel is one small plot. All panels of a figure are drawn to the same size.
type Panel struct {
	Title  string
	X, Y   Axis
	Series []Series
	// Numbered: the series have numbers, by which a key below names them, rather than
	// names beside them.
	Numbered bool
	Low      bool // half as high: one of many that are read together
}

// Axis is the range of a panel in one direction.
type Axis struct {
	Label     string // with the one unit of all ticks
	Low, High float64
	Scale     Scale
	Ticks     []Tick
}

// at is the place of a value along the axis, from 0 to 1; what is beyond an end is at it.
func (a Axis) at(v float64) float64 {
	scaled := func(v float64) float64 {
		switch a.Scale {
		case Log:
			return math.Log(v)
		case Nines:
			return -math.Log(1 - v)
		default:
			return v
		}
	}
	low, high := scaled(a.Low), scaled(a.High)
	if !(high > low) {
		return 0.5
	}
	return min(1, max(0, (scaled(v)-low)/(high-low)))
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
	Style int     // colour, dashes and shape: the same for the same thing in all figures; below [Styles]
	Line  []Point // broken where Y is not a number
	Band  []Span  // an area about the line
	Marks []Mark
	Bars  []Bar
}

// Point is a place in a panel.
type Point struct{ X, Y float64 }

// Span is a stretch of the Y axis at X.
type Span struct{ X, Low, High float64 }

// Mark is a measured point with its intervals; those of no length are not drawn.
type Mark struct {
	Point
	XLow, XHigh float64
	YLow, YHigh float64
	Label       string
}

// Bar is a stretch of a row: of the place Y, from X to X.
type Bar struct {
	Y, From, To float64
	Label       string // behind it
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

// LinearAxis covers zero and the values, one of them not zero, to nice numbers.
func LinearAxis(label string, values []float64, most int, write func(float64) string) Axis {
	low, high := min(0, slices.Min(values)), max(0, slices.Max(values))
	step := niceAbove((high - low) / float64(most-1))
	a := Axis{Label: label}
	for i := math.Floor(low / step); ; i++ {
		v := i * step
		if len(a.Ticks) == 0 {
			a.Low = v
		}
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

// look is how a style is drawn: each of its three traits alone tells two styles of a
// figure apart, as long as they are no more than [Colours].
type look struct {
	colour string // red, green and blue in hexadecimal digits
	shape  shape
	dashes []float64 // in turn drawn and left out; none: a solid line
}

// shape is that of a mark.
type shape string

// The shapes.
const (
	circle   shape = "circle"
	square   shape = "square"
	triangle shape = "triangle"
	diamond  shape = "diamond"
	cross    shape = "cross"
	down     shape = "down" // a triangle on its tip
	plus     shape = "plus"
)

// Colours is how many styles have colours of their own.
const Colours = 7

// Styles is how many styles there are; a higher one looks like one of them.
const Styles = Colours * Colours

// lookOf is the look of a style. The first five colours are from the palette of Okabe
// and Ito (2008), without those too faint for a line; all stay apart for people of any
// colour vision, and stand out from white.
func lookOf(style int) look {
	style = max(0, style) % Styles
	trait := (style + style/Colours) % Colours
	return look{
		colour: [Colours]string{"0072b2", "d55e00", "009e73", "cc79a7", "000000", "7300e6", "731300"}[style%Colours],
		shape:  [Colours]shape{circle, square, triangle, diamond, cross, down, plus}[trait],
		dashes: [Colours][]float64{nil, {6, 3}, {2, 2}, {8, 2, 2, 2}, {10, 4}, {4, 2, 1, 2}, {1, 3}}[trait],
	}
}

// areaColours are those of an area and of its edge. Areas need more colours than lines:
// the second round is lighter.
func areaColours(style int) (fill, outline string) {
	outline = lookOf(style % Colours).colour
	if style < Colours {
		return outline, outline
	}
	lighter := ""
	for i := 0; i < 6; i += 2 {
		v, _ := strconv.ParseUint(outline[i:i+2], 16, 8)
		lighter += strconv.FormatUint(0x100+255-(255-v)/3, 16)[1:]
	}
	return lighter, outline
}

// onColour is the colour of a text on another: whichever of black and white stands out.
func onColour(colour string) string {
	if contrast(white, colour) >= contrast("000000", colour) {
		return white
	}
	return "000000"
}

// contrast is that of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
func contrast(a, b string) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(colour string) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
