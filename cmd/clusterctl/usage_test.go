package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
)

// TestUsage gives wrong command lines: exit code 2, nothing done, and a message
// that names the place and the mend.
func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "config.yaml", threeNodes)
	write(t, "gossip.yaml", gossiping)
	write(t, "neither.yaml", strings.Replace(threeNodes, "leader: node1\n", "", 1))
	write(t, "bad.yaml", strings.Replace(threeNodes, "rpc_address", "rcp_address", 1))
	write(t, "list.json", `["a"]`)
	write(t, "empty.json", `{}`)
	tests := []struct {
		args string
		want []string
	}{
		{"strat", []string{`"strat"`, `did you mean "start"`}},
		{"-c missing.yaml status", []string{"missing.yaml", "clusterctl init"}},
		{"-c bad.yaml start", []string{"bad.yaml:6", "rcp_address", "rpc_address"}},
		{"-c bad.txt status", []string{"bad.txt"}},
		{"status --nonsense", []string{"--nonsense", "clusterctl status --help"}},
		{"status now", []string{"no argument"}},
		{"status --output xml", []string{"--output", "text or json"}},
		{"status --watch --interval 0s", []string{"--interval"}},
		{"start nod2", []string{`"nod2"`, "node1, node2, node3", `did you mean "node2"`}},
		{"stop zebra", []string{`"zebra"`, "node1, node2, node3"}},
		{"start node1 node9", []string{`"node9"`, "node1, node2, node3"}},
		{"start --ready-timeout 0s", []string{"--ready-timeout"}},
		{"restart node1 --ready-timeout -1s", []string{"--ready-timeout"}},
		{"restart", []string{"--all"}},
		{"restart node1 --all", []string{"--all"}},
		{"kill", []string{"a node"}},
		{"pause node9", []string{`"node9"`}},
		{"resume node9", []string{`"node9"`}},
		{"logs", []string{"a node"}},
		{"logs node1 -n -3", []string{"--lines"}},
		{"get", []string{"a key"}},
		{"get k --consistency strong", []string{"--consistency", "linearizable"}},
		{"get k --node node9", []string{`"node9"`}},
		{"get k --timeout 0s", []string{"--timeout"}},
		{"get k --timeout 1h", []string{"--timeout", "5m"}},
		{"keys --limit -1", []string{"--limit"}},
		{"set k", []string{"a key and a value"}},
		{"set k v --if-absent --if-match 3", []string{"--if-absent", "--if-match"}},
		{"set k v --if-match x", []string{"--if-match"}},
		{"set k v --json list.json", []string{"--json"}},
		{"set --json list.json --if-absent", []string{"--json"}},
		{"set --json list.json", []string{"list.json", "object of strings"}},
		{"set --json empty.json", []string{"empty.json"}},
		{"set --json missing.json", []string{"missing.json"}},
		{"delete", []string{"a key"}},
		{"delete a b --if-match 3", []string{"--if-match"}},
		{"backup", []string{"a file"}},
		{"backup list.json", []string{"list.json already", "--force"}},
		{"backup --verify empty.json", []string{"empty.json", "no backup of raftlab", "JSON"}},
		{"backup --verify missing.backup", []string{"missing.backup"}},
		{"backup new.backup --consistency strong", []string{"--consistency", "linearizable"}},
		{"restore", []string{"a file"}},
		{"restore empty.json", []string{"empty.json", "JSON"}},
		{"restore missing.backup", []string{"missing.backup"}},
		{"restore --new empty.json", []string{"empty.json", "JSON"}},
		{"restore --new -", []string{"a file, not standard input"}},
		{"restore list.json --timeout 0s", []string{"--timeout"}},
		{"members ad", []string{`did you mean "add"`}},
		{"members add node2", []string{"node2", "already"}},
		{"members add", []string{"alias"}},
		{"members add a/b --http 127.0.0.1:1 --rpc 127.0.0.1:2", []string{"alias"}},
		{"members add new --http nonsense --rpc 127.0.0.1:2", []string{"http_address"}},
		{"members add new --http 127.0.0.1:8080 --rpc 127.0.0.1:2", []string{"127.0.0.1:8080"}},
		{"members add new --http 127.0.0.1:1 --rpc 127.0.0.1:2 --gossip 127.0.0.1:3", []string{"gossip_address", "beside leader"}},
		{"members add new --ready-timeout 0s", []string{"--ready-timeout"}},
		{"-c gossip.yaml members add new --http 127.0.0.1:1 --rpc 127.0.0.1:2 --gossip 127.0.0.1:1", []string{"gossip_address", "127.0.0.1:1"}},
		{"-c neither.yaml start", []string{"neither.yaml:1", "add leader: node1", "gossip_address"}},
		{"members remove node9", []string{`"node9"`}},
		{"transfer node9", []string{`"node9"`}},
		{"snapshot node9", []string{`"node9"`}},
		{"load now", []string{"no argument"}},
		{"load --clients 0", []string{"--clients"}},
		{"load --duration 0s", []string{"--duration"}},
		{"load --count 0", []string{"--count"}},
		{"load --value-size 0", []string{"--value-size"}},
		{"load --keys 0", []string{"--keys"}},
		{"load --journal list.json", []string{"--journal", "list.json"}},
		{"audit", []string{"journal"}},
		{"audit missing.jsonl", []string{"missing.jsonl"}},
		{"audit list.json", []string{"list.json"}},
		{"audit --timeout 0s list.json", []string{"--timeout"}},
		{"wait --timeout x", []string{"--timeout"}},
		{"wait --timeout 0s", []string{"--timeout"}},
		{"help strat", []string{`"strat"`, `did you mean "start"`}},
		{"help members ad", []string{`"ad"`, `did you mean "add"`}},
		{"completion fich", []string{`"fich"`, "completion --help"}},
		{"completion bash now", []string{"no argument"}},
		{"init --out new.yaml --host 0.0.0.0", []string{`clusterctl: invalid cluster file: host "0.0.0.0"`}},
		{"init", []string{"config.yaml", "--force"}},
		{"init many --out new.yaml", []string{`"many"`}},
		{"init 0 --out new.yaml", []string{"0 nodes"}},
		{"init 3 --out new.yaml --leader node4", []string{`"node4"`, "leader"}},
		{"init --out new.ini", []string{"new.ini"}},
		{"init --out new.yaml --backend blot", []string{"blot", "bolt"}},
		{"init --out no/such/folder.yaml", []string{"no/such"}},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := run(t.Context(), strings.Fields(test.args), strings.NewReader(""), &stdout, &stderr)
			if code != exitUsage || stdout.String() != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout.String())
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q does not say %q", stderr.String(), want)
				}
			}
		})
	}
	if data, err := os.ReadFile("config.yaml"); err != nil || string(data) != threeNodes {
		t.Errorf("the cluster file was changed: %v\n%s", err, data)
	}
	if left, _ := filepath.Glob("new.*"); len(left) > 0 {
		t.Errorf("written in spite of the mistake: %v", left)
	}
}

