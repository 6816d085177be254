package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report/doc"
	"github.com/themilchenko/raftlab/bench/stats"
)

// Lang is a language of the reports.
type Lang string

// The languages.
const (
	English Lang = "en"
	Russian Lang = "ru"
)

// ParseLang returns the language named "en" or "ru".
func ParseLang(name string) (Lang, error) {
	switch l := Lang(name); l {
	case English, Russian:
		return l, nil
	default:
		return "", fmt.Errorf("unknown language %q: want %s or %s", name, English, Russian)
	}
}

// language writes numbers and sentences. What is said is said where it is used, in
// both languages.
type language struct {
	doc.Locale
	ru bool
}

var _ measure.Words = (*language)(nil)

func newLanguage(lang Lang) *language {
	l := &language{doc.Locale{Code: string(English), Decimal: ".", Between: ", ", Table: "Table", Figure: "Figure", Dash: ". ", Continued: "Table N, continued"}, lang == Russian}
	if l.ru {
		l.Locale = doc.Locale{Code: string(Russian), Decimal: ",", Between: "; ", Table: "Таблица", Figure: "Рисунок", Dash: " – ", Continued: "Продолжение таблицы N"}
	}
	l.Units = append(l.byteUnits(), "%", l.say("MB", "МБ"), l.say("GB", "ГБ"))
	for _, u := range []string{"ns", "µs", "ms", "s", "op/s", "B/s", "cores"} {
		l.Units = append(l.Units, l.Term(u))
	}
	return l
}

func (l *language) say(en, ru string) string {
	if l.ru {
		return ru
	}
	return en
}

// fill puts args into a sentence.
func (l *language) fill(en, ru string, args ...any) string {
	return fmt.Sprintf(l.say(en, ru), args...)
}

// Say implements measure.Words.
func (l *language) Say(t measure.Text) string { return l.say(t.En, t.Ru) }

// Number implements measure.Words.
func (l *language) Number(v float64) string { return l.General(v) }

// Duration implements measure.Words.
func (l *language) Duration(d experiment.Duration) string {
	if s := float64(d) / 1e9; s >= 1 || s == 0 {
		return l.General(s) + " " + l.unit(measure.Seconds)
	}
	return l.General(float64(d)/1e6) + " " + l.Term("ms")
}

// Bytes implements measure.Words: in the largest binary unit that divides it.
func (l *language) Bytes(n uint64) string {
	units, i := l.byteUnits(), 0
	for i < len(units)-1 && n != 0 && n%1024 == 0 {
		n /= 1024
		i++
	}
	return strconv.FormatUint(n, 10) + " " + units[i]
}

// memory writes a size of memory, rounded.
func (l *language) memory(n uint64) string {
	v, units, i := float64(n), l.byteUnits(), 0
	for i < len(units)-1 && v >= 1024 {
		v /= 1024
		i++
	}
	return l.Locale.Number(v, min(1, doc.Digits(v))) + " " + units[i]
}

func (l *language) byteUnits() []string {
	return strings.Fields(l.say("B KiB MiB GiB TiB", "Б КиБ МиБ ГиБ ТиБ"))
}

// count writes n and the noun: of two forms in English, of three in Russian, for
// 1, 21 | 2–4, 22–24 | 5–20.
func (l *language) count(n int, en, ru string) string {
	form := 2
	switch {
	case !l.ru && n == 1, l.ru && n%10 == 1 && n%100 != 11:
		form = 0
	case !l.ru, n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
		form = 1
	}
	return strconv.Itoa(n) + " " + strings.Fields(l.say(en, ru))[form]
}

func (l *language) trials(n int) string {
	return l.count(n, "trial trials", "испытание испытания испытаний")
}

func (l *language) unit(u measure.Unit) string { return l.Term(string(u)) }

// multiples reports whether values of the unit are given in multiples of it.
func multiples(u measure.Unit) bool { return u == measure.Seconds || u == measure.Bytes }

// scale is a multiple of a unit, in which values are given.
type scale struct {
	one  float64 // in the unit
	name string
}

