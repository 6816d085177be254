package clusterfile

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/internal/hostport"
)

// ErrInvalid is what every complaint about the content of a cluster file is,
// under [errors.Is]. A file that cannot be read is not one.
var ErrInvalid = errors.New("invalid cluster file")

// Error is one mistake in a cluster file, with the way to mend it. [Parse] joins
// all that it found, sorted by line.
type Error = conf.Mistake

// Bounds far above any cluster on one machine.
const (
	maxFileBytes = 32 << 10
	maxNodes     = 100
	maxAlias     = 100 // leaves room for it in the name of a file
	maxName      = 64  // of an id and of a cluster in gossip
)

// layout is the keys of a cluster file but for the settings of kvnode, whose own they
// are.
type layout struct {
	File
	Node `key:"cluster"`
}

// Parse reads and checks a cluster file that the caller holds in data; path is
// its name in errors, and its extension tells the format.
//
// The error joins an *[Error] for every mistake found, sorted by line; each is
// [ErrInvalid]. A syntax error is alone.
func Parse(path string, data []byte) (*File, error) {
	if err := checkExtension(path); err != nil {
		return nil, err
	}
	kind := conf.Kind{Name: "cluster file", Invalid: ErrInvalid, MaxBytes: maxFileBytes}
	root, mistakes, err := kind.Parse(path, data)
	if err != nil {
		return nil, err
	}
	r := &reader{Mistakes: mistakes, schema: conf.SchemaOf(layout{}), top: map[string]conf.Setting{},
		aliases: map[string]int{}, addresses: map[string]conf.Setting{}}
	for _, f := range r.schema.Fields() {
		r.schema.Check(f.Key(), checkFor(f.Name))
	}
	f := r.file(root)
	if err := r.Err(); err != nil {
		return nil, err
	}
	f.Path = path
	return f, nil
}

func checkExtension(path string) error {
	if conf.IsYAML(path) || strings.EqualFold(filepath.Ext(path), ".toml") {
		return nil
	}
	return fmt.Errorf("%w: %s: its name must end in .yaml, .yml or .toml", ErrInvalid, path)
}

// reader turns a document into a File and complains of what it cannot use.
type reader struct {
	*conf.Mistakes
	schema    *conf.Schema
	top       map[string]conf.Setting // what the file says beside its nodes
	places    []place                 // of the nodes
	aliases   map[string]int          // line
	addresses map[string]conf.Setting
}

// place is where a node stands in the file.
type place struct {
	alias  string
	node   int // line
	gossip int // line of its address; 0: it has none
}

func (r *reader) file(root conf.Table) *File {
	var l layout
	if err := r.schema.Defaults(&l); err != nil {
		r.Add(1, "", "%v", err)
	}
	f, listed, first := &l.File, false, 1
	settings := r.schema.Settings("", root, r.Mistakes, map[string]func(conf.Entry){
		"cluster": func(e conf.Entry) { listed = true; r.nodes(f, e) },
		"kvnode":  func(e conf.Entry) { f.Kvnode = r.kvnode(e, "kvnode") },
	})
	r.schema.Apply(&l, settings, r.Mistakes)
	for _, s := range settings {
		r.top[s.Key] = s
	}
	if len(root) > 0 {
		first = root[0].Line
	}
	if !listed {
		r.Add(first, "cluster", "cluster: missing: list the nodes there, each with alias, http_address and rpc_address")
	}
	if len(r.places) > 0 {
		r.discovery(f, first)
	}
	return f
}

func (r *reader) nodes(f *File, e conf.Entry) {
	list, ok := e.Data.([]conf.Value)
	switch {
	case !ok:
		r.Add(e.Line, "cluster", "cluster = %s: want a list of nodes", conf.Show(e.Data))
	case len(list) == 0:
		r.Add(e.Line, "cluster", "cluster has no nodes: list at least one, with alias, http_address and rpc_address")
	case len(list) > maxNodes:
		r.Add(e.Line, "cluster", "cluster has %d nodes; at most %d are possible", len(list), maxNodes)
	default:
		for _, v := range list {
			f.Nodes = append(f.Nodes, r.node(v))
		}
	}
}

func (r *reader) node(v conf.Value) Node {
	var l layout
	table, ok := v.Data.(conf.Table)
	if !ok {
		r.Add(v.Line, "cluster", "cluster: a node is %s: want keys with values: alias, http_address and rpc_address", conf.Show(v.Data))
		return Node{}
	}
	at := place{node: v.Line}
	missing := []string{"cluster.alias", "cluster.http_address", "cluster.rpc_address"}
	settings := r.schema.Settings("cluster", table, r.Mistakes, map[string]func(conf.Entry){
		"kvnode": func(e conf.Entry) { l.Node.Kvnode = r.kvnode(e, "cluster.kvnode") },
	})
	r.schema.Apply(&l, settings, r.Mistakes)
	for _, s := range settings {
		missing = slices.DeleteFunc(missing, func(key string) bool { return key == s.Key })
		text, _ := s.Data.(string)
		switch {
		case s.Key == "cluster.alias":
			at.alias = text
			r.takeAlias(text, s)
			continue
		case s.Key == "cluster.gossip_address":
			at.gossip = s.At.Line
		}
		r.takeAddress(text, s)
	}
	for _, key := range missing {
		r.Add(v.Line, key, "%s: missing", key)
	}
	r.places = append(r.places, at)
	return l.Node
}