const threeNodes = `data_dir: var
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

const gossiping = `cluster_name: lab
cluster:
  - alias: node1
    http_address: "127.0.0.1:8080"
    rpc_address: "127.0.0.1:9000"
    gossip_address: "127.0.0.1:7000"
`

// TestStartErrors looks for the tails of all nodes that did not start.
func TestStartErrors(t *testing.T) {
	one := &process.StartError{Alias: "node1", LogPath: "var/node1/node.log", Tail: []string{"address in use"}, Err: errors.New("exit code 1")}
	two := &process.StartError{Alias: "node2", Err: errors.New("not ready")}
	err := fmt.Errorf("start: %w", errors.Join(one, fmt.Errorf("more: %w", two)))
	found := startErrors(err)
	if len(found) != 2 || found[0] != one || found[1] != two {
		t.Errorf("found %v", found)
	}
	if text := explain(t.Context(), err); !strings.HasSuffix(text, "\nthe end of var/node1/node.log:\n  address in use") {
		t.Errorf("%s", text)
	}
}

// TestNarrator tells a start and a stop as the thesis' figures 5 and 18 do.
func TestNarrator(t *testing.T) {
	var stdout, stderr strings.Builder
	n := newNarrator(&stdout, &stderr)
	n.log.SetFlags(0)
	for _, e := range []process.Event{
		{Kind: process.Starting, Node: node1, Leader: true},
		{Kind: process.Started, Node: node1, Leader: true, PID: 68204},
		{Kind: process.Ready, Node: node1, Leader: true, PID: 68204},
		{Kind: process.Starting, Node: node2},
		{Kind: process.Started, Node: node2, PID: 68213},
		{Kind: process.AlreadyRunning, Node: node3, PID: 68214},
		{Kind: process.Starting, Node: clusterfile.Node{Alias: "node5", GossipAddress: "127.0.0.1:7000"}},
	} {
		n.event(e)
	}
	n.draw(0)
	n.live = true
	n.draw(0)
	for _, e := range []process.Event{
		{Kind: process.Ready, Node: node2, PID: 68213},
		{Kind: process.Stopped, Node: node2, PID: 68213},
		{Kind: process.AlreadyStopped, Node: node3},
		{Kind: process.Killing, Node: clusterfile.Node{Alias: "node4"}, PID: 5},
		{Kind: process.Killed, Node: clusterfile.Node{Alias: "node4"}, PID: 5},
		{Kind: process.Paused, Node: node2, PID: 6},
		{Kind: process.Resumed, Node: node2, PID: 6},
		{Kind: process.Stopped, Node: node1, Leader: true, PID: 68204},
	} {
		n.event(e)
	}
	const wantOut = `Starting leader "node1"...
Started "node1" (pid 68204)
Starting follower "node2"...
Started "node2" (pid 68213)
"node3" is already running (pid 68214)
Starting "node5"...
Stopped node2 (pid 68213)
node3 is not running
Killed node4 (pid 5)
Paused node2 (pid 6)
Resumed node2 (pid 6)
Stopped leader node1 (pid 68204)
`
	const wantErr = "Waiting for node2 (0 s)\n\r\x1b[KWaiting for node2 (0 s)\r\x1b[Knode4 does not stop: killing it (pid 5)\n"
	if stdout.String() != wantOut || stderr.String() != wantErr {
		t.Errorf("stdout\n%s\nstderr %q", stdout.String(), stderr.String())
	}
}

// TestHelpFitsTheTerminal: no help text is wider than a terminal of the usual width.
func TestHelpFitsTheTerminal(t *testing.T) {
	paths := [][]string{{"help"}}
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		var out bytes.Buffer
		if code := run(t.Context(), path, nil, &out, &out); code != exitOK {
			t.Fatalf("%v: exit code %d\n%s", path, code, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > tableWidth {
				t.Errorf("%v: %d columns: %s", path, n, line)
			}
		}
		command, _, err := newRoot().Find(path[1:])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range command.Commands() {
			if c.Name() != "completion" { // the text of which is cobra's
				paths = append(paths, append(slices.Clone(path), c.Name()))
			}
		}
	}
}
