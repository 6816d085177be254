package report

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// methods tells how the figures of some runs came about, for a reader who was not there: the
// design, what the kinds say of their measurements, the machine, the statistics and the data.
// Of several runs it says what they share; their designs, costs and hashes are in tables.
func (l *language) methods(runs ...*model) doc.Terms {
	var out doc.Terms
	add := func(term, text string) {
		if item := (doc.Item{Term: term, Text: text}); text != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	all := infosOf(runs)
	add(l.say("Design", "План эксперимента"), l.designText(runs))
	for i, m := range runs {
		text := l.leftOutText(m)
		if text != "" && len(runs) > 1 {
			text = l.fill("Experiment %d. ", "Эксперимент %d. ", i+1) + text
		}
		add(l.say("Rounds", "Раунды"), text)
	}
	for _, m := range runs {
		of := slices.DeleteFunc(slices.Clone(runs), func(x *model) bool { return x.kind != m.kind })
		if m.kind.Method != nil {
			for _, x := range m.kind.Method(infosOf(of), l) {
				add(x.Term, capital(x.Text))
			}
		}
		for _, x := range m.kind.Tables {
			if len(l.detailTable(m, x).Rows) > 0 && x.Method != (measure.Text{}) {
				add(l.Say(x.Title), l.Say(x.Method))
			}
		}
	}
	add(l.say("Durability of the log", "Сохранность журнала"), l.durabilityText(all))
	add(l.say("Engines", "Движки"), l.enginesText(all))
	add(l.say("Family of settings", "Семейство настроек"), l.familyText(runs))
	add(l.say("Settings of the members", "Настройки узлов"), runsText(all))
	add(l.say("Machine", "Машина"), l.machineText(runs))
	add(l.say("Software", "Программное обеспечение"), l.softwareText(runs))
	add(l.say("Intervals", "Доверительные интервалы"), l.intervalText(runs))
	add(l.say("Comparisons", "Сравнения"), l.comparisonText(runs))
	add(l.say("Validity gates", "Проверки достоверности"), l.say(
		"A trial that fails a gate is invalid and left out. A cell of which no more than half of the trials are valid is shown as invalid and compared with nothing.",
		"Испытание, не прошедшее хотя бы одну проверку, недостоверно и исключается. Ячейка, у которой достоверна не более чем половина испытаний, показана как недостоверная и ни с чем не сравнивается."))
	add(l.say("Data", "Исходные данные"), l.dataText(runs))
	return out
}

// infosOf are the cells of all runs.
func infosOf(runs []*model) []*record.CellInfo {
	var out []*record.CellInfo
	for _, m := range runs {
		out = append(out, m.infos()...)
	}
	return out
}

// sessionsOf are the sessions of all runs.
func sessionsOf(runs []*model) []record.Session {
	var out []record.Session
	for _, m := range runs {
		out = append(out, m.manifest.Sessions...)
	}
	return out
}

func (l *language) designText(runs []*model) string {
	m := runs[0]
	text := l.say("Each combination of levels that is measured is a cell; what each experiment varies and how many trials it has is in the table of designs. Where several values are listed below, they are of different experiments and cells.",
		"Каждое измеряемое сочетание уровней факторов образует ячейку; что варьируется в каждом эксперименте и сколько в нём испытаний, показывает таблица планов. Несколько значений, перечисленных ниже, относятся к разным экспериментам и ячейкам.")
	trials := l.say("All trials", "Все испытания")
	if len(runs) == 1 {
		text = l.variedText(m)
		most := 0
		for _, c := range m.cells {
			most = max(most, c.planned)
		}
		trials = l.fill("%s of each cell", "Для каждой ячейки предусмотрено %s; испытания", l.trials(most))
	}
	var seeds []string
	for _, m := range runs {
		seeds = appendNew(seeds, strconv.FormatUint(m.manifest.Experiment.Seed, 10))
	}
	return text + " " + l.fill(
		"%s are run in rounds that take every cell once, in an order drawn anew for each round (seed %s), so that what happens on the machine meanwhile falls on all cells alike. Each trial starts a new group of members in an empty folder; the trial, not the operation, is the unit of replication.",
		"%s идут раундами: в каждом раунде каждая ячейка встречается один раз, а порядок ячеек внутри раунда случаен (начальное значение генератора %s), поэтому всё, что тем временем происходит на машине, сказывается на всех ячейках одинаково. Каждое испытание запускает новую группу узлов в пустом каталоге; единицей повторения служит испытание, а не операция.",
		trials, strings.Join(seeds, ", "))
}

// variedText says what a run varies.
func (l *language) variedText(m *model) string {
	var varied []string
	for _, f := range m.factors {
		var levels []string
		for _, c := range m.cells {
			levels = appendNew(levels, l.words(f, c.info).short)
		}
		varied = append(varied, l.words(f, m.cells[0].info).head+" ("+strings.Join(levels, ", ")+")")
	}
	if len(varied) == 0 {
		return l.fill("One configuration is measured: %s.", "Измеряется одна конфигурация: %s.", l.fullLabel(nil, m.cells[0].info))
	}
	return l.fill("The experiment varies %s; each combination of levels that is measured is a cell, %d in all.",
		"В эксперименте варьируются: %s; каждое измеряемое сочетание уровней образует ячейку, всего ячеек: %d.", strings.Join(varied, ", "), len(m.cells))
}

// leftOutText says which cells were left out of rounds, and what was added to the run.
func (l *language) leftOutText(m *model) string {
	var texts []string
	if until := m.manifest.Experiment.Until; until != "" {
		text := l.fill(
			"A cell is left out of further rounds, from the %dth on, once it is known closely enough (%s): once the interval of the median over its valid trials so far reaches no farther to either side. The baseline stays for as long as a cell that is set against it. To stop at a narrow interval makes intervals a little narrower than they should be.",
			"Начиная с раунда %d ячейка исключается из следующих раундов, как только она измерена достаточно точно (%s): как только доверительный интервал медианы по её достоверным испытаниям не выходит за эту границу ни в одну сторону. Базовая ячейка остаётся, пока остаётся хотя бы одна из сравниваемых с ней. Остановка при узком интервале делает интервалы немного уже, чем следует.",
			experiment.MinRoundsUntil, until)
		if out := m.manifest.LeftOut; len(out) > 0 {
			first, last := out[0].After, out[0].After
			for _, x := range out {
				first, last = min(first, x.After), max(last, x.After)
			}
			text += " " + l.fill("Left out: %d of %s, after %d to %d rounds.", "Исключено: %d из %s, после раундов %d–%d.",
				len(out), l.count(len(m.cells), "cell cells", "ячейки ячеек ячеек"), first, last)
		}
		texts = append(texts, text)
	}
	before := m.manifest.Experiment.Trials
	for _, x := range m.manifest.Extended {
		texts = append(texts, l.fill("Planned were %s of each cell; on %s that was raised to %d.", "Было запланировано по %s на ячейку; %s их число увеличено до %d.",
			l.trials(before), x.At.UTC().Format(time.DateOnly), x.Trials))
		before = x.Trials
	}
	return strings.Join(texts, " ")
}

// durabilityText says for each degree of durability which stores have it.
func (l *language) durabilityText(cells []*record.CellInfo) string {
	degrees := map[string]measure.Text{
		"nothing": {En: "nothing survives the end of the process", Ru: "после завершения процесса не остаётся ничего"},
		"os-buffer": {En: "a write that returned survives a crash of the process, not of the machine (OS buffer)",
			Ru: "завершённая запись переживает сбой процесса, но не машины (буфер ОС)"},
		"disk": {En: "a write that returned was flushed to the disk", Ru: "завершённая запись сброшена на диск"},
	}
	var texts []string
	for _, c := range cells {
		stores := measure.Distinct(cells, ", ", func(x *record.CellInfo) string {
			if x.Durability != c.Durability {
				return ""
			}
			return x.Backend.Name
		})
		texts = appendNew(texts, stores+": "+cmp.Or(l.Say(degrees[c.Durability]), c.Durability))
	}
	return strings.Join(texts, "; ") + "."
}

// enginesText says of each engine which library it is, and what of it is not the library's.
func (l *language) enginesText(cells []*record.CellInfo) string {
	var texts []string
	for _, c := range cells {
		if ours := l.ours(c); ours != "" {
			texts = appendNew(texts, l.fill("%s: the library is %s; of this project are %s", "%s: библиотека — %s; к этому проекту относятся %s",
				c.Engine.Name, strings.TrimSpace(c.Engine.Library+" "+c.Engine.Version), ours))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return strings.Join(texts, ". ") + "."
}

// ours is what of a cell's engine is this project's.
func (l *language) ours(c *record.CellInfo) string {
	var words []string
	for word := range strings.SplitSeq(c.Engine.Ours, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, l.Term(word))
		}
	}
	return strings.Join(words, ", ")
}

// families names some.
func (l *language) families(of []string) string {
	var names []string
	for _, family := range of {
		names = append(names, cmp.Or(l.Term(family), l.say("none", "никакого")))
	}
	return strings.Join(names, ", ")
}

// familyText says in which settings engines are set against each other, where runs say so.
func (l *language) familyText(runs []*model) string {
	means := map[string]string{
		experiment.FamilyAligned: l.say("aligned: all engines run with the same settings of Raft, as far as they honour them",
			"выровненные: все движки работают с одинаковыми настройками Raft, насколько они их соблюдают"),
		experiment.FamilyRecommended: l.say("recommended: each engine runs with what its library recommends",
			"рекомендованные: каждый движок работает с настройками, которые рекомендует его библиотека"),
	}
	var texts []string
	for _, m := range runs {
		for _, family := range m.setting(keyFamily) {
			if text := means[family]; text != "" {
				texts = appendNew(texts, text)
			}
		}
	}
	switch len(texts) {
	case 0:
		return ""
	case 1:
		return capital(texts[0]) + "."
	}
	return capital(strings.Join(texts, "; ")) + ". " + l.say("The two answer different questions: figures of the one are not to be set against those of the other.",
		"Это ответы на разные вопросы: значения одного семейства нельзя сопоставлять со значениями другого.")
}

// runsText lists what the members ran with; settings that differ have all their values.
func runsText(cells []*record.CellInfo) string {
	values := map[string][]string{}
	for _, c := range cells {
		for key, value := range c.Runs {
			values[key] = appendNew(values[key], value)
		}
	}
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		texts = append(texts, key+" = "+strings.Join(values[key], ", "))
	}
	if len(texts) == 0 {
		return ""
	}
	return strings.Join(texts, "; ") + "."
}

