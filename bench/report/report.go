package report

import (
	"fmt"

	"github.com/themilchenko/raftlab/bench/record"
)

// file is a file of the report, by its slash-separated name in the run folder.
type file struct {
	name string
	data []byte
}

// Write makes results.csv, the plots and the reports in Markdown and HTML from
// the trials in the folder and writes them into it, replacing what is there.
// The reports in Russian are made where the experiment has a Russian title. A
// run may be incomplete or still under way; the reports say so.
func Write(f *record.Folder) error {
	files, err := render(f)
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

// render makes all files of the report.
func render(f *record.Folder) ([]file, error) {
	m, err := build(f)
	if err != nil {
		return nil, err
	}
	data, err := renderCSV(m)
	if err != nil {
		return nil, err
	}
	files := []file{{csvFile, data}}
	for _, code := range m.languages() {
		l := newLanguage(code)
		p := l.page(m)
		if p.Figures, err = l.figures(m); err != nil {
			return nil, err
		}
		for _, x := range p.Figures {
			files = append(files, file{x.File, x.SVG})
		}
		name := "report"
		if code != English {
			name += "." + string(code)
		}
		markdown, err := renderMarkdown(p)
		if err != nil {
			return nil, err
		}
		html, err := renderHTML(p)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name + ".md", markdown}, file{name + ".html", html})
	}
	return files, nil
}

// languages are those in which a run is reported.
func (m *model) languages() []Lang {
	if m.manifest.Experiment.TitleRu == "" {
		return []Lang{English}
	}
	return []Lang{English, Russian}
}
