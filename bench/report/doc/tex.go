package doc

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// TeXFile is a file of a document in LaTeX, by its slash-separated name.
type TeXFile struct {
	Name string
	Data []byte
}

//go:embed tex/*.tex
var texSources embed.FS

// TeX writes a document as a chapter in LaTeX: chapter.tex, which takes in tables and
// figures from the files that they name, and what it needs to be compiled by itself or
// to be put into a thesis; main.tex tells how. Numbers are LaTeX's, and how captions and
// headings look is left to the document around the chapter. It compiles with pdfTeX and
// LuaTeX.
func TeX(d Document) ([]TeXFile, error) {
	d = clean(d)
	t := &texWriter{l: d.Locale, stamp: TeXText(d.Stamp)}
	chapter := t.comment() + "\\chapter{" + TeXText(d.Title) + "}\n"
	for _, x := range d.Blocks {
		chapter += "\n" + t.block(x)
	}
	var out []TeXFile
	for _, name := range []string{"main.tex", "preamble.tex", "style.tex"} {
		source, err := template.New(name).Delims("<<", ">>").ParseFS(texSources, "tex/"+name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var text bytes.Buffer
		if err := source.Execute(&text, map[string]any{"Russian": d.Locale.Code == "ru", "Table": d.Locale.Table, "Figure": d.Locale.Figure}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, TeXFile{name, text.Bytes()})
	}
	return append(append(out, TeXFile{"chapter.tex", []byte(chapter)}), t.parts...), nil
}

// texWriter writes blocks, and collects the files of tables and figures.
type texWriter struct {
	l     Locale
	stamp string
	parts []TeXFile
}

// comment begins a file.
func (t *texWriter) comment() string {
	if t.stamp == "" {
		return ""
	}
	return "% " + t.stamp + "\n"
}

func (t *texWriter) text(s string) string { return TeXText(t.l.Tight(s)) }

func (t *texWriter) block(block Block) string {
	var b strings.Builder
	switch x := block.(type) {
	case Heading:
		command := []string{"FloatBarrier\n\\section", "subsection"}[min(x.Depth, 1)] // what floats stays in its section
		return "\\" + command + "{" + t.text(x.Text) + "}\n"
	case Paragraph:
		if x.Term != "" {
			b.WriteString("\\textbf{" + t.text(x.Term) + ".} ")
		}
		text := t.text(x.Text)
		if x.Lang != "" {
			text = "\\foreignlanguage{" + map[bool]string{true: "russian", false: "english"}[x.Lang == "ru"] + "}{" + text + "}"
		}
		b.WriteString(text + "\n")
	case List:
		if x.Title != "" {
			b.WriteString("\\textbf{" + t.text(x.Title) + ":}\n")
		}
		b.WriteString("\\begin{itemize}\\RaftlabTight\n")
		for _, text := range x.Items {
			b.WriteString("\\item " + t.text(text) + "\n")
		}
		b.WriteString("\\end{itemize}\n")
	case Terms:
		for _, i := range x {
			b.WriteString("\\textbf{" + t.text(i.Term) + ".} " + t.text(i.Text) + "\\par\n")
		}
	case References:
		for _, r := range x {
			b.WriteString("\\textbf{" + t.text(r.Term) + ":} " + t.references(r.Parts) + ".\n")
		}
	case Code:
		b.WriteString("\\begin{quote}\\ttfamily\\small\\raggedright\n")
		for _, line := range x {
			b.WriteString(TeXText(line) + "\\par\n")
		}
		b.WriteString("\\end{quote}\n")
	case Table:
		return t.file(x.File, t.table(x))
	case Figure:
		t.parts = append(t.parts, TeXFile{x.File, []byte(t.figure(x))})
		return "\\begin{figure}[!htp]\n\\centering\n\\input{\\RaftlabDir " + strings.TrimSuffix(x.File, ".tex") + "}\n" +
			"\\RaftlabCaption{" + t.text(x.Title) + "}{" + t.text(x.Caption) + "}\\label{fig:" + texLabel(x.File) + "}\n\\end{figure}\n"
	}
	return b.String()
}

// references name parts, each with its number.
func (t *texWriter) references(parts []Block) string {
	var out []string
	add := func(title, word, kind, file string) {
		out = append(out, fmt.Sprintf("%s (%s~\\ref{%s:%s})", t.text(uncapital(title)), TeXText(strings.ToLower(word)), kind, texLabel(file)))
	}
	for _, p := range parts {
		switch x := p.(type) {
		case Table:
			add(x.Caption, t.l.Table, "tab", x.File)
		case Figure:
			add(x.Title, t.l.Figure, "fig", x.File)
		}
	}
	return strings.Join(out, ", ")
}

// uncapital makes a title part of a sentence, unless it begins with a name such as CPU.
func uncapital(title string) string {
	first, width := utf8.DecodeRuneInString(title)
	if second, _ := utf8.DecodeRuneInString(title[width:]); unicode.IsUpper(second) || second == utf8.RuneError {
		return title
	}
	return string(unicode.ToLower(first)) + title[width:]
}

// file puts a text into a file of its own, where it is to have one.
func (t *texWriter) file(file, text string) string {
	if file == "" {
		return text
	}
	t.parts = append(t.parts, TeXFile{file, []byte(t.comment() + text)})
	return "\\input{\\RaftlabDir " + strings.TrimSuffix(file, ".tex") + "}\n"
}

// texLabel is by what a part is referred to.
func texLabel(file string) string {
	return strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], ".tex")
}
