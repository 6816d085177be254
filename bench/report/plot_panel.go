package report

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of one panel in points. A panel is drawn small so that it can be read at
// its own size on a phone; on paper two stand side by side.
const (
	panelWidth  = 380
	panelHeight = 280
	textPoints  = 12
	tickPoints  = 11
	keyLength   = 24 // of the sample of a line before its label
)

// panel is one small plot.
type panel struct {
	title  string
	x, y   axis
	series []series
}

// axis is the same for all panels of a figure.
type axis struct {
	label     string
	low, high float64
	scale     plot.Normalizer
	ticks     []plot.Tick
}

// series is one line of a panel; all are drawn in the units of the axes.
type series struct {
	label string
	style int
	line  []point
	marks []mark
}

type point struct{ x, y float64 }

// mark is a measured point, with its intervals where they are known.
type mark struct {
	point
	xLow, xHigh float64 // equal: no interval
	yLow, yHigh float64
	label       string
}

// painter draws panels with fonts that it loads once.
type painter struct{ text text.Handler }

func newPainter() painter {
	return painter{text.Plain{Fonts: font.NewCache(liberation.Collection())}}
}

func (p painter) style(points float64, grey uint8) text.Style {
	return text.Style{
		Color:   color.Gray{grey},
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(points)},
		Handler: p.text,
	}
}

// svg draws the panels in rows of so many columns, each with so much room for the
// labels of its lines, and returns the document.
func (p painter) svg(panels []panel, columns int, labels vg.Length) ([]byte, error) {
	columns = min(columns, len(panels))
	rows := (len(panels) + columns - 1) / columns
	width, height := vg.Length(columns*panelWidth), vg.Length(rows*panelHeight)
	canvas := vgsvg.NewWith(vgsvg.UseWH(width, height))
	for i, x := range panels {
		left, top := vg.Length(i%columns*panelWidth), vg.Length(i/columns*panelHeight)
		area := draw.NewCanvas(canvas, width, height)
		area.Min = vg.Point{X: left, Y: height - top - panelHeight}
		area.Max = vg.Point{X: left + panelWidth, Y: height - top}
		p.draw(area, x, labels)
	}
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("draw plot: %w", err)
	}
	return out.Bytes(), nil
}

// labelWidth is the room that the widest label of a line needs.
func (p painter) labelWidth(panels []panel) vg.Length {
	style := p.style(textPoints, 0)
	widest := vg.Length(0)
	for _, x := range panels {
		for _, s := range x.series {
			widest = max(widest, style.Width(s.label))
		}
	}
	if widest == 0 {
		return 0
	}
	return widest + keyLength + 10
}

func (p painter) draw(area draw.Canvas, x panel, labels vg.Length) {
	pl := plot.New()
	pl.BackgroundColor = color.White
	pl.TextHandler = p.text
	pl.Title.Text = x.title
	pl.Title.Padding = 6
	pl.Title.TextStyle = p.style(textPoints, 0)
	pl.Title.TextStyle.Font.Weight = 2 // bold
	pl.Title.TextStyle.XAlign, pl.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	p.axis(&pl.X, x.x, draw.XCenter, draw.YTop)
	p.axis(&pl.Y, x.y, draw.XRight, draw.YCenter)
	pl.Add(&drawing{x, p})
	pl.Draw(draw.Crop(area, 6, -labels-10, 6, -6))
}

func (p painter) axis(a *plot.Axis, x axis, alignX draw.XAlignment, alignY draw.YAlignment) {
	a.Min, a.Max, a.Scale = x.low, x.high, x.scale
	a.Tick.Marker = plot.ConstantTicks(x.ticks)
	a.Tick.Label = p.style(tickPoints, 60)
	a.Tick.Label.XAlign, a.Tick.Label.YAlign = alignX, alignY
	a.Tick.Length = 4
	a.Padding = 0
	a.Label.Text = x.label
	a.Label.TextStyle = p.style(tickPoints, 60)
	a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
	a.Label.Padding = 3
	a.LineStyle.Color = color.Gray{60}
}

// drawing is the inside of a panel, with the labels to the right of it.
type drawing struct {
	panel
	painter painter
}

var _ plot.Plotter = (*drawing)(nil)

// Plot implements plot.Plotter.
func (d *drawing) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	grid := draw.LineStyle{Color: color.Gray{225}, Width: 0.5}
	for _, t := range d.x.ticks {
		if t.Label != "" && t.Value > d.x.low && t.Value <= d.x.high {
			c.StrokeLine2(grid, toX(t.Value), c.Min.Y, toX(t.Value), c.Max.Y)
		}
	}
	for _, t := range d.y.ticks {
		if t.Label != "" && t.Value > d.y.low && t.Value <= d.y.high {
			c.StrokeLine2(grid, c.Min.X, toY(t.Value), c.Max.X, toY(t.Value))
		}
	}
	for _, s := range d.series {
		var line []vg.Point
		for _, at := range s.line {
			line = append(line, vg.Point{X: toX(at.x), Y: toY(at.y)})
		}
		if len(line) > 1 {
			c.StrokeLines(lineStyle(s.style), line)
		}
		d.marks(c, s, toX, toY)
	}
	d.labels(c, toY)
}

