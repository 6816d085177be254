package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"unicode/utf8"
)

//go:embed templates/report.md.tmpl
var markdownSource string

func renderMarkdown(p page) ([]byte, error) {
	t, err := template.New("report.md").Funcs(template.FuncMap{
		"table":  markdownTable,
		"escape": escapeMarkdown,
		"notes":  markdownNotes,
	}).Parse(markdownSource)
	if err != nil {
		return nil, fmt.Errorf("report.md: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("report.md: %w", err)
	}
	return out.Bytes(), nil
}

// markdownTable lays a table out with aligned columns, to be read as it is, too.
func markdownTable(t table) string {
	lines := make([][]string, 0, len(t.Rows)+1)
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = escapeMarkdown(c.header())
	}
	lines = append(lines, head)
	for _, r := range t.Rows {
		line := make([]string, len(r.Entries))
		for i, e := range r.Entries {
			line[i] = markdownEntry(e)
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
		if n == 0 {
			for i, c := range t.Columns {
				rule := strings.Repeat("-", widths[i]+1)
				if c.Number {
					b.WriteString("|" + rule + ":")
				} else {
					b.WriteString("|" + rule + "-")
				}
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func markdownEntry(e entry) string {
	text := escapeMarkdown(e.Text)
	switch {
	case e.Spark != nil:
		return spark(e.Spark)
	case e.Struck:
		return "~~" + text + "~~"
	case e.Class == "fail":
		return "**" + text + "**"
	default:
		return text
	}
}

func markdownNotes(notes []item) string {
	var b strings.Builder
	for _, n := range notes {
		b.WriteString("- ")
		if n.Term != "" && n.Term != markInvalid {
			b.WriteString("`" + n.Term + "` ")
		}
		if n.Term == markInvalid {
			b.WriteString("~~…~~ ")
		}
		b.WriteString(escapeMarkdown(n.Text) + "\n")
	}
	return b.String()
}

// escapeMarkdown keeps text from being taken for markup, and on one line.
func escapeMarkdown(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer(
		`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "~~", `\~\~`, "](", `]\(`,
	).Replace(text)
}

// pad fills text up to width, counted in characters.
func pad(text string, width int, right bool) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if right {
		return space + text
	}
	return text + space
}
