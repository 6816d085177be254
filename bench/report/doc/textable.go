package doc

import (
	"fmt"
	"slices"
	"strings"
)

// How tables are laid out: in what sizes of type, each with about how many characters
// to a line of 165 mm, and from how many lines a table may break over pages.
const (
	longTable = 22
	wideText  = 26 // a column whose texts are longer has them broken
	columnGap = 1.2
)

func texSizes() []texSize { return []texSize{{10, 88}, {9, 98}, {8, 107}} }

type texSize struct{ points, characters int }

func (s texSize) set() string { return fmt.Sprintf("\\RaftlabTable{%d}{%d}", s.points, s.points+2) }

// texLength is about how many digits are as wide as a text.
func texLength(text string) float64 {
	sum := 0.0
	for _, r := range text {
		switch {
		case strings.ContainsRune(".,;:!'|()[]ijlt -–", r):
			sum += 0.6
		case strings.ContainsRune("mwMWжмшщюыфЖМШЩЮФ×%", r):
			sum += 1.5
		default:
			sum++
		}
	}
	return sum
}

// texColumn is how a column is set.
type texColumn struct {
	Column
	width  float64  // characters
	broken bool     // its texts are, into lines of the width
	head   []string // lines
}

// table sets a table in the largest size of type that it fits in. Where it fits in none, it
// gives up columns as far as it may, and is then set in parts, one below the other, of which
// each begins with the columns that name the rows.
func (t *texWriter) table(x Table) string {
	x.Columns = slices.Clone(x.Columns)
	shown := x.shown()
	sizes := texSizes()
	last := sizes[len(sizes)-1]
	for _, y := range x.Yields {
		if _, fits := t.columns(shown, last.characters); fits {
			break
		}
		for _, i := range y.Columns {
			if y.To >= Alone {
				x.Columns[i].Spread = max(x.Columns[i].Spread, y.To)
			}
		}
		shown = x.shown()
	}
	parts := []Table{shown}
	if _, fits := t.columns(shown, last.characters); !fits {
		parts = t.split(stacked(shown), last.characters)
	}
	size := sizes[0]
	for _, p := range parts { // one for all
		for _, smaller := range sizes {
			if smaller.points > size.points {
				continue
			}
			size = smaller
			if _, fits := t.columns(p, size.characters); fits {
				break
			}
		}
	}
	return t.set(x, parts, shown.Notes, size)
}

// set writes the parts of a table. A table stands where it is put, and does not float: a page
// that a figure leaves half empty is filled by what follows.
func (t *texWriter) set(x Table, parts []Table, notes []Item, size texSize) string {
	text := ""
	for i, p := range parts {
		columns, _ := t.columns(p, size.characters)
		rows, lines := t.rows(p, columns)
		head, below := t.caption(x, i), ""
		if i == len(parts)-1 {
			below = t.notes(notes)
		}
		if lines >= longTable {
			text += t.long(columns, size, head, rows, below)
			continue
		}
		text += "\\begin{RaftlabBlock}\n" + head + size.set() + "\n\\begin{tabular}" + texSpec(columns, size) + "\n" + t.head(columns) + rows +
			"\\bottomrule\n\\end{tabular}\n" + below + "\\end{RaftlabBlock}\n"
	}
	return text
}

// caption stands above a part of a table.
func (t *texWriter) caption(x Table, part int) string {
	switch {
	case x.Caption == "":
		return ""
	case part > 0:
		return "\\RaftlabContinued{" + t.continued() + "}\n"
	case x.File == "":
		return "\\caption{" + t.text(x.Caption) + "}\n"
	default:
		return "\\caption{" + t.text(x.Caption) + "}\\label{tab:" + texLabel(x.File) + "}\n"
	}
}

// stacked puts columns below the ones before them that may stand there.
func stacked(x Table) Table {
	out := Table{Columns: slices.Clone(x.Columns)}
	for _, r := range x.Rows {
		r.Cells = slices.Clone(r.Cells)
		out.Rows = append(out.Rows, r)
	}
	for i := len(out.Columns) - 1; i > 0; i-- {
		if !out.Columns[i].Under {
			continue
		}
		out.Columns[i-1].below = out.Columns[i].Head
		out.Columns = slices.Delete(out.Columns, i, i+1)
		for j, r := range out.Rows {
			r.Cells[i-1].below = r.Cells[i].Text
			out.Rows[j].Cells = slices.Delete(r.Cells, i, i+1)
		}
	}
	return out
}

