package clusterfile

import (
	"errors"
	"fmt"
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML takes a document apart. Anchors, aliases, merge keys and tags are
// refused where they stand: a cluster file needs none, and without them the
// result is no larger than the text.
func parseYAML(file string, source []byte) (value, error) {
	tokens := lexer.Tokenize(string(source))
	if line, ok := tooDeep(tokens); ok {
		return value{}, &Error{File: file, Line: line, Msg: fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		return value{}, yamlSyntaxError(file, err)
	}
	var bodies []ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return value{line: 1, data: table{}}, nil
	case 1:
		return yamlValue(bodies[0], 1), nil
	}
	return value{}, &Error{File: file, Line: yamlLine(bodies[1], 1), Msg: "a second YAML document begins: a cluster file holds one"}
}

func yamlSyntaxError(file string, err error) error {
	e := &Error{File: file, Line: 1, Msg: "not YAML: " + err.Error()}
	var known yaml.Error
	if errors.As(err, &known) {
		e.Msg = "not YAML: " + known.GetMessage()
		if t := known.GetToken(); t != nil && t.Position != nil {
			e.Line = max(t.Position.Line, 1)
		}
	}
	return e
}

// tooDeep finds nesting that would cost the parser time and memory beyond
// measure: it keeps the whole path of every node. Nesting by indentation needs
// a line per level, and is bounded by the size of the file.
func tooDeep(tokens token.Tokens) (line int, found bool) {
	open, entries, current := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != current {
			current, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType:
			entries++
		}
		if open+entries > maxDepth {
			return current, true
		}
	}
	return 0, false
}

// yamlLine returns the line of a node, or of its parent where it has none.
func yamlLine(n ast.Node, parent int) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return parent
}

func yamlValue(n ast.Node, parentLine int) value {
	if n == nil {
		return value{line: parentLine, data: unsupported("empty")}
	}
	v := value{line: yamlLine(n, parentLine)}
	switch n := n.(type) {
	case *ast.StringNode:
		v.data = n.Value
	case *ast.LiteralNode:
		v.data = n.Value.Value
	case *ast.BoolNode:
		v.data = n.Value
	case *ast.IntegerNode:
		v.data = yamlInteger(n.Value)
	case *ast.FloatNode:
		v.data = number(n.Value)
	case *ast.InfinityNode, *ast.NanNode:
		v.data = unsupported("a number that is not finite")
	case *ast.NullNode:
		v.data = unsupported("empty")
	case *ast.SequenceNode:
		list := make([]value, len(n.Values))
		for i, item := range n.Values {
			list[i] = yamlValue(item, v.line)
		}
		v.data = list
	case *ast.MappingNode:
		v.data, v.line = yamlTable(n.Values, v.line)
	case *ast.MappingValueNode:
		v.data, v.line = yamlTable([]*ast.MappingValueNode{n}, v.line)
	case *ast.AnchorNode, *ast.AliasNode:
		v.data = unsupported("an anchor or alias (& or *): write the value out")
	case *ast.TagNode:
		v.data = unsupported("a tag (!): leave it away")
	default:
		v.data = unsupported("a " + n.Type().YAMLName())
	}
	return v
}

func yamlInteger(n any) any {
	switch n := n.(type) {
	case int64:
		return n
	case uint64:
		if n <= math.MaxInt64 {
			return int64(n)
		}
	}
	return unsupported("a number beyond 64 bits")
}

// yamlTable also returns the line of the first key: the library gives a
// mapping the line of a colon.
func yamlTable(nodes []*ast.MappingValueNode, line int) (table, int) {
	t := make(table, 0, len(nodes))
	for _, n := range nodes {
		at := yamlLine(n.Key, line)
		key, ok := n.Key.(*ast.StringNode)
		e := entry{line: at}
		switch {
		case ok:
			e.key, e.value = key.Value, yamlValue(n.Value, at)
		case n.Key.IsMergeKey():
			e.key, e.value = "<<", value{line: at, data: unsupported("a merge key: write the keys out")}
		default:
			e.key = n.Key.String()
			e.value = value{line: at, data: unsupported("below a key that is no string: quote it")}
		}
		t = append(t, e)
	}
	if len(t) > 0 {
		line = t[0].line
	}
	return t, line
}
