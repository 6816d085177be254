package doc

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// anyText is a text as a name, a level or a unit may be, in any alphabet, or none.
func anyText(t *rapid.T, name string) string {
	return rapid.OneOf(rapid.Just(""), rapid.SampledFrom([]string{
		"bolt", "16", "p99 поверх tcp при 16 клиентах", "kvnode, Redis protocol, overlapped", "общая пропускная способность всех узлов, оп/с",
	}), rapid.StringN(1, 60, 120)).Draw(t, name)
}

func anyAxis(t *rapid.T, name string) (Axis, func(string) float64) {
	write := func(v float64) string { return english().General(v) }
	a := Axis{Label: anyText(t, name+" label")}
	switch rapid.IntRange(0, 3).Draw(t, name+" form") {
	case 0:
		values := rapid.SliceOfN(rapid.Float64Range(1e-6, 1e7), 1, 5).Draw(t, name+" values")
		a = LogAxis(a.Label, values, LabelsBelow, write)
	case 1:
		values := append(rapid.SliceOfN(rapid.Float64Range(-10, 1e6), 1, 5).Draw(t, name+" values"), 1)
		a = LinearAxis(a.Label, values, LabelsBeside, write)
	case 2:
		a.Scale, a.High = Nines, 0.9999
		for _, v := range []float64{0.5, 0.9, 0.99, 0.999} {
			a.Ticks = append(a.Ticks, Tick{v, write(100 * v)})
		}
	default: // names
		n := rapid.IntRange(1, 9).Draw(t, name+" names")
		a.Low, a.High = -0.5, float64(n)-0.5
		for i := range n {
			a.Ticks = append(a.Ticks, Tick{float64(i), anyText(t, name+" name")})
		}
	}
	return a, func(what string) float64 { return rapid.Float64Range(a.Low, a.High).Draw(t, name+" "+what) }
}

// anyFigure is a figure of lines with marks, areas and labels, or of bars.
func anyFigure(t *rapid.T) Figure {
	f := Figure{Title: anyText(t, "title")}
	for range rapid.IntRange(1, 3).Draw(t, "panels") {
		p := Panel{Title: anyText(t, "panel"), Low: rapid.Bool().Draw(t, "low")}
		var x, y func(string) float64
		p.X, x = anyAxis(t, "x")
		p.Y, y = anyAxis(t, "y")
		barred := rapid.Bool().Draw(t, "bars")
		rows := rapid.IntRange(1, 6).Draw(t, "rows")
		if barred {
			p.Numbered = rapid.Bool().Draw(t, "numbered")
			p.X = LinearAxis("time, ms", []float64{100}, LabelsBelow, func(v float64) string { return english().General(v) })
			p.Y = Axis{Low: -0.7, High: float64(rows) - 0.3}
			for i := range rows {
				p.Y.Ticks = append(p.Y.Ticks, Tick{float64(i), anyText(t, "row")})
			}
		}
		for i := range rapid.IntRange(1, 14).Draw(t, "series") {
			s := Series{Label: anyText(t, "label"), Style: rapid.IntRange(0, 60).Draw(t, "style")}
			if barred {
				from := rapid.Float64Range(0, 90).Draw(t, "from")
				if row := float64(i); i < rows { // of a row each, as in a waterfall, or all in one
					s.Bars = []Bar{{Y: row, From: from, To: rapid.Float64Range(from, 100).Draw(t, "to"), Label: "4.62 ms"}}
				}
				p.Series = append(p.Series, s)
				continue
			}
			for range rapid.IntRange(0, 6).Draw(t, "points") {
				at := Point{x("at"), y("at")}
				s.Line = append(s.Line, at)
				s.Band = append(s.Band, Span{at.X, y("low"), y("high")})
				s.Marks = append(s.Marks, Mark{Point: at, YLow: y("low"), YHigh: at.Y, Label: rapid.SampledFrom([]string{"", "16", "256 !", "closed loop"}).Draw(t, "note")})
			}
			if rapid.Bool().Draw(t, "broken") && len(s.Line) > 2 {
				s.Line[1].Y = math.NaN()
			}
			p.Series = append(p.Series, s)
		}
		f.Panels = append(f.Panels, p)
	}
	return f
}

// TestNothingOverlaps: whatever a figure says, no text of it is on top of another, of a
// mark, an axis or a line's end, and the drawing is well-formed.
func TestNothingOverlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFigure(t)
		for _, c := range Collisions(f) {
			t.Error(c)
		}
		d := xml.NewDecoder(bytes.NewReader(SVG(f, "form 1")))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestStylesStandApart: each colour stands out from white, and every two differ for people
// of any colour vision; no two styles are alike.
func TestStylesStandApart(t *testing.T) {
	// Machado, Oliveira and Fernandes (2009), at full severity, on linear RGB.
	visions := map[string][3][3]float64{
		"normal": {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protan": {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
		"deutan": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
		"tritan": {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
	}
	for name, vision := range visions {
		for i := range Colours {
			for j := range i {
				a, b := lookOf(i).colour, lookOf(j).colour
				if far := distance(seen(vision, a), seen(vision, b)); far < 15 {
					t.Errorf("%s: %s and %s are %.1f apart", name, a, b, far)
				}
			}
		}
	}
	alike := map[[2]string]int{}
	for style := range Styles {
		l := lookOf(style)
		if other, there := alike[[2]string{l.colour, string(l.shape)}]; there {
			t.Errorf("styles %d and %d look alike", style, other)
		}
		alike[[2]string{l.colour, string(l.shape)}] = style
		if contrast(l.colour, white) < 3 {
			t.Errorf("%s stands out from white by %.2f only", l.colour, contrast(l.colour, white))
		}
		if fill, _ := areaColours(style); contrast(fill, onColour(fill)) < 4.5 {
			t.Errorf("a text on %s stands out by %.2f only", fill, contrast(fill, onColour(fill)))
		}
	}
	for _, ink := range []string{inkColour, softColour} {
		if contrast(ink, white) < 7 {
			t.Errorf("texts in %s stand out by %.2f only", ink, contrast(ink, white))
		}
	}
}

// seen is a colour in CIE L*a*b* (white point D65) as that vision has it.
func seen(vision [3][3]float64, colour string) [3]float64 {
	var rgb, out [3]float64
	for i := range rgb {
		grey := colour[2*i:2*i+2] + colour[2*i:2*i+2] + colour[2*i:2*i+2]
		rgb[i] = luminance(grey) // that of a grey is its linear value
	}
	for i, row := range vision {
		for j, w := range row {
			out[i] += w * rgb[j]
		}
		out[i] = min(1, max(0, out[i]))
	}
	f := func(v float64) float64 {
		if v > 0.008856 {
			return math.Cbrt(v)
		}
		return 7.787*v + 16.0/116
	}
	x := f((0.4124*out[0] + 0.3576*out[1] + 0.1805*out[2]) / 0.9505)
	y := f(0.2126*out[0] + 0.7152*out[1] + 0.0722*out[2])
	z := f((0.0193*out[0] + 0.1192*out[1] + 0.9505*out[2]) / 1.089)
	return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
}

func distance(a, b [3]float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}
