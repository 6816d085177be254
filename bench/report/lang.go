package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
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
	l := &language{doc.Locale{Code: string(English), Decimal: ".", Between: ", "}, lang == Russian}
	if l.ru {
		l.Locale = doc.Locale{Code: string(Russian), Decimal: ",", Between: "; "}
	}
	l.Units = append(l.byteUnits(), "%", l.say("ns", "нс"), l.say("µs", "мкс"), l.say("ms", "мс"))
	for _, u := range []measure.Unit{measure.Seconds, measure.OpsPerSecond, measure.BytesPerSecond, measure.Cores} {
		l.Units = append(l.Units, l.unit(u))
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
	return l.General(float64(d)/1e6) + " " + l.say("ms", "мс")
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

// unit names a unit.
func (l *language) unit(u measure.Unit) string {
	if !l.ru {
		return string(u)
	}
	names := map[measure.Unit]string{
		measure.Seconds: "с", measure.PerSecond: "1/с", measure.OpsPerSecond: "оп/с",
		measure.BytesPerSecond: "Б/с", measure.Bytes: "Б", measure.Cores: "ядер",
	}
	if name, known := names[u]; known {
		return name
	}
	return string(u)
}

// scale is a multiple of a unit, in which values are given.
type scale struct {
	one  float64 // in the unit
	name string
}

// scale picks the largest multiple in which the smallest of the values is still at
// least a tenth. Zeros do not count. Only times have multiples.
func (l *language) scale(u measure.Unit, values ...float64) scale {
	if u != measure.Seconds {
		return scale{1, l.unit(u)}
	}
	smallest := math.Inf(1)
	for _, v := range values {
		if v > 0 {
			smallest = min(smallest, v)
		}
	}
	switch {
	case math.IsInf(smallest, 1) || smallest < 0.1e-3:
		return scale{1e-6, l.say("µs", "мкс")}
	case smallest < 0.1:
		return scale{1e-3, l.say("ms", "мс")}
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

// times writes a ratio as a sentence has it: "0.48×" in English, how many times
// more or less in Russian.
func (l *language) times(r float64) string {
	if !l.ru {
		return l.ratio(r)
	}
	word := "больше"
	if r < 1 {
		r, word = 1/r, "меньше"
	}
	decimals := doc.Digits(r)
	noun := "раза" // a fraction governs the genitive singular
	if decimals == 0 {
		noun = strings.Fields(l.count(int(math.Round(r)), "", "раз раза раз"))[1]
	}
	return "в " + l.Locale.Number(r, decimals) + " " + noun + " " + word
}

// pValue writes a p-value; small ones as a bound.
func (l *language) pValue(p float64) string {
	if p < 0.001 {
		return "<" + l.Locale.Number(0.001, 3)
	}
	return l.Locale.Number(p, 3)
}

// Term implements measure.Words: it says a word that the raw data hold, such as the
// name of a gate; an unknown one stays as it is.
func (l *language) Term(word string) string {
	terms := map[string]measure.Text{
		"changes": {}, "lost": {}, "replicas": {}, "processes": {}, "nodes": {},
		"ops": {En: "op", Ru: "оп."}, "ms": {En: "ms", Ru: "мс"},
		"load": {En: "load", Ru: "нагрузка"}, "errors": {En: "errors", Ru: "ошибки"},
		"client":       {En: "client CPU", Ru: "генератор нагрузки"},
		"convergence":  {En: "diverged replicas", Ru: "расхождение реплик"},
		"leader":       {En: "leader changes", Ru: "смены лидера"},
		"acknowledged": {En: "lost writes", Ru: "потерянные записи"},
		"alive":        {En: "stopped processes", Ru: "остановившиеся процессы"},
		"clock":        {En: "clock", Ru: "ход часов"}, "voters": {En: "voters", Ru: "голосующие узлы"},
		"nothing": {En: "nothing", Ru: "ничего"}, "os-buffer": {En: "OS buffer", Ru: "буфер ОС"}, "disk": {En: "disk", Ru: "диск"},
		"linearizable": {En: "linearizable", Ru: "линеаризуемое"}, "stale": {En: "stale", Ru: "без гарантии свежести"},
		"constant": {En: "evenly spaced", Ru: "через равные промежутки"},
		"poisson":  {En: "as a Poisson process", Ru: "пуассоновский поток"},
		"uniform":  {En: "uniformly at random", Ru: "равномерно"}, "zipf": {En: "by Zipf’s law", Ru: "по закону Ципфа"},
		"sequential": {En: "one after the other", Ru: "последовательно"},
		"inprocess":  {En: "all in the process of the load generator", Ru: "все в одном процессе с генератором нагрузки"},
		"process":    {En: "each in a process of its own, asked over HTTP", Ru: "каждый в отдельном процессе, запросы по HTTP"},
		"committed by a majority, applied on the leader": {
			En: "committed by a majority, applied on the leader", Ru: "после фиксации кворумом и применения на лидере"},
		"committed by a majority, applied on the leader, answered over HTTP": {
			En: "committed by a majority, applied on the leader, answered over HTTP",
			Ru: "после фиксации кворумом, применения на лидере и ответа по HTTP"},
	}
	if t, ok := terms[word]; ok {
		return l.Say(t)
	}
	return word
}

// capital starts a sentence.
func capital(s string) string {
	for i, r := range s {
		return strings.ToUpper(string(r)) + s[i+len(string(r)):]
	}
	return s
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
