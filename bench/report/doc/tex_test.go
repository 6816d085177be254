package doc

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// texFault finds what in a text would be more than characters to LaTeX: the rules that
// TeXText must keep, stated apart from it.
func texFault(text string) string {
	text = regexp.MustCompile(`\\ensuremath\{(\\[a-z]+|-|\^[23])\}`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\\[a-zA-Z]+\{\}`).ReplaceAllString(text, "") // a character by its name
	text = regexp.MustCompile(`\\[{}$&#%_]`).ReplaceAllString(text, "")     // one that is quoted
	text = regexp.MustCompile(`\{[\[\]*]?\}`).ReplaceAllString(text, "")    // a group of one, or of none
	if i := strings.IndexAny(text, "\\{}$&#%_^[]*<>|\"`"); i >= 0 {
		return "unescaped: " + text[i:]
	}
	for _, r := range text {
		if r < ' ' || r == utf8.RuneError || r > '~' && !inCyrillic(r) && !slices.Contains([]rune(accented), r) {
			return "a character that a font may lack: " + string(r)
		}
	}
	return ""
}

func FuzzTeXText(f *testing.F) {
	for _, s := range []string{
		`50 % of #1_{x} & $y$ ~^\ "a" <b> |`, "a\x00\x1b[31mb\r\n\n\\par", "} \\input{/etc/passwd} %", "-- ''  ,, `` ?` !`", "[x] *", "\u202eabc\u00a0\u200b", "Ёлка № 5 ≤ 3 мкс — «да»",
		"github.com/hashicorp/raft-mdb v0.0.0-20260220095904-29a69d9a0225", "\xff\xfe", "éßø漢😀", `\\`, "^^M", "U+0041",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := TeXText(s)
		if fault := texFault(out); fault != "" {
			t.Errorf("%q became %q: %s", s, out, fault)
		}
		if strings.ContainsAny(out, "\n\r") {
			t.Errorf("%q became several lines: %q", s, out)
		}
		for _, twice := range []string{"--", "''", ",,"} {
			if strings.Contains(out, twice) {
				t.Errorf("%q became %q, in which %s is one character", s, out, twice)
			}
		}
	})
}

func TestTeXText(t *testing.T) {
	for in, want := range map[string]string{
		"50 % of a_b & c":     `50 \% of a\_b \& c`,
		"--set x=1":           `-{}-set x=1`,
		"[4.41, 4.90]":        `{[}4.41, 4.90{]}`,
		"запись — 5\u00a0мкс": `запись~\textemdash{} 5~мкс`,
		"a\x1b[0mb":           `aU+001B{[}0mb`,
		"2,10× ±5 % ≤ 3 µs":   `2,10\ensuremath{\times} \ensuremath{\pm}5 \% \ensuremath{\leq} 3 \textmu{}s`,
		"漢":                   `U+6F22`,
	} {
		if got := TeXText(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if hash := TeXText(strings.Repeat("0123456789abcdef", 4)); strings.Count(hash, `\allowbreak{}`) != 4 {
		t.Errorf("a long word cannot be broken: %s", hash)
	}
}

func texFiles(t *testing.T, d Document) map[string]string {
	t.Helper()
	files, err := TeX(d)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, x := range files {
		out[x.Name] = string(x.Data)
	}
	return out
}

// TestTeXNarrow: columns that may stand below others do so where there is too little room, and
// the notes of a table that breaks stay with its last rows.
func TestTeXNarrow(t *testing.T) {
	table := Table{Caption: "Wide", File: "tables/wide.tex", Columns: []Column{{Head: "name"}}, Notes: []Item{{Term: "p", Text: "a test"}}}
	for range 8 {
		table.Columns = append(table.Columns, Column{Head: "from to", Unit: "s"}, Column{Head: "p", Under: true})
	}
	for range longTable {
		r := Row{First: true, Cells: []Cell{{Text: "a"}}}
		for range 8 {
			r.Cells = append(r.Cells, Cell{Text: "10.25–20.5"}, Cell{Text: "0.0125"})
		}
		table.Rows = append(table.Rows, r)
	}
	d := Document{Locale: english(), Title: "A"}
	d.Add(table)
	text := texFiles(t, d)["tables/wide.tex"]
	for _, want := range []string{`\begin{longtable}{@{}lllllllll@{}}`, `s\\p}`, `\RaftlabRange{0.0125}`, `\setbox\RaftlabSaved\vbox{\begin{RaftlabNotes}`, "a test"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q:\n%s", want, text[:min(len(text), 2000)])
		}
	}
	if table.Columns[2].Head != "p" || table.Rows[0].Cells[1].below != "" {
		t.Error("the table that was given is changed")
	}
}

// TestTeXTakesTheCells: cells come out as in the other formats, and groups and
// environments nest in every file.
func TestTeXTakesTheCells(t *testing.T) {
	d := Document{Locale: english(), Title: "A {title}", Stamp: "form 7\n\\evil"}
	table := sample()
	table.Caption, table.File = "Latency of a write", "tables/a-1.tex"
	figure := Figure{File: "figures/a.tex", Title: "Latency", Caption: "Lower is better.", Panels: []Panel{{
		Title: "at 1 %", X: Axis{Label: "share", Low: 0, High: 0.9999, Scale: Nines, Ticks: []Tick{{0.99, "99"}}},
		Y: Axis{Low: 1e-5, High: 1e-2, Scale: Log, Ticks: []Tick{{1e-3, "1 ms"}, {2e-3, ""}}},
		Series: []Series{{Label: "bolt & co", Style: 1, Line: []Point{{0.5, 1e-4}, {0.99, 2e-3}},
			Marks: []Mark{{Point: Point{0.5, 1e-4}, YLow: 5e-5, YHigh: 3e-4, Label: "16"}}}},
	}, {Title: "bars", X: Axis{High: 2}, Y: Axis{Low: -0.7, High: 0.7, Ticks: []Tick{{0, "flush_disk"}}}, Series: []Series{{Style: 9, Label: "x", Bars: []Bar{{0, 0, 1, "1 ms"}}}}}}}
	d.Add(Paragraph{Text: "Why?", Class: Question}, Heading{Text: "Results"}, Heading{Text: "Part", Depth: 1}, table, sample(), List{Title: "But", Items: []string{"a"}},
		Terms{{"Load", "much"}}, Code{"a --b"}, figure)
	files := texFiles(t, d)
	for name, wants := range map[string][]string{
		"chapter.tex": {"% form 7\\textbackslash{}n\\textbackslash{}evil\n", `\chapter{A \{title\}}`, `\section{Results}`, `\subsection{Part}`, `\input{\RaftlabDir tables/a-1}`,
			`\input{\RaftlabDir figures/a}`, `\RaftlabCaption{Latency}{Lower is better.}\label{fig:a}`, `\item a`, `a -{}-b\par`},
		"tables/a-1.tex": {`\caption{Latency of a write}\label{tab:a-1}`, `\toprule`, `\midrule`, `\bottomrule`, ` & 4.62? & `, `\RaftlabRange{{[}4.41, 4.90{]}}`,
			`2.10\ensuremath{\times} \textdagger{}`, `\textbf{FAIL}`, "bo\\textbar{}t", "(0)", `\RaftlabNote{?}{unsure}`, `\itshape over tcp`},
		"figures/a.tex": {`\documentclass[border=4pt,varwidth=165mm]{standalone}`, "xmin=0,", "xtick={2}", "ymode=log", "minor ytick={0.002}", "bolt \\& co",
			"(0.30103,0.0001) += (0,0.0002) -= (0,5e-05)", "rectangle (axis cs:1,0.32)", "flush\\_disk", "!35"},
		"main.tex": {`\input{chapter}`}, "preamble.tex": {"russian,main=english", "labelsep=period"}, "style.tex": {`\newcommand{\RaftlabStyle}`},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("%s: no %q:\n%s", name, want, files[name])
			}
		}
	}
	for name, text := range files {
		if name == "style.tex" || name == "preamble.tex" || name == "main.tex" { // our own
			continue
		}
		if err := texNests(text); err != "" {
			t.Errorf("%s: %s:\n%s", name, err, text)
		}
	}
}