// machineText says where was measured; of one run also when, and what the machine itself
// costs.
func (l *language) machineText(runs []*model) string {
	var texts []string
	sessions := sessionsOf(runs)
	for _, s := range sessions {
		e := s.Environment
		texts = appendNew(texts, l.fill("All members and the generator of the load ran on one machine: %s, usable cores: %d, memory %s, %s %s %s; the members’ data lay on %s.",
			"Все узлы и генератор нагрузки работали на одной машине: %s, доступных ядер: %d, память %s, %s %s %s; данные узлов лежали на %s.",
			e.CPU, e.Cores, l.memory(e.MemoryBytes), e.OS, e.Kernel, e.Arch, l.dataFiles(e)))
	}
	if len(runs) > 1 {
		return strings.Join(append(texts, l.say("What the machine itself costs was measured before the first trial of each experiment and is in a table.",
			"Базовые издержки машины измерены перед первым испытанием каждого эксперимента и приведены в таблице.")), " ")
	}
	var dates []string
	for _, s := range sessions {
		dates = append(dates, begun(s))
	}
	if len(dates) > 0 {
		texts = append(texts, l.fill("Measured from %s.", "Начало измерений: %s.", strings.Join(dates, ", ")))
	}
	for _, s := range sessions[:min(1, len(sessions))] {
		var costs []string
		for _, c := range l.costs(s.Calibration) {
			if c.N > 0 {
				costs = append(costs, c.name+": "+l.micros(c.P50)+" (p99 "+l.micros(c.P99)+")")
			}
		}
		if len(costs) > 0 {
			texts = append(texts, l.say("What the machine itself costs was measured before the first trial (medians): ",
				"Базовые издержки машины измерены перед первым испытанием (медианы): ")+strings.Join(costs, "; ")+".")
		}
	}
	return strings.Join(texts, " ")
}

