package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// page is the full report.
func (l *language) page(m *model, figures []doc.Figure) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(m), Stamp: stamp()}
	l.asked(m, &d)
	a := l.answer(m)
	above, results := l.resultsTable(m)
	d.Add(doc.Heading{Text: l.say("Answer", "Ответ"), Class: doc.Answer})
	d.Add(a.blocks()...)
	d.Add(doc.List{Items: texts(a.more)},
		doc.List{Title: l.say("What limits this answer", "Что ограничивает этот ответ"), Items: l.cautions(m, a.decides), Class: doc.Cautions},
		doc.Heading{Text: l.say("Results", "Результаты")})
	if len(figures) > 0 { // the first is the answer's
		d.Add(figures[0])
		figures = figures[1:]
	}
	d.Add(above, results)
	add := func(title string, of ...doc.Table) {
		if len(of) > 0 {
			d.Add(doc.Heading{Text: title})
		}
		for _, t := range of {
			d.Add(t)
		}
	}
	add(l.say("Comparisons", "Сравнения"), there(l.levelsTable(m), l.ratiosTable(m))...)
	add(l.say("What explains the figures", "Чем объясняются значения"),
		slices.Concat(there(l.factorialTable(m), l.partsTable(m)), l.details(m, true))...)
	if len(figures) > 0 {
		d.Add(doc.Heading{Text: l.say("Plots", "Графики")})
	}
	for _, f := range figures {
		d.Add(f)
	}
	add(l.say("Details", "Подробности"), l.details(m, false)...)
	l.checks(m, &d)
	l.origin(m, &d)
	return d
}

// details are the kind's own tables, those of results or the others.
func (l *language) details(m *model, results bool) []doc.Table {
	var out []doc.Table
	for _, x := range m.kind.Tables {
		if x.Result == results {
			out = append(out, there(l.detailTable(m, x))...)
		}
	}
	return out
}

// there leaves out tables without rows: there is nothing to show in them.
func there(tables ...doc.Table) []doc.Table {
	return slices.DeleteFunc(tables, func(t doc.Table) bool { return len(t.Rows) == 0 })
}

// title heads a report in its own language: the experiment's name where it has no title in
// that one.
func (l *language) title(m *model) string {
	if title := l.titled(m); l.speaks(title) {
		return title
	}
	return m.manifest.Experiment.Name
}

func (l *language) titled(m *model) string {
	e := m.manifest.Experiment
	return cmp.Or(l.say("", e.TitleRu), e.Title, e.Name)
}

// asked says what was asked. What there is in the other language only is marked so.
func (l *language) asked(m *model, d *doc.Document) {
	say := func(term, text string) {
		p := doc.Paragraph{Term: term, Text: text, Class: doc.Question}
		if !l.speaks(text) {
			p.Lang = other(l.Locale.Code)
		}
		d.Add(p)
	}
	if title := l.titled(m); title != d.Title {
		say(l.say("Title", "Название"), title)
	}
	say(l.say("Question", "Вопрос"), cmp.Or(l.say("", m.manifest.Experiment.QuestionRu), m.manifest.Experiment.Question))
}

// speaks reports whether a text is in the language, by its letters; a name of neither
// language is in both.
func (l *language) speaks(text string) bool {
	cyrillic := strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) })
	words := strings.ContainsFunc(text, func(r rune) bool { return r == ' ' })
	return cyrillic == l.ru || !cyrillic && !words
}

func other(code string) string {
	if Lang(code) == Russian {
		return string(English)
	}
	return string(Russian)
}

// checks says what came of the validity gates, what else limits the figures and what the
// marks in the tables mean.
func (l *language) checks(m *model, d *doc.Document) {
	class := doc.Annex
	if slices.ContainsFunc(m.trials, func(t *trial) bool { return t.reason != "" }) {
		class = doc.Plain // the answer points here
	}
	d.Add(doc.Heading{Text: l.say("Validity", "Достоверность"), Class: class})
	d.Add(l.gates(m)...)
	if concerns := l.concerns(m); len(concerns) > 0 {
		d.Add(doc.Heading{Text: l.say("Warnings", "Предупреждения"), Class: doc.Annex}, doc.List{Items: concerns})
	}
	if signs := d.Used(l.notes(m)); len(signs) > 0 {
		d.Add(doc.Heading{Text: l.say("Signs in the tables", "Обозначения в таблицах"), Class: doc.Annex}, doc.Terms(signs))
	}
}

