package doc

import (
	"image/color"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bar is a stretch of a row: of the place Y, from X to X.
type Bar struct {
	Y, From, To float64
	Label       string // behind it
}

// The key of series that are named below their panel: in two columns, by number.
const (
	keyRow     = textPoints + 3
	keyColumns = 2
	swatch     = 16 // width of a sample in it
)

// keyHeight is the room that the key below a panel needs.
func keyHeight(x Panel) vg.Length {
	if !x.Numbered {
		return 0
	}
	rows := (len(x.Series) + keyColumns - 1) / keyColumns
	return vg.Length(rows)*keyRow + 8
}

// heightOf is that of every panel of a figure.
func heightOf(panels []Panel) vg.Length {
	highest := vg.Length(panelHeight)
	for _, x := range panels {
		if rows := len(x.Y.Ticks); x.Numbered {
			highest = max(highest, 90+vg.Length(rows)*24+keyHeight(x))
		}
	}
	return highest
}

// key names the series in the lower end of an area, each with a sample of its colour.
func (p painter) key(area draw.Canvas, x Panel) {
	style := p.style(tickPoints, 20)
	style.YAlign = draw.YCenter
	rows := (len(x.Series) + keyColumns - 1) / keyColumns
	width := (area.Max.X - area.Min.X - 16) / keyColumns
	for i, s := range x.Series {
		at := vg.Point{X: area.Min.X + 8 + vg.Length(i/rows)*width, Y: area.Min.Y + keyHeight(x) - vg.Length(i%rows)*keyRow - keyRow/2}
		p.bar(area, s.Style, vg.Rectangle{Min: vg.Point{X: at.X, Y: at.Y - 6}, Max: vg.Point{X: at.X + swatch, Y: at.Y + 6}}, strconv.Itoa(i+1))
		area.FillText(style, vg.Point{X: at.X + swatch + 5, Y: at.Y + 1}, s.Label)
	}
}

// bars draws the bars of a series, with its number where there is room.
func (d *drawing) bars(c draw.Canvas, number int, s Series, toX, toY func(float64) vg.Length) {
	if len(s.Bars) == 0 {
		return // other axes may be logarithmic, and have no 0
	}
	half := min(9, (toY(1)-toY(0))*0.38)
	for _, b := range s.Bars {
		from, to, y := toX(b.From), toX(b.To), toY(b.Y)
		text := ""
		if d.Numbered {
			text = strconv.Itoa(number)
		}
		d.painter.bar(c, s.Style, vg.Rectangle{Min: vg.Point{X: from, Y: y - half}, Max: vg.Point{X: to, Y: y + half}}, text)
		if b.Label == "" {
			continue
		}
		style := d.painter.style(9, 60)
		style.YAlign = draw.YCenter
		at := vg.Point{X: to + 4, Y: y + 1}
		if at.X+style.Width(b.Label) > c.Max.X { // no room behind it
			style.XAlign, at.X = draw.XRight, from-4
		}
		c.FillText(style, at, b.Label)
	}
}

// bar draws one, with a short text in it if that fits.
func (p painter) bar(c draw.Canvas, style int, r vg.Rectangle, text string) {
	fill, ink := tint(style)
	c.FillPolygon(fill, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
	t := p.style(9, 0)
	t.Color, t.XAlign, t.YAlign = ink, draw.XCenter, draw.YCenter
	if t.Width(text)+2 <= r.Max.X-r.Min.X {
		c.FillText(t, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: (r.Min.Y+r.Max.Y)/2 + 0.5}, text)
	}
}

// tint is the colour of an area, and of text on it. Areas need more colours than lines:
// the second round is lighter.
func tint(style int) (fill, ink color.Color) {
	c, white := colour(style).(color.RGBA), color.Gray{255}
	if style < paletteSize {
		return c, white
	}
	lighter := func(v uint8) uint8 { return 255 - (255-v)/3 }
	return color.RGBA{lighter(c.R), lighter(c.G), lighter(c.B), 255}, color.Gray{0}
}
