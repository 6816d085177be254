package doc

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SVG draws the panels of a figure in rows of two, as a file of its own.
func SVG(f Figure, stamp string) []byte {
	f = clean(f)
	const columns = 2
	fr := frameOf(f.Panels)
	rows := (len(f.Panels) + columns - 1) / columns
	width, height := panelWidth*float64(min(columns, len(f.Panels))), fr.height*float64(rows)
	var out bytes.Buffer
	out.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" role="img" font-family="%[3]s">`+"\n<title>%[4]s</title>\n",
		digits(width), digits(height), svgFonts, escaped(f.Title))
	fmt.Fprintf(&out, `<rect width="%s" height="%s" fill="#ffffff"/>`+"\n", digits(width), digits(height))
	for i, p := range f.Panels {
		fmt.Fprintf(&out, `<g transform="translate(%s %s)">`+"\n%s</g>\n", digits(float64(i%columns)*panelWidth), digits(float64(i/columns)*fr.height), fr.draw(p).out.Bytes())
	}
	out.WriteString("</svg>\n")
	if stamp != "" {
		out.WriteString("<!-- " + stamp + " -->\n")
	}
	return out.Bytes()
}

// panelsSVG draws each panel by itself, to be put into a page that arranges them.
func panelsSVG(f Figure) []string {
	fr := frameOf(f.Panels)
	var out []string
	for _, p := range f.Panels {
		title := f.Title
		if p.Title != "" {
			title += ": " + p.Title
		}
		out = append(out, fmt.Sprintf(`<svg viewBox="0 0 %s %s" role="img">`+"\n<title>%s</title>\n%s</svg>",
			digits(panelWidth), digits(fr.height), escaped(title), fr.draw(p).out.String()))
	}
	return out
}

// svgFonts are those of a drawing, as those of the page are. Arial and Helvetica have the
// widths of Liberation Sans, which texts are measured with.
const svgFonts = "'Liberation Sans',Arial,Helvetica,'DejaVu Sans',sans-serif"

// Colours of what is not data, as hexadecimal digits.
const (
	inkColour  = "1a1a1a"
	softColour = "4d4d4d"
	axisColour = "6b6b6b"
	gridColour = "e3e3e3"
	white      = "ffffff"
)

// box is a place in a drawing; y grows downwards.
type box struct{ left, top, right, bottom float64 }

func (b box) overlaps(c box) bool {
	return b.left < c.right && c.left < b.right && b.top < c.bottom && c.top < b.bottom
}

func (b box) within(c box) bool {
	return b.left >= c.left && b.right <= c.right && b.top >= c.top && b.bottom <= c.bottom
}

// crossed reports whether the line from a to b touches the box.
func (b box) crossed(from, to Point) bool {
	enter, leave := 0.0, 1.0
	for _, side := range [][2]float64{ // Liang and Barsky (1984)
		{from.X - to.X, from.X - b.left}, {to.X - from.X, b.right - from.X}, {from.Y - to.Y, from.Y - b.top}, {to.Y - from.Y, b.bottom - from.Y},
	} {
		switch step, room := side[0], side[1]; {
		case step == 0 && room < 0:
			return false
		case step < 0:
			enter = max(enter, room/step)
		case step > 0:
			leave = min(leave, room/step)
		}
	}
	return enter <= leave
}

// canvas collects the elements of a drawing, and where its texts and its marks are.
type canvas struct {
	out   bytes.Buffer
	texts []placed
	marks []box
}

// placed is a text in its place.
type placed struct {
	box
	text string
}

// Where a text stands about its place.
const (
	fromLeft  = "start"
	centred   = "middle"
	fromRight = "end"
)

// face is how a text is written.
type face struct {
	size   float64
	bold   bool
	colour string
	anchor string
}

// place is the box of a text of one line whose middle is at y.
func (f face) place(x, y float64, text string) box {
	width := f.width(text)
	switch f.anchor {
	case centred:
		x -= width / 2
	case fromRight:
		x -= width
	}
	return box{x, y - 0.5*f.size, x + width, y + 0.5*f.size}
}

// text writes one line, its middle at y.
func (c *canvas) text(f face, x, y float64, text string) {
	if text == "" {
		return
	}
	c.texts = append(c.texts, placed{f.place(x, y, text), text})
	fmt.Fprintf(&c.out, `<text x="%s" y="%s" font-size="%s" fill="#%s"`, digits(x), digits(y+0.35*f.size), digits(f.size), f.colour)
	if f.bold {
		c.out.WriteString(` font-weight="bold"`)
	}
	if f.anchor != fromLeft {
		fmt.Fprintf(&c.out, ` text-anchor="%s"`, f.anchor)
	}
	fmt.Fprintf(&c.out, ">%s</text>\n", escaped(text))
}

// rect fills a box.
func (c *canvas) rect(b box, colour string) {
	fmt.Fprintf(&c.out, `<rect x="%s" y="%s" width="%s" height="%s" fill="#%s"/>`+"\n",
		digits(b.left), digits(b.top), digits(max(0.5, b.right-b.left)), digits(b.bottom-b.top), colour)
}

