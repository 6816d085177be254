// Package report makes everything that is printed about a run from its run
// folder alone: the table for the terminal, tables and numbers for programs, the
// reports in Markdown and HTML, in English and Russian, the plots, and a chapter in
// LaTeX; and it compares runs and verifies what was printed. It never measures, never changes the raw data and
// knows no kind of measurement: what is special of one, it finds in the catalogue.
//
// The same folder gives the same bytes, on any machine and at any time: there
// is no time of making in a report, and nothing depends on the order of a map.
// That is what [Verify] rests on: it makes everything again from the trials and
// tells every difference to what lies in the folder.
//
// The way of the data: model (numbers, computed once) → a document in one language
// (package doc) → Markdown, HTML, SVG, LaTeX or the terminal; or → CSV and JSON.
//
// Latency figures carry the resolution of the histograms, three significant
// digits.
package report

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// file is a file of the report, by its slash-separated name in the run folder.
type file struct {
	name   string
	data   []byte
	format Format
	since  int // the form from which on it is made
}

// Format is a format of the report's files in the run folder, or of a comparison.
type Format string

// The formats. Plots belong to Markdown; HTML has them within.
const (
	HTML     Format = "html"
	Markdown Format = "md"
	CSV      Format = "csv"
	JSON     Format = "json"
	Text     Format = "text" // for the terminal: a comparison, or the table of a run; no file
)

// Write makes the tables, the plots and the reports in both languages from the trials in
// the folder and writes them into it, replacing what is there. A run may be incomplete or
// still under way; the reports say so. Once ctx is cancelled, Write and its kin end early.
func Write(ctx context.Context, f *record.Folder, catalog measure.Catalog) error {
	_, err := WriteOnly(ctx, f, catalog, HTML, Markdown, CSV, JSON)
	return err
}

// WriteAndPrint does what Write does and then Terminal, and works the numbers out once.
func WriteAndPrint(ctx context.Context, w io.Writer, f *record.Folder, catalog measure.Catalog, lang Lang, width int) error {
	m, err := build(ctx, f, catalog)
	if err == nil {
		_, err = m.write(ctx, f, HTML, Markdown, CSV, JSON)
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return doc.Terminal(w, newLanguage(lang).brief(m), width)
}

// WriteOnly does what Write does for files of some formats, and returns their names.
func WriteOnly(ctx context.Context, f *record.Folder, catalog measure.Catalog, formats ...Format) ([]string, error) {
	m, err := build(ctx, f, catalog)
	var names []string
	if err == nil {
		names, err = m.write(ctx, f, formats...)
	}
	if err != nil {
		return names, fmt.Errorf("report: %w", err)
	}
	return names, nil
}

// write makes the files of some formats and returns their names.
func (m *model) write(ctx context.Context, f *record.Folder, formats ...Format) (names []string, err error) {
	files, err := m.files(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range files {
		if !slices.Contains(formats, x.format) {
			continue
		}
		if err := f.WriteFile(x.name, x.data); err != nil {
			return names, err
		}
		names = append(names, x.name)
	}
	return names, nil
}

// Terminal prints the run's answer and table in plain text, no line wider than
// width columns as long as the names of the cells leave room. The table gives up
// columns before lines are broken: the full one is in the report.
func Terminal(ctx context.Context, w io.Writer, f *record.Folder, catalog measure.Catalog, lang Lang, width int) error {
	m, err := build(ctx, f, catalog)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return doc.Terminal(w, newLanguage(lang).brief(m), width)
}

// form is the version of the layout of the files. A file says of which form it is;
// the text of one of an earlier form is not what this program would write.
const form = 7

func stamp() string { return "raftlab report, form " + strconv.Itoa(form) }

// render makes all files of the report.
func render(ctx context.Context, f *record.Folder, catalog measure.Catalog) ([]file, error) {
	m, err := build(ctx, f, catalog)
	if err != nil {
		return nil, err
	}
	return m.files(ctx)
}

func (m *model) files(ctx context.Context) ([]file, error) {
	const first, exports = 1, 5 // forms
	trials, err := doc.CSV(results(m))
	if err != nil {
		return nil, err
	}
	cells, err := doc.CSV(summary(m))
	if err != nil {
		return nil, err
	}
	model, err := encodeJSON(m.exported())
	if err != nil {
		return nil, err
	}
	files := []file{{csvFile, trials, CSV, first}, {summaryFile, cells, CSV, exports}, {jsonFile, model, JSON, exports}}
	for _, code := range []Lang{English, Russian} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		suffix, since := "", first
		if code != English {
			suffix = "." + string(code)
			if m.manifest.Experiment.TitleRu == "" {
				since = exports
			}
		}
		l := newLanguage(code)
		figures, err := l.figures(m, suffix)
		if err != nil {
			return nil, err
		}
		for _, x := range figures {
			files = append(files, file{x.File, doc.SVG(x, stamp()), Markdown, since})
		}
		page := l.page(m, figures)
		html, err := doc.HTML(page)
		if err != nil {
			return nil, err
		}
		files = append(files,
			file{"report" + suffix + ".md", doc.Markdown(page), Markdown, since}, file{"report" + suffix + ".html", html, HTML, since})
	}
	return files, nil
}

// brief is the report for the terminal.
func (l *language) brief(m *model) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(m)}
	a := l.answer(m)
	d.Add(a.blocks()...)
	if len(m.trials) > 0 {
		d.Add(l.mainTable(m))
	}
	const most = 4 // warnings: more would bury the table
	cautions, concerns := l.cautions(m, a.decides), l.concerns(m)
	if len(concerns) > most {
		cautions = append(cautions, l.fill("Further warnings: %d; the report lists them.", "Ещё предупреждений: %d; они перечислены в отчёте.", len(concerns)))
		concerns = nil
	}
	d.Add(doc.List{Class: doc.Cautions, Items: cautions}, doc.List{Items: concerns})
	return d
}