// scale picks the largest multiple in which the smallest of the values is still at
// least a tenth. Zeros do not count. Only times and bytes have multiples.
func (l *language) scale(u measure.Unit, values ...float64) scale {
	if !multiples(u) {
		return scale{1, l.unit(u)}
	}
	smallest := math.Inf(1)
	for _, v := range values {
		if v > 0 {
			smallest = min(smallest, v)
		}
	}
	switch {
	case u == measure.Bytes && (math.IsInf(smallest, 1) || smallest < 0.1e6):
		return scale{1, l.unit(u)}
	case u == measure.Bytes && smallest < 0.1e9:
		return scale{1e6, l.say("MB", "МБ")}
	case u == measure.Bytes:
		return scale{1e9, l.say("GB", "ГБ")}
	case math.IsInf(smallest, 1) || smallest < 0.1e-3:
		return scale{1e-6, l.Term("µs")}
	case smallest < 0.1:
		return scale{1e-3, l.Term("ms")}
	default:
		return scale{1, l.unit(u)}
	}
}

// scaleOf is the multiple for a value by itself: the largest that it has one of.
func (l *language) scaleOf(u measure.Unit, v float64) scale { return l.scale(u, v/10) }

// value is a summary in a multiple of its unit.
func (s scale) value(x stats.Summary) *doc.Value {
	return &doc.Value{X: x.Median / s.one, Low: x.CI.Low / s.one, High: x.CI.High / s.one, Ranged: x.HasCI()}
}

// amount writes a value with its unit: "4.62 ms".
func (l *language) amount(u measure.Unit, v float64) string {
	return l.summary(u, stats.Summary{N: 1, Median: v})
}

// summary writes a median with its interval: "4.62 ms [4.41, 4.90]".
func (l *language) summary(u measure.Unit, x stats.Summary) string {
	s := l.scaleOf(u, x.Median)
	number, interval := l.Value(*s.value(x), doc.Ends)
	return strings.Join(slices.DeleteFunc([]string{number, s.name, interval}, func(s string) bool { return s == "" }), " ")
}

// micros writes microseconds.
func (l *language) micros(us float64) string { return l.amount(measure.Seconds, us/1e6) }

// ratio writes a ratio: "2.10×".
func (l *language) ratio(r float64) string { return l.Locale.Number(r, doc.Digits(r)) + "×" }

// change is a ratio as people say it: "35.1× higher", "9 % lower".
type change struct {
	l      *language
	lower  bool
	factor bool // in multiples rather than percents
}

// changeOf picks how to say a ratio, and others beside it.
func (l *language) changeOf(ratio float64) change {
	return change{l, ratio < 1, ratio > 0 && max(ratio, 1/ratio) >= 1.5}
}

// of is a ratio in the sense of c: how many times, or by what percentage, it is higher, or
// lower.
func (c change) of(ratio float64) float64 {
	switch {
	case c.factor && c.lower:
		return 1 / ratio
	case c.factor:
		return ratio
	case c.lower:
		return 100 * (1 - ratio)
	default:
		return 100 * (ratio - 1)
	}
}

// number writes an amount of c without what it is in.
func (c change) number(v float64) string {
	decimals := doc.Digits(v)
	if !c.factor {
		decimals = 0
		if math.Abs(v) < 1.95 {
			decimals = 1
		}
	}
	return strings.Replace(c.l.Locale.Number(v, decimals), "-", "−", 1)
}

// say says a ratio.
func (c change) say(ratio float64) string {
	more := c.l.say("higher", "больше")
	if c.lower {
		more = c.l.say("lower", "меньше")
	}
	v := c.of(ratio)
	switch {
	case !c.factor:
		return c.l.fill("%s %% %s", "на %s %% %s", c.number(v), more)
	case !c.l.ru:
		return c.number(v) + "× " + more
	}
	return "в " + c.number(v) + " " + c.l.timesNoun(v) + " " + more
}

// within writes the ends of an interval of ratios: "[32.0, 38.2]".
func (c change) within(x stats.Interval) string {
	low, high := c.ends(x)
	return "[" + c.number(low) + c.l.Between + c.number(high) + "]"
}