// begun is when a session began.
func begun(s record.Session) string { return s.Started.UTC().Format(time.DateOnly + " 15:04 UTC") }

// softwareText has the versions.
func (l *language) softwareText(runs []*model) string {
	var programs, libraries []string
	for _, s := range sessionsOf(runs) {
		e := s.Environment
		text := strings.TrimSpace("raftlab " + e.Raftlab)
		if e.Commit != "" && e.Commit != "unknown" {
			text += l.fill(" (revision %s)", " (ревизия %s)", e.Commit)
		}
		programs = appendNew(programs, text, e.Go)
	}
	for _, m := range runs {
		libraries = appendNew(libraries, modules(m)...)
	}
	return strings.Join(append(programs, libraries...), ", ") + "."
}

// intervalText tells how coarse the intervals are for the numbers of trials
// that there are.
func (l *language) intervalText(runs []*model) string {
	texts := []string{l.say("Of the median over the trials, by order statistics (Conover, Practical Nonparametric Statistics, §3.2): no distribution is assumed, and from six trials on the coverage is at least 95 %.",
		"Для медианы по испытаниям — по порядковым статистикам (Conover, Practical Nonparametric Statistics, §3.2): распределение не предполагается, доверительная вероятность начиная с шести испытаний не ниже 95 %.")}
	coverage := map[int]float64{}
	for _, m := range runs {
		for _, c := range m.cells {
			if sum := c.sums[m.headline().Key]; sum.HasCI() {
				keepLeast(coverage, sum.N, sum.Coverage)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(coverage)) {
		texts = append(texts, l.fill("With %d trials it holds the true median with a probability of %s %%.",
			"При числе испытаний %d интервал содержит истинную медиану с вероятностью %s %%.", n, l.Locale.Number(100*coverage[n], 1)))
	}
	return strings.Join(texts, " ")
}

// comparisonText names the test of cells against each other; empty where none was made.
func (l *language) comparisonText(runs []*model) string {
	all := 0
	var names []string
	for _, m := range runs {
		if n, _ := m.comparisons(); n > 0 {
			all += n
			for _, q := range m.compared() {
				names = appendNew(names, l.longName(q))
			}
		}
	}
	if all == 0 {
		return ""
	}
	count := l.fill("In all cells together: %s.", "Всего по ячейкам: %s.", l.comparisons(all))
	if len(runs) > 1 {
		count = l.say("The comparisons of one experiment are a family.", "Сравнения одного эксперимента образуют семейство.")
	}
	return l.fill(
		"Trials run in rounds, one of each cell, so cells are compared within rounds (%s): a ratio is the geometric mean of the rounds’ ratios. p is of the %s; the interval of a ratio is made of the typical values of the rounds (Hartigan, 1969), %s. %s A difference is said where p ≤ %s; equality, where the whole interval lies within ±%s %%; else it is undecided.",
		"Испытания идут раундами, по одному на ячейку, поэтому ячейки сравниваются внутри раундов (%s): отношение — среднее геометрическое отношений по раундам. p — %s; интервал отношения построен по типичным значениям раундов (Hartigan, 1969), %s. %s Различие признаётся при p ≤ %s, равенство — если весь интервал лежит в пределах ±%s %%; иначе вопрос не решён.",
		strings.Join(names, ", "), l.testText(runs...), l.ratioCoverage(runs...), count, l.General(stats.Significance), l.General(100*stats.DefaultMargin))
}

func (l *language) comparisons(n int) string {
	return l.count(n, "comparison comparisons", "сравнение сравнения сравнений")
}

// dataText says from which data the figures come.
func (l *language) dataText(runs []*model) string {
	if len(runs) > 1 {
		return l.say("All figures are computed from the raw data of the runs, which the hashes in the table of provenance name.",
			"Все числа вычислены по исходным данным измерений; их хеши приведены в таблице происхождения данных.")
	}
	m := runs[0]
	return l.fill("All figures are computed from the raw data of the run %s; its full hash, %s, is the SHA-256 of what “sha256sum manifest.json trials/*.json” prints in the run folder.",
		"Все числа вычислены по исходным данным измерений %s; полный хеш %s — это SHA-256 от вывода команды «sha256sum manifest.json trials/*.json» в папке измерений.",
		record.ShortID(m.provenance), m.provenance)
}

// threats says what limits what the run can show, in the usual four groups (Cook and
// Campbell, Quasi-Experimentation, 1979; Wohlin et al., Experimentation in Software
// Engineering, 2012, ch. 8).
//
// Of several runs, what not all of them say tells of which experiments it is.
func (l *language) threats(runs ...*model) doc.Terms {
	var out doc.Terms
	for _, x := range []struct {
		term string
		of   func(*model) []string
	}{
		{l.say("Conclusion validity", "Валидность статистического вывода"), l.threatsToConclusions},
		{l.say("Internal validity", "Внутренняя валидность"), l.internalThreats},
		{l.say("Construct validity", "Конструктная валидность"), l.constructThreats},
		{l.say("External validity", "Внешняя валидность"), l.externalThreats},
	} {
		if text := l.sharedText(runs, x.of); text != "" {
			out = append(out, doc.Item{Term: x.term, Text: text})
		}
	}
	return out
}

// sharedText says each sentence once, and of which runs it is where it is not of all.
func (l *language) sharedText(runs []*model, of func(*model) []string) string {
	var texts []string
	by := map[string][]string{}
	for i, m := range runs {
		for _, text := range of(m) {
			texts, by[text] = appendNew(texts, text), append(by[text], strconv.Itoa(i+1))
		}
	}
	slices.SortStableFunc(texts, func(a, b string) int { return len(by[b]) - len(by[a]) })
	for i, text := range texts {
		if n := len(by[text]); n < len(runs) {
			where := l.plural(n, "experiment experiments", "эксперимент эксперименты")
			texts[i] = strings.TrimSuffix(text, ".") + " (" + where + " " + strings.Join(by[text], ", ") + ")."
		}
	}
	return strings.Join(texts, " ")
}

func (l *language) threatsToConclusions(m *model) []string {
	var texts []string
	fewest, coverage := len(m.cells[0].used), 1.0
	for _, c := range m.cells {
		fewest = min(fewest, len(c.used))
		if sum := c.sums[m.headline().Key]; sum.HasCI() {
			coverage = min(coverage, sum.Coverage)
		}
	}
	switch {
	case fewest < stats.MinForInterval:
		texts = append(texts, l.fill("Some cells have %s: there is no interval, and nothing can be concluded from their figures.",
			"У некоторых ячеек %s: доверительного интервала нет, и выводов по их значениям сделать нельзя.", l.trials(fewest)))
	case coverage < stats.Confidence:
		texts = append(texts, l.fill("The intervals, nominally of 95 %%, hold the true median with a probability of only %s %% where a cell has %s.",
			"Доверительные интервалы, номинально 95-процентные, содержат истинную медиану с вероятностью лишь %s %% там, где на ячейку приходится %s.",
			l.Locale.Number(100*coverage, 1), l.trials(fewest)))
	}
	return append(texts, l.say("All trials were made within one run: how far results scatter from day to day is not part of the intervals.",
		"Все испытания проведены в рамках одних измерений: разброс результатов от дня ко дню в интервалы не входит."))
}

func (l *language) internalThreats(m *model) []string {
	var texts []string
	cores := 0
	for _, s := range m.manifest.Sessions {
		cores = s.Environment.Cores
	}
	texts = append(texts, l.fill("The generator of the load and all members share one machine (usable cores: %d) with its memory and disk: what one of them takes, the others lack.",
		"Генератор нагрузки и все узлы делят одну машину (доступных ядер: %d), её память и диск: что занял один, того не хватает другим.", cores))
	for _, w := range m.machine {
		texts = append(texts, l.warning(m.kind, w))
	}
	invalid := 0
	for _, t := range m.trials {
		if t.reason != "" {
			invalid++
		}
	}
	if invalid > 0 {
		texts = append(texts, l.fill("Of %s, %d were invalid and left out; what is left may be the quieter moments.",
			"Из проведённых (%s) недостоверны и исключены: %d; оставшиеся могли прийтись на более спокойное время.", l.trials(len(m.trials)), invalid))
	}
	if n := len(m.manifest.Sessions); n > 1 {
		texts = append(texts, l.fill("The run was made in %d sessions, between which the machine may have changed.",
			"Измерения проведены за несколько сеансов (%d), между которыми условия на машине могли измениться.", n))
	}
	return texts
}

func (l *language) constructThreats(m *model) []string {
	texts := l.inequalities(m)
	if slices.ContainsFunc(m.cells, func(c *cell) bool { return c.loaded() && c.info.Load.Rate == 0 }) {
		texts = append(texts, l.say("In a closed loop a slower system is asked less often, so its latency is that under the load which it admits itself, and is not comparable with latency at a given rate.",
			"В замкнутом цикле более медленную систему спрашивают реже, поэтому её задержка относится к той нагрузке, которую она сама допускает, и с задержкой при заданной интенсивности не сопоставима."))
	}
	if m.kind.Main != "" {
		texts = append(texts, l.say("Histograms keep three significant digits: a latency is known to 0.1 %.",
			"Гистограммы хранят три значащие цифры: задержка известна с точностью до 0,1 %."))
	}
	return texts
}

// loaded reports whether clients put a load to the cell.
func (c *cell) loaded() bool { return c.info.Load.Duration > 0 }

func (l *language) externalThreats(m *model) []string {
	any := func(of func(*cell) bool) bool { return slices.ContainsFunc(m.cells, of) }
	var texts []string
	texts = append(texts, l.say("One machine was measured; another processor, disk or file system has other costs, and ratios change with them.",
		"Измерена одна машина; у других процессоров, дисков и файловых систем издержки иные, и вместе с ними меняются отношения."))
	if any(func(c *cell) bool { return c.info.Wire }) {
		texts = append(texts, l.say("Messages between members go over the loopback interface, whose latency, loss and bandwidth are not those of a network.",
			"Сообщения между узлами идут через интерфейс loopback, задержка, потери и пропускная способность которого не такие, как у сети."))
	}
	if any(func(c *cell) bool { return !c.info.Wire }) {
		texts = append(texts, l.say("Where members are connected in memory, there is no network at all.", "Там, где узлы связаны через память, сети нет вовсе."))
	}
	if any(func(c *cell) bool { return c.info.Durability == "disk" && c.info.Cluster.Nodes > 1 }) {
		texts = append(texts, l.say("The logs of all members lie on one disk, and their flushes compete for it, which they would not on machines of their own.",
			"Журналы всех узлов лежат на одном диске, и их сбросы конкурируют за него, чего на отдельных машинах не было бы."))
	}
	if slices.ContainsFunc(m.manifest.Sessions, func(s record.Session) bool { return s.Environment.DataMemory }) {
		texts = append(texts, l.say("The data directory is in memory: a flush costs nothing there.", "Каталог данных расположен в памяти: сброс на диск там ничего не стоит."))
	}
	if any((*cell).loaded) {
		texts = append(texts, l.say("The load is synthetic.", "Нагрузка синтетическая."))
	}
	return texts
}
