package report

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// page is the full report.
func (l *language) page(m *model, figures []doc.Figure) doc.Document {
	d := doc.Document{Locale: l.Locale, Title: l.title(m), Stamp: stamp()}
	l.asked(m, &d)
	headline, more, told := l.answer(m)
	above, results := l.resultsTable(m)
	d.Add(doc.Heading{Text: l.say("Answer", "Ответ"), Class: doc.Answer},
		doc.Paragraph{Text: headline, Class: doc.Headline},
		doc.List{Items: more},
		doc.List{Title: l.say("What limits this answer", "Что ограничивает этот ответ"), Items: l.cautions(m, told), Class: doc.Cautions},
		doc.Heading{Text: l.say("Results", "Результаты")}, above, results)
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
	d.Add(doc.Heading{Text: l.say("Validity", "Достоверность"), Class: doc.Annex})
	d.Add(l.gates(m)...)
	if concerns := l.concerns(m); len(concerns) > 0 {
		d.Add(doc.Heading{Text: l.say("Warnings", "Предупреждения"), Class: doc.Annex}, doc.List{Items: concerns})
	}
	if signs := d.Used(l.notes(m)); len(signs) > 0 {
		d.Add(doc.Heading{Text: l.say("Signs in the tables", "Обозначения в таблицах")}, doc.Terms(signs))
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
	d.Add(doc.Heading{Text: l.say("How this was measured", "Как проводились измерения")}, l.method(m),
		doc.Heading{Text: l.say("Environment", "Условия измерений"), Class: doc.Machine}, machine,
		doc.Heading{Text: l.say("Versions", "Версии"), Class: doc.Annex}, doc.List{Items: modules(m), Class: doc.Versions},
		doc.Heading{Text: l.say("How to repeat", "Как повторить"), Class: doc.Annex}, doc.Paragraph{Text: l.say("The run was made with", "Команда измерений")},
		doc.Code(commands(m)), doc.Paragraph{Text: seed}, doc.Paragraph{Text: l.say(
			"The raw data of every trial are in the run folder. Every figure here can be computed from them again (raftlab report) and checked against them (raftlab verify).",
			"Исходные данные каждого испытания лежат в папке измерений. По ним можно заново вычислить каждое приведённое здесь число (raftlab report) и проверить его (raftlab verify).")})
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
	for _, x := range m.kind.Tables {
		if len(l.detailTable(m, x).Rows) > 0 && x.Method != (measure.Text{}) {
			add(l.Say(x.Title), l.Say(x.Method))
		}
	}
	add(l.say("Trials", "Испытания"), l.fill(
		"%s per cell; the trials of all cells are interleaved in a shuffle with seed %d. Each trial starts a new group in an empty folder.",
		"На каждую ячейку — %s; испытания всех ячеек перемешаны, начальное значение генератора %d. Каждое испытание запускает новую группу узлов в пустом каталоге.",
		l.trials(m.manifest.Experiment.Trials), m.manifest.Experiment.Seed))
	add(l.say("Durability of the log", "Сохранность журнала"), l.durabilityText(m))
	if runs := runsText(m); runs != "" {
		add(l.say("Settings of the members", "Настройки узлов"), runs)
	}
	add(l.say("Intervals", "Доверительные интервалы"), l.intervalText(m))
	if n, _ := m.comparisons(); n > 0 {
		var names []string
		for _, q := range m.compared() {
			names = append(names, l.longName(q))
		}
		add(l.say("Comparisons", "Сравнения"), l.fill(
			"Trials run in rounds, one of each cell, so cells are compared within rounds (%s): a ratio is the geometric mean of the rounds’ ratios. p is of the %s; its interval is made of the typical values of the rounds (Hartigan, 1969). %s. In all cells together: %s. A difference is said where p ≤ %s; equality, where the whole interval lies within ±%d %%; else it is undecided.",
			"Испытания идут раундами, по одному на ячейку, поэтому ячейки сравниваются внутри раундов (%s): отношение — среднее геометрическое отношений по раундам. p — %s; интервал построен по типичным значениям раундов (Хартиган, 1969). %s. Всего по ячейкам: %s. Различие признаётся при p ≤ %s, равенство — если весь интервал лежит в пределах ±%d %%; иначе не решено.",
			strings.Join(names, ", "), l.testText(m), l.roundsText(m), l.comparisons(n), l.General(stats.Significance), int(100*stats.DefaultMargin)))
	}
	add(l.say("Validity", "Достоверность"), l.say(
		"A trial that fails a gate is invalid and left out. A cell of which no more than half of the trials are valid is shown as invalid and compared with nothing.",
		"Испытание, не прошедшее хотя бы одну проверку, недостоверно и исключается. Ячейка, у которой достоверна не более чем половина испытаний, показана как недостоверная и ни с чем не сравнивается."))
	return out
}

// roundsText says how sure the intervals of ratios are for the numbers of rounds that there
// are.
func (l *language) roundsText(m *model) string {
	var said []string
	for _, c := range m.contrasts {
		for _, p := range c.pairs {
			for _, q := range m.compared() {
				if vs := p.vs[q.Key]; vs != nil && vs.HasCI() {
					said = appendNew(said, l.fill("with %d rounds it covers the true ratio with %s %%", "при числе раундов %d вероятность накрытия — %s %%",
						vs.N, l.Locale.Number(100*vs.Coverage, 1)))
				}
			}
		}
	}
	if len(said) == 0 {
		return l.say("With so few rounds there is none", "При таком числе раундов его нет")
	}
	return capital(strings.Join(said, ", "))
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
			return x.Backend.Name
		})
		texts = appendNew(texts, stores+": "+cmp.Or(l.Say(degrees[c.info.Durability]), c.info.Durability))
	}
	return strings.Join(texts, "; ") + "."
}

// runsText lists what the members ran with; settings that differ have all their values.
func runsText(m *model) string {
	values := map[string][]string{}
	for _, c := range m.infos() {
		for key, value := range c.Runs {
			values[key] = appendNew(values[key], value)
		}
	}
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		texts = append(texts, key+" = "+strings.Join(values[key], ", "))
	}
	return strings.Join(texts, "; ")
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

// facts describe where a session took place.
func (l *language) facts(e record.Environment) []doc.Item {
	files := e.DataFileSystem
	if e.DataDevice != "" {
		files += " (" + e.DataDevice + ")"
	}
	if e.DataMemory {
		files += l.say(", in memory", ", в памяти")
	}
	return []doc.Item{
		{Term: l.say("CPU", "Процессор"), Text: e.CPU},
		{Term: l.say("Usable cores", "Доступные ядра"), Text: fmt.Sprintf("%d (GOMAXPROCS %d)", e.Cores, e.GOMAXPROCS)},
		{Term: l.say("Memory", "Память"), Text: l.memory(e.MemoryBytes)},
		{Term: l.say("System", "Система"), Text: strings.TrimSpace(e.OS + " " + e.Kernel + " " + e.Arch)},
		{Term: l.say("File system of the data", "Файловая система данных"), Text: files},
		{Term: "Go", Text: e.Go},
		{Term: "raftlab", Text: strings.TrimSpace(e.Raftlab + " " + e.Commit)},
	}
}

// cost is something that the machine itself costs.
type cost struct {
	name string
	record.Quantiles
}

func (l *language) costs(c record.Calibration) []cost {
	out := []cost{{"fsync, 4 KiB", c.FsyncUS}, {"fdatasync, 4 KiB", c.FdatasyncUS}}
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