// from writes a range of ratios: "14.2–52.0×", "6–12 %".
func (c change) from(x stats.Interval) string {
	low, high := c.ends(x)
	from, to := c.number(low), c.number(high)
	switch {
	case from == to && c.factor:
		return c.l.fill("%s×", "в %s "+c.l.timesNoun(high), to)
	case from == to:
		return c.l.fill("%s %%", "на %s %%", to)
	case c.factor:
		return c.l.fill("%s–%s×", "в %s–%s "+c.l.timesNoun(high), from, to)
	case low < 0:
		return c.l.fill("from %s to %s %%", "от %s до %s %%", from, to)
	default:
		return c.l.fill("%s–%s %%", "на %s–%s %%", from, to)
	}
}

// timesNoun is the Russian for "times" behind a number: a fraction governs the genitive
// singular.
func (l *language) timesNoun(v float64) string {
	if doc.Digits(v) > 0 {
		return "раза"
	}
	n := int(math.Round(v))
	if n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14) {
		return "раза"
	}
	return "раз"
}

func (c change) ends(x stats.Interval) (low, high float64) {
	low, high = c.of(x.Low), c.of(x.High)
	return min(low, high), max(low, high)
}

// pValue writes a p-value; small ones as a bound.
func (l *language) pValue(p float64) string {
	if p < 0.001 {
		return "<" + l.Locale.Number(0.001, 3)
	}
	return l.Locale.Number(p, 3)
}

// Term implements measure.Words: it says a unit, or a word that the raw data hold,
// such as the name of a gate; an unknown one stays as it is.
func (l *language) Term(word string) string {
	terms := map[string]measure.Text{
		"members": {}, "changes": {}, "lost": {}, "replicas": {}, "processes": {}, "nodes": {},
		"ops": {En: "op", Ru: "оп."}, "s": {En: "s", Ru: "с"}, "ms": {En: "ms", Ru: "мс"}, "µs": {En: "µs", Ru: "мкс"}, "ns": {En: "ns", Ru: "нс"},
		"1/s": {En: "1/s", Ru: "1/с"}, "op/s": {En: "op/s", Ru: "оп/с"}, "B/s": {En: "B/s", Ru: "Б/с"}, "B": {En: "B", Ru: "Б"}, "cores": {En: "cores", Ru: "ядер"},
		"load": {En: "load", Ru: "нагрузка"}, "errors": {En: "errors", Ru: "ошибки"},
		"client":          {En: "client CPU", Ru: "процессор клиентов"},
		"convergence":     {En: "diverged replicas", Ru: "расхождение реплик"},
		"leader":          {En: "leader changes", Ru: "смены лидера"},
		measure.FlushGate: {En: "disks that a write can be on", Ru: "на скольких дисках запись"},
		measure.ColdGate:  {En: "operations to warm up", Ru: "операции для прогрева"},
		"acknowledged":    {En: "lost writes", Ru: "потерянные записи"},
		"alive":           {En: "stopped processes", Ru: "остановившиеся процессы"},
		"stages":          {En: "stages against the clients’ mean", Ru: "сумма стадий и среднее по клиентам"}, "rest": {En: "unexplained", Ru: "необъяснённый остаток"},
		"search": {En: "gap of the search", Ru: "разрыв поиска"}, "samples": {En: "operations", Ru: "операций"},
		"clock": {En: "clock", Ru: "расхождение часов"}, "voters": {En: "voters", Ru: "голосующие узлы"},
		"steady": {En: "change within the window", Ru: "изменение за окно"}, "connections": {En: "new connections", Ru: "новые соединения"},
		"lateness": {En: "late starts", Ru: "опоздание запусков"}, "queue": {En: "held in line", Ru: "ожидание в очереди"},
		"driver": {En: "the loop that drives the protocol", Ru: "цикл, ведущий протокол"}, "log": {En: "the log in front of its store", Ru: "журнал перед его хранилищем"},
		"framing": {En: "the framing of messages", Ru: "кадрирование сообщений"}, "snapshots": {En: "snapshots", Ru: "снимки состояния"},
		"identity": {En: "who a member is", Ru: "опознавание узлов"}, "results": {En: "the way of a result to its caller", Ru: "передача результата вызвавшему"},
		"reads": {En: "reads", Ru: "чтение"}, "overlapped writes": {En: "overlapped writes of the log", Ru: "совмещённая запись журнала"},
		"state machine": {En: "the state machine", Ru: "машина состояний"}, "server": {En: "the server of clients", Ru: "сервер клиентов"},
		experiment.FamilyAligned: {En: "aligned", Ru: "выровненные"}, experiment.FamilyRecommended: {En: "recommended", Ru: "рекомендованные"},
		"nothing": {En: "nothing", Ru: "ничего"}, "os-buffer": {En: "OS buffer", Ru: "буфер ОС"}, "disk": {En: "disk", Ru: "диск"},
		"linearizable": {En: "linearizable", Ru: "линеаризуемое"}, "stale": {En: "stale", Ru: "без гарантии свежести"},
		"lease":    {En: "linearizable by lease", Ru: "линеаризуемое по аренде лидера"},
		"constant": {En: "evenly spaced", Ru: "через равные промежутки"},
		"poisson":  {En: "as a Poisson process", Ru: "пуассоновский поток"},
		"uniform":  {En: "uniformly at random", Ru: "равномерно"}, "zipf": {En: "by Zipf’s law", Ru: "по закону Ципфа"},
		"sequential": {En: "one after the other", Ru: "последовательно"},
		"inprocess":  {En: "all in the process of the load generator", Ru: "все в одном процессе с генератором нагрузки"},
		"process":    {En: "each in a process of its own", Ru: "каждый в отдельном процессе"},
		"etcd":       {En: "each a process of the official etcd server, asked with its Go client", Ru: "каждый в отдельном процессе официального сервера etcd, запросы через его клиент на Go"},
		"committed by a majority, applied on the leader": {
			En: "committed by a majority, applied on the leader", Ru: "после фиксации кворумом и применения на лидере"},
		"committed by a majority, applied on the leader, answered to the client": {
			En: "committed by a majority, applied on the leader, answered to the client",
			Ru: "после фиксации кворумом, применения на лидере и ответа клиенту"},
		"committed by a majority, applied on the leader, answered over HTTP": { // of older runs
			En: "committed by a majority, applied on the leader, answered over HTTP",
			Ru: "после фиксации кворумом, применения на лидере и ответа по HTTP"},
		"http": {En: "HTTP", Ru: "HTTP"}, "resp": {En: "Redis", Ru: "Redis"}, "grpc": {En: "gRPC", Ru: "gRPC"},
	}
	if t, ok := terms[word]; ok {
		return l.Say(t)
	}
	return word
}