// continued stands above the further pages and parts of a table.
func (t *texWriter) continued() string {
	return strings.ReplaceAll(TeXText(t.l.Continued), "N", "\\thetable")
}

// split parts a table whose columns do not fit. A part begins where a head comes only once:
// the columns of p and the like belong to the one before.
func (t *texWriter) split(x Table, line int) []Table {
	heads := map[string]int{}
	for _, c := range x.Columns {
		heads[c.Head]++
	}
	names := 0
	hasValue := func(i int) bool {
		return slices.ContainsFunc(x.Rows, func(r Row) bool { return r.Cells[i].Value != nil })
	}
	for names < len(x.Columns) && !hasValue(names) {
		names++
	}
	take := func(from, to int) Table {
		part := Table{}
		pick := func(i int) bool { return i < names || i >= from && i < to }
		for i, c := range x.Columns {
			if pick(i) {
				part.Columns = append(part.Columns, c)
			}
		}
		for _, r := range x.Rows {
			cells := r.Cells
			r.Cells = nil
			for i, c := range cells {
				if pick(i) {
					r.Cells = append(r.Cells, c)
				}
			}
			part.Rows = append(part.Rows, r)
		}
		return part
	}
	var parts []Table
	from, end := names, names // the part, as far as it fits
	for i := names + 1; i <= len(x.Columns); i++ {
		if i < len(x.Columns) && heads[x.Columns[i].Head] > 1 {
			continue
		}
		if _, fits := t.columns(take(from, i), line); !fits && end > from {
			parts = append(parts, take(from, end))
			from = end
		}
		end = i
	}
	return append(parts, take(from, len(x.Columns)))
}

// texSpec says how columns are aligned, and how wide those are whose texts are broken.
func texSpec(columns []texColumn, size texSize) string {
	spec := ""
	for _, c := range columns {
		switch {
		case c.Number:
			spec += "r"
		case c.broken:
			spec += fmt.Sprintf(">{\\raggedright\\arraybackslash}p{%.3f\\linewidth}", c.width/float64(size.characters))
		default:
			spec += "l"
		}
	}
	return "{@{}" + spec + "@{}}"
}

// long sets a table, or a part of one, that may break over pages.
func (t *texWriter) long(columns []texColumn, size texSize, head, rows, notes string) string {
	span := func(align, text string) string {
		return fmt.Sprintf("\\multicolumn{%d}{@{}%s@{}}{%s}\\\\\n", len(columns), align, text)
	}
	top, again := t.head(columns), ""
	if head != "" {
		again = span("l", t.continued())
		if head = strings.TrimSuffix(head, "\n") + "\\\\\n"; strings.HasPrefix(head, "\\Raftlab") {
			head = again
		}
	}
	return "\\begingroup\\RaftlabLong" + size.set() + "\\setbox\\RaftlabSaved\\vbox{" + notes + "}\n\\begin{longtable}" + texSpec(columns, size) + "\n" +
		head + top + "\\endfirsthead\n" + again + top + "\\endhead\n\\bottomrule\\RaftlabFoot\n\\endfoot\n\\bottomrule\n" + span("c", "\\hbox to 0pt{\\hss\\box\\RaftlabSaved\\hss}") +
		"\\endlastfoot\n" + rows + "\\end{longtable}\n\\par\\endgroup\n"
}

