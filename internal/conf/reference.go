package conf

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Section is a part of the reference of a file: the settings of one table.
type Section struct {
	Title    string // "[load]"
	Text     string // a paragraph, or empty
	Schema   *Schema
	Table    string // of the schema
	Defaults any    // a pointer to a struct with the defaults; nil: the tags say them
}

// rows returns what is said of each setting: key, default, what it takes, meaning.
func (s *Section) rows() [][4]string {
	var rows [][4]string
	for _, f := range s.Schema.fields {
		if f.Table != s.Table || f.Doc == "" {
			continue
		}
		takes, doc, def := f.Wants(), f.Doc, f.Default
		if f.Unit != "" && f.Unit != Bytes && f.Unit != Share {
			takes += ", " + f.Unit
		}
		if f.Zero != "" {
			doc += "; if not set: " + f.Zero
		}
		if s.Defaults != nil {
			def = f.shown(s.Defaults)
		} else if def == "" && f.form() != formText {
			def = f.Text(s.Schema.zero())
		}
		if def != "" && f.form() == formText {
			def = Quote(def)
		}
		rows = append(rows, [4]string{f.Name, def, strings.TrimPrefix(takes, "one of "), doc})
	}
	return rows
}

// WriteMarkdown writes sections as Markdown.
func WriteMarkdown(w io.Writer, sections []Section) {
	for _, s := range sections {
		fmt.Fprintf(w, "\n## %s\n\n", s.Title)
		if s.Text != "" {
			fmt.Fprintf(w, "%s\n\n", s.Text)
		}
		rows := s.rows()
		if len(rows) == 0 {
			continue
		}
		fmt.Fprint(w, "| key | default | takes | meaning |\n| --- | --- | --- | --- |\n")
		for _, r := range rows {
			def := r[1]
			if def != "" {
				def = "`" + def + "`"
			}
			fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", r[0], def, r[2], r[3])
		}
	}
}

// WriteHelp writes sections for a terminal of so many columns.
func WriteHelp(w io.Writer, sections []Section, width int) {
	for _, s := range sections {
		fmt.Fprintf(w, "\n%s\n%s", s.Title, Wrapped("", s.Text, width))
		rows, name, def := s.rows(), 0, 0
		for _, r := range rows {
			name, def = max(name, len(r[0])), max(def, len(r[1]))
		}
		for _, r := range rows {
			head := fmt.Sprintf("  %-*s  %-*s  ", name, r[0], def, r[1])
			fmt.Fprint(w, Wrapped(head, r[2], width), Wrapped("      ", r[3], width))
		}
	}
}

// Wrapped puts the lines of a text behind a prefix, and breaks those that are too wide.
func Wrapped(prefix, text string, width int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = prefix + strings.TrimSuffix(line, "\n")
		for utf8.RuneCountInString(line) > width {
			end := strings.LastIndexByte(string([]rune(line)[:width+1]), ' ')
			if end <= len(prefix) {
				break // a single word
			}
			out.WriteString(line[:end] + "\n")
			prefix = strings.Repeat(" ", len(prefix))
			line = prefix + line[end+1:]
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