// capital starts a sentence.
func capital(s string) string {
	first, width := utf8.DecodeRuneInString(s)
	if second, _ := utf8.DecodeRuneInString(s[width:]); s == "" || unicode.IsUpper(second) { // a name such as gRPC
		return s
	}
	return string(unicode.ToUpper(first)) + s[width:]
}

// Qualified keys of the factors that the reports have words for.
const (
	keyEngine    = "cluster.engine"
	keyFamily    = "cluster.family"
	keyBackend   = "cluster.backend"
	keyTransport = "cluster.transport"
	keyNodes     = "cluster.nodes"
	keyMode      = "cluster.mode"
	keyDiscovery = "cluster.discovery"
	keyClients   = "load.clients"
	keyRate      = "load.rate"
	keyValueSize = "load.value_size"
	keyReadRatio = "load.read_ratio"
	keyReadLevel = "load.read_level"
	keyWarmup    = "load.warmup_operations"
	keyClient    = "load.client"

	keyPersistence = "raft.persistence"
	keyProfile     = "cluster.profile"
)

// isNumeric reports whether a factor's levels are amounts.
func isNumeric(f factor) bool {
	return !slices.ContainsFunc(f.Levels, func(level string) bool {
		_, err := strconv.ParseFloat(level, 64)
		return err != nil
	})
}

// isOffered reports whether a factor is how much load is offered.
func isOffered(f factor) bool { return f.Key == keyClients || f.Key == keyRate }

