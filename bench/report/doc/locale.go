package doc

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Locale is how a language writes numbers.
type Locale struct {
	Code    string   // of the language, as "en"
	Decimal string   // decimal separator
	Between string   // between the ends of an interval
	Units   []string // what belongs to the number before it
	Table   string   // what a table and a figure are called before their number
	Figure  string
	Dash    string // between that number and the title
	// Continued stands above a table on its further pages; N is its number.
	Continued string
}

// caption is "Table 1. Title", and the title alone where there is no number.
func (l Locale) caption(word string, number int, title string) string {
	if number == 0 {
		return title
	}
	return word + hardSpace + strconv.Itoa(number) + l.Dash + title
}

// Number writes v with so many decimals.
func (l Locale) Number(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(text, "-0.") == "" {
		text = strings.TrimPrefix(text, "-") // no minus zero
	}
	return strings.Replace(text, ".", l.Decimal, 1)
}

// General writes v with up to four significant digits and no more decimals than
// needed, as for limits and settings.
func (l Locale) General(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return l.Number(v, 0)
	}
	return strings.Replace(strconv.FormatFloat(v, 'g', 4, 64), ".", l.Decimal, 1)
}

// Digits returns how many decimals give v three significant digits, at most: whole
// numbers keep all of theirs.
func Digits(v float64) int {
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

// Value writes a value in two parts, the second its interval: "4.62" and
// "[4.41, 4.90]".
func (l Locale) Value(v Value, s Spread) (number, interval string) {
	if v.nothing() {
		return "0" + v.Unit + v.Mark, ""
	}
	decimals := Digits(v.X)
	number = l.Number(v.X, decimals) + v.Unit + v.Mark
	switch {
	case !v.Ranged || l.Number(v.Low, decimals) == l.Number(v.High, decimals): // nothing to see
	case s == Ends:
		interval = "[" + l.Number(v.Low, decimals) + l.Between + l.Number(v.High, decimals) + "]"
	case s == Share && v.X > 0:
		interval = "±" + l.Number(100*max(v.High-v.X, v.X-v.Low)/v.X, 0) + "%"
	}
	return number, interval
}

// text writes a cell in one line, whatever its class.
func (l Locale) text(c Cell, s Spread) string {
	text := c.Text
	switch {
	case c.Value != nil:
		number, interval := l.Value(*c.Value, s)
		text = spaced(number, interval)
	case c.Series != nil:
		text = spark(c.Series)
	}
	return spaced(text, c.Mark)
}

// spaced puts a space between two texts that there are.
func spaced(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

// hardSpace does not break at the end of a line.
const hardSpace = "\u00a0"

// Tight ties a number to the unit behind it, and a sign to the number behind it,
// so that no line ends between them.
func (l Locale) Tight(text string) string {
	words := strings.Split(text, " ")
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			before := words[i-1]
			unit := strings.TrimRight(w, ".,;:)]")
			number := before != "" && before[len(before)-1] >= '0' && before[len(before)-1] <= '9'
			sign := strings.HasSuffix(before, "≥") || strings.HasSuffix(before, "≤")
			if sign || number && slices.Contains(l.Units, unit) {
				b.WriteString(hardSpace)
			} else {
				b.WriteString(" ")
			}
		}
		b.WriteString(w)
	}
	return b.String()
}

// spark draws a series with block characters, from zero.
func spark(series []int64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	top := max(1, slices.Max(series))
	var b strings.Builder
	for _, n := range series {
		b.WriteRune(blocks[int(math.Round(float64(n)/float64(top)*float64(len(blocks)-1)))])
	}
	return b.String()
}
