package experiment

import (
	"fmt"
	"slices"
	"strings"
)

// read takes the keys of a file into the draft.
func (d *draft) read(nodes []*node) {
	for _, n := range nodes {
		switch {
		case slices.Contains(tables(), n.key):
			d.readTable(n)
		case n.key == "options":
			d.readOptions(n)
		case n.key == "matrix":
			d.readMatrix(n)
		case slices.Contains(d.schema.keysOf(""), n.key):
			d.put(entry{key: n.key, value: n.content(), at: d.at(n)})
		default:
			d.unknownAtTop(n)
		}
	}
}

// content returns the value, or for a table its keys.
func (n *node) content() any {
	if n.isTable() {
		return n.table
	}
	return n.value
}

func (d *draft) unknownAtTop(n *node) {
	known := append(tables(), "options", "matrix")
	if n.isTable() {
		d.add(d.at(n), n.key, "unknown table [%s]; %s", n.key, hint(n.key, known))
		return
	}
	if n.key == "question" {
		d.add(d.at(n), n.key, "unknown key %q: the question is the comment at the very top of the file", n.key)
		return
	}
	d.add(d.at(n), n.key, "unknown key %q at the top level; %s", n.key, d.misplaced(n.key, d.schema.keysOf("")))
}

// misplaced ends a message about a key that its table does not have.
func (d *draft) misplaced(bare string, known []string) string {
	if slices.Contains(d.schema.keysOf(""), bare) {
		return "it belongs at the top of the file, above the first table"
	}
	for _, table := range tables() {
		if slices.Contains(d.schema.keysOf(table), bare) {
			return fmt.Sprintf("it belongs in [%s]", table)
		}
	}
	return hint(bare, known)
}

// wantTable complains of what should be a table, and tells whether it is one.
func (d *draft) wantTable(n *node, name string) bool {
	if n.isTable() {
		return true
	}
	if _, isList := n.value.([]map[string]any); isList {
		d.add(d.at(n), name, "%s is a list of tables: write [%s] once, in single brackets", name, name)
	} else {
		d.add(d.at(n), name, "%s = %s: want a table: write [%s] on a line of its own", name, show(n.value), name)
	}
	return false
}

func (d *draft) readTable(table *node) {
	if !d.wantTable(table, table.key) {
		return
	}
	known := d.schema.keysOf(table.key)
	for _, n := range table.table {
		if !slices.Contains(known, n.key) {
			d.add(d.at(n), table.key+"."+n.key, "unknown key %q in [%s]; %s", n.key, table.key, d.misplaced(n.key, known))
			continue
		}
		d.put(entry{key: table.key + "." + n.key, value: n.content(), at: d.at(n)})
	}
}

func (d *draft) readOptions(options *node) {
	if !d.wantTable(options, "options") {
		return
	}
	plugins := d.known.plugins()
	for _, plugin := range options.table {
		name := "options." + plugin.key
		if !slices.Contains(plugins, plugin.key) {
			d.add(d.at(plugin), name, "[%s]: there is no backend or transport %q; %s", name, plugin.key, hint(plugin.key, plugins))
			continue
		}
		if !d.wantTable(plugin, name) {
			continue
		}
		known := d.known.Options[plugin.key]
		for _, n := range plugin.table {
			if !slices.Contains(known, n.key) {
				d.add(d.at(n), name+"."+n.key, "unknown key %q in [%s]; %s", n.key, name, hint(n.key, known))
				continue
			}
			d.put(entry{key: optionKey(plugin.key, n.key), value: n.content(), at: d.at(n)})
		}
	}
}

func (d *draft) readMatrix(matrix *node) {
	d.matrixLine = matrix.line
	if !d.wantTable(matrix, "matrix") {
		return
	}
	d.readFactors(matrix, "")
}

// readFactors takes in the factors below table: raft.commit_timeout = […] makes
// a table "raft" of its own.
func (d *draft) readFactors(table *node, prefix string) {
	if len(table.table) == 0 {
		d.add(d.at(table), "matrix", `[matrix%s] is empty: add a factor such as backend = ["inmem", "bolt"], or remove the table for a single cell`,
			strings.TrimSuffix("."+prefix, "."))
	}
	for _, n := range table.table {
		name := prefix + n.key
		if n.isTable() {
			d.readFactors(n, name+".")
			continue
		}
		key, ok := d.factorKey(name, d.at(n))
		if !ok {
			continue
		}
		levels, isList := n.value.([]any)
		if !isList {
			d.add(d.at(n), key, "matrix.%s = %s: want a list of values, such as %s = [%s]", name, show(n.value), name, show(n.value))
			continue
		}
		if len(levels) == 0 {
			d.add(d.at(n), key, "matrix.%s is empty: list at least one value, or remove the line", name)
			continue
		}
		if i := slices.IndexFunc(d.factors, func(f rawFactor) bool { return f.key == key }); i >= 0 {
			d.add(d.at(n), key, "matrix.%s is the same key as %s on line %d: remove one", name, d.factors[i].name, d.factors[i].at.line)
			continue
		}
		d.factors = append(d.factors, rawFactor{name: name, key: key, levels: levels, at: d.at(n)})
	}
}

// factorKey resolves the name of a factor, or complains.
func (d *draft) factorKey(name string, at origin) (string, bool) {
	key, ok := d.resolve(name)
	if !ok {
		d.add(at, "matrix."+name, "unknown key %q in [matrix]; %s", name, d.factorHint(name))
		return "", false
	}
	if table, _ := splitKey(key); table == "" {
		d.add(at, "matrix."+name, "%q is the same for all cells and cannot be a factor; factors are the keys of [cluster], [raft], [load] and [formation], and options", name)
		return "", false
	}
	return key, true
}

func (d *draft) factorHint(name string) string {
	for _, key := range d.known.optionKeys() {
		if strings.HasSuffix(key, "."+name) {
			return fmt.Sprintf("write %s", key)
		}
	}
	return hint(name, d.factorNames(), d.schema.keys()...)
}

// factorNames returns what a factor may be called in short, and the options.
func (d *draft) factorNames() []string {
	var names []string
	for _, table := range tables() {
		names = append(names, d.schema.keysOf(table)...)
	}
	return append(names, d.known.optionKeys()...)
}
