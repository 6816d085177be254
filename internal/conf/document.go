package conf

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Value is a part of a document, whatever its format.
type Value struct {
	Line int // from 1
	Data any // bool, int64, float64, string, []Value, Table or Foreign
}

// Table is a mapping, in the order of the file.
type Table []Entry

// Entry is a key and its value. The line is that of the key.
type Entry struct {
	Key string
	Value
}

// Foreign is something that a format can say and no setting can be.
type Foreign struct {
	What string // "a date or time"
	Mend string // "quote it"; may be empty
}

// Kind is what a document is for, and what bounds it.
type Kind struct {
	Name     string // for people: "experiment file"
	Invalid  error  // what every [Mistake] in it is
	Help     string // the command that lists all names, for errors about one; may be empty
	MaxBytes int    // keeps a file that was named by mistake from being taken apart
}

// maxDepth bounds how deep tables and lists nest. What is deeper would cost the
// libraries time and memory beyond measure: they keep the whole path of every key.
const maxDepth = 16

// Parse takes a document apart: YAML if the name of the file ends so, else TOML. The
// error is a single *[Mistake]. The mistakes that it returns beside the document are
// none so far.
func (k Kind) Parse(file string, source []byte) (Table, *Mistakes, error) {
	source = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf"))
	parse := parseTOML
	if IsYAML(file) {
		parse = parseYAML
	}
	var root Table
	var wrong *Mistake
	if line := invalidUTF8(source); len(source) > k.MaxBytes {
		wrong = mistakeAt(1, "longer than %d KiB: this is no %s", k.MaxBytes>>10, k.Name)
	} else if line > 0 {
		wrong = mistakeAt(line, "not UTF-8: save the file in that encoding")
	} else {
		root, wrong = parse(source)
	}
	if wrong != nil {
		wrong.File, wrong.Invalid = file, k.Invalid
		return nil, nil, wrong
	}
	return root, &Mistakes{File: file, Invalid: k.Invalid, Help: k.Help}, nil
}

// IsYAML reports whether a file of this name is taken for YAML.
func IsYAML(file string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(filepath.Ext(file)))
}

func mistakeAt(line int, format string, args ...any) *Mistake {
	return &Mistake{Line: max(line, 1), Msg: fmt.Sprintf(format, args...)}
}

func tooDeep(line int) *Mistake { return mistakeAt(line, "nested more than %d deep", maxDepth) }

// invalidUTF8 returns the first line that is not UTF-8, or 0.
func invalidUTF8(source []byte) int {
	for i, text := range slices.Collect(bytes.Lines(source)) {
		if !utf8.Valid(text) {
			return i + 1
		}
	}
	return 0
}

// Show writes a value for a message, also one that [Value.Plain] returned.
func Show(data any) string {
	switch v := data.(type) {
	case string:
		return Quote(Abridge(v))
	case Foreign:
		return v.What
	case Table, map[string]any:
		return "a table"
	case []Value:
		if _, ok := listOfTables(data); ok {
			return "a list of tables"
		}
		return "[…]"
	case []any:
		return "[…]"
	default:
		return scalarText(v, 'g')
	}
}

func listOfTables(data any) ([]Value, bool) {
	list, ok := data.([]Value)
	if !ok || len(list) == 0 {
		return nil, false
	}
	_, ok = list[0].Data.(Table)
	return list, ok
}

// Abridge keeps a text out of a file from flooding a message.
func Abridge(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Plain returns a value without its lines: a scalar, []any or map[string]any. What no
// setting can be is noted in m; key is the qualified key of the whole.
func (v Value) Plain(key string, m *Mistakes) any {
	switch d := v.Data.(type) {
	case []Value:
		list := make([]any, len(d))
		for i, item := range d {
			list[i] = item.Plain(key, m)
		}
		return list
	case Table:
		table := make(map[string]any, len(d))
		for _, e := range d {
			table[e.Key] = e.Plain(Qualify(key, Abridge(e.Key)), m)
		}
		return table
	case float64:
		if !finite(d) {
			m.Add(v.Line, key, "%s = %s: want a finite number", key, Show(d))
		}
	case Foreign:
		m.Add(v.Line, key, "%s = %s: %s", key, d.What, cmp.Or(d.Mend, "want a string, number, boolean, list or table"))
	}
	return v.Data
}