// withParts adds the store and the transport to the factors that a sentence
// names, where they are not factors themselves: a sentence stands alone.
func withParts(fs, factors []factor) []factor {
	out := slices.Clone(fs)
	for _, key := range []string{keyBackend, keyTransport} {
		// A level that sets several keys has a name that stands for its parts too.
		if !slices.ContainsFunc(factors, func(f factor) bool { return f.Key == key || f.Sets != nil }) {
			out = append(out, factor{experiment.Factor{Key: key}, -1})
		}
	}
	return out
}

// factorWords are what a language calls a factor and one of its levels.
type factorWords struct {
	head   string // the factor at the head of a column
	short  string // the level in a cell of that column or in a plot
	named  string // the level by itself: "bolt", "16 clients"
	placed string // the level as a circumstance: "with bolt", "at 16 clients"
	what   string // the factor in a sentence: "the log store"; in Russian in the genitive
}

func (l *language) words(f factor, c *record.CellInfo) factorWords {
	v := f.value(c)
	words := func(head, short, named, placed, what string) factorWords {
		return factorWords{head, short, named, placed, what}
	}
	plain := func(head, short, named string) factorWords {
		return words(head, short, named, l.say("with ", "при ")+named, l.fill("“%s”", "фактора «%s»", head))
	}
	if f.Sets != nil {
		return words(f.Name, v, v, l.fill("with %s", "с %s", l.quoted(v)), l.fill("the %s", "фактора «%s»", f.Name))
	}
	switch f.Key {
	case keyEngine:
		return words(l.say(f.Name, "движок"), v, v, l.say("on ", "с движком ")+v, l.say("the engine", "движка"))
	case keyBackend:
		return words(l.say(f.Name, "хранилище"), v, v, l.say("with ", "с хранилищем ")+v, l.say("the log store", "хранилища журнала"))
	case keyTransport:
		return words(l.say(f.Name, "транспорт"), v, v, l.say("over ", "с транспортом ")+v, l.say("the transport", "транспорта"))
	case keyNodes:
		n := c.Cluster.Nodes
		return words(l.say(f.Name, "узлы"), v, l.count(n, "node nodes", "узел узла узлов"),
			l.say("with ", "при ")+l.count(n, "node nodes", "узле узлах узлах"), l.say("the number of nodes", "числа узлов"))
	case keyClients:
		n := c.Load.Clients
		return words(l.say(f.Name, "клиенты"), v, l.count(n, "client clients", "клиент клиента клиентов"),
			l.say("at ", "при ")+l.count(n, "client clients", "клиенте клиентах клиентах"), l.say("the number of clients", "числа клиентов"))
	case keyRate:
		head, rate, what := l.say("rate", "интенсивность"), l.General(c.Load.Rate), l.say("the offered load", "интенсивности")
		if c.Load.Rate == 0 {
			closed := l.say("closed loop", "замкнутый цикл")
			return words(head, closed, closed, l.say("in a closed loop", "в замкнутом цикле"), what)
		}
		named := rate + " " + l.unit(measure.OpsPerSecond)
		return words(head, rate, named, l.say("at ", "при ")+named, what)
	case keyValueSize:
		size := l.Bytes(uint64(max(0, c.Load.ValueSize)))
		return words(l.say("value size", "размер значения"), size, l.fill("values of %s", "значения по %s", size),
			l.fill("with values of %s", "при значениях по %s", size), l.say("the value size", "размера значения"))
	case keyReadRatio:
		share := l.General(100*c.Load.ReadRatio) + " %"
		w := plain(l.say("reads", "чтения"), share, share+l.say(" reads", " чтений"))
		w.what = l.say("the share of reads", "доли чтений")
		return w
	case keyReadLevel:
		level := l.Term(c.Load.ReadLevel)
		return words(l.say("read level", "уровень чтения"), level, l.fill("%s reads", "чтение «%s»", level),
			l.fill("with %s reads", "при чтении «%s»", level), l.say("the read level", "уровня чтения"))
	case keyPersistence:
		return words(l.say(f.Name, "запись журнала"), v, v, l.fill("with %s persistence", "с записью %s", v), l.say("the persistence", "порядка записи журнала"))
	case keyProfile:
		return words(l.say(f.Name, "профиль"), v, v, l.say("with profile ", "с профилем ")+v, l.say("the profile", "профиля"))
	case keyClient:
		name := l.Term(v)
		placed := l.say("over ", "по ") + name
		if v == experiment.ClientRESP {
			placed = l.say("over the Redis protocol", "по протоколу Redis")
		}
		return words(l.say("protocol", "протокол"), name, name, placed, l.say("the protocol", "протокола"))
	case keyMode:
		return l.levelWords(l.say("members", "запуск узлов"), v, l.say("where the members run", "способа запуска узлов"))
	case keyDiscovery:
		return l.levelWords(l.say("discovery", "обнаружение"), v, l.say("the discovery", "способа обнаружения"))
	default:
		if isNumeric(f) {
			name := f.Name[strings.LastIndexByte(f.Name, '.')+1:]
			number, _ := strconv.ParseFloat(v, 64)
			return words(f.Name, v, name+" = "+l.General(number), l.fill("at %s = %s", "при %s = %s", name, l.General(number)), name)
		}
		return plain(f.Name, v, f.Name[strings.LastIndexByte(f.Name, '.')+1:]+" = "+v)
	}
}

