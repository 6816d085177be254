package kvnode

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/BurntSushi/toml"
)

// entry is one key of a TOML document, or of a table in it.
type entry struct {
	key   string
	line  int
	value any     // nil for a table
	table []entry // nil for a value
}

// parseTOML takes a document apart, down to the keys of its tables, in the order
// of their lines.
func parseTOML(source []byte) ([]entry, error) {
	var document map[string]toml.Primitive
	meta, err := toml.Decode(string(source), &document)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(document))
	for key, primitive := range document {
		e := entryOf(meta, source, key, primitive)
		if _, isTable := e.value.(map[string]any); isTable {
			e.value, e.table = nil, entriesOf(meta, source, primitive)
		}
		entries = append(entries, e)
	}
	sortEntries(entries)
	return entries, nil
}

func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key))
	})
}

// entriesOf returns the keys of a table, in the order of their lines.
func entriesOf(meta toml.MetaData, source []byte, primitive toml.Primitive) []entry {
	entries := []entry{}
	var table map[string]toml.Primitive
	if meta.PrimitiveDecode(primitive, &table) != nil {
		return entries // a well-formed table does not fail
	}
	for key, primitive := range table {
		entries = append(entries, entryOf(meta, source, key, primitive))
	}
	sortEntries(entries)
	return entries
}

func entryOf(meta toml.MetaData, source []byte, key string, primitive toml.Primitive) entry {
	var p probe
	var at toml.ParseError
	refusal := meta.PrimitiveDecode(primitive, &p)
	e := entry{key: key, line: 1, value: p.value}
	if errors.As(refusal, &at) && at.Position.Line > 0 {
		e.line = lineAt(source, at.Position.Start)
	} else if inner := entriesOf(meta, source, primitive); len(inner) > 0 {
		e.line = inner[0].line // only dotted keys speak of this table
	}
	return e
}

// probe takes any TOML value and refuses it: the refusal is the one way in which
// the library tells the position of a key that is well-formed.
type probe struct{ value any }

// UnmarshalTOML implements toml.Unmarshaler.
func (p *probe) UnmarshalTOML(value any) error {
	p.value = value
	return errors.New("probe")
}

// lineAt returns the line, from 1, of an offset. The library gives offsets
// outside the source for some errors at its ends.
func lineAt(source []byte, offset int) int {
	return 1 + bytes.Count(source[:min(max(offset, 0), len(source))], []byte("\n"))
}

func syntaxError(file string, source []byte, err error) error {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return &configError{file, 1, "not TOML: " + err.Error()}
	}
	return &configError{file, lineAt(source, syntax.Position.Start), "not TOML: " + syntax.Message}
}
