package conf

import (
	"errors"
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML takes a document apart. Anchors, aliases, merge keys and tags are
// foreign to it: settings need none, and without them the result is no larger than
// the text.
func parseYAML(source []byte) (Table, *syntaxError) {
	tokens := lexer.Tokenize(string(source))
	if err := yamlTooDeep(tokens); err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, yamlError(err)
	}
	var root ast.Node
	for _, doc := range parsed.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			return nil, errorAt(yamlLine(doc.Body, 1), "a second YAML document begins: the file holds one")
		default:
			root = doc.Body
		}
	}
	if root == nil {
		return nil, nil
	}
	v := yamlValue(root, 1)
	if table, ok := v.Data.(Table); ok {
		return table, nil
	}
	return nil, errorAt(v.Line, "want keys with values, not %s", Show(v.Data))
}

func yamlError(err error) *syntaxError {
	var known yaml.Error
	if !errors.As(err, &known) {
		return errorAt(1, "not YAML: %v", err)
	}
	line := 1
	if t := known.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return errorAt(line, "not YAML: %s", known.GetMessage())
}

// yamlTooDeep finds nesting on one line. Nesting by indentation needs a line per
// level, and is bounded by the size of the file.
func yamlTooDeep(tokens token.Tokens) *syntaxError {
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
			return tooDeep(current)
		}
	}
	return nil
}

// yamlLine returns the line of a node, or of its parent where it has none.
func yamlLine(n ast.Node, parent int) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return parent
}

func yamlValue(n ast.Node, parentLine int) Value {
	if n == nil {
		return Value{parentLine, Foreign{What: "nothing"}}
	}
	v := Value{Line: yamlLine(n, parentLine)}
	switch n := n.(type) {
	case *ast.StringNode:
		v.Data = n.Value
	case *ast.LiteralNode:
		v.Data = n.Value.Value
	case *ast.BoolNode:
		v.Data = n.Value
	case *ast.IntegerNode:
		v.Data = yamlInteger(n.Value)
	case *ast.FloatNode:
		v.Data = n.Value
	case *ast.InfinityNode:
		v.Data = n.Value
	case *ast.NanNode:
		v.Data = math.NaN()
	case *ast.NullNode:
		v.Data = Foreign{What: "nothing"}
	case *ast.SequenceNode:
		list := make([]Value, len(n.Values))
		for i, item := range n.Values {
			list[i] = yamlValue(item, v.Line)
		}
		v.Data = list
	case *ast.MappingNode:
		v.Data, v.Line = yamlTable(n.Values, v.Line)
	case *ast.MappingValueNode:
		v.Data, v.Line = yamlTable([]*ast.MappingValueNode{n}, v.Line)
	case *ast.AnchorNode, *ast.AliasNode:
		v.Data = Foreign{"an anchor or alias (& or *)", "write the value out"}
	case *ast.TagNode:
		v.Data = Foreign{"a tag (!)", "leave it away"}
	default:
		v.Data = Foreign{What: "a " + n.Type().YAMLName()}
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
	return Foreign{What: "a number beyond 64 bits"}
}

// yamlTable also returns the line of the first key: the library gives a mapping the
// line of a colon.
func yamlTable(nodes []*ast.MappingValueNode, line int) (Table, int) {
	t := make(Table, 0, len(nodes))
	for _, n := range nodes {
		at := yamlLine(n.Key, line)
		e := Entry{Key: n.Key.String(), Value: Value{Line: at}}
		switch key, ok := n.Key.(*ast.StringNode); {
		case ok:
			e.Key, e.Data = key.Value, yamlValue(n.Value, at).Data
		case n.Key.IsMergeKey():
			e.Key, e.Data = "<<", Foreign{"a merge key", "write the keys out"}
		default:
			e.Data = Foreign{"a value below a key that is no string", "quote the key"}
		}
		t = append(t, e)
	}
	if len(t) > 0 {
		line = t[0].Line
	}
	return t, line
}
