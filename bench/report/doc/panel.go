package doc

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Sizes within a panel. It is drawn small so that it can be read at its own size on a
// phone; on paper two stand side by side.
const (
	panelWidth = 380
	plotHeight = 190
	lowHeight  = 84
	rowHeight  = 28 // of a row of bars
	lineHeight = 13.5
	edge       = 6
	swatchLong = 22 // length of the sample of a line before its name
	besideMost = 118
)

func titleFace() face { return face{size: 12, bold: true, colour: inkColour, anchor: centred} }
func nameFace() face  { return face{size: 12, colour: inkColour, anchor: fromLeft} }
func noteFace() face  { return face{size: 10, colour: softColour, anchor: fromLeft} }
func axisFace(anchor string) face {
	return face{size: 11, colour: softColour, anchor: anchor}
}

// frame is where the parts of a panel are: alike for all panels of a figure, so that
// their plots are of one size and in line.
type frame struct {
	height float64
	plot   box
	keyed  bool // series are named below the plot, not beside it
}

func frameOf(panels []Panel) frame {
	var f frame
	var left, right, title, label, tall, ticks, below, key float64
	for _, p := range panels {
		left = max(left, axisFace(fromRight).widest(rowNames(p.Y)))
		names := p.names()
		right = max(right, nameFace().widest(names))
		title = max(title, float64(len(titleFace().wrap(p.Title, panelWidth-2*edge, 3))))
		label = max(label, float64(len(p.axisLabel(p.Y))))
		below = max(below, float64(len(p.axisLabel(p.X))))
		tall = max(tall, p.tall())
		f.keyed = f.keyed || p.barred() && len(names) > 0 || float64(len(names))*(lineHeight+1.5) > p.tall()
	}
	f.keyed = f.keyed || right > besideMost
	f.plot = box{left + edge + 8, edge + (title+label)*lineHeight + 9, panelWidth - 16, 0}
	if right > 0 && !f.keyed {
		f.plot.right = panelWidth - edge - swatchLong - 10 - right
	}
	f.plot.bottom = f.plot.top + tall
	for _, p := range panels {
		for _, t := range f.ticksBelow(p.X) {
			ticks = max(ticks, float64(t.row+len(t.lines)))
		}
		if f.keyed {
			key = max(key, p.legend().height())
		}
	}
	f.height = math.Ceil(f.plot.bottom + 8 + (ticks+below)*lineHeight + key + edge)
	return f
}

// names are those of the series.
func (p Panel) names() []string {
	var names []string
	for _, s := range p.Series {
		if s.Label != "" {
			names = append(names, s.Label)
		}
	}
	return names
}

// axisLabel is in lines what an axis says of itself.
func (p Panel) axisLabel(a Axis) []string {
	return axisFace(fromLeft).wrap(a.Label, panelWidth-2*edge, 2)
}

// barred reports whether the panel has rows of bars.
func (p Panel) barred() bool {
	return slices.ContainsFunc(p.Series, func(s Series) bool { return len(s.Bars) > 0 })
}

// tall is the height of the plot.
func (p Panel) tall() float64 {
	switch {
	case p.barred():
		return max(2, float64(len(p.Y.Ticks))) * rowHeight
	case p.Low:
		return lowHeight
	default:
		return plotHeight
	}
}

// rowNames are the labels beside an axis in lines, all together.
func rowNames(a Axis) []string {
	var out []string
	for _, t := range a.Ticks {
		out = append(out, rowName(t)...)
	}
	return out
}

// rowName is the label of a tick beside an axis, in lines.
func rowName(t Tick) []string { return axisFace(fromRight).wrap(t.Label, 126, 2) }

// tickText is a label below an axis: its middle, its lines and the row that it begins in.
type tickText struct {
	x     float64
	lines []string
	row   int
}

