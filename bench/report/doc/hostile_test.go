package doc

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile is a document whose texts all somebody else has written.
func hostile(text string) Document {
	cell := func() Cell { return Cell{Text: text, Mark: text} }
	d := Document{Locale: Locale{Code: "en", Decimal: ".", Between: ", "}, Title: text, Stamp: "form 1"}
	d.Add(
		Heading{Text: text}, Paragraph{Term: text, Text: text}, List{Title: text, Items: []string{text, text}},
		Terms{{text, text}}, Code{text},
		Table{
			Caption: text, Columns: []Column{{Head: text, Unit: text}, {Head: text, Number: true}},
			Rows:  []Row{{Title: text, Cells: []Cell{cell(), {Value: &Value{X: 1, Unit: text, Mark: text}}}}},
			Notes: []Item{{text, text}},
		},
		Figure{File: "plots/x.svg", Title: text, Caption: text, Panels: []Panel{{
			Title: text, X: LinearAxis(text, []float64{1, 2}, 3, func(float64) string { return text }),
			Y:      LinearAxis(text, []float64{1, 2}, 3, func(float64) string { return text }),
			Series: []Series{{Label: text, Line: []Point{{X: 1, Y: 1}, {X: 2, Y: 2}}, Marks: []Mark{{Point: Point{X: 1, Y: 1}, Label: text}}}},
		}}},
	)
	return d
}

// outputs are all that the document becomes, by name.
func outputs(t *testing.T, d Document) map[string][]byte {
	t.Helper()
	var terminal bytes.Buffer
	if err := Terminal(&terminal, d, 80); err != nil {
		t.Fatal(err)
	}
	page, err := HTML(d)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"terminal": terminal.Bytes(), "page.html": page, "page.md": Markdown(d)}
	for _, b := range d.Blocks {
		switch x := b.(type) {
		case Table:
			if out["table.csv"], err = CSV(x); err != nil {
				t.Fatal(err)
			}
		case Figure:
			out["figure.svg"] = SVG(x, d.Stamp)
		}
	}
	files, err := TeX(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out[f.Name] = f.Data
	}
	return out
}

// FuzzHostileText: whatever stands in a title, a command, a level or an error, no output has
// a character that moves a cursor, hides or turns text; the markup stays whole, and a
// spreadsheet finds no formula.
func FuzzHostileText(f *testing.F) {
	for _, text := range []string{
		"plain", "\x1b]0;owned\x07\x1b[2J", "abc\u202etxt.exe", "a\x00b", "line\nbreak\r\x85\u2028", "=HYPERLINK(\"http://x\")", "@SUM(1)", "-1+2", "-1.5",
		"<script>alert(1)</script>", "]]>--><svg onload=x>", "[x](javascript:x)", "`|*_~~", "\\input{/etc/passwd}%$#&{}^~", "\xff\xfe", "\u200b\ufeff\u00ad", "💥\U000e0041",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return
		}
		all := outputs(t, hostile(text))
		for name, data := range all {
			if !utf8.Valid(data) {
				t.Fatalf("%s is no UTF-8", name)
			}
			for _, r := range string(data) {
				if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\u200b') {
					t.Fatalf("%s holds %U:\n%q", name, r, data)
				}
			}
		}
		if page := strings.ToLower(string(all["page.html"])); strings.Contains(page, "<script>alert") || strings.Contains(page, "<svg onload") {
			t.Error("the page runs what the text says")
		}
		for line := range strings.Lines(string(all["page.md"])) {
			if code := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "- `"); !code && strings.Contains(line, "<script") {
				t.Errorf("Markdown holds a tag: %q", line)
			}
		}
		rows, err := csv.NewReader(bytes.NewReader(all["table.csv"])).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range rows[1] {
			if field != "" && strings.ContainsRune("=+@\t\r", rune(field[0])) && strings.Trim(field, "+0123456789.eE-xX_abcdfABCDFpPinINtyTY") != "" {
				t.Errorf("a spreadsheet takes %q for a formula", field)
			}
		}
		decoder := xml.NewDecoder(bytes.NewReader(all["figure.svg"]))
		for {
			if _, err := decoder.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("the figure is no XML: %v\n%s", err, all["figure.svg"])
			}
		}
	})
}

// TestFormulas: free text is no formula, and numbers stay numbers.
func TestFormulas(t *testing.T) {
	for text, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "+x": "'+x", "-x": "'-x", "-1.5e3": "-1.5e3", "+3": "+3", "a=b": "a=b", "": ""} {
		if got := field(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
