package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

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

// language is how numbers and sentences are written.
type language struct {
	Code    Lang
	decimal string // decimal separator
	between string // between the ends of an interval
	form    func(n int) int
	phrases
}

func newLanguage(l Lang) *language {
	if l == Russian {
		return &language{Russian, ",", "; ", russianForm, russianPhrases()}
	}
	return &language{English, ".", ", ", englishForm, englishPhrases()}
}

// noun is a counted noun: the forms for the counts that form tells apart.
type noun [3]string

func englishForm(n int) int {
	if n == 1 {
		return 0
	}
	return 2
}

// russianForm follows the rule of Russian numerals: 1, 21 | 2–4, 22–24 | 5–20.
func russianForm(n int) int {
	switch {
	case n%10 == 1 && n%100 != 11:
		return 0
	case n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
		return 1
	default:
		return 2
	}
}

// count writes n and the noun in the right form.
func (l *language) count(n int, of noun) string {
	return strconv.Itoa(n) + " " + of[l.form(n)]
}

// number writes v with so many decimals.
func (l *language) number(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(text, "-0.") == "" {
		text = strings.TrimPrefix(text, "-") // no minus zero
	}
	return strings.Replace(text, ".", l.decimal, 1)
}

// general writes v with up to four significant digits and no more decimals than
// needed, as for limits and settings.
func (l *language) general(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return l.number(v, 0)
	}
	return strings.Replace(strconv.FormatFloat(v, 'g', 4, 64), ".", l.decimal, 1)
}

// significant returns how many decimals give v three significant digits, at
// most: whole numbers keep all of theirs.
func significant(v float64) int {
	v = math.Abs(v)
	switch {
	case v >= 99.95:
		return 0
	case v >= 9.995:
		return 1
	case v >= 0.9995:
		return 2
	case v >= 0.09995 || v == 0:
		return 3
	default:
		return 4
	}
}

// unit is a unit of time in which a column or a sentence gives latency.
type unit struct {
	ns   float64 // nanoseconds in one
	name func(*language) string
}

func microseconds() unit { return unit{1e3, func(l *language) string { return l.Microseconds }} }
func milliseconds() unit { return unit{1e6, func(l *language) string { return l.Milliseconds }} }
func seconds() unit      { return unit{1e9, func(l *language) string { return l.Seconds }} }

// unitFor picks the largest unit in which the smallest of the values, in
// nanoseconds, is still at least a tenth. Zeros do not count.
func unitFor(values ...float64) unit {
	smallest := math.Inf(1)
	for _, v := range values {
		if v > 0 {
			smallest = min(smallest, v)
		}
	}
	switch {
	case math.IsInf(smallest, 1) || smallest < 0.1*1e6:
		return microseconds()
	case smallest < 0.1*1e9:
		return milliseconds()
	default:
		return seconds()
	}
}

// unitOf is the unit for a figure by itself: the largest that it has one of.
func unitOf(ns float64) unit { return unitFor(ns / 10) }

// latency writes nanoseconds in the unit that suits them: "4.62 ms".
func (l *language) latency(ns float64) string {
	u := unitOf(ns)
	return l.number(ns/u.ns, significant(ns/u.ns)) + " " + u.name(l)
}

// latencySummary writes a median with its interval: "4.62 ms [4.41, 4.90]".
func (l *language) latencySummary(s stats.Summary) string {
	u := unitOf(s.Median)
	decimals := significant(s.Median / u.ns)
	text := l.number(s.Median/u.ns, decimals) + " " + u.name(l)
	if s.HasCI() {
		text += " " + l.interval(s.CI, u.ns, decimals)
	}
	return text
}

// rateSummary writes a median throughput with its interval.
func (l *language) rateSummary(s stats.Summary) string {
	decimals := significant(s.Median)
	text := l.number(s.Median, decimals) + " " + l.OpsPerSecond
	if s.HasCI() {
		text += " " + l.interval(s.CI, 1, decimals)
	}
	return text
}

// interval writes an interval in units of scale.
func (l *language) interval(ci stats.Interval, scale float64, decimals int) string {
	return "[" + l.number(ci.Low/scale, decimals) + l.between + l.number(ci.High/scale, decimals) + "]"
}

// ratio writes a ratio: "2.10×".
func (l *language) ratio(r float64) string {
	return l.number(r, significant(r)) + "×"
}

// pValue writes a p-value; small ones as a bound.
func (l *language) pValue(p float64) string {
	if p < 0.001 {
		return "<" + l.number(0.001, 3)
	}
	return l.number(p, 3)
}

// bytes writes a size in the largest binary unit that divides it.
func (l *language) bytes(n uint64) string {
	i := 0
	for i < len(l.ByteUnits)-1 && n != 0 && n%1024 == 0 {
		n /= 1024
		i++
	}
	return strconv.FormatUint(n, 10) + " " + l.ByteUnits[i]
}

// memory writes a size of memory, rounded.
func (l *language) memory(n uint64) string {
	v, i := float64(n), 0
	for i < len(l.ByteUnits)-1 && v >= 1024 {
		v /= 1024
		i++
	}
	return l.number(v, min(1, significant(v))) + " " + l.ByteUnits[i]
}

// term translates a word that the raw data holds, such as the name of a gate;
// an unknown one stays as it is.
func (l *language) term(word string) string {
	if t, ok := l.Terms[word]; ok {
		return t
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

// hardSpace does not break at the end of a line.
const hardSpace = "\u00a0"

// tight ties a number to the unit behind it, and a sign to the number behind it,
// so that no line ends between them.
func (l *language) tight(text string) string {
	words := strings.Split(text, " ")
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			before := words[i-1]
			unit := strings.TrimRight(w, ".,;:)]")
			number := before != "" && (before[len(before)-1] >= '0' && before[len(before)-1] <= '9')
			sign := strings.HasSuffix(before, "≥") || strings.HasSuffix(before, "≤")
			if sign || number && slices.Contains(l.units(), unit) {
				b.WriteString(hardSpace)
			} else {
				b.WriteString(" ")
			}
		}
		b.WriteString(w)
	}
	return b.String()
}

func (l *language) units() []string {
	return append([]string{"%", l.Nanoseconds, l.Microseconds, l.Milliseconds, l.Seconds, l.OpsPerSecond, l.CoresUnit}, l.ByteUnits...)
}
