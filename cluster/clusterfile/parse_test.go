package clusterfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// thesis is the cluster file of listing 1, unchanged.
const thesis = `data_dir: var
bin_path: bin
cluster:
  - alias: node1
    http_address: "127.0.0.1:8080"
    rpc_address: "127.0.0.1:9000"
  - alias: node2
    http_address: "127.0.0.1:8081"
    rpc_address: "127.0.0.1:9001"
  - alias: node3
    http_address: "127.0.0.1:8082"
    rpc_address: "127.0.0.1:9002"
leader: node1
`

const inTOML = `
data_dir = "var"
bin_path = 'bin'
leader = "node1"

[[cluster]]
alias = "node1"
http_address = "127.0.0.1:8080"
rpc_address = "127.0.0.1:9000"
[cluster.kvnode]
log-level = "debug"
raft.heartbeat_timeout = "1s"

[[cluster]] # the second
alias = "node2"
http_address = "127.0.0.1:8081"
rpc_address = "127.0.0.1:9001"

[kvnode]
backend = "bolt"
[kvnode.raft]
heartbeat_timeout = "500ms"
max_in_flight = 2
`

const gossipTOML = `
cluster_name = "lab.1"
gossip_key = "keys"
cluster = [
	{alias = "a", http_address = "h:1", rpc_address = "h:2", gossip_address = "h:3"},
	{alias = "b", http_address = "h:4", rpc_address = "h:5", gossip_address = "h:6"},
]
`

const (
	minimalYAML = "cluster: [{alias: a, http_address: 'h:1', rpc_address: 'h:2'}]\nleader: a\n"
	minimalTOML = "cluster = [{alias = 'a', http_address = 'h:1', rpc_address = 'h:2'}]\nleader = 'a'\n"
)

// awkward strings look like something else to a careless encoder.
var awkward = []string{
	"", " ", "~", "null", "true", "no", "1", "1.0", "0x1f", "0o7", "1e3", "1_000", ".inf", ".nan", "-", "- a", "? a", "a: b", "a #b",
	"# a", "&a", "*a", "!a", "%a", "@a", "`a", "'a'", `"a"`, "a'b", `a"b`, `a\b`, "[a", "{a", "a]", "a,b", "|", ">", "<<", "=", "---", "...",
	"a\nb", "a\n", "\na", "a\n\n b\n", "a\r\nb", "\r", "\t", "a\tb", " a", "a ", "a:", ":a", "é", "\u00a0", "\u2028", "\ufeff", "😀",
	"\x01", "\x7f", "\u0085", "2006-01-02", "12:30:00", "127.0.0.1:80", "::1", "\"\"\"", "'''", strings.Repeat("long ", 50),
}

func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		fmt.Fprintf(&b, `\U%08X`, r)
	}
	b.WriteByte('"')
	return b.String()
}

