package conf

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML takes a document apart. BurntSushi/toml decodes it, but does not say
// where a key stands; the parser of pelletier/go-toml does, and sees mistakes of
// syntax first.
func parseTOML(source []byte) (Table, *Mistake) {
	places, err := tomlPlaces(source)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if _, err := toml.Decode(string(source), &document); err != nil {
		var invalid toml.ParseError
		if !errors.As(err, &invalid) {
			return nil, mistakeAt(1, "not TOML: %v", err)
		}
		return nil, mistakeAt(lineAt(source, invalid.Position.Start), "not TOML: %s", invalid.Message)
	}
	root, _ := places.value(document).Data.(Table)
	return root, nil
}

// lineAt returns the line, from 1, of an offset. The library gives offsets outside
// the source for some mistakes at its ends.
func lineAt(source []byte, offset int) int {
	return 1 + bytes.Count(source[:min(max(offset, 0), len(source))], []byte("\n"))
}

// place is where a key or an element of a list stands, with those below it.
type place struct {
	key   string
	line  int
	below []*place
	list  bool // of tables, each with a header of its own
	whole bool // stands behind "=": nothing may be added
}

// tomlPlaces returns the places of a document, in the order of the file.
func tomlPlaces(source []byte) (*place, *Mistake) {
	var parser unstable.Parser
	parser.Reset(source)
	root := &place{line: 1}
	line := func(n *unstable.Node) int { return lineAt(source, int(n.Raw.Offset)) }
	header, depth := root, 0
	for parser.NextExpression() {
		e := parser.Expression()
		at, deep := header, depth
		if e.Kind != unstable.KeyValue {
			at, deep = root, 0
		}
		first := 0
		for it := e.Key(); it.Next() && deep <= maxDepth; deep++ {
			key := string(it.Node().Data)
			if first == 0 {
				first = line(it.Node())
			}
			if c := at.find(key); c != nil && (c.whole || it.IsLast() && e.Kind == unstable.KeyValue) {
				return nil, mistakeAt(first, "%s is given twice, first on line %d: remove one", Abridge(key), c.line)
			}
			at = at.child(key, first, it.IsLast() && e.Kind == unstable.ArrayTable)
		}
		switch e.Kind {
		case unstable.KeyValue:
			at.whole = true
			deep = at.inside(e.Value(), deep)
		default:
			at.line, header, depth = first, at, deep
		}
		if deep > maxDepth {
			return nil, tooDeep(first)
		}
	}
	var syntax *unstable.ParserError
	if !errors.As(parser.Error(), &syntax) {
		return root, nil
	}
	text := "not TOML: " + syntax.Message
	if strings.HasSuffix(text, "at start of value") {
		text += ", and text wants quotes"
	}
	return nil, mistakeAt(lineAt(source, int(parser.Range(syntax.Highlight).Offset)), "%s", text)
}

// find returns the place of a key below p, or nil.
func (p *place) find(key string) *place {
	if i := slices.IndexFunc(p.below, func(c *place) bool { return c.key == key }); i >= 0 {
		return p.below[i]
	}
	return nil
}

// child is the place of a key below p: of a list of tables, below its last one. With
// another, the key is a list, and one more table begins.
func (p *place) child(key string, line int, another bool) *place {
	c := p.find(key)
	if c == nil {
		c = &place{key: key, line: line, list: another}
		p.below = append(p.below, c)
	}
	if another {
		c.below = append(c.below, &place{line: line})
	}
	if c.list && len(c.below) > 0 {
		return c.below[len(c.below)-1]
	}
	return c
}

// inside adds the places within a value, and returns how deep it nests, or the first
// depth that is too much.
func (p *place) inside(v *unstable.Node, depth int) (deepest int) {
	deepest = depth
	for it := v.Children(); it.Next() && deepest <= maxDepth; {
		at, deep := p, depth
		if v.Kind == unstable.InlineTable {
			for keys := it.Node().Key(); keys.Next() && deep <= maxDepth; deep++ {
				at = at.child(string(keys.Node().Data), p.line, false)
			}
			deepest = max(deepest, at.inside(it.Node().Value(), deep))
			continue
		}
		element := &place{line: p.line}
		p.below = append(p.below, element)
		deepest = max(deepest, element.inside(it.Node(), depth+1))
	}
	return deepest
}

// value puts together what was decoded and where it stands.
func (p *place) value(data any) Value {
	v := Value{Line: p.line, Data: data}
	switch data := data.(type) {
	case bool, int64, float64, string:
	case nil:
		return p.lost()
	case []any:
		v.Data = listOf(p, data)
	case []map[string]any:
		v.Data = listOf(p, data)
	case map[string]any:
		if len(p.below) != len(data) {
			return p.lost()
		}
		table := make(Table, len(p.below))
		for i, b := range p.below {
			table[i] = Entry{b.key, b.value(data[b.key])}
		}
		v.Data = table
	default:
		v.Data = Foreign{"a date or time", "quote it"}
	}
	return v
}

func listOf[T any](p *place, items []T) any {
	if len(p.below) != len(items) {
		return p.lost().Data
	}
	list := make([]Value, len(items))
	for i, item := range items {
		list[i] = p.below[i].value(item)
	}
	return list
}

// lost stands for a value of which the library that decodes has dropped a part: it does
// so below a key that is empty.
func (p *place) lost() Value {
	return Value{p.line, Foreign{"a value below an empty key", "name the key"}}
}
