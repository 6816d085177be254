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

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
)

// page is the full report.
func (l *language) page(m *model, figures []doc.Figure) doc.Document {
	e := m.manifest.Experiment
	d := doc.Document{Locale: l.Locale, Title: l.title(m), Stamp: stamp()}
	headline, others := l.answer(m)
	above, results := l.resultsTable(m)
	d.Add(doc.Paragraph{Term: l.say("Question", "Вопрос"), Text: cmp.Or(l.say("", e.QuestionRu), e.Question), Class: doc.Question},
		doc.Heading{Text: l.say("Answer", "Ответ"), Class: doc.Answer},
		doc.Paragraph{Text: headline, Class: doc.Headline},
		doc.List{Title: l.say("In the other combinations", "В остальных сочетаниях"), Items: others},
		doc.List{Title: l.say("What limits this answer", "Что ограничивает этот ответ"), Items: l.cautions(m), Class: doc.Cautions},
		doc.Heading{Text: l.say("Results", "Результаты")}, above, results)
	if title, t, there := l.ratiosTable(m); there {
		d.Add(doc.Heading{Text: title}, t)
	}
	details := func(results bool) {
		for _, x := range m.kind.Tables {
			if t, there := l.detailTable(m, x); there && x.Result == results {
				d.Add(doc.Heading{Text: l.Say(x.Title)}, t)
			}
		}
	}
	if t, there := l.partsTable(m); there {
		d.Add(doc.Heading{Text: l.Say(m.kind.Parts.Title)}, t)
	}
	details(true)
	if len(figures) > 0 {
		d.Add(doc.Heading{Text: l.say("Plots", "Графики")})
	}
	for _, f := range figures {
		d.Add(f)
	}
	details(false)
	d.Add(doc.Heading{Text: l.say("Validity gates", "Проверки достоверности")},
		doc.Paragraph{Text: l.say("The worst figure of each gate over the trials of a cell.", "Худшее значение каждой проверки по испытаниям ячейки.")},
		l.gatesTable(m), doc.Heading{Text: l.say("Warnings by cell", "Предупреждения по ячейкам")})
	concerns := l.concerns(m)
	for _, list := range concerns {
		d.Add(list)
	}
	if len(concerns) == 0 {
		d.Add(doc.Paragraph{Text: l.say("None.", "Нет.")})
	}
	seed := l.say("Seed: ", "Начальное значение генератора: ") + strconv.FormatUint(e.Seed, 10) + "."
	if len(m.manifest.Overrides) > 0 {
		seed += " " + l.say("Changed on the command line: ", "Изменено в командной строке: ") + strings.Join(m.manifest.Overrides, ", ") + "."
	}
	d.Add(doc.Heading{Text: l.say("How this was measured", "Как проводились измерения")}, l.method(m),
		doc.Heading{Text: l.say("Environment", "Условия измерений"), Class: doc.Machine}, l.machineTable(m),
		doc.Heading{Text: l.say("Versions", "Версии")}, doc.List{Items: modules(m), Class: doc.Versions},
		doc.Heading{Text: l.say("How to repeat", "Как повторить")}, doc.Paragraph{Text: l.say("The run was made with", "Команда измерений")},
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
	for _, x := range m.kind.Tables {
		if _, there := l.detailTable(m, x); there && x.Method != (measure.Text{}) {
			add(l.Say(x.Title), l.Say(x.Method))
		}
	}
	add(l.say("Trials", "Испытания"), l.fill(
		"%s per cell; the trials of all cells are interleaved in a shuffle with seed %d. Each trial starts a new group in an empty folder.",
		"На каждую ячейку — %s; испытания всех ячеек перемешаны, начальное значение генератора %d. Каждое испытание запускает новую группу узлов в пустом каталоге.",
		l.trials(m.manifest.Rounds()), m.manifest.Experiment.Seed))
	add(l.say("Durability of the log", "Сохранность журнала"), l.durabilityText(m))
	if runs := runsText(m); runs != "" {
		add(l.say("Settings of the members", "Настройки узлов"), runs)
	}
	add(l.say("Intervals", "Доверительные интервалы"), l.intervalText(m))
	if n := m.comparisons(); n > 0 {
		var names []string
		for _, q := range m.with(measure.Compared) {
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
