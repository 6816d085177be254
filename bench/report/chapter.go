package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// Chapter makes one chapter of some runs in LaTeX: of each its answer, tables and
// figures, and for all how they were measured, what threatens their validity and from
// which data each comes. The files are named relative to the chapter's folder.
func Chapter(folders []*record.Folder, catalog measure.Catalog, lang Lang) ([]doc.TeXFile, error) {
	l := newLanguage(lang)
	var runs []*model
	for _, f := range folders {
		m, err := build(f, catalog)
		if err != nil {
			return nil, fmt.Errorf("chapter: %w", err)
		}
		runs = append(runs, m)
	}
	d, err := l.chapter(runs)
	if err != nil {
		return nil, fmt.Errorf("chapter: %w", err)
	}
	files, err := doc.TeX(d)
	if err != nil {
		return nil, fmt.Errorf("chapter: %w", err)
	}
	return files, nil
}

func (l *language) chapter(runs []*model) (doc.Document, error) {
	d := doc.Document{Locale: l.Locale, Title: l.title(runs[0]), Stamp: stamp()}
	for i, m := range runs {
		figures, err := l.figures(m, "")
		if err != nil {
			return d, err
		}
		if len(runs) > 1 {
			d.Add(doc.Heading{Text: l.title(m)})
		}
		l.addRun(&d, l.page(m, figures), fileNames{prefix: runName(runs, i)}, min(1, len(runs)-1))
	}
	return d, nil
}

// runName is what the files of a run begin with.
func runName(runs []*model, i int) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, runs[i].manifest.Experiment.Name)
	if len(runs) > 1 {
		name = fmt.Sprintf("%d-%s", i+1, name)
	}
	return name
}

// fileNames gives the tables and figures of a run files of their own.
type fileNames struct {
	prefix string
	tables int
}

func (n *fileNames) file(b doc.Block) doc.Block {
	switch x := b.(type) {
	case doc.Table:
		n.tables++
		x.File = fmt.Sprintf("tables/%s-%d.tex", n.prefix, n.tables)
		return x
	case doc.Figure:
		x.File = "figures/" + n.prefix + "-" + strings.TrimSuffix(path.Base(x.File), path.Ext(x.File)) + ".tex"
		return x
	}
	return b
}

// addRun adds of a run's report what a reader needs, its headings so deep.
func (l *language) addRun(d *doc.Document, page doc.Document, n fileNames, depth int) {
	kept := true
	for _, b := range page.Blocks {
		if h, ok := b.(doc.Heading); ok {
			if kept = h.Class != doc.Annex && h.Class != doc.Machine; kept {
				h.Depth = depth
				d.Add(h)
			}
			continue
		}
		if kept {
			d.Add(n.file(b))
		}
	}
}
