package conf

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
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
		if f.Unit != "" {
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

// WriteHelp writes sections for a terminal.
func WriteHelp(w io.Writer, sections []Section) error {
	for _, s := range sections {
		fmt.Fprintf(w, "\n%s\n", s.Title)
		if s.Text != "" {
			fmt.Fprintf(w, "%s\n", s.Text)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, r := range s.rows() {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", r[0], r[1], r[2])
			fmt.Fprintf(t, "  \t\t  %s\n", r[3])
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