// texNests finds a group or environment that is not closed, or not opened.
func texNests(text string) string {
	text = strings.NewReplacer(`\{`, "", `\}`, "", `\def\RaftlabEnd{\end{document}}`, `\end{document}`).Replace(text)
	var open []string
	for _, m := range regexp.MustCompile(`\\(begin|end)\{([a-zA-Z]+\*?)\}`).FindAllStringSubmatch(text, -1) {
		if m[1] == "begin" {
			open = append(open, m[2])
		} else if len(open) == 0 || open[len(open)-1] != m[2] {
			return "ends what is not open: " + m[2]
		} else {
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return "left open: " + strings.Join(open, " ")
	}
	depth := 0
	for _, r := range text {
		if depth += map[rune]int{'{': 1, '}': -1}[r]; depth < 0 {
			return "a } that closes nothing"
		}
	}
	if depth != 0 {
		return "a { that is left open"
	}
	return ""
}

// TestTeXTablesFit: a table that is too wide is set smaller, and then in parts that each
// name their rows; a long one breaks over pages.
func TestTeXTablesFit(t *testing.T) {
	wide := Table{Caption: "Wide", File: "tables/w.tex", Columns: []Column{{Head: "store"}}, Notes: []Item{{"", "a remark"}}}
	row := Row{Cells: []Cell{{Text: "bolt"}}}
	for _, head := range []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine"} {
		wide.Columns = append(wide.Columns, Column{Head: head + "-quantity", Number: true}, Column{Head: "p", Number: true})
		row.Cells = append(row.Cells, Cell{Value: &Value{X: 1}}, Cell{Text: "0.001"})
	}
	wide.Rows = []Row{row}
	long := Table{Caption: "Long", File: "tables/l.tex", Columns: []Column{{Head: "n"}}}
	for range 60 {
		long.Rows = append(long.Rows, Row{First: true, Cells: []Cell{{Text: "1"}}})
	}
	l := english()
	l.Continued = "Table N, continued"
	d := Document{Locale: l}
	d.Add(wide, long)
	files := texFiles(t, d)
	text := files["tables/w.tex"]
	if n := strings.Count(text, `\begin{tabular}{@{}l`); n < 2 || strings.Count(text, "bolt & ") != n || strings.Count(text, "a remark") != 1 ||
		strings.Count(text, `\caption`) != 1 || strings.Count(text, `\RaftlabContinued{Table \thetable, continued}`) != n-1 {
		t.Errorf("%d parts:\n%s", n, text)
	}
	if regexp.MustCompile(`store & p `).MatchString(text) {
		t.Errorf("a part begins with what belongs to the column before:\n%s", text)
	}
	if text := files["tables/l.tex"]; !strings.Contains(text, `\endfirsthead`) || !strings.Contains(text, `{Table \thetable, continued}`) || texNests(text) != "" {
		t.Errorf("a long table:\n%s", text)
	}
}