// ticksBelow finds a place for each label below an axis. One that is too wide for its
// place is broken, or moves down; one that fits nowhere is left out.
func (f frame) ticksBelow(a Axis) []tickText {
	const most = 4 // rows
	face := axisFace(centred)
	slot, last := math.Inf(1), math.Inf(-1)
	for _, t := range a.Ticks {
		if t.Label != "" {
			x := f.x(a, t.Value)
			slot, last = min(slot, math.Abs(x-last)), x
		}
	}
	var out []tickText
	for _, t := range a.Ticks {
		lines := face.wrap(t.Label, max(min(slot, panelWidth-2*edge)-6, 44), 3)
		if len(lines) == 0 {
			continue
		}
		half := face.widest(lines)/2 + 1
		place := tickText{min(max(f.x(a, t.Value), half), panelWidth-half), lines, 0}
		taken := func(o tickText) bool {
			return o.row < place.row+len(lines) && place.row < o.row+len(o.lines) && math.Abs(o.x-place.x) < half+face.widest(o.lines)/2+3
		}
		for slices.ContainsFunc(out, taken) {
			place.row++
		}
		if place.row+len(lines) <= most {
			out = append(out, place)
		}
	}
	return out
}

func (f frame) x(a Axis, v float64) float64 { return f.plot.left + a.at(v)*(f.plot.right-f.plot.left) }
func (f frame) y(a Axis, v float64) float64 {
	return f.plot.bottom - a.at(v)*(f.plot.bottom-f.plot.top)
}

func (f frame) at(p Panel, v Point) Point { return Point{f.x(p.X, v.X), f.y(p.Y, v.Y)} }

// draw draws a panel.
func (f frame) draw(p Panel) *canvas {
	c := &canvas{}
	y := float64(edge)
	for _, line := range titleFace().wrap(p.Title, panelWidth-2*edge, 3) {
		c.text(titleFace(), panelWidth/2, y+lineHeight/2, line)
		y += lineHeight
	}
	y = f.plot.top - 9
	for _, line := range slices.Backward(p.axisLabel(p.Y)) {
		y -= lineHeight
		c.text(axisFace(fromLeft), edge, y+lineHeight/2, line)
	}
	bottom := f.axes(c, p)
	for i, s := range p.Series {
		f.series(c, p, i, s)
	}
	for _, s := range p.Series {
		f.marks(c, p, s)
	}
	f.notes(c, p)
	if f.keyed {
		f.legend(c, p, bottom)
	} else {
		f.namesBeside(c, p)
	}
	return c
}

// Collisions tells which texts of a drawing are on top of another, of a mark, of an axis or
// of the end of a line, or reach out of it. There are to be none, whatever the figure says.
func Collisions(f Figure) []string {
	var out []string
	fr := frameOf(f.Panels)
	corner := Point{fr.plot.left, fr.plot.bottom}
	for _, p := range f.Panels {
		c := fr.draw(p)
		tell := func(t placed, what string) {
			out = append(out, fmt.Sprintf("%s: %s: %q %s", f.Title, p.Title, t.text, what))
		}
		for i, t := range c.texts {
			for _, o := range c.texts[:i] {
				if t.overlaps(o.box) {
					tell(t, fmt.Sprintf("is on %q", o.text))
				}
			}
			if !t.within(box{0, 0, panelWidth, fr.height}) {
				tell(t, "reaches out of its panel")
			}
			if slices.ContainsFunc(c.marks, t.overlaps) {
				tell(t, "is on a mark")
			}
			if t.crossed(corner, Point{fr.plot.left, fr.plot.top}) || t.crossed(corner, Point{fr.plot.right, fr.plot.bottom}) {
				tell(t, "is on an axis")
			}
			for _, s := range p.Series {
				if n := len(s.Line); n > 0 && (t.crossed(fr.at(p, s.Line[0]), fr.at(p, s.Line[0])) || t.crossed(fr.at(p, s.Line[n-1]), fr.at(p, s.Line[n-1]))) {
					tell(t, "is on the end of a line")
				}
			}
		}
	}
	return out
}

