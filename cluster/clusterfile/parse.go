package clusterfile

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds far above any cluster on one machine. The first keeps a file that was
// named by mistake from being taken apart.
const (
	maxFileBytes = 32 << 10
	maxNodes     = 100
)

// What a file that does not say otherwise means.
const (
	defaultDataDir = "var"
	defaultBinPath = "bin"
)

// Parse reads and checks a cluster file that the caller holds in data; path is
// its name in errors, and its extension tells the format.
//
// The error joins an *[Error] for every mistake found, sorted by line; each is
// [ErrInvalid]. A syntax error is alone.
func Parse(path string, data []byte) (*File, error) {
	format, err := formatOf(path)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(data) > maxFileBytes {
		return nil, &Error{File: path, Line: 1, Msg: fmt.Sprintf("longer than %d KiB: this is no cluster file", maxFileBytes>>10)}
	}
	if line, ok := invalidUTF8(data); ok {
		return nil, &Error{File: path, Line: line, Msg: "not UTF-8: save the file in that encoding"}
	}
	parse := parseYAML
	if format == formatTOML {
		parse = parseTOML
	}
	root, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	r := &reader{complaints: complaints{file: path}}
	f := r.file(root)
	if err := r.join(); err != nil {
		return nil, err
	}
	f.Path = path
	return f, nil
}

type format string

const (
	formatYAML format = "YAML"
	formatTOML format = "TOML"
)

func formatOf(path string) (format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return formatYAML, nil
	case ".toml":
		return formatTOML, nil
	}
	return "", fmt.Errorf("%w: %s: its name must end in .yaml, .yml or .toml", ErrInvalid, path)
}

func invalidUTF8(data []byte) (line int, found bool) {
	for line, text := range slices.Collect(bytes.Lines(data)) {
		if !utf8.Valid(text) {
			return line + 1, true
		}
	}
	return 0, false
}

// reader turns a document into a File and complains of what it cannot use.
type reader struct {
	complaints
}

// Keys of a cluster file. Those below kvnode belong to kvnode.
const (
	keyDataDir   = "data_dir"
	keyBinPath   = "bin_path"
	keyLeader    = "leader"
	keyName      = "cluster_name"
	keyGossipKey = "gossip_key"
	keyCluster   = "cluster"
	keyKvnode    = "kvnode"
	keyAlias     = "alias"
	keyHTTP      = "http_address"
	keyRPC       = "rpc_address"
	keyGossip    = "gossip_address"
)

func (r *reader) file(root value) *File {
	fields := r.fields(root, "", keyDataDir, keyBinPath, keyLeader, keyName, keyGossipKey, keyCluster, keyKvnode)
	f := &File{DataDir: defaultDataDir, BinPath: defaultBinPath}
	if fields == nil {
		return f
	}
	if e, ok := fields[keyDataDir]; ok {
		f.DataDir, _ = r.text(e, keyDataDir)
	}
	if e, ok := fields[keyBinPath]; ok {
		f.BinPath, _ = r.text(e, keyBinPath)
	}
	if e, ok := fields[keyKvnode]; ok {
		f.Kvnode = r.settings(e.value, keyKvnode)
	}
	e, ok := fields[keyCluster]
	if !ok {
		r.add(root.line, keyCluster, "missing: list the nodes there, each with %s, %s and %s", keyAlias, keyHTTP, keyRPC)
		return f
	}
	seen := r.nodes(f, e)
	r.discovery(f, root, fields, seen)
	return f
}

// nodes fills in f.Nodes and returns what they claim, nil if there is no list of
// them.
func (r *reader) nodes(f *File, e entry) *taken {
	list, ok := e.value.data.([]value)
	switch {
	case !ok:
		r.add(e.line, keyCluster, "must be a list of nodes, not %s", e.value.kind())
		return nil
	case len(list) == 0:
		r.add(e.line, keyCluster, "has no nodes: list at least one, with %s, %s and %s", keyAlias, keyHTTP, keyRPC)
		return nil
	case len(list) > maxNodes:
		r.add(e.line, keyCluster, "has %d nodes; at most %d are possible", len(list), maxNodes)
		return nil
	}
	seen := &taken{aliases: map[string]int{}, addresses: map[string]use{}}
	for _, v := range list {
		f.Nodes = append(f.Nodes, r.node(v, seen))
	}
	return seen
}

func (r *reader) node(v value, seen *taken) Node {
	var n Node
	if _, ok := v.data.(table); !ok {
		r.add(v.line, keyCluster, "a node must be a table with %s, %s and %s, not %s", keyAlias, keyHTTP, keyRPC, v.kind())
		return n
	}
	fields := r.fields(v, keyCluster, keyAlias, keyHTTP, keyRPC, keyGossip, keyKvnode)
	required := func(key string, use func(entry, string) string) string {
		qualified := keyCluster + "." + key
		e, ok := fields[key]
		if !ok {
			r.add(v.line, qualified, "missing")
			return ""
		}
		return use(e, qualified)
	}
	n.Alias = required(keyAlias, func(e entry, key string) string { return r.alias(e, key, seen) })
	n.HTTPAddress = required(keyHTTP, func(e entry, key string) string { return r.address(e, key, seen) })
	n.RPCAddress = required(keyRPC, func(e entry, key string) string { return r.address(e, key, seen) })
	at := place{alias: n.Alias, node: v.line}
	if e, ok := fields[keyGossip]; ok {
		at.gossip = e.line
		n.GossipAddress = r.address(e, qualify(keyCluster, keyGossip), seen)
	}
	seen.places = append(seen.places, at)
	if e, ok := fields[keyKvnode]; ok {
		n.Kvnode = r.settings(e.value, keyCluster+"."+keyKvnode)
	}
	return n
}

// fields returns the entries of a table by their keys, and complains of keys
// that are not known or given twice. The result is nil for what is no table.
func (r *reader) fields(v value, prefix string, known ...string) map[string]entry {
	t, ok := v.data.(table)
	if !ok {
		r.add(v.line, prefix, "must be a table of %s, not %s", strings.Join(known, ", "), v.kind())
		return nil
	}
	fields := make(map[string]entry, len(t))
	for _, e := range t {
		key := qualify(prefix, e.key)
		if !slices.Contains(known, e.key) {
			r.add(e.line, key, "unknown key; %s", hint(e.key, known))
			continue
		}
		if first, twice := fields[e.key]; twice {
			r.add(e.line, key, "given twice, first on line %d", first.line)
			continue
		}
		fields[e.key] = e
	}
	return fields
}

func qualify(prefix, key string) string {
	if key = abridge(key); prefix == "" {
		return key
	}
	return prefix + "." + key
}

// text returns a string that is not empty.
func (r *reader) text(e entry, key string) (string, bool) {
	s, ok := e.value.data.(string)
	switch {
	case !ok:
		r.add(e.line, key, "must be a string, not %s%s", e.value.kind(), quoting(e.value))
		return "", false
	case s == "":
		r.add(e.line, key, "must not be empty")
		return "", false
	case strings.ContainsRune(s, 0):
		r.add(e.line, key, "must not contain a zero byte")
		return "", false
	}
	return s, true
}

// quoting is the mend where a bare word was meant as a string.
func quoting(v value) string {
	switch d := v.data.(type) {
	case bool, int64:
		return fmt.Sprintf(`: write "%v" in quotes`, d)
	case float64:
		return ": write it in quotes"
	}
	return ""
}