// origin says how the figures were measured, where, and how that is repeated.
func (l *language) origin(m *model, d *doc.Document) {
	e := m.manifest.Experiment
	seed := l.say("Seed: ", "Начальное значение генератора: ") + strconv.FormatUint(e.Seed, 10) + "."
	if len(m.manifest.Overrides) > 0 {
		seed += " " + l.say("Changed on the command line: ", "Изменено в командной строке: ") + strings.Join(m.manifest.Overrides, ", ") + "."
	}
	machine := l.machineTable(m)
	machine.Caption = l.say("The machine, and what it costs by itself", "Машина и её базовые издержки")
	d.Add(doc.Heading{Text: l.say("How this was measured", "Как проводились измерения"), Class: doc.Method}, l.methods(m),
		doc.Heading{Text: l.say("Threats to validity", "Угрозы валидности"), Class: doc.Method}, l.threats(m),
		doc.Heading{Text: l.say("Environment", "Условия измерений"), Class: doc.Machine}, machine,
		doc.Heading{Text: l.say("Versions", "Версии"), Class: doc.Annex}, doc.List{Items: modules(m), Class: doc.Versions},
		doc.Heading{Text: l.say("How to repeat", "Как повторить"), Class: doc.Annex}, doc.Paragraph{Text: l.say("The run was made with", "Команда измерений")},
		doc.Code(commands(m)), doc.Paragraph{Text: seed}, doc.Paragraph{Text: l.say(
			"The raw data of every trial are in the run folder. Every figure here can be computed from them again (raftlab report) and checked against them (raftlab verify).",
			"Исходные данные каждого испытания лежат в папке измерений. По ним можно заново вычислить каждое приведённое здесь число (raftlab report) и проверить его (raftlab verify).")})
}

// facts describe where a session took place.
func (l *language) facts(e record.Environment) []doc.Item {
	return []doc.Item{
		{Term: l.say("CPU", "Процессор"), Text: e.CPU},
		{Term: l.say("Usable cores", "Доступные ядра"), Text: fmt.Sprintf("%d (GOMAXPROCS %d)", e.Cores, e.GOMAXPROCS)},
		{Term: l.say("Memory", "Память"), Text: l.memory(e.MemoryBytes)},
		{Term: l.say("System", "Система"), Text: strings.TrimSpace(e.OS + " " + e.Kernel + " " + e.Arch)},
		{Term: l.say("File system of the data", "Файловая система данных"), Text: l.dataFiles(e)},
		{Term: "Go", Text: e.Go},
		{Term: "raftlab", Text: strings.TrimSpace(e.Raftlab + " " + e.Commit)},
	}
}

// dataFiles says where the members' data lay.
func (l *language) dataFiles(e record.Environment) string {
	files := e.DataFileSystem
	if e.DataDevice != "" {
		files += " (" + e.DataDevice + ")"
	}
	if e.DataMemory {
		files += l.say(", in memory", ", в памяти")
	}
	return files
}

// cost is something that the machine itself costs.
type cost struct {
	name string
	record.Quantiles
}

func (l *language) costs(c record.Calibration) []cost {
	out := []cost{{"fsync, " + l.Bytes(4096), c.FsyncUS}, {"fdatasync, " + l.Bytes(4096), c.FdatasyncUS}}
	for _, x := range []struct{ bytes, writers int }{{512, 1}, {512, 3}, {4096, 1}, {4096, 3}} { // alike for all sessions
		at := slices.IndexFunc(c.Flushes, func(f record.Flushes) bool { return f.Bytes == x.bytes && f.Writers == x.writers })
		name := l.fill("fdatasync in place, %s, writers: %d", "fdatasync на месте, %s, пишущих: %d", l.Bytes(uint64(x.bytes)), x.writers)
		if at < 0 {
			out = append(out, cost{name: name})
			continue
		}
		out = append(out, cost{name, c.Flushes[at].EachUS})
	}
	return append(out, []cost{
		{l.say("Loopback round trip, 64 B", "Круговая задержка loopback, 64 Б"), c.LoopbackUS},
		{l.say("Lateness of a 100 µs sleep", "Опоздание пробуждения после 100 мкс"), c.TimerUS},
	}...)
}

// machine is what a session says of its machine: facts, then costs.
func (l *language) machine(s record.Session) []doc.Item {
	out := l.facts(s.Environment)
	for _, c := range l.costs(s.Calibration) {
		text := ""
		if c.N > 0 {
			text = l.micros(c.P50) + " (p99 " + l.micros(c.P99) + ")"
		}
		out = append(out, doc.Item{Term: c.name, Text: text})
	}
	return append(out, doc.Item{Term: l.say("Clock resolution", "Разрешение часов"), Text: l.General(s.Calibration.ClockResolution) + " " + l.Term("ns")})
}

// machineTable has a column for each session of the run.
func (l *language) machineTable(m *model) doc.Table {
	t := doc.Table{Columns: []doc.Column{{}}}
	for _, p := range l.machine(record.Session{}) {
		t.Rows = append(t.Rows, doc.Row{Cells: []doc.Cell{{Text: p.Term}}})
	}
	for i, s := range m.manifest.Sessions {
		head := l.say("Run of ", "Измерения ")
		if len(m.manifest.Sessions) > 1 {
			head = l.fill("Session %d, ", "Сеанс %d, ", i+1)
		}
		t.Columns = append(t.Columns, doc.Column{Head: head + s.Started.UTC().Format(time.DateOnly+" 15:04 UTC")})
		for j, p := range l.machine(s) {
			t.Rows[j].Cells = append(t.Rows[j].Cells, doc.Cell{Text: cmp.Or(p.Text, markNone)})
		}
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
		if len(s.Command) > 0 {
			out = appendNew(out, shell(s.Command))
		}
	}
	return out
}

// shell writes a command line, quoted for a shell, its program without its folder.
func shell(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		if i == 0 {
			w = path.Base(strings.ReplaceAll(w, `\`, "/"))
		}
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
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