// columns lays the columns out for a line of so many characters, and says whether they
// fit.
func (t *texWriter) columns(x Table, line int) (out []texColumn, fits bool) {
	const rangeSize = 0.8 // of the type of intervals, in that of the table
	sum, breakable := 0.0, 0.0
	for i, c := range x.Columns {
		col := texColumn{Column: c}
		for _, r := range x.Rows {
			number, interval := t.cell(r.Cells[i], c.Spread)
			col.width = max(col.width, texLength(number), rangeSize*texLength(interval))
		}
		col.broken = !c.Number && col.width > wideText
		for _, word := range append(strings.Fields(c.Head), c.Unit) {
			if !col.broken {
				col.width = max(col.width, texLength(word))
			}
		}
		if sum += columnGap; col.broken {
			breakable += col.width
		} else {
			sum += col.width
		}
		out = append(out, col)
	}
	room := float64(line) - sum
	for i := range out {
		c := &out[i]
		if c.broken && breakable > room {
			c.width *= room / breakable
		}
		if c.head = broken(c.Head, max(1, int(c.width))); c.Unit != "" {
			c.head = append(c.head, c.Unit)
		}
		if c.below != "" {
			c.head = append(c.head, c.below)
		}
	}
	broken := func(c texColumn) bool { return c.broken && c.width < wideText/2 }
	return out, room >= 0 && !slices.ContainsFunc(out, broken)
}

// cell is what stands in a cell, and the interval below it.
func (t *texWriter) cell(c Cell, s Spread) (text, interval string) {
	switch {
	case c.Value != nil:
		text, interval = t.l.Value(*c.Value, s)
	case c.Series != nil:
		return "", ""
	default:
		text, interval = c.Text, c.below
	}
	if text = spaced(text, c.Mark); c.Invalid {
		text = "(" + text + ")"
	}
	return text, interval
}

// head has the heads of the columns, broken into lines where they are long.
func (t *texWriter) head(columns []texColumn) string {
	var cells []string
	for _, c := range columns {
		var lines []string
		for _, line := range c.head {
			lines = append(lines, t.text(line))
		}
		text := strings.Join(lines, "\\\\")
		if len(lines) > 1 {
			align := "l"
			if c.Number {
				align = "r"
			}
			text = "\\RaftlabHead{" + align + "}{" + text + "}"
		}
		cells = append(cells, text)
	}
	return "\\toprule\n" + strings.Join(cells, " & ") + " \\\\\n\\midrule\n"
}

// rows writes the rows, with the intervals of each in a line below it, and says how many
// lines they take.
func (t *texWriter) rows(x Table, columns []texColumn) (text string, lines int) {
	var b strings.Builder
	grouped := slices.ContainsFunc(x.Rows, func(r Row) bool { return !r.First })
	for n, r := range x.Rows {
		if r.First && grouped && n > 0 {
			b.WriteString("\\addlinespace[5pt]\n")
		}
		if r.Title != "" {
			fmt.Fprintf(&b, "\\multicolumn{%d}{@{}l@{}}{\\itshape %s}\\\\*\n", len(columns), t.text(r.Title))
			lines++
		}
		var cells, ranges []string
		ranged := false
		for i, c := range r.Cells {
			cell, interval := t.cell(c, columns[i].Spread)
			text := t.text(cell)
			if c.Series != nil {
				text = texSpark(c.Series)
			}
			if c.Class == Fail {
				text = "\\textbf{" + text + "}"
			}
			if interval != "" {
				ranged, interval = true, "\\RaftlabRange{"+t.text(interval)+"}"
			}
			cells, ranges = append(cells, text), append(ranges, interval)
		}
		b.WriteString(strings.Join(cells, " & "))
		if lines++; ranged {
			b.WriteString(" \\\\*[-1pt]\n" + strings.Join(ranges, " & "))
			lines++
		}
		b.WriteString(" \\\\\n")
	}
	return b.String(), lines
}

func (t *texWriter) notes(notes []Item) string {
	if len(notes) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\\begin{RaftlabNotes}\n")
	for _, n := range notes {
		if n.Term == "" {
			b.WriteString("\\par " + t.text(n.Text) + "\n")
			continue
		}
		b.WriteString("\\RaftlabNote{" + TeXText(n.Term) + "}{" + t.text(n.Text) + "}\n")
	}
	b.WriteString("\\end{RaftlabNotes}\n")
	return b.String()
}

// texSpark draws a series as a small line from zero.
func texSpark(series []int64) string {
	top := max(1, slices.Max(series))
	var b strings.Builder
	b.WriteString("\\tikz[x=2pt,y=8pt]\\draw[line width=0.5pt]")
	for i, n := range series {
		if i > 0 {
			b.WriteString(" --")
		}
		fmt.Fprintf(&b, " (%d,%.2f)", i, float64(n)/float64(top))
	}
	b.WriteString(";")
	return b.String()
}
