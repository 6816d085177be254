package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
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
		l.addOpening(&d, runs)
	}
	var legends doc.Terms
	for i, m := range runs {
		figures, err := l.figures(m, "")
		if err != nil {
			return d, err
		}
		n := chapterParts{prefix: runName(runs, i), source: l.source(m), signs: l.notes(m)}
		if len(runs) > 1 {
			d.Add(doc.Heading{Text: l.title(m)})
			n.experiment, n.legends, n.captions = l.fill(", experiment\u00a0%d", ", эксперимент\u00a0%d", i+1), &legends, l.captions(m.kind)
		}
		addRun(&d, l.page(m, figures), n)
	}
	d.Add(doc.Heading{Text: l.say("How this was measured", "Методика измерений")}, l.methods(runs...))
	data := l.provenanceTable(runs)
	if len(runs) == 1 {
		d.Add(doc.References{{Term: l.say("Provenance", "Происхождение данных"), Parts: []doc.Block{data}}})
	}
	d.Add(data)
	if len(runs) > 1 {
		d.Add(l.costsTable(runs), doc.Heading{Text: l.say("What tables and figures show", "Пояснения к таблицам и рисункам"), Depth: 1}, legends)
	}
	d.Add(doc.Heading{Text: l.say("Threats to validity", "Угрозы валидности")}, doc.Paragraph{Text: l.say(
		"Threats are told in the four groups that are usual for experiments (Cook and Campbell, 1979; Wohlin et al., 2012, ch. 8).",
		"Угрозы изложены по четырём группам, принятым для экспериментов (Cook и Campbell, 1979; Wohlin и др., 2012, гл. 8).")}, l.threats(runs...))
	d.Add(doc.Heading{Text: l.say("Sources", "Источники")}, doc.List{Items: cited(d)})
	return d, nil
}

// addOpening names the runs of the chapter, and what each varies.
func (l *language) addOpening(d *doc.Document, runs []*model) {
	var items []string
	for i, m := range runs {
		end := map[bool]string{true: ".", false: ";"}[i == len(runs)-1]
		items = append(items, l.fill("experiment %d: “%s”%s", "эксперимент %d: «%s»%s", i+1, l.title(m), end))
	}
	designs, data := l.designTable(runs), l.provenanceTable(runs)
	d.Add(doc.List{Title: l.fill("The chapter reports %s", "В главе приведены результаты %s",
		l.count(len(runs), "experiment experiments", "эксперимента экспериментов экспериментов")), Items: items},
		doc.Paragraph{Text: l.say(
			"Each section begins with the question and its answer. How it was measured, what tables and figures show and what threatens the validity is said for all experiments at the end of the chapter.",
			"Каждый раздел начинается с вопроса и ответа на него. Методика измерений, пояснения к таблицам и рисункам и угрозы валидности, общие для всех экспериментов, изложены в конце главы.")},
		doc.References{{Term: l.say("Tables for all experiments", "Общие таблицы"), Parts: []doc.Block{designs, data, l.costsTable(runs)}}}, designs)
}

// source says from which data a table or figure is.
func (l *language) source(m *model) string {
	return l.fill("Data: run\u00a0%s.", "Данные: измерения\u00a0%s.", record.ShortID(m.provenance))
}

// addRun adds of a run's report what a reader needs: text first, and then tables and figures,
// which float. What a page shows only when asked to is a second view of what stands beside it.
func addRun(d *doc.Document, page doc.Document, n chapterParts) {
	var text, floats []doc.Block
	var shown doc.References
	kept, heading := true, ""
	for _, b := range page.Blocks {
		switch x := b.(type) {
		case doc.Heading:
			kept, heading = !slices.Contains([]doc.Class{doc.Annex, doc.Machine, doc.Method}, x.Class), x.Text
			continue
		case doc.Figure:
			if x.Folded {
				continue
			}
		case doc.Paragraph:
			if x.Class == doc.Headline {
				x.Term = heading
				b = x
			}
		}
		if list, ok := b.(doc.List); ok && list.Class == doc.Cautions {
			list.Items = slices.Clone(list.Items)
			for i, item := range list.Items {
				if said, _, found := strings.Cut(item, ": raftlab run "); found { // a thesis does not tell what to type
					list.Items[i] = said + "."
				}
			}
			b = list
		}
		if !kept {
			continue
		}
		named, float := n.take(b)
		if float == nil {
			text = append(text, b)
			continue
		}
		floats = append(floats, float)
		if last := len(shown) - 1; last < 0 || shown[last].Term != heading {
			shown = append(shown, doc.Reference{Term: heading})
		}
		of := &shown[len(shown)-1]
		of.Parts = append(of.Parts, named)
	}
	d.Add(text...)
	d.Add(shown)
	d.Add(mixed(floats)...)
}

