package clusterfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Encode returns the file's text in the format that the extension of path asks
// for. Parse gives the same File back, but for Path; a File that it would
// refuse is an [ErrInvalid].
func (f *File) Encode(path string) ([]byte, error) {
	format, err := formatOf(path)
	if err != nil {
		return nil, err
	}
	errs := []error{sayable(keyKvnode, f.Kvnode)}
	for _, n := range f.Nodes {
		errs = append(errs, sayable(n.Alias+"."+keyKvnode, n.Kvnode))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	text := f.yaml()
	if format == formatTOML {
		if text, err = f.toml(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if _, err := Parse(path, text); err != nil {
		return nil, err
	}
	return text, nil
}

// sayable reports a setting that does not come back from a file as it is.
func sayable(key string, v any) error {
	switch v := v.(type) {
	case bool, int64:
		return nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %s: %v is not finite", ErrInvalid, key, v)
		}
		return nil
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("%w: %s: %q is not UTF-8", ErrInvalid, key, v)
		}
		return nil
	case []any:
		var errs []error
		for _, item := range v {
			errs = append(errs, sayable(key, item))
		}
		return errors.Join(errs...)
	case map[string]any:
		var errs []error
		for _, k := range slices.Sorted(maps.Keys(v)) {
			errs = append(errs, sayable(key, k), sayable(qualify(key, k), v[k]))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w: %s: of type %T: bool, int64, float64, string, []any and map[string]any are possible", ErrInvalid, key, v)
}

func (f *File) toml() ([]byte, error) {
	type node struct {
		Alias         string         `toml:"alias"`
		HTTPAddress   string         `toml:"http_address"`
		RPCAddress    string         `toml:"rpc_address"`
		GossipAddress string         `toml:"gossip_address,omitempty"`
		Kvnode        map[string]any `toml:"kvnode,omitempty"`
	}
	document := struct {
		DataDir     string         `toml:"data_dir"`
		BinPath     string         `toml:"bin_path"`
		Leader      string         `toml:"leader,omitempty"`
		ClusterName string         `toml:"cluster_name,omitempty"`
		GossipKey   string         `toml:"gossip_key,omitempty"`
		Cluster     []node         `toml:"cluster"`
		Kvnode      map[string]any `toml:"kvnode,omitempty"`
	}{DataDir: f.DataDir, BinPath: f.BinPath, Leader: f.Leader, ClusterName: f.ClusterName, GossipKey: f.GossipKey, Kvnode: f.Kvnode}
	for _, n := range f.Nodes {
		document.Cluster = append(document.Cluster, node(n))
	}
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	err := e.Encode(document)
	return b.Bytes(), err
}

// yaml writes the file in the form of the package comment. It does so itself:
// the library's encoder leaves strings bare that its parser then takes for
// something else.
func (f *File) yaml() []byte {
	var w yamlWriter
	w.pair("", keyDataDir, f.DataDir)
	w.pair("", keyBinPath, f.BinPath)
	w.optional("", keyLeader, f.Leader)
	w.optional("", keyName, f.ClusterName)
	w.optional("", keyGossipKey, f.GossipKey)
	w.line(keyCluster + ":")
	for _, n := range f.Nodes {
		w.line("  - " + keyAlias + ": " + yamlString(n.Alias))
		w.pair("    ", keyHTTP, n.HTTPAddress)
		w.pair("    ", keyRPC, n.RPCAddress)
		w.optional("    ", keyGossip, n.GossipAddress)
		if len(n.Kvnode) > 0 {
			w.pair("    ", keyKvnode, n.Kvnode)
		}
	}
	if len(f.Kvnode) > 0 {
		w.pair("", keyKvnode, f.Kvnode)
	}
	return w.text.Bytes()
}

type yamlWriter struct{ text bytes.Buffer }

func (w *yamlWriter) line(s string) { w.text.WriteString(s + "\n") }

// optional writes a key and its value, unless that is empty.
func (w *yamlWriter) optional(indent, key, v string) {
	if v != "" {
		w.pair(indent, key, v)
	}
}

// pair writes a key and its value; a table goes below it, a list on its line.
func (w *yamlWriter) pair(indent, key string, v any) {
	below, ok := v.(map[string]any)
	if !ok || len(below) == 0 {
		w.line(indent + yamlString(key) + ": " + yamlFlow(v))
		return
	}
	w.line(indent + yamlString(key) + ":")
	for _, k := range slices.Sorted(maps.Keys(below)) {
		w.pair(indent+"  ", k, below[k])
	}
}

// yamlFlow is a value on one line.
func yamlFlow(v any) string {
	switch v := v.(type) {
	case string:
		return yamlString(v)
	case float64:
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = yamlFlow(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var pairs []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, yamlString(k)+": "+yamlFlow(v[k]))
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// yamlBare is what means itself without quotes, unless it is a yamlWord.
var yamlBare = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

// yamlWord is what some version of YAML takes for a boolean or nothing.
var yamlWord = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)

func yamlString(s string) string {
	if yamlBare.MatchString(s) && !yamlWord.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