// line strokes a path through places.
func (c *canvas) line(colour string, width float64, dashes []float64, through ...Point) {
	fmt.Fprintf(&c.out, `<path d="%s" fill="none" stroke="#%s" stroke-width="%s"`, pathOf(through), colour, digits(width))
	for i, d := range dashes {
		c.out.WriteString([]string{` stroke-dasharray="`, ` `}[min(i, 1)] + digits(d))
	}
	if len(dashes) > 0 {
		c.out.WriteString(`"`)
	}
	c.out.WriteString("/>\n")
}

// area fills what lies within a path, faintly.
func (c *canvas) area(colour string, around ...Point) {
	fmt.Fprintf(&c.out, `<path d="%sZ" fill="#%s" fill-opacity="0.16"/>`+"\n", pathOf(around), colour)
}

func pathOf(through []Point) string {
	var b strings.Builder
	for i, p := range through {
		b.WriteString([]string{"M", "L"}[min(i, 1)] + digits(p.X) + " " + digits(p.Y))
	}
	return b.String()
}

// markRadius is half the size of a mark.
const markRadius = 3.2

// mark draws a shape.
func (c *canvas) mark(l look, x, y float64) {
	const r = markRadius
	c.marks = append(c.marks, box{x - r, y - r, x + r, y + r})
	around := func(steps ...Point) {
		for i := range steps {
			steps[i] = Point{x + r*steps[i].X, y + r*steps[i].Y}
		}
		fmt.Fprintf(&c.out, `<path d="%sZ" fill="#%s"/>`+"\n", pathOf(steps), l.colour)
	}
	switch l.shape {
	case square:
		around(Point{-0.9, -0.9}, Point{0.9, -0.9}, Point{0.9, 0.9}, Point{-0.9, 0.9})
	case triangle:
		around(Point{0, -1.15}, Point{1.1, 0.85}, Point{-1.1, 0.85})
	case down:
		around(Point{0, 1.15}, Point{1.1, -0.85}, Point{-1.1, -0.85})
	case diamond:
		around(Point{0, -1.25}, Point{1.25, 0}, Point{0, 1.25}, Point{-1.25, 0})
	case cross:
		c.line(l.colour, 1.8, nil, Point{x - r, y - r}, Point{x + r, y + r})
		c.line(l.colour, 1.8, nil, Point{x - r, y + r}, Point{x + r, y - r})
	case plus:
		c.line(l.colour, 1.8, nil, Point{x - r, y}, Point{x + r, y})
		c.line(l.colour, 1.8, nil, Point{x, y - r}, Point{x, y + r})
	default:
		fmt.Fprintf(&c.out, `<circle cx="%s" cy="%s" r="%s" fill="#%s"/>`+"\n", digits(x), digits(y), digits(r), l.colour)
	}
}

// escaped is a text within XML; what may not stand there, such as a control character, is
// replaced.
func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes all
	return b.String()
}

// digits writes a length with no more than it needs.
func digits(v float64) string {
	s := strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

// width is the room that a text needs: that of Liberation Sans, rounded up a little.
func (f face) width(text string) float64 {
	thousandths := 0
	for _, r := range text {
		thousandths += advance(r)
	}
	width := float64(thousandths) * f.size / 1000
	if f.bold {
		width *= 1.1
	}
	return width
}

// advance is the width of a letter in thousandths of the size, or more.
func advance(r rune) int {
	for _, w := range []struct {
		thousandths int
		letters     string
	}{
		{223, "'ijl’"}, {278, " !,./:;I[\\]ft|\u00a0·"}, {355, "()-`r{}²³“”\"г"}, {400, "*°"}, {470, "кзт^"}, {500, "Jcksvxyzсух"},
		{557, "#$0123456789?L_abdeghnopquаеорё«»–†‡эчьвГпян±≥≤"}, {584, "ийбцµμКдл+<=>~×"}, {625, "FTZТЗъ"}, {668, "&ABEKPSVXYАВЕРХЧУБЛЬЁ"},
		{723, "CDHNRUwНСЯДжмИЙПЭы"}, {792, "GOQОЪЦФю"}, {834, "MmМшфщ"},
	} {
		if strings.ContainsRune(w.letters, r) {
			return w.thousandths
		}
	}
	return 1016 // the widest letter
}

// wrap breaks a text into lines of at most that width, no more than most; what then is
// left is cut.
func (f face) wrap(text string, width float64, most int) []string {
	if text == "" {
		return nil
	}
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines); n > 0 && f.width(lines[n-1]+" "+word) <= width {
			lines[n-1] += " " + word
			continue
		}
		for f.width(word) > width { // it fills lines of its own
			end := 0
			for i := range word {
				if f.width(word[:i]) > width {
					break
				}
				end = i
			}
			if end == 0 {
				break // a single letter
			}
			lines = append(lines, word[:end])
			word = word[end:]
		}
		lines = append(lines, word)
	}
	if len(lines) > most {
		last := []rune(lines[most-1])
		for len(last) > 0 && f.width(string(last)+"…") > width {
			last = last[:len(last)-1]
		}
		lines = append(slices.Clone(lines[:most-1]), string(last)+"…")
	}
	return lines
}

// widest is the room that the widest of the texts needs.
func (f face) widest(texts []string) float64 {
	widest := 0.0
	for _, t := range texts {
		widest = max(widest, f.width(t))
	}
	return widest
}
