package doc

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// narrowest is the width below which text is not laid out any further.
const narrowest = 40

// gap separates the columns of a table.
const gap = 2

// Terminal prints a document in plain text, no line wider than so many columns as
// long as its tables can be made to fit. Figures are left out.
func Terminal(w io.Writer, d Document, width int) error {
	d = clean(d)
	p := &printer{l: d.Locale, w: bufio.NewWriter(w), width: max(width, narrowest)}
	if d.Title != "" {
		p.wrap("", "", d.Title)
	}
	listed := false
	for i, b := range d.Blocks {
		_, list := b.(List)
		if (i > 0 || d.Title != "") && !(list && listed) {
			p.line("")
		}
		listed = list
		p.block(b)
	}
	return p.w.Flush()
}

// printer writes lines; an error stays in w until Flush.
type printer struct {
	l     Locale
	w     *bufio.Writer
	width int
}

func (p *printer) block(b Block) {
	switch b := b.(type) {
	case Heading:
		p.wrap("", "", b.Text)
	case Paragraph:
		p.wrap("", "", spaced(b.Term, b.Text))
	case List:
		p.list(b)
	case Terms:
		p.terms(b)
	case Code:
		for _, line := range b {
			p.line("  " + strings.Join(broken(wholeQuotes(line), p.width-len("    \\")), " \\\n    "))
		}
	case Table:
		t := p.fitting(b)
		p.table(t)
		p.terms(t.Notes)
	}
}

func (p *printer) list(b List) {
	mark, rest := "  ", "    "
	if b.Class == Cautions {
		mark, rest = "! ", "  "
	} else if b.Title != "" {
		p.wrap("", "", b.Title+":")
	}
	for _, text := range b.Items {
		p.wrap(mark, rest, text)
	}
}

func (p *printer) terms(items []Item) {
	const least = 4
	widest := least
	for _, i := range items {
		if i.Term != "" {
			widest = max(widest, utf8.RuneCountInString(i.Term)+1)
		}
	}
	for _, i := range items {
		p.wrap(pad(i.Term, widest, false), strings.Repeat(" ", widest), i.Text)
	}
}

func (p *printer) line(text string) { fmt.Fprintln(p.w, strings.TrimRight(text, " ")) }

// wrap prints text between the margins, first with one prefix and then with the
// other, which is as long or longer.
func (p *printer) wrap(prefix, rest, text string) {
	for _, line := range broken(p.l.Tight(text), p.width-utf8.RuneCountInString(rest)) {
		p.line(prefix + line)
		prefix = rest
	}
}

// broken parts text into lines of at most so many characters, as far as its words
// allow. A hard space holds words together and becomes a space.
func broken(text string, width int) []string {
	var lines []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' }) {
		last := len(lines) - 1
		if word = strings.ReplaceAll(word, hardSpace, " "); last >= 0 && utf8.RuneCountInString(lines[last]+" "+word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// wholeQuotes lets no line of a shell be parted within single quotes.
func wholeQuotes(line string) string {
	within := false
	return strings.Map(func(r rune) rune {
		within = within != (r == '\'')
		if within && r == ' ' {
			return []rune(hardSpace)[0]
		}
		return r
	}, line)
}

// fitting makes a table yield until it fits the width, as far as it can.
func (p *printer) fitting(t Table) Table {
	t.Columns = append([]Column(nil), t.Columns...)
	shown := t.shown()
	for _, y := range t.Yields {
		if p.tableWidth(shown) <= p.width {
			break
		}
		for _, i := range y.Columns {
			t.Columns[i].Spread = max(t.Columns[i].Spread, y.To)
		}
		shown = t.shown()
	}
	return shown
}

// text puts in brackets what must not be believed.
func (p *printer) text(c Cell, s Spread) string {
	text := p.l.text(c, s)
	if c.Invalid {
		return "(" + text + ")"
	}
	return text
}

// widths are those of the columns; a head is broken between its words, so that
// it does not make its column wider than need be.
func (p *printer) widths(t Table) []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		for _, word := range append(strings.Fields(c.Head), c.Unit) {
			widths[i] = max(widths[i], utf8.RuneCountInString(word))
		}
		for _, r := range t.Rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(p.text(r.Cells[i], c.Spread)))
		}
	}
	return widths
}

func (p *printer) tableWidth(t Table) int {
	sum := gap * (len(t.Columns) - 1)
	for _, w := range p.widths(t) {
		sum += w
	}
	return sum
}

// table prints a table, its units in a second line of the head, with a blank
// line before each new group if there are several rows to each.
func (p *printer) table(t Table) {
	widths := p.widths(t)
	print := func(texts func(i int) string) {
		var b strings.Builder
		for i, c := range t.Columns {
			b.WriteString(pad(texts(i), widths[i], c.Number) + strings.Repeat(" ", gap))
		}
		p.line(b.String())
	}
	rule := strings.Repeat("─", min(p.width, p.tableWidth(t)))
	heads := make([][]string, len(t.Columns))
	lines, grouped := 0, false
	for i, c := range t.Columns {
		if heads[i] = broken(c.Head, widths[i]); c.Unit != "" {
			heads[i] = append(heads[i], c.Unit)
		}
		lines = max(lines, len(heads[i]))
	}
	for n := range lines {
		print(func(i int) string {
			if at := n - lines + len(heads[i]); at >= 0 { // aligned at the bottom
				return heads[i][at]
			}
			return ""
		})
	}
	p.line(rule)
	for _, r := range t.Rows {
		grouped = grouped || !r.First
	}
	for i, r := range t.Rows {
		if r.First && grouped && i > 0 {
			p.line("")
		}
		p.wrap("", "  ", r.Title)
		print(func(i int) string { return p.text(r.Cells[i], t.Columns[i].Spread) })
	}
	p.line(rule)
}

// pad fills text up to width, counted in characters.
func pad(text string, width int, right bool) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if right {
		return space + text
	}
	return text + space
}
