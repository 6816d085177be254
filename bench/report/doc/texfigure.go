package doc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// figure draws a figure with pgfplots, as a file that a document takes in and that can
// be compiled by itself too.
func (t *texWriter) figure(f Figure) string {
	var b strings.Builder
	b.WriteString(t.comment())
	b.WriteString("\\ifdefined\\RaftlabStyle\\else\n  \\def\\RaftlabAlone{}\n  \\documentclass[border=4pt,varwidth=165mm]{standalone}\n" +
		"  \\input{../preamble}\n  \\begin{document}\n\\fi\n")
	styles, key := texStyles(f)
	columns := 1
	if len(f.Panels) > 1 && !hasBars(f) {
		columns = 2
	}
	rows := (len(f.Panels) + columns - 1) / columns
	fmt.Fprintf(&b, "\\tikzset{%s}\n\\begin{tikzpicture}\n\\begin{groupplot}[raftlab, group style={group size=%d by %d, horizontal sep=0.12\\linewidth, vertical sep=%dmm},\n  width=%s\\linewidth]\n",
		styles, columns, rows, texBetween(f), texWidth(f, columns))
	for i, x := range f.Panels {
		if below := i + columns; below < len(f.Panels) && f.Panels[below].X.Label == x.X.Label {
			x.X.Label = "" // the lowest and the leftmost say it
		}
		if columns > 1 && i%columns > 0 && f.Panels[i-1].Y.Label == x.Y.Label {
			x.Y.Label = ""
		}
		b.WriteString(t.panel(x, rows))
	}
	b.WriteString("\\end{groupplot}\n\\end{tikzpicture}\n")
	if len(key) > 0 {
		b.WriteString("\\par\\smallskip{\\footnotesize\\centering\n")
		for _, s := range key {
			command := "RaftlabKey{raftlab " + strconv.Itoa(s.Style) + "}"
			if len(s.Bars) > 0 || hasBars(f) {
				command = "RaftlabBar{" + texColour(s.Style) + "}"
			}
			b.WriteString("\\" + command + "{" + t.text(s.Label) + "}\\quad\n")
		}
		b.WriteString("\\par}\n")
	}
	b.WriteString("\\ifdefined\\RaftlabAlone\\def\\RaftlabEnd{\\end{document}}\\else\\let\\RaftlabEnd\\relax\\fi\\RaftlabEnd\n")
	return b.String()
}

// texWidth is how much of the line a panel is wide, of so many beside each other. Long labels at
// the left take from it.
func texWidth(f Figure, columns int) string {
	longest := 4.0 // for which there is room
	for _, p := range f.Panels {
		for _, tick := range p.Y.Ticks {
			longest = max(longest, texLength(tick.Label))
		}
	}
	switch {
	case hasBars(f):
		return "0.6"
	case columns == 1:
		return "0.7"
	}
	return strconv.FormatFloat(0.38-0.01*(longest-4), 'g', 3, 64)
}

// texBetween is the room between rows of panels, in mm.
func texBetween(f Figure) int {
	if slices.ContainsFunc(f.Panels, func(p Panel) bool { return p.X.Label != f.Panels[0].X.Label }) {
		return 18
	}
	if slices.ContainsFunc(f.Panels, func(p Panel) bool { return texLength(p.Title) > 26 }) { // of two lines
		return 17
	}
	return 13
}

func hasBars(f Figure) bool { return slices.ContainsFunc(f.Panels, Panel.barred) }

// texStyles are the looks of a figure's series, and those of them that have names.
func texStyles(f Figure) (options string, key []Series) {
	var styles []string
	var known []int
	for _, p := range f.Panels {
		for _, s := range p.Series {
			if !slices.Contains(known, s.Style) {
				known = append(known, s.Style)
				styles = append(styles, fmt.Sprintf("\n  raftlab %d/.style={%s}", s.Style, texLook(s.Style)))
			}
			if s.Label != "" && !slices.ContainsFunc(key, func(k Series) bool { return k.Label == s.Label }) {
				key = append(key, s)
			}
		}
	}
	return strings.Join(styles, ",") + ",\n", key
}

// texColour is a colour of a style. Bars need more colours than lines: the second round
// is lighter.
func texColour(style int) string {
	c := lookOf(style).colour
	rgb := func(i int) string {
		v, _ := strconv.ParseUint(c[2*i:2*i+2], 16, 8) // our own digits
		return strconv.FormatUint(v, 10)
	}
	text := "{rgb,255:red," + rgb(0) + ";green," + rgb(1) + ";blue," + rgb(2) + "}"
	if style >= Colours {
		text += "!35"
	}
	return text
}

func texLook(style int) string {
	l := lookOf(style)
	text := "color=" + strings.TrimSuffix(texColour(style), "!35") + ", line width=0.8pt, mark=" + map[shape]string{
		circle: "*", square: "square*", triangle: "triangle*", diamond: "diamond*", cross: "x", down: "triangle*, mark options={rotate=180}", plus: "+",
	}[l.shape] + ", mark size=1.6pt"
	if len(l.dashes) == 0 {
		return text + ", solid"
	}
	text += ", dash pattern="
	for i, d := range l.dashes {
		text += []string{"on ", "off "}[i%2] + strconv.FormatFloat(d, 'g', -1, 64) + "pt "
	}
	return strings.TrimRight(text, " ") + ", every mark/.append style={solid}"
}

