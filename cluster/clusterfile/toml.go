package clusterfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// parseTOML takes a document apart.
func parseTOML(file string, source []byte) (value, error) {
	if offset, ok := tomlTooDeep(string(source)); ok {
		return value{}, &Error{File: file, Line: lineAt(source, offset), Msg: fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	var document map[string]any
	if _, err := toml.Decode(string(source), &document); err != nil {
		e := &Error{File: file, Line: 1, Msg: "not TOML: " + err.Error()}
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			e.Line, e.Msg = lineAt(source, syntax.Position.Start), "not TOML: "+syntax.Message
		}
		return value{}, e
	}
	return tomlValue("", document, 1, tomlLines(string(source))), nil
}

// lineAt returns the line, from 1, of an offset. The library gives offsets
// outside the source for some errors at its ends.
func lineAt(source []byte, offset int) int {
	return 1 + bytes.Count(source[:min(max(offset, 0), len(source))], []byte("\n"))
}

func tomlValue(path string, data any, parentLine int, lines map[string]int) value {
	v := value{line: cmp.Or(lines[path], parentLine)}
	switch data := data.(type) {
	case bool, int64, string:
		v.data = data
	case float64:
		v.data = number(data)
	case []any:
		v.data = tomlList(path, data, v.line, lines)
	case []map[string]any:
		v.data = tomlList(path, data, v.line, lines)
	case map[string]any:
		t := make(table, 0, len(data))
		for key, item := range data {
			child := tomlValue(tomlPath(path, key), item, v.line, lines)
			t = append(t, entry{key: key, line: child.line, value: child})
		}
		slices.SortFunc(t, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key))
		})
		v.data = t
	default:
		v.data = unsupported("a date or time: quote it")
	}
	return v
}

func tomlList[T any](path string, items []T, line int, lines map[string]int) []value {
	list := make([]value, len(items))
	for i, item := range items {
		list[i] = tomlValue(tomlElement(path, i), item, line, lines)
	}
	return list
}

func tomlPath(parent, key string) string { return parent + "." + key }

func tomlElement(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// tomlLines tells the line of every key and [[table]] of a valid document. The
// library does not: it keeps one position for the keys of that name in all
// tables of a list. So it is given one statement at a time. What an inline list
// holds has no line of its own.
func tomlLines(source string) map[string]int {
	lines := make(map[string]int)
	tables := make(map[string]int) // how many [[tables]] of each list there were
	resolve := func(path string, keys toml.Key, line int) string {
		for _, key := range keys {
			path = tomlPath(path, key)
			if _, seen := lines[path]; !seen {
				lines[path] = line
			}
			if n := tables[path]; n > 0 {
				path = tomlElement(path, n-1)
			}
		}
		return path
	}
	current := ""
	for _, s := range tomlStatements(source) {
		var ignored map[string]any
		meta, err := toml.Decode(s.text, &ignored)
		keys := meta.Keys()
		if err != nil || len(keys) == 0 {
			continue
		}
		switch last := keys[len(keys)-1]; {
		case strings.HasPrefix(s.text, "[["):
			list := tomlPath(resolve("", last[:len(last)-1], s.line), last[len(last)-1])
			if _, seen := lines[list]; !seen {
				lines[list] = s.line
			}
			current = tomlElement(list, tables[list])
			tables[list]++
			lines[current] = s.line
		case strings.HasPrefix(s.text, "["):
			current = resolve("", last, s.line)
			lines[current] = s.line
		default:
			for _, key := range keys {
				resolve(current, key, s.line)
			}
		}
	}
	return lines
}

// statement is a [header] or an assignment, and the line that it begins on.
type statement struct {
	text string
	line int
}

// tomlStatements cuts a valid document into its statements. One ends with its
// line, unless a bracket or a string is still open there.
func tomlStatements(source string) []statement {
	var all []statement
	line := 1
	for rest := source; rest != ""; {
		end := tomlStatementEnd(rest)
		text := rest[:end]
		if trimmed := strings.TrimSpace(text); trimmed != "" && trimmed[0] != '#' {
			all = append(all, statement{text: trimmed, line: line})
		}
		line += strings.Count(text, "\n")
		rest = rest[end:]
	}
	return all
}

func tomlStatementEnd(s string) int {
	depth := 0
	for i, c := range tomlSyntax(s) {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '\n':
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// tomlTooDeep finds nesting that would cost the library time and memory beyond
// measure: it keeps the whole path of every key. The document need not be valid.
func tomlTooDeep(s string) (offset int, found bool) {
	brackets, dots := 0, 0
	for i, c := range tomlSyntax(s) {
		switch c {
		case '.':
			dots++
		case '[', '{':
			brackets, dots = brackets+1, 0
		case ']', '}':
			brackets, dots = brackets-1, 0
		case '=', ',', '\n':
			dots = 0
		}
		if brackets+dots > maxDepth {
			return i, true
		}
	}
	return 0, false
}

// tomlSyntax ranges over the bytes of s outside of comments and strings.
func tomlSyntax(s string) iter.Seq2[int, byte] {
	return func(yield func(int, byte) bool) {
		for i := 0; i < len(s); i++ {
			switch s[i] {
			case '#':
				for i+1 < len(s) && s[i+1] != '\n' {
					i++
				}
			case '"', '\'':
				i += tomlStringLength(s[i:]) - 1
			default:
				if !yield(i, s[i]) {
					return
				}
			}
		}
	}
}

// tomlStringLength returns the length of the string that s begins with, quotes
// included.
func tomlStringLength(s string) int {
	quote := s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s, triple) {
		quote = triple
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote[0] == '"':
			i++
		case strings.HasPrefix(s[i:], quote):
			i += len(quote)
			for extra := 0; len(quote) == 3 && extra < 2 && i < len(s) && s[i] == quote[0]; extra++ {
				i++ // a multi-line string may end with two quotes of its own
			}
			return i
		}
	}
	return len(s)
}