func (d *drawing) marks(c draw.Canvas, s series, toX, toY func(float64) vg.Length) {
	bar := draw.LineStyle{Color: colour(s.style), Width: 0.8}
	const whisker = 2.5
	for _, m := range s.marks {
		x, y := toX(m.x), toY(m.y)
		if m.xHigh > m.xLow {
			for _, end := range []vg.Length{toX(m.xLow), toX(m.xHigh)} {
				c.StrokeLine2(bar, x, y, end, y)
				c.StrokeLine2(bar, end, y-whisker, end, y+whisker)
			}
		}
		if m.yHigh > m.yLow {
			for _, end := range []vg.Length{toY(m.yLow), toY(m.yHigh)} {
				c.StrokeLine2(bar, x, y, x, end)
				c.StrokeLine2(bar, x-whisker, end, x+whisker, end)
			}
		}
		c.DrawGlyphNoClip(glyph(s.style), vg.Point{X: x, Y: y})
		if m.label != "" {
			style := d.painter.style(9, 90)
			style.XAlign, style.YAlign = draw.XLeft, draw.YBottom
			c.FillText(style, vg.Point{X: x + 4, Y: y + 3}, m.label)
		}
	}
}

// labels names the lines to the right of the panel, each near the end of its
// line and none on top of another, with a sample of the line.
func (d *drawing) labels(c draw.Canvas, toY func(float64) vg.Length) {
	const apart = textPoints + 3
	type place struct {
		series
		y vg.Length
	}
	var places []place
	for _, s := range d.series {
		if len(s.line) > 0 && s.label != "" {
			places = append(places, place{s, toY(s.line[len(s.line)-1].y)})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(b.y, a.y) })
	for i := range places { // from the top down, then back up from the bottom
		highest := c.Max.Y - apart/2
		if i > 0 {
			highest = places[i-1].y - apart
		}
		places[i].y = min(places[i].y, highest)
	}
	for i := len(places) - 1; i >= 0; i-- {
		lowest := c.Min.Y + apart/2
		if i < len(places)-1 {
			lowest = places[i+1].y + apart
		}
		places[i].y = max(places[i].y, lowest)
	}
	left := c.Max.X + 8
	style := d.painter.style(textPoints, 20)
	style.YAlign = draw.YCenter
	for _, p := range places {
		c.StrokeLine2(lineStyle(p.style), left, p.y, left+keyLength-4, p.y)
		c.DrawGlyphNoClip(glyph(p.style), vg.Point{X: left + keyLength/2 - 2, Y: p.y})
		c.FillText(style, vg.Point{X: left + keyLength, Y: p.y + 1}, p.label)
	}
}

// colour is from the palette of Okabe and Ito (2008), which people with any
// colour vision can tell apart; without its yellow, too faint for a line.
func colour(style int) color.Color {
	palette := []color.RGBA{
		{0x00, 0x72, 0xB2, 255}, // blue
		{0xD5, 0x5E, 0x00, 255}, // vermillion
		{0x00, 0x9E, 0x73, 255}, // bluish green
		{0xCC, 0x79, 0xA7, 255}, // reddish purple
		{0x00, 0x00, 0x00, 255}, // black
		{0xE6, 0x9F, 0x00, 255}, // orange
		{0x56, 0xB4, 0xE9, 255}, // sky blue
	}
	return palette[style%len(palette)]
}

// lineStyle tells lines apart without colour, too.
func lineStyle(style int) draw.LineStyle {
	dashes := [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 2, 2, 2}, {10, 4}, {4, 2, 1, 2}, {1, 3}}
	return draw.LineStyle{Color: colour(style), Width: 1.5, Dashes: dashes[style%len(dashes)]}
}

func glyph(style int) draw.GlyphStyle {
	shapes := []draw.GlyphDrawer{
		draw.CircleGlyph{}, draw.SquareGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{},
		draw.RingGlyph{}, draw.BoxGlyph{}, draw.PlusGlyph{},
	}
	return draw.GlyphStyle{Color: colour(style), Radius: 3, Shape: shapes[style%len(shapes)]}
}

// percentileScale stretches an axis of percentiles, given as fractions below 1,
// towards 1: equal steps divide the rest by equal factors.
type percentileScale struct{}

// Normalize implements plot.Normalizer.
func (percentileScale) Normalize(low, high, x float64) float64 {
	return (nines(x) - nines(low)) / (nines(high) - nines(low))
}

func nines(fraction float64) float64 { return -math.Log10(1 - fraction) }
