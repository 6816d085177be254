package report

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// Chapter makes one chapter of some runs in LaTeX: of each its answer, tables and
// figures, and for all how they were measured, what threatens their validity and from
// which data each comes. The files are named relative to the chapter's folder.
func Chapter(ctx context.Context, folders []*record.Folder, catalog measure.Catalog, lang Lang) ([]doc.TeXFile, error) {
	l := newLanguage(lang)
	var runs []*model
	for _, f := range folders {
		m, err := build(ctx, f, catalog)
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

// chapter is a section for each run, or for each part of a single one, and then what
// holds for all.
func (l *language) chapter(runs []*model) (doc.Document, error) {
	var ids []string
	for _, m := range runs {
		ids = append(ids, record.ShortID(m.provenance))
	}
	d := doc.Document{Locale: l.Locale, Title: l.title(runs[0]), Stamp: stamp() + ", " + strings.Join(ids, " ")}
	if len(runs) > 1 {
		d.Title = l.say("Experiments and results", "Эксперименты и результаты")
		d.Add(l.opening(runs))
	}
	for i, m := range runs {
		figures, err := l.figures(m, "")
		if err != nil {
			return d, err
		}
		if len(runs) > 1 {
			d.Add(doc.Heading{Text: l.title(m)})
		}
		addRun(&d, l.page(m, figures), fileNames{prefix: runName(runs, i), note: l.source(m), signs: l.notes(m)}, min(1, len(runs)-1))
	}
	l.addShared(&d, l.say("How this was measured", "Методика измерений"), runs, l.methods)
	l.addShared(&d, l.say("Threats to validity", "Угрозы валидности"), runs, l.threats)
	d.Add(doc.Heading{Text: l.say("Provenance of the data", "Происхождение данных")}, l.provenanceTable(runs))
	return d, nil
}

// opening names the runs of the chapter.
func (l *language) opening(runs []*model) doc.Paragraph {
	var titles []string
	for _, m := range runs {
		titles = append(titles, l.say("“", "«")+l.title(m)+l.say("”", "»"))
	}
	return doc.Paragraph{Text: l.fill(
		"This chapter reports %s: %s. How they were measured, and what threatens the validity of what was found, is said for all of them at its end.",
		"В главе приведены результаты следующих экспериментов (%s): %s. Методика измерений и угрозы валидности, общие для всех экспериментов, изложены в конце главы.",
		l.count(len(runs), "experiment experiments", "эксперимент эксперимента экспериментов"), strings.Join(titles, "; "))}
}

// source says from which data a table or figure is.
func (l *language) source(m *model) string {
	return l.fill("Data: run %s.", "Данные: измерения %s.", record.ShortID(m.provenance))
}

// addShared adds a section of what every run says of itself: once what all say, and then
// of each run what it alone says.
func (l *language) addShared(d *doc.Document, title string, runs []*model, of func(*model) doc.Terms) {
	var each []doc.Terms
	for _, m := range runs {
		each = append(each, of(m))
	}
	inAll := func(x doc.Item) bool {
		return !slices.ContainsFunc(each, func(t doc.Terms) bool { return !slices.Contains(t, x) })
	}
	common := slices.DeleteFunc(slices.Clone(each[0]), func(x doc.Item) bool { return !inAll(x) })
	d.Add(doc.Heading{Text: title}, common)
	for i, m := range runs {
		if own := slices.DeleteFunc(slices.Clone(each[i]), inAll); len(own) > 0 {
			if len(runs) > 1 {
				d.Add(doc.Heading{Text: l.title(m), Depth: 1})
			}
			d.Add(own)
		}
	}
}

// provenanceTable says from which data each run's figures are.
func (l *language) provenanceTable(runs []*model) doc.Table {
	t := doc.Table{
		Caption: l.say("The runs and the hashes of their data", "Измерения и хеши их данных"), File: "tables/provenance.tex",
		Columns: []doc.Column{{Head: l.say("run", "измерения")}, {Head: l.say("experiment", "эксперимент")}, {Head: l.say("begun", "начало")},
			{Head: l.say("trials", "испытаний"), Number: true}, {Head: l.say("valid", "достоверных"), Number: true}, {Head: "raftlab"}},
		Notes: []doc.Item{{Text: l.say("Run: the first digits of the SHA-256 of what “sha256sum manifest.json trials/*.json” prints in the run folder; experiment: those of the resolved experiment’s.",
			"Измерения: первые цифры SHA-256 от вывода команды «sha256sum manifest.json trials/*.json» в папке измерений; эксперимент: от полного описания эксперимента.")}},
	}
	for _, m := range runs {
		e := m.manifest.Experiment
		valid, begun, program := 0, "", ""
		for _, c := range m.cells {
			valid += c.valid
		}
		for _, s := range m.manifest.Sessions[:min(1, len(m.manifest.Sessions))] {
			begun, program = s.Started.UTC().Format(time.DateOnly), s.Environment.Raftlab
		}
		t.Rows = append(t.Rows, doc.Row{First: true, Cells: []doc.Cell{{Text: record.ShortID(m.provenance)}, {Text: e.Name + " " + record.ShortID(e.Hash())},
			{Text: begun}, {Text: strconv.Itoa(len(m.trials))}, {Text: strconv.Itoa(valid)}, {Text: program}}})
	}
	return t
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

// fileNames gives the tables and figures of a run files of their own, and a note that
// says of which data they are.
type fileNames struct {
	prefix, note string
	signs        []doc.Item // what marks mean
	tables       int
}

func (n *fileNames) file(b doc.Block) doc.Block {
	switch x := b.(type) {
	case doc.Table:
		n.tables++
		x.File = fmt.Sprintf("tables/%s-%d.tex", n.prefix, n.tables)
		x.Notes = slices.Concat(x.Notes, n.signs, []doc.Item{{Text: n.note}})
		return x
	case doc.Figure:
		x.File = "figures/" + n.prefix + "-" + strings.TrimSuffix(path.Base(x.File), path.Ext(x.File)) + ".tex"
		x.Caption = strings.TrimSpace(x.Caption + " " + n.note)
		return x
	}
	return b
}

// addRun adds of a run's report what a reader needs, its headings so deep.
func addRun(d *doc.Document, page doc.Document, n fileNames, depth int) {
	kept := true
	for _, b := range page.Blocks {
		if h, ok := b.(doc.Heading); ok {
			if kept = !slices.Contains([]doc.Class{doc.Annex, doc.Machine, doc.Method}, h.Class); kept {
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
