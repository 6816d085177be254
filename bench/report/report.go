// Package report makes everything that is printed about a run from its run
// folder alone: the table for the terminal, results.csv, the reports in
// Markdown and HTML, in English and Russian, and the plots; and it compares runs
// and verifies what was printed. It never measures, never changes the raw data and
// knows no kind of measurement: what is special of one, it finds in the catalogue.
//
// The same folder gives the same bytes, on any machine and at any time: there
// is no time of making in a report, and nothing depends on the order of a map.
// That is what [Verify] rests on: it makes everything again from the trials and
// tells every difference to what lies in the folder.
//
// The way of the data: model (numbers, computed once) → a document in one language
// (package doc) → Markdown, HTML, SVG, CSV or the terminal.
//
// Latency figures carry the resolution of the histograms, three significant
// digits.
package report

import (
	"fmt"
	"io"
	"strconv"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// file is a file of the report, by its slash-separated name in the run folder.
type file struct {
	name string
	data []byte
}

// Write makes results.csv, the plots and the reports in Markdown and HTML from
// the trials in the folder and writes them into it, replacing what is there.
// A run may be incomplete or still under way; the reports say so.
func Write(f *record.Folder, catalog measure.Catalog) error {
	files, err := render(f, catalog)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, x := range files {
		if err := f.WriteFile(x.name, x.data); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// Terminal prints the run's answer and table in plain text, no line wider than
// width columns as long as the names of the cells leave room. The table gives up
// columns before lines are broken: the full one is in the report.
func Terminal(w io.Writer, f *record.Folder, catalog measure.Catalog, lang Lang, width int) error {
	m, err := build(f, catalog)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return doc.Terminal(w, newLanguage(lang).brief(m), width)
}

// form is the version of the layout of the files. A file says of which form it is;
// the text of one of an earlier form is not what this program would write.
const form = 5

func stamp() string { return "raftlab report, form " + strconv.Itoa(form) }

// render makes all files of the report.
func render(f *record.Folder, catalog measure.Catalog) ([]file, error) {
	m, err := build(f, catalog)
	if err != nil {
		return nil, err
	}
	data, err := doc.CSV(results(m))
	if err != nil {
		return nil, err
	}
	files := []file{{csvFile, data}}
	for _, code := range []Lang{English, Russian} {
		suffix := ""
		if code != English {
			suffix = "." + string(code)
		}
		l := newLanguage(code)
		figures, err := l.figures(m, suffix)
		if err != nil {
			return nil, err
		}
		for _, x := range figures {
			files = append(files, file{x.File, doc.SVG(x, stamp())})
		}
		page := l.page(m, figures)
		html, err := doc.HTML(page)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"report" + suffix + ".md", doc.Markdown(page)}, file{"report" + suffix + ".html", html})
	}
	return files, nil
}

// brief is the report for the terminal.
func (l *language) brief(m *model) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(m)}
	headline, _, told := l.answer(m)
	d.Add(doc.Paragraph{Text: headline})
	if len(m.trials) > 0 {
		d.Add(l.mainTable(m))
	}
	const most = 4 // warnings: more would bury the table
	cautions, concerns := l.cautions(m, told), l.concerns(m)
	if len(concerns) > most {
		cautions = append(cautions, l.fill("Further warnings: %d; the report lists them.", "Ещё предупреждений: %d; они перечислены в отчёте.", len(concerns)))
		concerns = nil
	}
	d.Add(doc.List{Class: doc.Cautions, Items: cautions}, doc.List{Items: concerns})
	return d
}