// axes draws the grid, the axes and their labels, and returns where the room below them
// begins.
func (f frame) axes(c *canvas, p Panel) float64 {
	for _, t := range p.X.Ticks {
		x := f.x(p.X, t.Value)
		if t.Label == "" {
			c.line(axisColour, 0.6, nil, Point{x, f.plot.bottom}, Point{x, f.plot.bottom + 2.5})
			continue
		}
		c.line(gridColour, 0.8, nil, Point{x, f.plot.top}, Point{x, f.plot.bottom})
		c.line(axisColour, 0.8, nil, Point{x, f.plot.bottom}, Point{x, f.plot.bottom + 4})
	}
	face := axisFace(fromRight)
	last, lastHalf := math.Inf(1), 0.0
	for _, t := range p.Y.Ticks { // from the bottom up, or from the top down
		y := f.y(p.Y, t.Value)
		if t.Label == "" {
			c.line(axisColour, 0.6, nil, Point{f.plot.left - 2.5, y}, Point{f.plot.left, y})
			continue
		}
		if !p.barred() {
			c.line(gridColour, 0.8, nil, Point{f.plot.left, y}, Point{f.plot.right, y})
		}
		c.line(axisColour, 0.8, nil, Point{f.plot.left - 4, y}, Point{f.plot.left, y})
		lines := rowName(t)
		half := float64(len(lines)) / 2 * face.size * 1.05
		if math.Abs(last-y) < lastHalf+half {
			continue
		}
		last, lastHalf = y, half
		for i, line := range lines {
			c.text(face, f.plot.left-7, y+(float64(i)-float64(len(lines)-1)/2)*face.size*1.05, line)
		}
	}
	c.line(axisColour, 1, nil, Point{f.plot.left, f.plot.top}, Point{f.plot.left, f.plot.bottom}, Point{f.plot.right, f.plot.bottom})
	bottom, rows := f.plot.bottom+6, 0
	for _, t := range f.ticksBelow(p.X) {
		for i, line := range t.lines {
			c.text(axisFace(centred), t.x, bottom+(float64(t.row+i)+0.5)*lineHeight, line)
		}
		rows = max(rows, t.row+len(t.lines))
	}
	bottom += float64(rows)*lineHeight + 2
	for _, line := range p.axisLabel(p.X) {
		face := axisFace(centred)
		half := face.width(line) / 2
		c.text(face, min(max((f.plot.left+f.plot.right)/2, edge+half), panelWidth-edge-half), bottom+lineHeight/2, line)
		bottom += lineHeight
	}
	return bottom
}

// series draws the area, the line and the bars of a series.
func (f frame) series(c *canvas, p Panel, number int, s Series) {
	look := lookOf(s.Style)
	for _, run := range unbroken(s.Band, func(b Span) bool { return b.Low <= b.High }) {
		var around []Point
		for _, b := range run {
			around = append(around, f.at(p, Point{b.X, b.High}))
		}
		for _, b := range slices.Backward(run) {
			around = append(around, f.at(p, Point{b.X, b.Low}))
		}
		c.area(look.colour, around...)
	}
	for _, run := range unbroken(s.Line, func(at Point) bool { return !math.IsNaN(at.Y) }) {
		var through []Point
		for _, at := range run {
			through = append(through, f.at(p, at))
		}
		if len(through) == 1 { // a stub shows that it is there
			through = []Point{{through[0].X - 0.5, through[0].Y}, {through[0].X + 0.5, through[0].Y}}
		}
		c.line(look.colour, 1.6, look.dashes, through...)
	}
	for _, b := range s.Bars {
		y := f.y(p.Y, b.Y)
		place := box{f.x(p.X, b.From), y - rowHeight*0.33, f.x(p.X, b.To), y + rowHeight*0.33}
		text := b.Label
		if p.Numbered {
			text = strconv.Itoa(number + 1)
		}
		f.bar(c, s.Style, place, text, !p.Numbered)
	}
}

// unbroken are the stretches of what is there.
func unbroken[T any](list []T, there func(T) bool) [][]T {
	var out [][]T
	open := false
	for _, x := range list {
		switch {
		case !there(x):
			open = false
		case open:
			out[len(out)-1] = append(out[len(out)-1], x)
		default:
			out, open = append(out, []T{x}), true
		}
	}
	return out
}

// bar draws one, with a short text in it if that fits, or else beside it if it may
// stand there.
func (f frame) bar(c *canvas, style int, place box, text string, beside bool) {
	fill, edgeColour := areaColours(style)
	c.rect(place, edgeColour)
	if inner := (box{place.left + 0.8, place.top + 0.8, place.right - 0.8, place.bottom - 0.8}); inner.right > inner.left {
		c.rect(inner, fill)
	}
	face, y := noteFace(), (place.top+place.bottom)/2
	switch width := face.width(text); {
	case width+3 <= place.right-place.left:
		face.anchor, face.colour = centred, onColour(fill)
		c.text(face, (place.left+place.right)/2, y, text)
	case !beside:
	case place.right+4+width <= panelWidth-2:
		c.text(face, place.right+4, y, text)
	default:
		face.anchor = fromRight
		c.text(face, place.left-4, y, text)
	}
}