// panel draws one panel of so many rows of them.
func (t *texWriter) panel(x Panel, rows int) string {
	var b strings.Builder
	height := min(36, 215/float64(rows)-18) // mm; two figures of two rows are a page
	label := fmt.Sprintf("ylabel style={align=center, text width=%.0fmm}", height)
	if x.Low { // too low for a name beside it
		height /= 2
		label = "ylabel style={at={(axis description cs:0,1)}, anchor=south west, rotate=-90}"
	}
	style := ""
	if x.barred() {
		style, height = "raftlab rows, ", max(20, 7*float64(len(x.Y.Ticks)))
	}
	fmt.Fprintf(&b, "\\nextgroupplot[%sheight=%.0fmm, %s, title={%s},\n  %s,\n  %s]\n", style, height, label, t.text(x.Title), t.axis("x", x.X), t.axis("y", x.Y))
	for _, s := range x.Series {
		b.WriteString(t.series(x, s))
	}
	return b.String()
}

// axis has its ends, and its ticks with their labels. What is not linear or logarithmic
// is stretched here, since pgfplots calculates with few digits.
func (t *texWriter) axis(name string, a Axis) string {
	var at, labels, small []string
	for _, tick := range a.Ticks {
		if tick.Label == "" {
			small = append(small, texPlace(a, tick.Value))
			continue
		}
		at, labels = append(at, texPlace(a, tick.Value)), append(labels, "{"+t.text(tick.Label)+"}")
	}
	mode := "normal"
	if a.Scale == Log {
		mode = "log"
	}
	text := fmt.Sprintf("%[1]smode=%[2]s, %[1]smin=%[3]s, %[1]smax=%[4]s, %[1]slabel={%[5]s}, %[1]stick={%[6]s}, %[1]sticklabels={%[7]s}",
		name, mode, texPlace(a, a.Low), texPlace(a, a.High), t.text(a.Label), strings.Join(at, ","), strings.Join(labels, ","))
	if len(small) > 0 {
		text += fmt.Sprintf(", minor %stick={%s}", name, strings.Join(small, ","))
	}
	return text
}

// texPlace is a place on an axis as pgfplots takes it.
func texPlace(a Axis, v float64) string {
	if a.Scale == Nines {
		v = -math.Log10(1 - v)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "nan"
	}
	return strconv.FormatFloat(v, 'g', 7, 64)
}

func (t *texWriter) series(x Panel, s Series) string {
	var b strings.Builder
	place := func(p Point) string { return "(" + texPlace(x.X, p.X) + "," + texPlace(x.Y, p.Y) + ")" }
	style := "raftlab " + strconv.Itoa(s.Style)
	for _, bar := range s.Bars {
		fmt.Fprintf(&b, "\\fill[%s] (axis cs:%s,%g) rectangle (axis cs:%s,%g);\n", texColour(s.Style), texPlace(x.X, bar.From), bar.Y-0.32, texPlace(x.X, bar.To), bar.Y+0.32)
		if bar.Label != "" {
			fmt.Fprintf(&b, "\\node[right, font=\\scriptsize, inner sep=2pt] at (axis cs:%s,%g) {%s};\n", texPlace(x.X, bar.To), bar.Y, t.text(bar.Label))
		}
	}
	if len(s.Band) > 0 {
		var low, high []string
		for _, span := range s.Band {
			low = append(low, place(Point{span.X, span.Low}))
			high = append(high, place(Point{span.X, span.High}))
		}
		slices.Reverse(high)
		fmt.Fprintf(&b, "\\addplot[draw=none, fill=%s, fill opacity=0.18] coordinates {%s} -- cycle;\n", strings.TrimSuffix(texColour(s.Style), "!35"), strings.Join(append(low, high...), " "))
	}
	if len(s.Line) > 0 {
		var line []string
		for _, p := range s.Line {
			line = append(line, place(p))
		}
		fmt.Fprintf(&b, "\\addplot[%s, mark=none] coordinates {%s};\n", style, strings.Join(line, " "))
	}
	if len(s.Marks) > 0 {
		var marks []string
		for _, m := range s.Marks {
			marks = append(marks, place(m.Point)+texErrors(x, m))
		}
		fmt.Fprintf(&b, "\\addplot[%s, only marks, error bars/.cd, x dir=both, x explicit, y dir=both, y explicit, error mark options={rotate=90, mark size=1.2pt, solid}, error bar style={solid, line width=0.5pt}] coordinates {%s};\n",
			style, strings.Join(marks, " "))
	}
	for _, m := range s.Marks {
		if m.Label != "" {
			anchor := "north west"
			if s.Style%2 == 0 {
				anchor = "south east"
			}
			fmt.Fprintf(&b, "\\node[anchor=%s, font=\\tiny, inner sep=2pt] at (axis cs:%s,%s) {%s};\n", anchor, texPlace(x.X, m.X), texPlace(x.Y, m.Y), t.text(m.Label))
		}
	}
	return b.String()
}

// texErrors are the lengths of a mark's intervals.
func texErrors(x Panel, m Mark) string {
	beyond := func(low, at, high float64) (below, above string) {
		if !(high > low) {
			return "0", "0"
		}
		length := func(v float64) string { return strconv.FormatFloat(max(0, v), 'g', 7, 64) }
		return length(at - low), length(high - at)
	}
	left, right := beyond(m.XLow, m.X, m.XHigh)
	down, up := beyond(m.YLow, m.Y, m.YHigh)
	return " += (" + right + "," + up + ") -= (" + left + "," + down + ")"
}
