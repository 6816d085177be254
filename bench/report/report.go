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
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

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
// The reports in Russian are made where the experiment has a Russian title. A
// run may be incomplete or still under way; the reports say so.
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
const form = 2

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
	languages := []Lang{English}
	if m.manifest.Experiment.TitleRu != "" {
		languages = append(languages, Russian)
	}
	for _, code := range languages {
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
			svg, err := doc.SVG(x, stamp())
			if err != nil {
				return nil, err
			}
			files = append(files, file{x.File, svg})
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

func (l *language) title(m *model) string {
	e := m.manifest.Experiment
	return firstOf(l.say("", e.TitleRu), e.Title, e.Name)
}

// brief is the report for the terminal.
func (l *language) brief(m *model) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(m)}
	if all := l.statements(m); len(all) > 0 {
		d.Blocks = append(d.Blocks, doc.Paragraph{Text: all[len(all)-1]})
	}
	if len(m.trials) > 0 {
		d.Blocks = append(d.Blocks, l.mainTable(m, false))
	}
	const most = 4 // warnings of cells: more would bury the table
	cautions := doc.List{Class: doc.Cautions, Items: l.cautions(m)}
	concerns := l.concerns(m)
	var warnings []string
	for _, x := range concerns {
		for _, text := range x.texts {
			warnings = append(warnings, x.cell+": "+text)
		}
	}
	if len(warnings) > most {
		cautions.Items = append(cautions.Items, l.fill("Cells with warnings of their own: %d; the report lists them.",
			"Ячеек с собственными предупреждениями: %d; они перечислены в отчёте.", len(concerns)))
		warnings = nil
	}
	for _, list := range []doc.List{cautions, {Items: warnings}} {
		if len(list.Items) > 0 {
			d.Blocks = append(d.Blocks, list)
		}
	}
	return d
}

// page is the full report.
func (l *language) page(m *model, figures []doc.Figure) doc.Document {
	e := m.manifest.Experiment
	d := doc.Document{Locale: l.Locale, Title: l.title(m), Stamp: stamp()}
	add := func(blocks ...doc.Block) { d.Blocks = append(d.Blocks, blocks...) }
	list := func(title string, items []string, class doc.Class) {
		if len(items) > 0 {
			add(doc.List{Title: title, Items: items, Class: class})
		}
	}
	if question := firstOf(l.say("", e.QuestionRu), e.Question); question != "" {
		add(doc.Paragraph{Term: l.say("Question", "Вопрос"), Text: question, Class: doc.Question})
	}
	add(doc.Heading{Text: l.say("Answer", "Ответ"), Class: doc.Answer})
	if all := l.statements(m); len(all) > 0 {
		last := len(all) - 1
		add(doc.Paragraph{Text: all[last], Class: doc.Headline})
		list(l.say("In the other combinations", "В остальных сочетаниях"), all[:last], doc.Plain)
	}
	list(l.say("What limits this answer", "Что ограничивает этот ответ"), l.cautions(m), doc.Cautions)
	add(doc.Heading{Text: l.say("Results", "Результаты")}, l.mainTable(m, true))
	details := func(results bool) {
		for _, x := range m.kind.Tables {
			if t, there := l.detailTable(m, x); there && x.Interval == results {
				add(doc.Heading{Text: l.Say(x.Title)}, t)
			}
		}
	}
	details(true)
	if len(figures) > 0 {
		add(doc.Heading{Text: l.say("Plots", "Графики")})
	}
	for _, f := range figures {
		add(f)
	}
	details(false)
	add(doc.Heading{Text: l.say("Validity gates", "Проверки достоверности")},
		doc.Paragraph{Text: l.say("The worst figure of each gate over the trials of a cell.", "Худшее значение каждой проверки по испытаниям ячейки.")},
		l.gatesTable(m), doc.Heading{Text: l.say("Warnings by cell", "Предупреждения по ячейкам")})
	concerns := l.concerns(m)
	for _, x := range concerns {
		list(x.cell, x.texts, doc.Plain)
	}
	if len(concerns) == 0 {
		add(doc.Paragraph{Text: l.say("None.", "Нет.")})
	}
	add(doc.Heading{Text: l.say("How this was measured", "Как проводились измерения")}, l.method(m),
		doc.Heading{Text: l.say("Environment", "Условия измерений"), Class: doc.Machine}, l.machineTable(m),
		doc.Heading{Text: l.say("Versions", "Версии")})
	list("", modules(m), doc.Versions)
	seed := l.say("Seed: ", "Начальное значение генератора: ") + strconv.FormatUint(e.Seed, 10) + "."
	if len(m.manifest.Overrides) > 0 {
		seed += " " + l.say("Changed on the command line: ", "Изменено в командной строке: ") + strings.Join(m.manifest.Overrides, ", ") + "."
	}
	add(doc.Heading{Text: l.say("How to repeat", "Как повторить")}, doc.Paragraph{Text: l.say("The run was made with", "Команда измерений")},
		doc.Code(commands(m)), doc.Paragraph{Text: seed}, doc.Paragraph{Text: l.say(
			"The raw data of every trial are in the run folder. Every figure here can be computed from them again (raftlab report) and checked against them (raftlab verify).",
			"Исходные данные каждого испытания лежат в папке измерений. По ним можно заново вычислить каждое приведённое здесь число (raftlab report) и проверить его (raftlab verify).")})
	return d
}