// takeAlias sees that no two nodes have one folder, also where case does not count.
func (r *reader) takeAlias(alias string, s conf.Setting) {
	folded := strings.ToLower(alias)
	if first, twice := r.aliases[folded]; twice && alias != "" {
		r.AddAt(s.At, s.Key, "%s: %q is taken by the node on line %d: give each its own", s.Key, conf.Abridge(alias), first)
		return
	}
	r.aliases[folded] = s.At.Line
}

// takeAddress sees that no two nodes, or parts of one, have one address.
func (r *reader) takeAddress(address string, s conf.Setting) {
	if hostport.CheckDial(address) != nil {
		return
	}
	host, port, _ := net.SplitHostPort(strings.ToLower(address))
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	} else if host == "localhost" {
		host = "127.0.0.1"
	}
	canonical := net.JoinHostPort(host, port)
	if first, twice := r.addresses[canonical]; twice {
		r.AddAt(s.At, s.Key, "%s: %q is taken by %s on line %d: give each its own port", s.Key, conf.Abridge(address), first.Key, first.At.Line)
		return
	}
	r.addresses[canonical] = s
}

// checkFor returns the check of a text under a key.
func checkFor(key string) func(string) error {
	var check func(string) error
	switch key {
	case "alias":
		check = checkAlias
	case "cluster_name":
		check = checkClusterName
	case "http_address", "rpc_address", "gossip_address", "resp_address":
		check = hostport.CheckDial
	}
	return func(s string) error {
		switch {
		case s == "":
			return errors.New("want text that is not empty")
		case strings.ContainsRune(s, 0):
			return errors.New("want text without a zero byte")
		case check == nil:
			return nil
		}
		return check(s)
	}
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// checkAlias admits what can be the name of a node's folder and cannot be mistaken for a
// flag.
func checkAlias(s string) error {
	switch {
	case strings.Trim(s, nameLetters) != "" || s == "." || s == ".." || s[0] == '-':
		return errors.New("want the name of a folder, of letters, digits, '.', '_' and '-', that does not begin with '-'")
	case strings.EqualFold(s, "leader"):
		return errors.New("it stands for the node that leads: want another name")
	case len(s) > maxAlias:
		return fmt.Errorf("want at most %d letters", maxAlias)
	}
	return nil
}

// checkClusterName admits names with which gossip can keep clusters apart.
func checkClusterName(s string) error {
	if strings.Trim(s, nameLetters) != "" || s[0] == '-' || len(s) > maxName {
		return fmt.Errorf("want at most %d letters, digits, '.', '_' and '-', that do not begin with '-'", maxName)
	}
	return nil
}

// discovery sees that the file says in one way how the nodes find each other: by a
// leader, or by gossip.
func (r *reader) discovery(f *File, first int) {
	leader, static := r.top["leader"]
	gossips := func(p place) bool { return p.gossip > 0 }
	useless := func(line int, key string) {
		r.Add(line, key, "%s has no use beside leader (line %d), which founds the cluster: leave one of the two away", key, leader.At.Line)
	}
	var aliases []string
	for _, p := range r.places {
		aliases = append(aliases, p.alias)
		switch {
		case static && gossips(p):
			useless(p.gossip, "cluster.gossip_address")
		case !static && !gossips(p) && slices.ContainsFunc(r.places, gossips):
			r.Add(p.node, "cluster.gossip_address", "cluster.gossip_address: missing: without leader every node needs one")
		}
		if !static && len(p.alias) > maxName {
			r.Add(p.node, "cluster.alias", "cluster.alias: longer than %d letters, which gossip cannot carry", maxName)
		}
	}
	for _, key := range []string{"cluster_name", "gossip_key"} {
		if s, ok := r.top[key]; ok && static {
			useless(s.At.Line, key)
		}
	}
	_, named := r.top["cluster_name"]
	switch {
	case static:
		if f.Leader != "" && !slices.Contains(aliases, f.Leader) {
			r.AddAt(leader.At, "leader", "leader: no node is called %q; %s", conf.Abridge(f.Leader), conf.Hint(f.Leader, aliases))
		}
	case !slices.ContainsFunc(r.places, gossips):
		r.Add(first, "leader", "leader: missing, and the nodes have no gossip_address either: add leader: %s, or give every node a gossip_address and the file a cluster_name",
			cmp.Or(aliases[0], "node1"))
	case !named:
		r.Add(first, "cluster_name", "cluster_name: missing: name the cluster, so that it never mixes with another one that gossips on this network")
	}
}

// managed returns what a setting of kvnode follows from elsewhere in the file.
func managed(key string) (from string, is bool) {
	follows := map[string]string{
		"id": "alias", "haddr": "http_address", "raddr": "rpc_address", "data": "data_dir", "join": "leader",
		"gossip": "gossip_address", "resp": "resp_address", "gossip-join": "gossip_address", "gossip-key": "gossip_key",
		"bootstrap-expect": "cluster", "cluster": "cluster_name", "log-file": "data_dir",
	}
	from, is = follows[strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-")]
	return from, is
}

// kvnode returns a table of kvnode's settings, nil if it is empty.
func (r *reader) kvnode(e conf.Entry, key string) map[string]any {
	table, ok := r.WantTable(e, key)
	if !ok || len(table) == 0 {
		return nil
	}
	for _, setting := range table {
		if from, is := managed(setting.Key); is {
			name := conf.Qualify(key, setting.Key)
			r.Add(setting.Line, name, "%s follows from %s: leave it away here", name, from)
		}
	}
	settings, _ := e.Plain(key, r.Mistakes).(map[string]any)
	return settings
}
