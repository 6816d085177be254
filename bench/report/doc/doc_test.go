package doc

import (
	"bytes"
	"strings"
	"testing"
)

func english() Locale {
	return Locale{Code: "en", Decimal: ".", Between: ", ", Units: []string{"ms"}, Table: "Table", Figure: "Figure", Dash: ". "}
}

// sample has a cell of every type.
func sample() Table {
	return Table{
		Columns: []Column{{Head: "store"}, {Head: "p50", Unit: "ms", Number: true}, {Head: "vs mdb", Number: true}, {Head: "p", Number: true}, {Head: "over time"}},
		Rows: []Row{
			{First: true, Title: "over tcp", Cells: []Cell{{Text: "mdb"}, {Value: &Value{X: 2.2, Low: 2.11, High: 2.31, Ranged: true}}, {Text: "base"}, {}, {Series: []int64{1, 8}}}},
			{Cells: []Cell{{Text: "bo|t"}, {Value: &Value{X: 4.62, Low: 4.41, High: 4.9, Ranged: true, Mark: "?"}},
				{Value: &Value{X: 2.1, Unit: "×"}, Mark: "†"}, {Text: "0.008"}, {Text: "<b>"}}},
			{Cells: []Cell{{Text: "inmem, in one process"}, {Value: &Value{X: 0}, Invalid: true}, {Text: "–"}, {Text: "–"}, {Text: "FAIL", Class: Fail}}},
		},
		Notes: []Item{{MarkEnds, "an interval"}, {MarkShare, "a share"}, {MarkInvalid, "invalid"}, {"~", "no difference"}, {"†", "unequal"},
			{"?", "unsure"}, {"p", "a test"}, {"", "a remark"}},
		Yields: []Yield{{[]int{3}, Gone}, {[]int{1}, Share}, {[]int{4}, Gone}, {[]int{1}, Alone}},
	}
}

func terminal(t *testing.T, width int, blocks ...Block) string {
	t.Helper()
	var out bytes.Buffer
	if err := Terminal(&out, Document{Locale: english(), Blocks: blocks}, width); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestTheTerminalFits: a table gives up what it may, in turn and no more than it must,
// and the notes follow what is left.
func TestTheTerminalFits(t *testing.T) {
	for _, c := range []struct {
		width      int
		want, lack []string
	}{
		{100, []string{"4.62? [4.41, 4.90]", "2.10× †", "0.008", "▂█", "(0)", "\nover tcp\n", "[…] an", "†   unequal", "p   a test", "    a remark"}, []string{"±", "~"}},
		{60, []string{"4.62? [4.41, 4.90]", "▂█"}, []string{"0.008", "a test", "±"}},
		{50, []string{"4.62? ±6%", "±   a share", "▂█"}, []string{"[…]", "0.008"}},
		{45, []string{"4.62? ±6%", "±   a share"}, []string{"[…]", "FAIL"}},
		{40, []string{"4.62?", "2.10× †"}, []string{"±", "FAIL"}},
	} {
		got := terminal(t, c.width, sample())
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%d columns: no %q:\n%s", c.width, want, got)
			}
		}
		for _, lack := range c.lack {
			if strings.Contains(got, lack) {
				t.Errorf("%d columns: %q is there:\n%s", c.width, lack, got)
			}
		}
		for line := range strings.Lines(got) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > c.width {
				t.Errorf("%d columns in a line of %d: %q", n, c.width, line)
			}
		}
	}
}

// TestRenderersTakeTheCells: what is typed in a cell comes out in the way of each format,
// and nothing becomes markup.
func TestRenderersTakeTheCells(t *testing.T) {
	d := Document{Locale: english(), Title: "A *title*", Stamp: "form 7"}
	captioned := sample()
	captioned.Caption = "Latency of a write"
	d.Add(Paragraph{Term: "Question", Text: "Why <i>?", Class: Question}, Heading{Text: "Results", Class: Machine}, sample(), captioned, captioned,
		List{Title: "But", Items: []string{"after 5 ms"}, Class: Cautions}, Terms{{"Load", "much"}}, Code{"a b"},
		Figure{File: "a.svg", Title: "Latency", Caption: "Lower is better."})
	html, err := HTML(d)
	if err != nil {
		t.Fatal(err)
	}
	for text, wants := range map[string][]string{
		string(Markdown(d)): {"# A \\*title\\*\n", "**Question.** Why &lt;i>?", "## Results", "| bo\\|t ", "4.62? [4.41, 4.90] |", "2.10× † |", "~~0~~", "**FAIL**",
			"**over tcp**", "- `?` unsure", "- ~~…~~ invalid", "- a remark", "But:\n\n- after", "- **Load.** much", "    a b\n", "**Table 2. Latency of a write**\n\n|",
			"![Latency](a.svg)\n\n**Figure 1. Latency.** Lower is better.", "<!-- form 7 -->\n"},
		string(html): {"<h1>A *title*</h1>", "<b>Question.</b> Why &lt;i&gt;?", `<section class="machine">`, `<td class="num ">4.62? <span class="ci">[4.41, 4.90]</span></td>`,
			"2.10× †</td>", "<s>0</s>", `<td class="fail">FAIL</td>`, `<th scope="rowgroup" colspan="5">over tcp</th>`, "&lt;b&gt;", "<svg class=\"spark\"",
			`<div class="cautions">`, "after 5\u00a0ms", "<caption><span>Table\u00a02. Latency of a write</span></caption>",
			"<b>Figure\u00a01. Latency.</b>", "<dt>Load</dt><dd>much</dd>", "<pre><code>a b</code></pre>", "<!-- form 7 -->\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("no %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "a share") || strings.Contains(text, "no difference") {
			t.Errorf("a note that nothing needs:\n%s", text)
		}
	}
	csv, err := CSV(Table{Columns: []Column{{Head: "a"}, {Head: "b"}}, Rows: []Row{{Cells: []Cell{{Text: "1"}, {Text: "x, y"}}}}})
	if err != nil || string(csv) != "a,b\n1,\"x, y\"\n" {
		t.Errorf("%q, %v", csv, err)
	}
}

// TestAxes: the ends are nice numbers around the values, and labels have room.
func TestAxes(t *testing.T) {
	write := func(v float64) string { return english().General(v) }
	for _, c := range []struct {
		axis      Axis
		low, high float64
	}{
		{LinearAxis("", []float64{0, 47}, LabelsBeside, write), 0, 50},
		{LinearAxis("", []float64{4096}, LabelsBelow, write), 0, 6000},
		{LogAxis("", []float64{0.3e-3, 41e-3}, LabelsBeside, write), 0.2e-3, 50e-3},
		{LogAxis("", []float64{100, 1e6}, LabelsBelow, write), 50, 2e6},
	} {
		labels := 0
		for _, tick := range c.axis.Ticks {
			if tick.Label != "" {
				labels++
			}
		}
		if c.axis.Low != c.low || c.axis.High != c.high || labels < 3 || labels > LabelsBeside {
			t.Errorf("from %g to %g with %d labels, want from %g to %g", c.axis.Low, c.axis.High, labels, c.low, c.high)
		}
	}
}