// method says how the figures came about: first what the kind says of it, then what
// holds for all kinds.
func (l *language) method(m *model) doc.Terms {
	var out doc.Terms
	if m.kind.Method != nil {
		for _, x := range m.kind.Method(m.infos(), l) {
			out = append(out, doc.Item{Term: x.Term, Text: capital(x.Text)})
		}
	}
	add := func(term, text string) { out = append(out, doc.Item{Term: term, Text: text}) }
	add(l.say("Trials", "Испытания"), l.fill(
		"%s per cell; the trials of all cells are interleaved in a shuffle with seed %d. Each trial starts a new group in an empty folder.",
		"На каждую ячейку — %s; испытания всех ячеек перемешаны, начальное значение генератора %d. Каждое испытание запускает новую группу узлов в пустом каталоге.",
		l.trials(m.manifest.Experiment.Trials), m.manifest.Experiment.Seed))
	add(l.say("Durability of the log", "Сохранность журнала"), l.durabilityText(m))
	add(l.say("Intervals", "Доверительные интервалы"), l.intervalText(m))
	if n := m.comparisons(); n > 0 {
		var names []string
		for _, q := range m.kind.With(measure.Compared) {
			names = append(names, l.longName(q))
		}
		add(l.say("Comparisons", "Сравнения"), l.fill(
			"Two-sided Mann–Whitney U test on the trials (%s), exact for up to 50 trials, adjusted for %s after Benjamini and Hochberg (1995): of the differences found, at most 5 %% are expected to be due to chance.",
			"Двусторонний критерий Манна — Уитни по испытаниям (%s), точный при числе испытаний до 50; поправка на множественность (%s) по Бенджамини и Хохбергу (1995): среди найденных различий ожидается не более 5 %% случайных.",
			strings.Join(names, ", "), l.comparisons(n)))
	}
	add(l.say("Validity", "Достоверность"), l.say(
		"A trial that fails a gate is invalid and left out. A cell of which no more than half of the trials are valid is shown as invalid and compared with nothing.",
		"Испытание, не прошедшее хотя бы одну проверку, недостоверно и исключается. Ячейка, у которой достоверна не более чем половина испытаний, показана как недостоверная и ни с чем не сравнивается."))
	return out
}

func (l *language) comparisons(n int) string {
	return l.count(n, "comparison comparisons", "сравнение сравнения сравнений")
}

// durabilityText says for each degree of durability which stores have it.
func (l *language) durabilityText(m *model) string {
	degrees := map[string]measure.Text{
		"nothing": {En: "nothing survives the end of the process", Ru: "после завершения процесса не остаётся ничего"},
		"os-buffer": {En: "a write that returned survives a crash of the process, not of the machine (OS buffer)",
			Ru: "завершённая запись переживает сбой процесса, но не машины (буфер ОС)"},
		"disk": {En: "a write that returned was flushed to the disk", Ru: "завершённая запись сброшена на диск"},
	}
	var texts []string
	for _, c := range m.cells {
		stores := measure.Distinct(m.infos(), ", ", func(x *record.CellInfo) string {
			if x.Durability != c.info.Durability {
				return ""
			}
			return x.Cluster.Backend
		})
		texts = appendNew(texts, stores+": "+firstOf(l.Say(degrees[c.info.Durability]), c.info.Durability))
	}
	return strings.Join(texts, "; ") + "."
}

// intervalText tells how coarse the intervals are for the numbers of trials
// that there are.
func (l *language) intervalText(m *model) string {
	texts := []string{l.say("Percentile bootstrap of the median over the trials, nominally 95 % (Efron and Tibshirani, 1993), computed exactly rather than resampled.",
		"Бутстреп-интервал медианы по испытаниям методом перцентилей, номинально 95 % (Эфрон и Тибширани, 1993); вычислен точно, без случайных выборок.")}
	var said []int
	for _, c := range m.cells {
		sum := c.sums[m.kind.Headline().Key]
		if sum.HasCI() && !slices.Contains(said, sum.N) {
			said = append(said, sum.N)
			texts = append(texts, l.fill("With %d trials it holds the true median with a probability of %s %%.",
				"При числе испытаний %d он содержит истинную медиану с вероятностью %s %%.", sum.N, l.Locale.Number(100*sum.Coverage, 1)))
		}
	}
	return strings.Join(texts, " ")
}

