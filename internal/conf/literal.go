package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Literal reads text as the right side of a TOML assignment: a string, number,
// boolean or list ([]Value). What is none of these stands for itself, as a string.
func Literal(text string) any {
	doc, err := parseTOML([]byte("v = " + text))
	if err != nil || len(doc) != 1 || doc[0].Key != "v" {
		return text
	}
	switch doc[0].Data.(type) {
	case string, int64, float64, bool, []Value:
		return doc[0].Data
	default: // a date, or a table
		return text
	}
}

// LiteralText writes a scalar so that Literal reads it back; a string is bare
// wherever that is not mistaken for something else.
func LiteralText(v any) string {
	if s, ok := v.(string); ok {
		if Literal(s) == any(s) {
			return s
		}
		return Quote(s)
	}
	return scalarText(v, 'f')
}

func scalarText(v any, format byte) string {
	if x, ok := v.(float64); ok {
		return strconv.FormatFloat(x, format, -1, 64)
	}
	return fmt.Sprint(v)
}

// Quote writes a TOML basic string, which YAML reads alike.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r > 0xffff && !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// MaxExactInteger bounds the numbers of free options: up to here JSON keeps them.
const MaxExactInteger = 1 << 53

// Option checks the value of a free option and gives it one form: a whole number is
// an int64, whether TOML or JSON read it. The error says only what is wanted.
func Option(data any) (any, error) {
	switch v := data.(type) {
	case string, bool:
		return v, nil
	case int:
		return Option(int64(v))
	case int64:
		if v >= -MaxExactInteger && v <= MaxExactInteger {
			return v, nil
		}
	case float64:
		if math.Abs(v) <= MaxExactInteger { // not a number, infinity: neither
			if v == math.Trunc(v) {
				return int64(v), nil
			}
			return v, nil
		}
	default:
		return nil, errors.New("want text in quotes, a number, true or false")
	}
	return nil, fmt.Errorf("want a number within ±%d", int64(MaxExactInteger))
}
