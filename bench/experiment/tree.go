package experiment

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/BurntSushi/toml"
)

// node is one key of a TOML document and where it stands.
type node struct {
	key   string
	start int // offset in the source; the order of the file
	line  int // from 1
	value any // string, int64, float64, bool, time.Time, []any or []map[string]any; nil for a table
	table []*node
}

func (n *node) isTable() bool { return n.table != nil }

// parseTree decodes TOML without a byte order mark into its top-level keys, in
// the order of the file. A syntax error is a toml.ParseError.
func parseTree(source []byte) ([]*node, error) {
	var top map[string]toml.Primitive
	meta, err := toml.Decode(string(source), &top)
	if err != nil {
		return nil, err
	}
	t := &treeBuilder{source: source, meta: &meta}
	return t.children(top, 1)
}

type treeBuilder struct {
	source []byte
	meta   *toml.MetaData
}

func (t *treeBuilder) children(table map[string]toml.Primitive, parentLine int) ([]*node, error) {
	nodes := make([]*node, 0, len(table))
	for key, primitive := range table {
		n, err := t.node(key, primitive, parentLine)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key))
	})
	return nodes, nil
}

func (t *treeBuilder) node(key string, primitive toml.Primitive, parentLine int) (*node, error) {
	n := &node{key: key, line: parentLine}
	var p probe
	var found toml.ParseError
	if err := t.meta.PrimitiveDecode(primitive, &p); !errors.As(err, &found) {
		return nil, err
	}
	known := found.Position.Line > 0
	if known {
		n.start = found.Position.Start
		n.line = lineAt(t.source, n.start)
	}
	if _, isTable := p.value.(map[string]any); !isTable {
		n.value = p.value
		return n, nil
	}

	var table map[string]toml.Primitive
	if err := t.meta.PrimitiveDecode(primitive, &table); err != nil {
		return nil, err
	}
	var err error
	n.table, err = t.children(table, n.line)
	if !known && len(n.table) > 0 { // a table that only dotted keys speak of
		n.start, n.line = n.table[0].start, n.table[0].line
	}
	return n, err
}

// lineAt returns the line, from 1, of an offset. It is counted because the
// library gives the last line of a multi-line string, and the line after an
// unexpected line end. An offset outside, as the library gives for some syntax
// errors at the ends of a file, counts as the end that it is beyond.
func lineAt(source []byte, offset int) int {
	return 1 + bytes.Count(source[:min(max(offset, 0), len(source))], []byte("\n"))
}

// probe takes any TOML value and refuses it: the refusal is the one way in
// which the library tells the position of a key that is well-formed.
type probe struct {
	value any
}

var errProbe = errors.New("probe")

// UnmarshalTOML implements toml.Unmarshaler.
func (p *probe) UnmarshalTOML(value any) error {
	p.value = value
	return errProbe
}