func TestThesis(t *testing.T) {
	got, err := Parse("config/config.yml", []byte(thesis))
	if err != nil {
		t.Fatal(err)
	}
	want := &File{Path: "config/config.yml", DataDir: "var", BinPath: "bin", Leader: "node1", Nodes: []Node{
		{Alias: "node1", HTTPAddress: "127.0.0.1:8080", RPCAddress: "127.0.0.1:9000"},
		{Alias: "node2", HTTPAddress: "127.0.0.1:8081", RPCAddress: "127.0.0.1:9001"},
		{Alias: "node3", HTTPAddress: "127.0.0.1:8082", RPCAddress: "127.0.0.1:9002"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n, ok := got.Node("node2"); !ok || n.HTTPAddress != "127.0.0.1:8081" {
		t.Errorf("%+v, %v", n, ok)
	}
	if n, ok := got.Node("node4"); ok {
		t.Errorf("%+v", n)
	}
}

func TestTOML(t *testing.T) {
	got, err := Parse("c.toml", []byte(inTOML))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"backend": "bolt", "log-level": "debug",
		"raft": map[string]any{"heartbeat_timeout": "1s", "max_in_flight": int64(2)},
	}
	if diff := cmp.Diff(want, got.Settings(got.Nodes[0])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(got.Kvnode, got.Settings(got.Nodes[1])); diff != "" {
		t.Error(diff)
	}
	got.Settings(got.Nodes[1])["raft"].(map[string]any)["heartbeat_timeout"] = "changed"
	if got.Kvnode["raft"].(map[string]any)["heartbeat_timeout"] != "500ms" {
		t.Error("a change of the settings of a node shows in the file")
	}
}

func TestGossip(t *testing.T) {
	yaml := "cluster_name: lab.1\ngossip_key: keys\ncluster:\n" + gossiping("a", 1) + gossiping("b", 4)
	want := &File{DataDir: "var", BinPath: "bin", ClusterName: "lab.1", GossipKey: "keys", Nodes: []Node{
		{Alias: "a", HTTPAddress: "h:1", RPCAddress: "h:2", GossipAddress: "h:3"},
		{Alias: "b", HTTPAddress: "h:4", RPCAddress: "h:5", GossipAddress: "h:6"},
	}}
	for path, text := range map[string]string{"c.yaml": yaml, "c.toml": gossipTOML} {
		got, err := Parse(path, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want.Path = path
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if !got.Gossips() {
			t.Errorf("%s: it is not seen that it gossips", path)
		}
	}
	if f, err := Parse("c.yaml", []byte(thesis)); err != nil || f.Gossips() {
		t.Errorf("the file of the thesis gossips; %v", err)
	}
}

func TestDefaults(t *testing.T) {
	for path, text := range map[string]string{"c.yaml": minimalYAML, "c.YML": "\ufeff" + minimalYAML, "c.toml": minimalTOML} {
		f, err := Parse(path, []byte(text))
		if err != nil {
			t.Error(err)
		} else if f.DataDir != "var" || f.BinPath != "bin" || f.Leader != "a" || f.Kvnode != nil || len(f.Nodes) != 1 {
			t.Errorf("%+v", f)
		}
	}
}

// node is one flow-style node of a YAML file.
func node(alias, http, rpc string) string {
	return fmt.Sprintf("  - {alias: %s, http_address: %s, rpc_address: %s}\n", alias, http, rpc)
}

// gossiping is a node with a gossip address: three ports from first on.
func gossiping(alias string, first int) string {
	return fmt.Sprintf("  - {alias: %s, http_address: h:%d, rpc_address: h:%d, gossip_address: h:%d}\n", alias, first, first+1, first+2)
}

func TestMistakes(t *testing.T) {
	const nodeA = "  - {alias: a, http_address: 'h:1', rpc_address: 'h:2'}\n"
	for name, c := range map[string]struct {
		path, text string
		want       []string // whole lines
	}{
		"unknown keys": {"c.yaml", "data-dir: x\ncluster:\n  - alias: a\n    http_address: h:1\n    rpc_adress: h:2\nnothing: 1\nleader: a\n", []string{
			`c.yaml:1: unknown key "data-dir" at the top level; did you mean "data_dir"?`,
			`c.yaml:3: cluster.rpc_address: missing`,
			`c.yaml:5: unknown key "rpc_adress" in [cluster]; did you mean "rpc_address"?`,
			`c.yaml:6: unknown key "nothing" at the top level; known are data_dir, bin_path, leader, cluster_name, gossip_key, cluster, kvnode`,
		}},
		"keys with a slip in the spelling": {"c.yml", "cluster_name: a\ncluster:\n- {alias: a, http-address: 'h:1', rpc_address: 'h:2', gossip_address: 'h:3'}\n- b\n", []string{
			`c.yml:3: unknown key "http-address" in [cluster]; did you mean "http_address"?`,
			`c.yml:3: cluster.http_address: missing`,
			`c.yml:4: cluster: a node is "b": want keys with values: alias, http_address and rpc_address`,
		}},
		"unknown table": {"c.toml", inTOML + "[x]\ny = 1\n", []string{
			`c.toml:24: unknown table [x]; known are cluster, kvnode`,
		}},
		"second table of TOML": {"c.toml", inTOML + "[[cluster]]\nalias = 'node3'\nhttp_address = '''\n127.0.0.1:8081'''\nrpc = 1\n[cluster.kvnode]\n\n[cluster.kvnode.raft]\nx = 1979-05-27\n", []string{
			`c.toml:24: cluster.rpc_address: missing`,
			`c.toml:26: cluster.http_address: "127.0.0.1:8081" is taken by cluster.http_address on line 16: give each its own port`,
			`c.toml:28: unknown key "rpc" in [cluster]; known are alias, http_address, rpc_address, gossip_address, resp_address, kvnode`,
			`c.toml:32: cluster.kvnode.raft.x = a date or time: quote it`,
		}},
		"wrong types": {"c.yaml", "data_dir: [a]\nbin_path:\nleader: 1\nkvnode: x\ncluster:\n  - 1\n" + node("1", "h:1", "{}") + node("b", "''", "&x h"), []string{
			`c.yaml:1: data_dir = […]: want text in quotes`,
			`c.yaml:2: bin_path = nothing: want text in quotes`,
			`c.yaml:3: leader = 1: want text in quotes`,
			`c.yaml:4: kvnode = "x": want keys with values below it`,
			`c.yaml:6: cluster: a node is 1: want keys with values: alias, http_address and rpc_address`,
			`c.yaml:7: cluster.alias = 1: want text in quotes`,
			`c.yaml:7: cluster.rpc_address = a table: want text in quotes`,
			`c.yaml:8: cluster.http_address = "": want text that is not empty`,
			`c.yaml:8: cluster.rpc_address = an anchor or alias (& or *): write the value out`,
		}},
		"aliases": {"c.yaml", "cluster:\n" + nodeA + node("A", "h:3", "h:4") + node("..", "h:5", "h:6") + node("a/b", "h:7", "h:8") + node("-a", "h:9", "h:10") + node("é", "h:11", "h:12") + node("Leader", "h:13", "h:14") + "leader: a", []string{
			`c.yaml:3: cluster.alias: "A" is taken by the node on line 2: give each its own`,
			`c.yaml:4: cluster.alias = "..": want the name of a folder, of letters, digits, '.', '_' and '-', that does not begin with '-'`,
			`c.yaml:5: cluster.alias = "a/b": want the name of a folder, of letters, digits, '.', '_' and '-', that does not begin with '-'`,
			`c.yaml:6: cluster.alias = "-a": want the name of a folder, of letters, digits, '.', '_' and '-', that does not begin with '-'`,
			`c.yaml:7: cluster.alias = "é": want the name of a folder, of letters, digits, '.', '_' and '-', that does not begin with '-'`,
			`c.yaml:8: cluster.alias = "Leader": it stands for the node that leads: want another name`,
		}},
		"addresses": {"c.yaml", "cluster:\n" + node("a", "localhost:1", "127.0.0.1:1") + node("b", "http://h:2", "h:0") + node("c", "h:65536", "h:+1") +
			node("d", "':3'", "'[::]:4'") + node("e", "0.0.0.0:5", "h") + node("f", "H:6", "h:6") + "leader: a", []string{
			`c.yaml:2: cluster.rpc_address: "127.0.0.1:1" is taken by cluster.http_address on line 2: give each its own port`,
			`c.yaml:3: cluster.http_address = "http://h:2": want host:port, such as 127.0.0.1:8080`,
			`c.yaml:3: cluster.rpc_address = "h:0": want a port from 1 to 65535 behind the host`,
			`c.yaml:4: cluster.http_address = "h:65536": want a port from 1 to 65535 behind the host`,
			`c.yaml:4: cluster.rpc_address = "h:+1": want a port from 1 to 65535 behind the host`,
			`c.yaml:5: cluster.http_address = ":3": others cannot dial it: name the host, as in 127.0.0.1:3`,
			`c.yaml:5: cluster.rpc_address = "[::]:4": others cannot dial it: name the host, as in 127.0.0.1:4`,
			`c.yaml:6: cluster.http_address = "0.0.0.0:5": others cannot dial it: name the host, as in 127.0.0.1:5`,
			`c.yaml:6: cluster.rpc_address = "h": want host:port, such as 127.0.0.1:8080`,
			`c.yaml:7: cluster.rpc_address: "h:6" is taken by cluster.http_address on line 7: give each its own port`,
		}},
		"neither leader nor gossip": {"c.yaml", "data_dir: x\ncluster:\n" + nodeA, []string{
			`c.yaml:1: leader: missing, and the nodes have no gossip_address either: add leader: a, or give every node a gossip_address and the file a cluster_name`,
		}},
		"both leader and gossip": {"c.yaml", "cluster_name: x\ngossip_key: k\ncluster:\n" + nodeA + gossiping("b", 3) + "leader: a\n", []string{
			`c.yaml:1: cluster_name has no use beside leader (line 6), which founds the cluster: leave one of the two away`,
			`c.yaml:2: gossip_key has no use beside leader (line 6), which founds the cluster: leave one of the two away`,
			`c.yaml:5: cluster.gossip_address has no use beside leader (line 6), which founds the cluster: leave one of the two away`,
		}},
		"half of gossip": {"c.yaml", "data_dir: x\ncluster:\n" + gossiping(strings.Repeat("a", 65), 3) + nodeA, []string{
			`c.yaml:1: cluster_name: missing: name the cluster, so that it never mixes with another one that gossips on this network`,
			`c.yaml:3: cluster.alias: longer than 64 letters, which gossip cannot carry`,
			`c.yaml:4: cluster.gossip_address: missing: without leader every node needs one`,
		}},
		"gossip addresses": {"c.yaml", "cluster_name: a b\ngossip_key: ''\ncluster:\n" + gossiping("a", 1) + gossiping("b", 4) +
			"  - {alias: c, http_address: h:9, rpc_address: h:10, gossip_address: h:4}\n  - {alias: d, http_address: h:11, rpc_address: h:12, gossip_address: 7}\n", []string{
			`c.yaml:1: cluster_name = "a b": want at most 64 letters, digits, '.', '_' and '-', that do not begin with '-'`,
			`c.yaml:2: gossip_key = "": want text that is not empty`,
			`c.yaml:6: cluster.gossip_address: "h:4" is taken by cluster.http_address on line 5: give each its own port`,
			`c.yaml:7: cluster.gossip_address = 7: want text in quotes`,
		}},
		"long name": {"c.yaml", "cluster_name: " + strings.Repeat("x", 65) + "\ncluster:\n" + gossiping("a", 1), []string{
			`c.yaml:1: cluster_name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…": want at most 64 letters, digits, '.', '_' and '-', that do not begin with '-'`,
		}},
		"leader": {"c.yaml", "leader: nodeA\ncluster:\n" + node("node1", "h:1", "h:2"), []string{`c.yaml:1: leader: no node is called "nodeA"; did you mean "node1"?`}},
		"settings": {"c.yaml", "cluster:\n" + nodeA + "kvnode:\n  id: x\n  raft: {a: .nan, b: ~, 1: 2}\n  join: x\n  big: 18446744073709551615\n  gossip_join: x\n  --cluster: x\nleader: a\n", []string{
			`c.yaml:4: kvnode.id follows from alias: leave it away here`,
			`c.yaml:5: kvnode.raft.a = NaN: want a finite number`,
			`c.yaml:5: kvnode.raft.b = nothing: want a string, number, boolean, list or table`,
			`c.yaml:5: kvnode.raft.1 = a value below a key that is no string: quote the key`,
			`c.yaml:6: kvnode.join follows from leader: leave it away here`,
			`c.yaml:7: kvnode.big = a number beyond 64 bits: want a string, number, boolean, list or table`,
			`c.yaml:8: kvnode.gossip_join follows from gossip_address: leave it away here`,
			`c.yaml:9: kvnode.--cluster follows from cluster_name: leave it away here`,
		}},
		"anchors": {"c.yaml", "cluster:\n" + nodeA + "kvnode: {x: &a 1, y: *a, <<: {z: 1}}\nleader: a\n", []string{
			`c.yaml:3: kvnode.x = an anchor or alias (& or *): write the value out`,
			`c.yaml:3: kvnode.y = an anchor or alias (& or *): write the value out`,
			`c.yaml:3: kvnode.<< = a merge key: write the keys out`,
		}},
		"empty":         {"c.yaml", "", []string{`c.yaml:1: cluster: missing: list the nodes there, each with alias, http_address and rpc_address`}},
		"empty TOML":    {"c.toml", "# nothing", []string{`c.toml:1: cluster: missing: list the nodes there, each with alias, http_address and rpc_address`}},
		"no nodes":      {"c.yaml", "cluster: []", []string{`c.yaml:1: cluster has no nodes: list at least one, with alias, http_address and rpc_address`}},
		"many nodes":    {"c.yaml", "cluster: [" + strings.Repeat("1,", 101) + "]", []string{`c.yaml:1: cluster has 101 nodes; at most 100 are possible`}},
		"nodes in map":  {"c.yaml", "cluster: {a: 1}", []string{`c.yaml:1: cluster = a table: want a list of nodes`}},
		"a list":        {"c.yaml", "- a", []string{`c.yaml:1: want keys with values, not […]`}},
		"two documents": {"c.yaml", "# x\na: 1\n---\nb: 1\n", []string{`c.yaml:4: a second YAML document begins: the file holds one`}},
		"given twice":   {"c.yaml", "cluster: []\nleader: a\nleader: b\n", []string{`c.yaml:3: not YAML: mapping key "leader" already defined at [2:1]`}},
		"YAML syntax":   {"c.yaml", "cluster:\n  - alias: [\n", []string{`c.yaml:2: not YAML: sequence end token ']' not found`}},
		"TOML syntax":   {"c.toml", "leader = 'a'\ncluster = [\n", []string{`c.toml:2: not TOML: array is incomplete`}},
		"deep YAML":     {"c.yaml", "a:\n  " + strings.Repeat("[", 9999), []string{`c.yaml:2: nested more than 16 deep`}},
		"deep lists":    {"c.yaml", strings.Repeat("- ", 9999), []string{`c.yaml:1: nested more than 16 deep`}},
		"deep TOML":     {"c.toml", "\na = " + strings.Repeat("[", 9999) + strings.Repeat("]", 9999), []string{`c.toml:2: nested more than 16 deep`}},
		"deep keys":     {"c.toml", strings.Repeat("a.", 9999) + "a = 1", []string{`c.toml:1: nested more than 16 deep`}},
		"encoding":      {"c.yaml", "leader: a\ndata_dir: \xff\n", []string{`c.yaml:2: not UTF-8: save the file in that encoding`}},
		"size":          {"c.yaml", strings.Repeat("#", 1<<20), []string{`c.yaml:1: longer than 32 KiB: this is no cluster file`}},
		"extension":     {"c.json", "{}", []string{`invalid cluster file: c.json: its name must end in .yaml, .yml or .toml`}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(c.path, []byte(c.text))
			if err == nil || f != nil {
				t.Fatalf("%+v, %v", f, err)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Error("not an ErrInvalid")
			}
			if diff := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