// marks draws the points of a series with their intervals.
func (f frame) marks(c *canvas, p Panel, s Series) {
	look := lookOf(s.Style)
	const whisker = 2.5
	for _, m := range s.Marks {
		x, y := f.x(p.X, m.X), f.y(p.Y, m.Y)
		if m.XHigh > m.XLow {
			low, high := f.x(p.X, m.XLow), f.x(p.X, m.XHigh)
			c.line(look.colour, 1, nil, Point{low, y}, Point{high, y})
			c.line(look.colour, 1, nil, Point{low, y - whisker}, Point{low, y + whisker})
			c.line(look.colour, 1, nil, Point{high, y - whisker}, Point{high, y + whisker})
		}
		if m.YHigh > m.YLow {
			low, high := f.y(p.Y, m.YLow), f.y(p.Y, m.YHigh)
			c.line(look.colour, 1, nil, Point{x, low}, Point{x, high})
			c.line(look.colour, 1, nil, Point{x - whisker, low}, Point{x + whisker, low})
			c.line(look.colour, 1, nil, Point{x - whisker, high}, Point{x + whisker, high})
		}
		c.mark(look, x, y)
	}
}

// notes writes the labels of the marks, each where it covers no mark and no other text,
// and as few lines as can be; one that has no such place is left out.
func (f frame) notes(c *canvas, p Panel) {
	var lines [][2]Point
	for _, s := range p.Series {
		for i := 1; i < len(s.Line); i++ {
			lines = append(lines, [2]Point{f.at(p, s.Line[i-1]), f.at(p, s.Line[i])})
		}
		for _, m := range s.Marks {
			lines = append(lines, [2]Point{f.at(p, Point{m.X, cmp.Or(m.YLow, m.Y)}), f.at(p, Point{m.X, cmp.Or(m.YHigh, m.Y)})},
				[2]Point{f.at(p, Point{cmp.Or(m.XLow, m.X), m.Y}), f.at(p, Point{cmp.Or(m.XHigh, m.X), m.Y})})
		}
	}
	face := noteFace()
	inside := box{f.plot.left + 1, f.plot.top + 1, f.plot.right - 1, f.plot.bottom - 1}
	for _, s := range p.Series {
		for _, m := range s.Marks {
			if m.Label == "" {
				continue
			}
			best, fewest := box{}, math.MaxInt
			for _, at := range around(f.x(p.X, m.X), f.y(p.Y, m.Y), face.width(m.Label), face.size) {
				apart := box{at.left - 1, at.top, at.right + 1, at.bottom} // a browser may round a width up
				if !at.within(inside) || slices.ContainsFunc(c.marks, at.overlaps) ||
					slices.ContainsFunc(c.texts, func(t placed) bool { return t.overlaps(apart) }) {
					continue
				}
				crossing := 0
				for _, l := range lines {
					if at.crossed(l[0], l[1]) {
						crossing++
					}
				}
				if crossing < fewest {
					best, fewest = at, crossing
				}
			}
			if fewest < math.MaxInt {
				c.text(face, best.left, (best.top+best.bottom)/2, m.Label)
			}
		}
	}
}

// around are the places for a text near a point, the nearest first.
func around(x, y, width, height float64) []box {
	var out []box
	for _, gap := range []float64{2, 7, 14, 24} {
		far := markRadius + gap
		for _, side := range []Point{{1, 1}, {-1, -1}, {-1, 1}, {1, -1}, {1, 0}, {0, 1}, {0, -1}, {-1, 0}} {
			middle := Point{x + side.X*(far+width/2), y + side.Y*(far+height/2)}
			if side.X != 0 && side.Y != 0 {
				middle.Y = y + side.Y*(far*0.4+height/2)
			}
			out = append(out, box{middle.X - width/2, middle.Y - height/2, middle.X + width/2, middle.Y + height/2})
		}
	}
	return out
}

