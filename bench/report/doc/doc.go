// Package doc is a document of headings, paragraphs, tables of values and figures
// of data, and the ways to render one: [Terminal], [Markdown], [HTML], [SVG] and
// [CSV]. Each renderer works from the document alone and none from another's text.
//
// The package never knows what the values are of, and never computes one.
package doc

import (
	"slices"
)

// Document is a text in one language.
type Document struct {
	Locale Locale
	Title  string
	Stamp  string // ends the file, as a comment; empty: none
	Blocks []Block

	tables, figures int // numbered so far
}

// Add appends blocks and numbers figures, and tables that have a caption. Lists without
// items and paragraphs without text are left out.
func (d *Document) Add(blocks ...Block) {
	for _, b := range blocks {
		switch x := b.(type) {
		case List:
			if len(x.Items) == 0 {
				continue
			}
		case Paragraph:
			if x.Text == "" {
				continue
			}
		case Table:
			if x.Caption != "" {
				d.tables++
				x.Number = d.tables
			}
			b = x
		case Figure:
			d.figures++
			x.Number = d.figures
			b = x
		}
		d.Blocks = append(d.Blocks, b)
	}
}

// Block is a part of a document: one of the types below, or [Figure].
type Block interface{ block() }

// Class says what a part is for, where it is not like the others of its type.
type Class string

// The classes.
const (
	Plain    Class = ""
	Answer   Class = "answer"   // of a heading: the section that says what was found
	Machine  Class = "machine"  // of a heading: the section's tables hold long texts
	Method   Class = "method"   // of a heading: how the figures came about and what they are worth
	Annex    Class = "annex"    // of a heading: the section is for who checks the document, not for who reads it
	Question Class = "question" // of a paragraph
	Headline Class = "headline" // of a paragraph: the one to read
	Cautions Class = "cautions" // of a list
	Versions Class = "plain"    // of a list: names rather than sentences
	Pass     Class = "pass"     // of a cell
	Fail     Class = "fail"     // of a cell
	Skip     Class = "skip"     // of a cell
)

// Heading begins a section.
type Heading struct {
	Text  string
	Class Class
	Depth int // 0: of a section; 1: of a part of one
}

// Paragraph is running text; its term, where there is one, says what it is.
type Paragraph struct {
	Term, Text string
	Class      Class
	Lang       string // of the text, where it is not that of the document
}

// List is a list of sentences, with a title of its own or without.
type List struct {
	Title string
	Items []string
	Class Class
}

// Terms is a list of terms with their explanations.
type Terms []Item

// Item is a term with its explanation.
type Item struct{ Term, Text string }

// References say where tables and figures stand, in a document that lets them float; the
// other renderers leave them out.
type References []Reference

// Reference is something that tables and figures with files of their own show.
type Reference struct {
	Term  string
	Parts []Block
}

// Code is lines to be typed.
type Code []string

// Table is a table of typed cells. Every row has a cell for every column.
type Table struct {
	Caption string // a title without a full stop; empty: none, and no number
	Number  int    // among the document's tables, from 1; see [Document.Add]
	File    string // the slash-separated name of its file, where it has one of its own
	Columns []Column
	Rows    []Row
	Notes   []Item  // what marks mean; those that the table does not use are left out
	Yields  []Yield // what it gives up, in turn, where there is too little room for it
}

// Column is a column of a table.
type Column struct {
	Head, Unit string
	Number     bool   // aligned to the right
	Spread     Spread // how much is shown of its values
	Under      bool   // of texts that may stand below those of the column before it, where there is little room
	below      string // the head of such a one that does
}

// Spread is how the interval of a value is shown.
type Spread int

// The spreads.
const (
	Ends  Spread = iota // [4.41, 4.90]
	Share               // ±6%: the farther end, in percent of the value
	Alone               // the value without its interval
	Gone                // the column is left out
)

// Yield is a step in making a table narrower.
type Yield struct {
	Columns []int
	To      Spread
}

// Row is a row of a table.
type Row struct {
	First bool   // of a group of rows
	Title string // of the group, above the row
	Cells []Cell
}

// Cell is a value, a series, or else a text.
type Cell struct {
	Value   *Value
	Series  []int64 // drawn small, from zero
	Text    string
	Mark    string // after a space behind all else; a note explains it
	Invalid bool   // must not be believed
	Class   Class
	below   string // the text of the column that stands under this one
}

// Value is a number with its interval, in the unit of its column.
type Value struct {
	X, Low, High float64
	Ranged       bool   // Low and High are the ends of its interval
	Unit         string // where it has one of its own: directly behind the number
	Mark         string // directly behind the unit; a note explains it
}

// The terms of those notes that explain how values are shown.
const (
	MarkEnds    = "[…]"
	MarkShare   = "±"
	MarkInvalid = "(…)"
)

func (Heading) block()    {}
func (Paragraph) block()  {}
func (List) block()       {}
func (Terms) block()      {}
func (References) block() {}
func (Code) block()       {}
func (Table) block()      {}
func (Figure) block()     {}

// Used returns those of the notes that some table needs.
func (d *Document) Used(notes []Item) []Item {
	return slices.DeleteFunc(notes, func(n Item) bool {
		return !slices.ContainsFunc(d.Blocks, func(b Block) bool {
			t, isTable := b.(Table)
			return isTable && t.uses(n.Term)
		})
	})
}

// shown is the table without the columns that are gone and the notes that nothing
// needs.
func (t Table) shown() Table {
	out := Table{Caption: t.Caption, Number: t.Number, File: t.File}
	gone := func(i int) bool { return t.Columns[i].Spread == Gone }
	for i, c := range t.Columns {
		if !gone(i) {
			out.Columns = append(out.Columns, c)
		}
	}
	for _, r := range t.Rows {
		cells := r.Cells
		r.Cells = nil
		for i, c := range cells {
			if c.Value != nil && t.Columns[i].Spread == Alone {
				v := *c.Value
				v.Ranged, c.Value = false, &v
			}
			if !gone(i) {
				r.Cells = append(r.Cells, c)
			}
		}
		out.Rows = append(out.Rows, r)
	}
	for _, n := range t.Notes {
		if out.uses(n.Term) {
			out.Notes = append(out.Notes, n)
		}
	}
	return out
}

// uses reports whether the table needs the note of a mark, or of a column's head.
func (t Table) uses(mark string) bool {
	ranged := func(s Spread) bool {
		return slices.ContainsFunc(t.Rows, func(r Row) bool {
			for i, c := range r.Cells {
				if c.Value != nil && c.Value.interval() && t.Columns[i].Spread == s {
					return true
				}
			}
			return false
		})
	}
	switch mark {
	case "":
		return true
	case MarkEnds:
		return ranged(Ends)
	case MarkShare:
		return ranged(Share)
	}
	uses := func(c Cell) bool {
		return c.Mark == mark || c.Text == mark || c.Value != nil && c.Value.Mark == mark || c.Invalid && mark == MarkInvalid
	}
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Head == mark }) ||
		slices.ContainsFunc(t.Rows, func(r Row) bool { return slices.ContainsFunc(r.Cells, uses) })
}

// interval reports whether the value has an interval to show.
func (v Value) interval() bool { return v.Ranged && !v.nothing() }

// nothing reports that the value is zero and cannot be anything else, so that it
// has no digits.
func (v Value) nothing() bool { return v.X == 0 && (!v.Ranged || v.Low == 0 && v.High == 0) }