// mixed takes figures and tables in turn, each in their order: figures float, and tables fill
// what these leave of a page.
func mixed(parts []doc.Block) []doc.Block {
	var figures, tables, out []doc.Block
	for _, b := range parts {
		if _, figure := b.(doc.Figure); figure {
			figures = append(figures, b)
		} else {
			tables = append(tables, b)
		}
	}
	for i := range max(len(figures), len(tables)) {
		out = append(out, figures[min(i, len(figures)):min(i+1, len(figures))]...)
		out = append(out, tables[min(i, len(tables)):min(i+1, len(tables))]...)
	}
	return out
}

// chapterParts makes the tables and figures of a run parts of a chapter: each with a file of
// its own, and a note that says of which data it is.
type chapterParts struct {
	prefix, source string
	signs          []doc.Item // what marks mean
	tables         int

	// Of several runs:
	experiment string            // which it is, for captions
	legends    *doc.Terms        // what holds for the tables and figures of all
	captions   map[string]string // of the kind's figures, by their titles
}

// take returns a table or figure as references name it, and as it stands in the chapter; nil
// for another block.
func (n *chapterParts) take(b doc.Block) (named, float doc.Block) {
	switch x := b.(type) {
	case doc.Table:
		n.tables++
		x.File = fmt.Sprintf("tables/%s-%d.tex", n.prefix, n.tables)
		named = x
		var notes []doc.Item
		for _, note := range x.Notes {
			if n.legends == nil || note.Term != "" {
				notes = append(notes, note)
			} else {
				*n.legends = appendNew(*n.legends, doc.Item{Term: x.Caption, Text: note.Text})
			}
		}
		x.Notes = slices.Concat(notes, n.signs, []doc.Item{{Text: n.source}})
		x.Caption += n.experiment
		return named, x
	case doc.Figure:
		x.File = "figures/" + n.prefix + "-" + strings.TrimSuffix(path.Base(x.File), path.Ext(x.File)) + ".tex"
		named = x
		if own, found := strings.CutPrefix(x.Caption, n.captions[x.Title]); found && n.legends != nil {
			*n.legends = appendNew(*n.legends, doc.Item{Term: x.Title, Text: n.captions[x.Title]})
			x.Caption = own
		}
		x.Caption = strings.TrimSpace(x.Caption + " " + n.source)
		x.Title += n.experiment
		return named, x
	}
	return nil, nil
}

// designTable says what the runs vary and keep, as far as it is not the same in all cells, and
// how often they repeat.
func (l *language) designTable(runs []*model) doc.Table {
	t := doc.Table{Caption: l.say("Designs of the experiments", "Планы экспериментов"), File: "tables/designs.tex", Columns: []doc.Column{{}}}
	add := func(name string, of func(*model) string) {
		r := doc.Row{First: true, Cells: []doc.Cell{{Text: name}}}
		for _, m := range runs {
			r.Cells = append(r.Cells, doc.Cell{Text: cmp.Or(of(m), markNone)})
		}
		t.Rows = append(t.Rows, r)
	}
	cells := func(m *model, of func(*cell) string) string {
		var values []string
		for _, c := range m.cells {
			values = appendNew(values, of(c))
		}
		return strings.Join(values, ", ")
	}
	keys := []string{keyBackend, keyTransport, keyEngine, keyNodes, keyMode, keyDiscovery, keyClients, keyRate, keyValueSize, "load.keys", "load.warmup", "load.duration"}
	varied := map[string][]string{}
	for i, m := range runs {
		t.Columns = append(t.Columns, doc.Column{Head: strconv.Itoa(i + 1), Unit: m.manifest.Experiment.Name})
		for _, c := range m.cells {
			for key, value := range c.settings.all() {
				varied[key] = appendNew(varied[key], value)
			}
		}
	}
	for _, key := range appendNew(keys, slices.Sorted(maps.Keys(varied))...) {
		if len(varied[key]) > 1 {
			add(l.settingName(key), func(m *model) string {
				return cells(m, func(c *cell) string { return l.settingValue(key, c.settings.all()[key]) })
			})
		}
	}
	if slices.ContainsFunc(infosOf(runs), func(c *record.CellInfo) bool { return c.Engine.Ours != "" }) {
		add(l.say("not the library’s in the engine", "в движке не из библиотеки"), func(m *model) string {
			return cells(m, func(c *cell) string { return strings.TrimSuffix(c.info.Engine.Name+": "+l.ours(c.info), ": ") })
		})
	}
	add(l.say("cells", "ячеек"), func(m *model) string { return strconv.Itoa(len(m.cells)) })
	add(l.say("trials of each cell", "испытаний на ячейку"), func(m *model) string { return cells(m, func(c *cell) string { return strconv.Itoa(len(c.run)) }) })
	add(l.say("comparisons of cells", "сравнений ячеек"), func(m *model) string { n, _ := m.comparisons(); return strconv.Itoa(n) })
	return t
}

