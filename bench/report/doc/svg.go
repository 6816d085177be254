package doc

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/plotter"
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

// SVG draws the panels of a figure in rows of two, as a file of its own.
func SVG(f Figure, stamp string) ([]byte, error) {
	p := newPainter()
	raw, err := p.svg(f.Panels, 2, p.labelWidth(f.Panels))
	if err != nil {
		return nil, err
	}
	out := polish(raw, f.Title, true)
	if stamp != "" {
		out = fmt.Appendf(out, "<!-- %s -->\n", stamp)
	}
	return out, nil
}

// panelsSVG draws each panel by itself, to be put into a page.
func panelsSVG(f Figure) ([]string, error) {
	p := newPainter()
	labels := p.labelWidth(f.Panels)
	var out []string
	for _, one := range f.Panels {
		raw, err := p.svg([]Panel{one}, 1, labels)
		if err != nil {
			return nil, err
		}
		title := f.Title
		if one.Title != "" {
			title += ": " + one.Title
		}
		out = append(out, string(polish(raw, title, false)))
	}
	return out, nil
}

// polish gives a drawing a title for those who cannot see it, fonts that exist
// everywhere and a size that its page decides. A standalone document keeps a
// size of its own.
func polish(svg []byte, title string, standalone bool) []byte {
	_, body, _ := bytes.Cut(svg, []byte("<svg "))
	attributes, body, _ := bytes.Cut(body, []byte(">"))
	_, viewBox, _ := strings.Cut(string(attributes), `viewBox="`)
	viewBox, _, _ = strings.Cut(viewBox, `"`)
	var out bytes.Buffer
	if standalone {
		size := strings.Fields(viewBox)
		fmt.Fprintf(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%s\" height=\"%s\" ", size[2], size[3])
	} else {
		out.WriteString("<svg ")
	}
	fmt.Fprintf(&out, "viewBox=\"%s\" role=\"img\">\n<title>%s</title>", viewBox, html.EscapeString(title))
	// Arial and Helvetica have the widths of Liberation Sans, which the text was
	// measured with.
	out.Write(bytes.ReplaceAll(body, []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,'DejaVu Sans',sans-serif;")))
	return out.Bytes()
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
func (p painter) svg(panels []Panel, columns int, labels vg.Length) ([]byte, error) {
	columns = min(columns, len(panels))
	rows := (len(panels) + columns - 1) / columns
	each := heightOf(panels)
	width, height := vg.Length(columns*panelWidth), vg.Length(rows)*each
	canvas := vgsvg.NewWith(vgsvg.UseWH(width, height))
	for i, x := range panels {
		left, top := vg.Length(i%columns*panelWidth), vg.Length(i/columns)*each
		area := draw.NewCanvas(canvas, width, height)
		area.Min = vg.Point{X: left, Y: height - top - each}
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
func (p painter) labelWidth(panels []Panel) vg.Length {
	style := p.style(textPoints, 0)
	widest := vg.Length(0)
	for _, x := range panels {
		for _, s := range x.Series {
			if x.Numbered || len(s.Bars) > 0 {
				continue // its rows are named
			}
			widest = max(widest, style.Width(s.Label))
		}
	}
	if widest == 0 {
		return 0
	}
	return widest + keyLength + 10
}

func (p painter) draw(area draw.Canvas, x Panel, labels vg.Length) {
	pl := plot.New()
	pl.BackgroundColor = color.White
	pl.TextHandler = p.text
	pl.Title.Text = x.Title
	pl.Title.Padding = 6
	pl.Title.TextStyle = p.style(textPoints, 0)
	pl.Title.TextStyle.Font.Weight = 2 // bold
	pl.Title.TextStyle.XAlign, pl.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	p.axis(&pl.X, x.X, draw.XCenter, draw.YTop)
	p.axis(&pl.Y, x.Y, draw.XRight, draw.YCenter)
	grid := plotter.NewGrid()
	grid.Vertical = draw.LineStyle{Color: color.Gray{225}, Width: 0.5}
	grid.Horizontal = grid.Vertical
	pl.Add(grid, &drawing{x, p})
	pl.Draw(draw.Crop(area, 6, -labels-10, 6+keyHeight(x), -6))
	if x.Numbered {
		p.key(area, x)
	}
}

func (p painter) axis(a *plot.Axis, x Axis, alignX draw.XAlignment, alignY draw.YAlignment) {
	a.Min, a.Max = x.Low, x.High
	a.Scale = []plot.Normalizer{Linear: plot.LinearScale{}, Log: plot.LogScale{}, Nines: ninesScale{}}[x.Scale]
	var ticks plot.ConstantTicks
	for _, t := range x.Ticks {
		ticks = append(ticks, plot.Tick{Value: t.Value, Label: t.Label})
	}
	a.Tick.Marker = ticks
	a.Tick.Label = p.style(tickPoints, 60)
	a.Tick.Label.XAlign, a.Tick.Label.YAlign = alignX, alignY
	a.Tick.Length = 4
	a.Padding = 0
	a.Label.Text = x.Label
	a.Label.TextStyle = p.style(tickPoints, 60)
	a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
	a.Label.Padding = 3
	a.LineStyle.Color = color.Gray{60}
}

// ninesScale is the scale of [Nines].
type ninesScale struct{}

// Normalize implements plot.Normalizer.
func (ninesScale) Normalize(low, high, x float64) float64 {
	nines := func(fraction float64) float64 { return -math.Log10(1 - fraction) }
	return (nines(x) - nines(low)) / (nines(high) - nines(low))
}

// drawing is the inside of a panel, with the labels to the right of it.
type drawing struct {
	Panel
	painter painter
}

var _ plot.Plotter = (*drawing)(nil)

// Plot implements plot.Plotter.
func (d *drawing) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	for i, s := range d.Series {
		d.bars(c, i+1, s, toX, toY)
		var line []vg.Point
		for _, at := range s.Line {
			line = append(line, vg.Point{X: toX(at.X), Y: toY(at.Y)})
		}
		if len(line) > 1 {
			c.StrokeLines(lineStyle(s.Style), line)
		}
		d.marks(c, s, toX, toY)
	}
	d.labels(c, toY)
}

func (d *drawing) marks(c draw.Canvas, s Series, toX, toY func(float64) vg.Length) {
	bar := draw.LineStyle{Color: colour(s.Style), Width: 0.8}
	const whisker = 2.5
	for _, m := range s.Marks {
		x, y := toX(m.X), toY(m.Y)
		if m.XHigh > m.XLow {
			for _, end := range []vg.Length{toX(m.XLow), toX(m.XHigh)} {
				c.StrokeLine2(bar, x, y, end, y)
				c.StrokeLine2(bar, end, y-whisker, end, y+whisker)
			}
		}
		if m.YHigh > m.YLow {
			for _, end := range []vg.Length{toY(m.YLow), toY(m.YHigh)} {
				c.StrokeLine2(bar, x, y, x, end)
				c.StrokeLine2(bar, x-whisker, end, x+whisker, end)
			}
		}
		c.DrawGlyphNoClip(glyph(s.Style), vg.Point{X: x, Y: y})
		if m.Label != "" {
			style := d.painter.style(9, 90)
			// Most lines rise to the right, so there is room on the other two sides.
			if style.XAlign, style.YAlign = draw.XLeft, draw.YTop; s.Style%2 == 0 {
				style.XAlign, style.YAlign = draw.XRight, draw.YBottom
				x, y = x-8, y+4
			}
			c.FillText(style, vg.Point{X: x + 4, Y: y - 2}, m.Label)
		}
	}
}

// labels names the series to the right of the panel, each near its end and none on
// top of another, with a sample of its line.
func (d *drawing) labels(c draw.Canvas, toY func(float64) vg.Length) {
	const apart = textPoints + 3
	type place struct {
		Series
		y vg.Length
	}
	var places []place
	for _, s := range d.Series {
		switch {
		case s.Label == "":
		case len(s.Line) > 0:
			places = append(places, place{s, toY(s.Line[len(s.Line)-1].Y)})
		case len(s.Marks) > 0:
			places = append(places, place{s, toY(s.Marks[len(s.Marks)-1].Y)})
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
		c.StrokeLine2(lineStyle(p.Style), left, p.y, left+keyLength-4, p.y)
		c.DrawGlyphNoClip(glyph(p.Style), vg.Point{X: left + keyLength/2 - 2, Y: p.y})
		c.FillText(style, vg.Point{X: left + keyLength, Y: p.y + 1}, p.Label)
	}
}

// colour is from the palette of Okabe and Ito (2008), which people with any
// colour vision can tell apart; without its yellow, too faint for a line.
func colour(style int) color.Color {
	palette := [paletteSize]color.RGBA{
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

const paletteSize = 7

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