// quoted sets a name of several words apart from the sentence it stands in.
func (l *language) quoted(name string) string {
	if strings.ContainsAny(name, " ,") {
		return l.fill("“%s”", "«%s»", name)
	}
	return name
}

// levelWords are the words for levels that are names of ours. In Russian they stay
// names, as those of stores are, so that they need not be declined.
func (l *language) levelWords(head, level, what string) factorWords {
	known := map[string]struct{ short, placed measure.Text }{
		experiment.ModeInProcess:   {measure.Text{En: "one process", Ru: level}, measure.Text{En: "in one process", Ru: "в одном процессе"}},
		experiment.ModeProcess:     {measure.Text{En: "kvnode processes", Ru: level}, measure.Text{En: "in kvnode processes", Ru: "в процессах kvnode"}},
		experiment.DiscoveryStatic: {measure.Text{En: "static join", Ru: level}, measure.Text{En: "with static join", Ru: "при статическом присоединении"}},
		experiment.DiscoveryGossip: {measure.Text{En: level, Ru: level}, measure.Text{En: "with gossip", Ru: "при обнаружении через gossip"}},
	}[level]
	short := cmp.Or(l.Say(known.short), level)
	return factorWords{head, short, short, cmp.Or(l.Say(known.placed), level), what}
}

// ranked are the factors whose levels stand as circumstances, in the order in which
// a label has them: "bolt over tcp at 16 clients, 3 nodes".
func ranked() []string {
	return []string{keyBackend, keyTransport, keyEngine, keyMode, keyDiscovery, keyClients, keyRate}
}

func inRank(fs []factor) []factor {
	rank := func(f factor) int {
		if f.Sets != nil {
			return -1
		}
		if i := slices.Index(ranked(), f.Key); i >= 0 {
			return i
		}
		return len(ranked())
	}
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b factor) int { return rank(a) - rank(b) })
	return sorted
}

// label names a cell by its levels of fs, the first part as a noun.
func (l *language) label(fs []factor, c *record.CellInfo) string {
	var b strings.Builder
	for i, f := range inRank(fs) {
		w := l.words(f, c)
		switch {
		case i == 0:
			b.WriteString(w.named)
		case slices.Contains(ranked(), f.Key):
			b.WriteString(" " + w.placed)
		default:
			b.WriteString(", " + w.named)
		}
	}
	return b.String()
}

// circumstance names a combination of levels of fs, as "over tcp at 16 clients".
func (l *language) circumstance(fs []factor, c *record.CellInfo) string {
	var parts []string
	for _, f := range inRank(fs) {
		parts = append(parts, l.words(f, c).placed)
	}
	return strings.Join(parts, " ")
}

// fullLabel names a cell by the factors that tell it from the others, or by its
// parts where it is the only one.
func (l *language) fullLabel(factors []factor, c *record.CellInfo) string {
	if len(factors) == 0 {
		factors = withParts(nil, nil)
	}
	return l.label(factors, c)
}
