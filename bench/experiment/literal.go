package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// literal reads text as the right side of a TOML assignment: a string, number,
// boolean or list. What is none of these stands for itself, as a string.
func literal(text string) any {
	var doc map[string]any
	if _, err := toml.Decode("v = "+text, &doc); err != nil || len(doc) != 1 {
		return text
	}
	switch v := doc["v"].(type) {
	case string, int64, float64, bool, []any:
		return v
	default: // a date, or a table
		return text
	}
}

// literalText writes a scalar so that literal reads it back; a string is bare
// wherever that is not mistaken for something else.
func literalText(v any) string {
	switch v := v.(type) {
	case string:
		if literal(v) == any(v) {
			return v
		}
		return quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// show writes a value of a file for a message.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return quote(v)
	case int64, bool:
		return fmt.Sprint(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		return "[…]"
	case []*node:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	default:
		return "a date or time"
	}
}

// maxExactInteger bounds the numbers in options: up to here JSON keeps them.
const maxExactInteger = 1 << 53

// optionValue checks the value of an option and gives it one form: a whole
// number is an int64, whether TOML or JSON read it.
func optionValue(value any) (any, error) {
	switch v := value.(type) {
	case string, bool:
		return v, nil
	case int64:
		if v >= -maxExactInteger && v <= maxExactInteger {
			return v, nil
		}
	case float64:
		if math.Abs(v) <= maxExactInteger { // not a number, infinity: neither
			if v == math.Trunc(v) {
				return int64(v), nil
			}
			return v, nil
		}
	default:
		return nil, errors.New("want text in quotes, a number, true or false")
	}
	return nil, fmt.Errorf("want a number within ±%d", int64(maxExactInteger))
}

// UnmarshalJSON reads what encoding/json wrote of an Experiment. Numbers in
// options come back as TOML gave them, so that both forms are equal.
func (e *Experiment) UnmarshalJSON(data []byte) error {
	type plain Experiment // without this method
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	for plugin, options := range p.Options {
		for key, value := range options {
			v, err := optionValue(value)
			if err != nil {
				return fmt.Errorf("%w: %s = %s: %w", ErrInvalid, optionKey(plugin, key), show(value), err)
			}
			options[key] = v
		}
	}
	*e = Experiment(p)
	return nil
}