// settingName is what a setting is called in a table.
func (l *language) settingName(key string) string {
	known := map[string]measure.Text{
		keyBackend: {En: "log store", Ru: "хранилище журнала"}, keyTransport: {En: "transport", Ru: "транспорт"}, keyEngine: {En: "engine", Ru: "движок"},
		keyNodes: {En: "voters", Ru: "голосующих узлов"}, keyMode: {En: "members", Ru: "запуск узлов"}, keyDiscovery: {En: "discovery", Ru: "обнаружение"},
		keyClients: {En: "clients", Ru: "клиентов"}, keyRate: {En: "rate", Ru: "интенсивность"}, keyValueSize: {En: "value size", Ru: "размер значения"},
		"load.keys": {En: "keys", Ru: "ключей"}, "load.warmup": {En: "warm-up", Ru: "прогрев"}, "load.duration": {En: "measured window", Ru: "окно измерения"},
	}
	return cmp.Or(l.Say(known[key]), key)
}

// settingValue writes a setting as the manifest has it.
func (l *language) settingValue(key, value string) string {
	if d, err := time.ParseDuration(value); err == nil && value != "0" {
		return l.Duration(experiment.Duration(d))
	}
	if n, err := strconv.ParseUint(value, 10, 64); err == nil && key == keyValueSize {
		return l.Bytes(n)
	}
	return l.Term(value)
}

// costsTable has what the machine itself cost before each run.
func (l *language) costsTable(runs []*model) doc.Table {
	t := doc.Table{
		Caption: l.say("What the machine itself costs", "Базовые издержки машины"), File: "tables/machine.tex", Columns: []doc.Column{{}},
		Notes: []doc.Item{{Text: l.say("Median / 99th percentile, in µs, before the first trial.", "Медиана / 99-й перцентиль, мкс, перед первым испытанием.")}},
	}
	for _, c := range l.costs(record.Calibration{}) {
		t.Rows = append(t.Rows, doc.Row{First: true, Cells: []doc.Cell{{Text: c.name}}})
	}
	number := func(v float64) string { return l.Locale.Number(v, doc.Digits(v)) }
	for i, m := range runs {
		t.Columns = append(t.Columns, doc.Column{Head: strconv.Itoa(i + 1), Unit: m.manifest.Experiment.Name, Number: true})
		var costs []cost
		for _, s := range m.manifest.Sessions[:min(1, len(m.manifest.Sessions))] {
			costs = l.costs(s.Calibration)
		}
		for j := range t.Rows {
			text := markNone
			if j < len(costs) && costs[j].N > 0 {
				text = number(costs[j].P50) + " / " + number(costs[j].P99)
			}
			t.Rows[j].Cells = append(t.Rows[j].Cells, doc.Cell{Text: text})
		}
	}
	return t
}

// provenanceTable says from which data each run's figures are.
func (l *language) provenanceTable(runs []*model) doc.Table {
	t := doc.Table{
		Caption: l.say("The runs and the hashes of their data", "Измерения и хеши их данных"), File: "tables/provenance.tex",
		Columns: []doc.Column{{Head: l.say("run", "измерения")}, {Head: l.say("experiment", "эксперимент")}, {Head: l.say("description", "описание")}, {Head: l.say("begun", "начало")},
			{Head: l.say("trials", "испытаний"), Number: true}, {Head: l.say("valid", "достоверных"), Number: true}, {Head: "raftlab"}},
		Notes: []doc.Item{{Text: l.say(
			"Run: the first digits of the SHA-256 of what “sha256sum manifest.json trials/*.json” prints in the run folder, in full below; description: those of the SHA-256 of the resolved experiment.",
			"Измерения: первые цифры SHA-256 от вывода команды «sha256sum manifest.json trials/*.json» в папке измерений, полностью — ниже; описание: первые цифры SHA-256 полного описания эксперимента.")}},
	}
	for i, m := range runs {
		e := m.manifest.Experiment
		valid, start, program := 0, "", ""
		for _, c := range m.cells {
			valid += c.valid
		}
		for _, s := range m.manifest.Sessions[:min(1, len(m.manifest.Sessions))] {
			start, program = begun(s), s.Environment.Raftlab
		}
		name := e.Name
		if len(runs) > 1 {
			name = strconv.Itoa(i+1) + ". " + name
		}
		t.Rows = append(t.Rows, doc.Row{First: true, Cells: []doc.Cell{{Text: record.ShortID(m.provenance)}, {Text: name}, {Text: record.ShortID(e.Hash())},
			{Text: start}, {Text: strconv.Itoa(len(m.trials))}, {Text: strconv.Itoa(valid)}, {Text: program}}})
		t.Notes = append(t.Notes, doc.Item{Text: name + ": " + m.provenance})
	}
	return t
}

// captions are what a kind says of its figures, by their titles.
func (l *language) captions(kind *measure.Kind) map[string]string {
	out := map[string]string{}
	for _, f := range kind.Figures {
		out[l.Say(f.Title)] = l.Say(f.Caption)
	}
	return out
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
