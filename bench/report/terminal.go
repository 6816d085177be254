package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/bench/record"
)

// narrowest is the width below which the terminal's report is not laid out any
// further.
const narrowest = 40

// Terminal prints the run's answer and table in plain text, no line wider than
// width columns as long as the names of the cells leave room. Columns give way
// before lines are broken: first the intervals shrink, then the least needed
// columns go; the full table is in the report.
func Terminal(w io.Writer, f *record.Folder, lang Lang, width int) error {
	m, err := build(f)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return newLanguage(lang).terminal(w, m, width)
}

func (l *language) terminal(w io.Writer, m *model, width int) error {
	p := l.page(m)
	out := &printer{l: l, w: bufio.NewWriter(w), width: max(width, narrowest)}
	out.wrap("", "", p.Title)
	out.line("")
	if p.Answer.Headline != "" {
		out.wrap("", "", p.Answer.Headline)
		out.line("")
	}
	if len(m.rows) > 0 {
		t := l.fitting(m, out.width)
		out.table(t)
		for _, n := range t.Notes {
			if n.Term != markUnequal { // among the cautions
				out.wrap(pad(n.Term, 4, false), "    ", n.Text)
			}
		}
		out.line("")
	}
	for _, c := range p.Answer.Cautions {
		out.wrap("! ", "  ", c)
	}
	out.cellWarnings(p)
	if len(p.Answer.Cautions)+len(p.Warnings) > 0 {
		out.line("")
	}
	return out.w.Flush()
}

// cellWarnings prints what is warned of single cells, or only how many there are
// where they would bury the table.
func (p *printer) cellWarnings(of page) {
	const most = 4
	texts := 0
	for _, c := range of.Warnings {
		texts += len(c.Texts)
	}
	if texts > most {
		p.wrap("! ", "  ", fill(p.l.CellsWarned, len(of.Warnings)))
		return
	}
	for _, c := range of.Warnings {
		for _, text := range c.Texts {
			p.wrap("  "+c.Cell+": ", "    ", text)
		}
	}
}

// layouts are the forms that the table of cells may take, the fullest first.
// Each step gives up a little more.
func layouts() []layout {
	lay := layout{durability: true, p99: true, rate: true, pValue: true, trials: true}
	all := []layout{lay}
	for _, giveUp := range []func(){
		func() { lay.pValue = false },
		func() { lay.ratioSpread = none },
		func() { lay.p50Spread, lay.p99Spread, lay.rateSpread = share, share, share },
		func() { lay.durability = false },
		func() { lay.p99Spread = none },
		func() { lay.rateSpread = none },
		func() { lay.trials = false },
		func() { lay.p99 = false },
		func() { lay.p50Spread = none },
		func() { lay.rate = false },
	} {
		giveUp()
		all = append(all, lay)
	}
	return all
}

// forms are the tables of cells that there may be: that of the report first, then
// those without ids, the fullest first. Where not all trials are valid, the column
// that says so goes last.
func (l *language) forms(m *model) []func() table {
	if m.formation {
		return l.formationForms(m)
	}
	forms := []func() table{func() table { return l.cellsTable(m, fullLayout()) }}
	for _, lay := range layouts() {
		lay.trials = lay.trials || (lay.rate && !allValid(m))
		forms = append(forms, func() table { return l.cellsTable(m, lay) })
	}
	return forms
}

// fitting returns the fullest table of cells that fits the width, or else the
// leanest.
func (l *language) fitting(m *model, width int) table {
	var t table
	for _, form := range l.forms(m)[1:] {
		if t = form(); t.width() <= width {
			return t
		}
	}
	return t
}

func allValid(m *model) bool {
	for _, c := range m.cells {
		if c.valid < c.planned {
			return false
		}
	}
	return true
}

// gap separates the columns of a table in the terminal.
const gap = 2

// widths are those of the columns; a head is broken between its words, so that
// it does not make its column wider than need be.
func (t table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		for _, word := range append(strings.Fields(c.Head), c.Unit) {
			widths[i] = max(widths[i], utf8.RuneCountInString(word))
		}
	}
	for _, r := range t.Rows {
		for i, e := range r.Entries {
			widths[i] = max(widths[i], utf8.RuneCountInString(terminalEntry(e)))
		}
	}
	return widths
}

func (t table) width() int {
	sum := gap * (len(t.Columns) - 1)
	for _, w := range t.widths() {
		sum += w
	}
	return sum
}

// terminalEntry puts in brackets what must not be believed.
func terminalEntry(e entry) string {
	switch {
	case e.Spark != nil:
		return spark(e.Spark)
	case e.Struck:
		return "(" + e.Text + ")"
	default:
		return e.Text
	}
}

// printer writes lines; an error stays in w until Flush.
type printer struct {
	l     *language
	w     *bufio.Writer
	width int
}

func (p *printer) line(text string) { fmt.Fprintln(p.w, strings.TrimRight(text, " ")) }

// table prints a table, its units in a second line of the head, with a blank
// line before each new combination if there are several rows to each.
func (p *printer) table(t table) {
	widths := t.widths()
	print := func(texts func(i int) string) {
		var b strings.Builder
		for i, c := range t.Columns {
			b.WriteString(pad(texts(i), widths[i], c.Number))
			b.WriteString(strings.Repeat(" ", gap))
		}
		p.line(b.String())
	}
	heads := make([][]string, len(t.Columns))
	lines := 0
	for i, c := range t.Columns {
		heads[i] = brokenHead(c, widths[i])
		lines = max(lines, len(heads[i]))
	}
	for n := range lines {
		print(func(i int) string {
			return field(heads[i], n-lines+len(heads[i])) // aligned at the bottom
		})
	}
	p.line(strings.Repeat("─", min(p.width, t.width())))
	grouped := false
	for _, r := range t.Rows {
		grouped = grouped || !r.First
	}
	for i, r := range t.Rows {
		if r.First && grouped && i > 0 {
			p.line("")
		}
		print(func(i int) string { return terminalEntry(r.Entries[i]) })
	}
	p.line(strings.Repeat("─", min(p.width, t.width())))
}

// brokenHead returns the lines of a column's head, its unit in the last.
func brokenHead(c column, width int) []string {
	var lines []string
	for _, word := range strings.Fields(c.Head) {
		last := len(lines) - 1
		if last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= width {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	if c.Unit != "" {
		lines = append(lines, c.Unit)
	}
	return lines
}

// wrap prints text between the margins, first with one prefix and then with the
// other. A hard space holds its words together and is printed as a space.
func (p *printer) wrap(prefix, rest, text string) {
	line := prefix
	empty := true
	for _, word := range strings.FieldsFunc(p.l.tight(text), func(r rune) bool { return r == ' ' || r == '\n' }) {
		word = strings.ReplaceAll(word, hardSpace, " ")
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > p.width {
			p.line(line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	if !empty {
		p.line(line)
	}
}

// Label names a cell by the levels that tell it from the other cells of its run,
// as the reports do: "bolt over tcp at 16 clients".
func Label(m record.Manifest, cell string, lang Lang) string {
	l := newLanguage(lang)
	var fs []factor
	for i, x := range m.Experiment.Matrix {
		if len(x.Levels) > 1 {
			fs = append(fs, factor{x, i})
		}
	}
	for i := range m.Cells {
		if m.Cells[i].ID != cell {
			continue
		}
		if len(fs) == 0 {
			fs = withParts(nil)
		}
		return l.label(fs, &m.Cells[i])
	}
	return cell
}