// property is something that a session says of the machine it ran on.
type property struct {
	name     string
	of       func(record.Session) string
	measured bool // so that it always differs a little
}

func (l *language) properties() []property {
	cost := func(name string, of func(record.Calibration) record.Quantiles) property {
		return property{name, func(s record.Session) string {
			q := of(s.Calibration)
			if q.N == 0 {
				return ""
			}
			return l.micros(q.P50) + " (p99 " + l.micros(q.P99) + ")"
		}, true}
	}
	fact := func(name string, of func(record.Environment) string) property {
		return property{name, func(s record.Session) string { return strings.TrimSpace(of(s.Environment)) }, false}
	}
	out := []property{
		fact(l.say("CPU", "Процессор"), func(e record.Environment) string { return e.CPU }),
		fact(l.say("Usable cores", "Доступные ядра"), func(e record.Environment) string {
			return fmt.Sprintf("%d (GOMAXPROCS %d)", e.Cores, e.GOMAXPROCS)
		}),
		fact(l.say("Memory", "Память"), func(e record.Environment) string { return l.memory(e.MemoryBytes) }),
		fact(l.say("System", "Система"), func(e record.Environment) string { return e.OS + " " + e.Kernel + " " + e.Arch }),
		fact(l.say("File system of the data", "Файловая система данных"), func(e record.Environment) string {
			text := e.DataFileSystem
			if e.DataDevice != "" {
				text += " (" + e.DataDevice + ")"
			}
			if e.DataMemory {
				text += l.say(", in memory", ", в памяти")
			}
			return text
		}),
	}
	for _, c := range l.costs() {
		out = append(out, cost(c.name, c.of))
	}
	return append(out,
		property{l.say("Clock resolution", "Разрешение часов"), func(s record.Session) string {
			return l.General(s.Calibration.ClockResolution) + l.say(" ns", " нс")
		}, true},
		fact("Go", func(e record.Environment) string { return e.Go }),
		fact("raftlab", func(e record.Environment) string { return e.Raftlab + " " + e.Commit }))
}

// cost is something that the machine itself costs.
type cost struct {
	name string
	of   func(record.Calibration) record.Quantiles
}

func (l *language) costs() []cost {
	return []cost{
		{"fsync, 4 KiB", func(c record.Calibration) record.Quantiles { return c.FsyncUS }},
		{"fdatasync, 4 KiB", func(c record.Calibration) record.Quantiles { return c.FdatasyncUS }},
		{l.say("Loopback round trip, 64 B", "Круговая задержка loopback, 64 Б"), func(c record.Calibration) record.Quantiles { return c.LoopbackUS }},
		{l.say("Lateness of a 100 µs sleep", "Опоздание пробуждения после 100 мкс"), func(c record.Calibration) record.Quantiles { return c.TimerUS }},
	}
}

// machineTable describes where the sessions of the run took place.
func (l *language) machineTable(m *model) doc.Table {
	t := doc.Table{Columns: []doc.Column{{}}}
	for i, s := range m.manifest.Sessions {
		head := l.say("Run of ", "Измерения ")
		if len(m.manifest.Sessions) > 1 {
			head = l.fill("Session %d, ", "Сеанс %d, ", i+1)
		}
		t.Columns = append(t.Columns, doc.Column{Head: head + s.Started.UTC().Format(time.DateOnly+" 15:04 UTC")})
	}
	for _, p := range l.properties() {
		r := doc.Row{Cells: []doc.Cell{{Text: p.name}}}
		for _, s := range m.manifest.Sessions {
			r.Cells = append(r.Cells, doc.Cell{Text: firstOf(p.of(s), markNone)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// modules lists the libraries of the parts and what the sessions report beyond,
// with their versions.
func modules(m *model) []string {
	var out []string
	add := func(module, version string) {
		if module != "" && version != "" {
			out = appendNew(out, module+" "+version)
		}
	}
	for _, c := range m.cells {
		for _, part := range []record.Part{c.info.Engine, c.info.Backend, c.info.Transport} {
			add(part.Library, part.Version)
		}
	}
	for _, s := range m.manifest.Sessions {
		for module, version := range s.Environment.Modules {
			add(module, version)
		}
	}
	slices.Sort(out)
	return out
}

// commands returns the distinct command lines of the sessions, quoted for a
// shell.
func commands(m *model) []string {
	var out []string
	for _, s := range m.manifest.Sessions {
		var words []string
		for i, w := range s.Command {
			if i == 0 {
				w = path.Base(strings.ReplaceAll(w, `\`, "/"))
			}
			words = append(words, quote(w))
		}
		if len(words) > 0 {
			out = appendNew(out, strings.Join(words, " "))
		}
	}
	return out
}

// quote makes w one word of a POSIX shell.
func quote(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
