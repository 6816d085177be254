package doc

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Markdown writes a document that can be read as it is, too.
func Markdown(d Document) []byte {
	d = clean(d)
	var b strings.Builder
	b.WriteString("# " + escape(d.Title) + "\n")
	for _, x := range d.Blocks {
		b.WriteString("\n" + markdown(d.Locale, x))
	}
	if d.Stamp != "" {
		b.WriteString("\n<!-- " + d.Stamp + " -->\n")
	}
	return []byte(b.String())
}

func markdown(l Locale, block Block) string {
	var b strings.Builder
	switch x := block.(type) {
	case Heading:
		return "## " + escape(x.Text) + "\n"
	case Paragraph:
		text := escape(x.Text)
		if x.Lang != "" {
			text = `<span lang="` + x.Lang + `">` + text + "</span>"
		}
		if x.Class == Headline {
			text = "**" + text + "**"
		}
		if x.Term != "" {
			text = "**" + escape(x.Term) + ".** " + text
		}
		return text + "\n"
	case List:
		if x.Title != "" {
			b.WriteString(escape(x.Title) + ":\n\n")
		}
		for _, text := range x.Items {
			b.WriteString("- " + escape(text) + "\n")
		}
	case Terms:
		for _, i := range x {
			dot := "."
			if !strings.ContainsFunc(i.Term, unicode.IsLetter) { // a sign
				dot = ""
			}
			b.WriteString("- **" + escape(i.Term) + dot + "** " + escape(i.Text) + "\n")
		}
	case Code:
		for _, line := range x {
			b.WriteString("    " + line + "\n")
		}
	case Table:
		if x.Caption != "" {
			b.WriteString("**" + escape(l.caption(l.Table, x.Number, x.Caption)) + "**\n\n")
		}
		b.WriteString(markdownTable(l, x.shown()))
	case Figure:
		return "![" + escape(x.Title) + "](" + x.File + ")\n\n**" + escape(l.caption(l.Figure, x.Number, x.Title)) + ".** " + escape(x.Caption) + "\n"
	}
	return b.String()
}

// markdownTable lays a table out with aligned columns.
func markdownTable(l Locale, t Table) string {
	lines := [][]string{make([]string, len(t.Columns))}
	for i, c := range t.Columns {
		lines[0][i] = escape(c.Head)
		if c.Unit != "" {
			lines[0][i] = escape(c.Head + ", " + c.Unit)
		}
	}
	for _, r := range t.Rows {
		if r.Title != "" {
			title := make([]string, len(t.Columns))
			title[0] = "**" + escape(r.Title) + "**"
			lines = append(lines, title)
		}
		line := make([]string, len(r.Cells))
		for i, c := range r.Cells {
			line[i] = markdownCell(c, l.text(c, t.Columns[i].Spread))
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(t.Columns))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text), 3)
		}
	}
	var b strings.Builder
	for n, line := range lines {
		for i, text := range line {
			b.WriteString("| " + pad(text, widths[i], t.Columns[i].Number) + " ")
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, c := range t.Columns {
			end := "-"
			if c.Number {
				end = ":"
			}
			b.WriteString("|" + strings.Repeat("-", widths[i]+1) + end)
		}
		b.WriteString("|\n")
	}
	if len(t.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range t.Notes {
		term := ""
		switch n.Term {
		case "":
		case MarkInvalid:
			term = "~~…~~ "
		default:
			term = "`" + strings.ReplaceAll(n.Term, "`", "'") + "` "
		}
		b.WriteString("- " + term + escape(n.Text) + "\n")
	}
	return b.String()
}

func markdownCell(c Cell, text string) string {
	text = escape(text)
	switch {
	case c.Invalid:
		return "~~" + text + "~~"
	case c.Class == Fail:
		return "**" + text + "**"
	default:
		return text
	}
}

// escape keeps text from being taken for markup, and on one line.
func escape(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer(
		`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "~~", `\~\~`, "](", `]\(`,
	).Replace(text)
}

// CSV writes the texts of a table under the heads of its columns. One that a spreadsheet
// would take for a formula, and that is no number, has an apostrophe in front.
func CSV(t Table) ([]byte, error) {
	t = clean(t)
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	record := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		record[i] = field(c.Head)
	}
	if err := w.Write(record); err != nil {
		return nil, err
	}
	for _, r := range t.Rows {
		for i, c := range r.Cells {
			record[i] = field(c.Text)
		}
		if err := w.Write(record); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

func field(text string) string {
	if text == "" || !strings.ContainsRune("=+-@", rune(text[0])) {
		return text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return text
	}
	return "'" + text
}