// namesBeside names the series to the right of the plot, each near its end and none on
// top of another.
func (f frame) namesBeside(c *canvas, p Panel) {
	const apart = lineHeight + 1.5
	type name struct {
		Series
		y float64
	}
	var names []name
	for _, s := range p.Series {
		line := slices.DeleteFunc(slices.Clone(s.Line), func(at Point) bool { return math.IsNaN(at.Y) })
		switch {
		case s.Label == "":
		case len(line) > 0:
			names = append(names, name{s, f.y(p.Y, line[len(line)-1].Y)})
		case len(s.Marks) > 0:
			names = append(names, name{s, f.y(p.Y, s.Marks[len(s.Marks)-1].Y)})
		default:
			names = append(names, name{s, f.plot.bottom})
		}
	}
	slices.SortStableFunc(names, func(a, b name) int { return cmp.Compare(a.y, b.y) })
	for i := range names { // from the top down, then back up from the bottom
		highest := f.plot.top + apart/2
		if i > 0 {
			highest = names[i-1].y + apart
		}
		names[i].y = max(names[i].y, highest)
	}
	for i := len(names) - 1; i >= 0; i-- {
		lowest := f.plot.bottom - apart/2
		if i < len(names)-1 {
			lowest = names[i+1].y - apart
		}
		names[i].y = min(names[i].y, lowest)
	}
	for _, n := range names {
		left := f.plot.right + 7
		f.swatch(c, p, n.Series, left, n.y)
		c.text(nameFace(), left+swatchLong+4, n.y, n.Label)
	}
}

// swatch draws a bit of a series, as its name's.
func (f frame) swatch(c *canvas, p Panel, s Series, left, y float64) {
	if len(s.Line) > 0 || !slices.ContainsFunc(p.Series, func(s Series) bool { return len(s.Marks) > 0 }) {
		c.line(lookOf(s.Style).colour, 1.6, lookOf(s.Style).dashes, Point{left, y}, Point{left + swatchLong, y})
	}
	if len(s.Marks) > 0 {
		c.mark(lookOf(s.Style), left+swatchLong/2, y)
	}
}

// legend is the names of a panel's series in rows.
type legend struct {
	columns int
	lines   [][]string // of each series
}

// legend lays out the names of the series below the plot: in two columns if they fit.
func (p Panel) legend() legend {
	k := legend{columns: 2}
	width := func() float64 { return (panelWidth-2*edge)/float64(k.columns) - swatchLong - 10 }
	if nameFace().widest(p.names()) > width() {
		k.columns = 1
	}
	for _, s := range p.Series {
		k.lines = append(k.lines, nameFace().wrap(s.Label, width(), 3))
	}
	return k
}

// rows are the heights of the rows in lines, the series running down the columns.
func (k legend) rows() []int {
	rows := make([]int, (len(k.lines)+k.columns-1)/k.columns)
	for i, lines := range k.lines {
		rows[i%len(rows)] = max(rows[i%len(rows)], len(lines))
	}
	return rows
}

func (k legend) height() float64 {
	height := 0
	for _, n := range k.rows() {
		height += n
	}
	return float64(height)*(lineHeight+1) + 6
}

// legend draws the legend of a panel from y down.
func (f frame) legend(c *canvas, p Panel, y float64) {
	k := p.legend()
	rows := k.rows()
	for i, s := range p.Series {
		row, column := i%len(rows), i/len(rows)
		top := y + 6
		for _, n := range rows[:row] {
			top += float64(n) * (lineHeight + 1)
		}
		left := edge + float64(column)*(panelWidth-2*edge)/float64(k.columns)
		if len(k.lines[i]) == 0 {
			continue
		}
		middle := top + (lineHeight+1)/2
		if p.Numbered {
			f.bar(c, s.Style, box{left, middle - 6, left + swatchLong - 4, middle + 6}, strconv.Itoa(i+1), false)
		} else {
			f.swatch(c, p, s, left, middle)
		}
		for j, line := range k.lines[i] {
			c.text(nameFace(), left+swatchLong+5, middle+float64(j)*(lineHeight+1), line)
		}
	}
}
