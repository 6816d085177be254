package main

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/kv/api"
)

var (
	node1 = clusterfile.Node{Alias: "node1", HTTPAddress: "127.0.0.1:8080", RPCAddress: "127.0.0.1:9000"}
	node2 = clusterfile.Node{Alias: "node2", HTTPAddress: "127.0.0.1:8081", RPCAddress: "127.0.0.1:9001"}
	node3 = clusterfile.Node{Alias: "node3", HTTPAddress: "127.0.0.1:8082", RPCAddress: "127.0.0.1:9002"}
	node4 = clusterfile.Node{Alias: "node4", HTTPAddress: "127.0.0.1:8083", RPCAddress: "127.0.0.1:9003"}
	node5 = clusterfile.Node{Alias: "node5", HTTPAddress: "127.0.0.1:8084", RPCAddress: "127.0.0.1:9004"}
)

func peer(n clusterfile.Node) api.Peer {
	return api.Peer{ID: n.Alias, Address: n.RPCAddress, HTTPAddress: n.HTTPAddress}
}

// answering is a node that runs and names a leader, of a group of three.
func answering(n clusterfile.Node, role string, term uint64, leader *clusterfile.Node) process.NodeStatus {
	s := &api.Status{Me: api.Node{Peer: peer(n), Role: role, Voter: true, Term: term, LastIndex: 130, CommitIndex: 128,
		AppliedIndex: 127, SnapshotIndex: 100, UptimeS: 3725.5, PID: 68204}}
	if leader != nil {
		p := peer(*leader)
		s.Leader = &p
		for _, other := range []clusterfile.Node{node1, node2, node3} {
			if other.Alias != leader.Alias {
				s.Followers = append(s.Followers, api.Follower{Peer: peer(other), Voter: true})
			}
		}
	}
	return process.NodeStatus{Node: n, State: process.State{Running: true, PID: 68204}, Status: s}
}

// five is a cluster in which every state occurs.
func five() []process.NodeStatus {
	lag := func(n uint64) *uint64 { return &n }
	leader := answering(node3, "leader", 4, &node3)
	leader.Status.Followers = []api.Follower{
		{Peer: peer(node1), Lag: lag(12)}, {Peer: peer(node2), Lag: lag(0)}, {Peer: peer(node4), Lag: lag(30)}, {Peer: peer(node5)},
	}
	nonvoter := voteless(answering(node2, "follower", 4, &node3))
	paused := process.NodeStatus{Node: node4, State: process.State{Running: true, Paused: true, PID: 68215}, Err: errors.New("deadline exceeded")}
	silent := process.NodeStatus{Node: node5, State: process.State{Running: true, PID: 68216}, Err: errors.New("connection refused")}
	return []process.NodeStatus{{Node: node1, Err: process.ErrNotRunning}, nonvoter, leader, paused, silent}
}

func voteless(n process.NodeStatus) process.NodeStatus {
	n.Status.Me.Voter = false
	return n
}

func plain(nodes ...process.NodeStatus) string {
	var out strings.Builder
	newReport(nodes).writePlain(&out)
	return out.String()
}

func TestPlain(t *testing.T) {
	away := clusterfile.Node{Alias: "other", RPCAddress: "10.0.0.1:9000"}
	tests := []struct {
		name  string
		nodes []process.NodeStatus
		want  string
	}{
		{"the thesis' figure 6", []process.NodeStatus{
			answering(node1, "leader", 2, &node1), answering(node2, "follower", 2, &node1), answering(node3, "follower", 2, &node1),
		}, "Leader: node1 (127.0.0.1:9000)\nFollowers:\n- node2 (127.0.0.1:9001)\n- node3 (127.0.0.1:9002)\n"},
		{"the thesis' figure 14: who does not run is left out", []process.NodeStatus{
			{Node: node1}, answering(node2, "follower", 3, &node3), answering(node3, "leader", 3, &node3),
		}, "Leader: node3 (127.0.0.1:9002)\nFollowers:\n- node2 (127.0.0.1:9001)\n"},
		{"every state", five(),
			"Leader: node3 (127.0.0.1:9002)\nFollowers:\n- node2 (127.0.0.1:9001) nonvoter\n" +
				"- node4 (127.0.0.1:9003) paused\n- node5 (127.0.0.1:9004) unreachable\n"},
		{"the higher term leads", []process.NodeStatus{
			answering(node1, "leader", 2, &node1), answering(node2, "leader", 3, &node2),
		}, "Leader: node2 (127.0.0.1:9001)\nFollowers:\n- node1 (127.0.0.1:9000) leader\n"},
		{"one was removed, and one has not joined", []process.NodeStatus{
			answering(node1, "leader", 2, &node1), answering(node4, "follower", 2, &node1), answering(node2, "follower", 2, &node1),
			voteless(answering(node5, "follower", 0, nil)),
		}, "Leader: node1 (127.0.0.1:9000)\nFollowers:\n- node2 (127.0.0.1:9001)\nNot members:\n- node4 (127.0.0.1:9003)\n- node5 (127.0.0.1:9004)\n"},
		{"an election", []process.NodeStatus{
			answering(node1, "candidate", 2, nil), answering(node2, "follower", 2, nil),
		}, "Leader: none\nFollowers:\n- node1 (127.0.0.1:9000) candidate\n- node2 (127.0.0.1:9001)\n"},
		{"the leader has just gone", []process.NodeStatus{
			{Node: node1}, answering(node2, "follower", 2, &node1),
		}, "Leader: none (node1 does not answer)\nFollowers:\n- node2 (127.0.0.1:9001)\n"},
		{"a leader that the file does not list", []process.NodeStatus{
			answering(node1, "follower", 2, &away),
		}, "Leader: other (10.0.0.1:9000)\nFollowers:\n- node1 (127.0.0.1:9000)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, plain(test.nodes...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWide(t *testing.T) {
	var out strings.Builder
	newReport(five()).writeWide(&out)
	const want = `
NODE   STATE        ROLE      TERM  COMMIT  APPLIED  LAG  UPTIME    PID
node1  stopped      -            -       -        -   12       -      -
node2  running      nonvoter     4     128      127    0   1h02m  68204
node3  running      leader       4     128      127    0   1h02m  68204
node4  paused       -            -       -        -   30       -  68215
node5  unreachable  -            -       -        -    -       -  68216
`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestWideRESP shows where the Redis protocol is served, as much as fits.
func TestWideRESP(t *testing.T) {
	serving := func(nodes []process.NodeStatus) []process.NodeStatus {
		for i := range nodes[1:] {
			nodes[1+i].Node.RESPAddress = "127.0.0.1:638" + strconv.Itoa(i)
		}
		return nodes
	}
	for name, c := range map[string]struct {
		nodes []process.NodeStatus
		want  string
	}{
		"all of it": {serving(five()[:3]), `
NODE  STATE   ROLE     TERM COMMIT APPLIED LAG UPTIME   PID           RESP
node1 stopped -           -      -       -  12      -     -              -
node2 running nonvoter    4    128     127   0  1h02m 68204 127.0.0.1:6380
node3 running leader      4    128     127   0  1h02m 68204 127.0.0.1:6381
`},
		"the port": {serving(gossiping3()), `
NODE  STATE   GOSSIP ROLE     TERM COMMIT APPLIED LAG UPTIME   PID  RESP
node1 stopped failed -           -      -       -  12      -     -     -
node2 running alive  nonvoter    4    128     127   0  1h02m 68204 :6380
node3 running alive  leader      4    128     127   0  1h02m 68204 :6381
`},
	} {
		t.Run(name, func(t *testing.T) { isWide(t, c.nodes, c.want) })
	}
}

// isWide compares the wide table of the nodes, after a line break, with want.
func isWide(t *testing.T, nodes []process.NodeStatus, want string) {
	t.Helper()
	var out strings.Builder
	newReport(nodes).writeWide(&out)
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Error(diff)
	}
}

// gossiping3 is a cluster of which one node has crashed.
func gossiping3() []process.NodeStatus {
	nodes := five()[:3]
	for i := range nodes {
		nodes[i].Node.GossipAddress = "127.0.0.1:700" + strconv.Itoa(i)
	}
	nodes[2].Status.Gossip = []api.GossipPeer{
		{Peer: peer(node1), State: "failed"}, {Peer: peer(node2), State: "alive"}, {Peer: peer(node3), State: "alive"},
	}
	nodes[1].Status.Gossip = []api.GossipPeer{{Peer: peer(node1), State: "alive"}} // late
	return nodes
}

// TestWideGossip shows what the leader hears, and without one what anybody does.
func TestWideGossip(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []process.NodeStatus
		want  string
	}{
		"a leader": {gossiping3(), `
NODE   STATE    GOSSIP  ROLE      TERM  COMMIT  APPLIED  LAG  UPTIME    PID
node1  stopped  failed  -            -       -        -   12       -      -
node2  running  alive   nonvoter     4     128      127    0   1h02m  68204
node3  running  alive   leader       4     128      127    0   1h02m  68204
`},
		"none": {gossiping3()[:2], `
NODE   STATE    GOSSIP  ROLE      TERM  COMMIT  APPLIED  LAG  UPTIME    PID
node1  stopped  alive   -            -       -        -    -       -      -
node2  running  -       nonvoter     4     128      127    -   1h02m  68204
`},
	} {
		t.Run(name, func(t *testing.T) { isWide(t, c.nodes, c.want) })
	}
}

// TestWideRecovered shows the indexes of a recovered group, which are large, to the entry.
func TestWideRecovered(t *testing.T) {
	nodes := gossiping3()
	for _, n := range nodes[1:] {
		n.Status.Me.CommitIndex, n.Status.Me.AppliedIndex = 1_000_005_274, 1_000_005_273
	}
	isWide(t, nodes, `
NODE  STATE   GOSSIP ROLE     TERM     COMMIT    APPLIED LAG UPTIME   PID
node1 stopped failed -           -          -          -  12      -     -
node2 running alive  nonvoter    4 1000005274 1000005273   0  1h02m 68204
node3 running alive  leader      4 1000005274 1000005273   0  1h02m 68204
`)
}

// TestWideFits prints the widest that can occur.
func TestWideFits(t *testing.T) {
	name, role := strings.Repeat("ёж", 40), "candidate"
	huge, seconds, pid := uint64(math.MaxUint64), 99*86400.0, 4194304
	row := nodeReport{Alias: name, State: stateUnreachable, PID: &pid, Role: &role, Term: &huge, LastIndex: &huge,
		CommitIndex: &huge, AppliedIndex: &huge, Lag: &huge, UptimeS: &seconds}
	var out strings.Builder
	report{Nodes: []nodeReport{row}}.writeWide(&out)
	const want = `
NODE                STATE       ROLE      TERM COMMIT APPLIED LAG UPTIME     PID
ёжёжёжёжёжёжёжёжёж… unreachable candidate  18E    18E     18E 18E 99d00h 4194304
`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Error(diff)
	}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if n := utf8.RuneCountInString(line); n > tableWidth {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999_999: "999999", 1_000_000: "1M", 12_345_678: "12.3M", 999_499_999: "999M", 999_500_000: "1G", math.MaxUint64: "18E",
	} {
		if got := short(&n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := short(nil); got != "-" {
		t.Errorf("unknown: %q", got)
	}
}

func TestUptime(t *testing.T) {
	for seconds, want := range map[float64]string{
		0.4: "0s", 59.9: "59s", 60: "1m00s", 3599: "59m59s", 3600: "1h00m", 86399: "23h59m", 86400: "1d00h", 8640000: "100d",
	} {
		if got := uptime(&seconds); got != want {
			t.Errorf("%v: %q, want %q", seconds, got, want)
		}
	}
}

// TestJSON holds the fields that the help of status promises.
func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := writeJSON(&out, newReport(five()[:3]), ""); err != nil {
		t.Fatal(err)
	}
	const want = `{"leader": "node3", "nodes": [
		{"alias": "node1", "state": "stopped", "pid": null, "role": null, "group": null, "term": null, "last_index": null, "commit_index": null,
		 "applied_index": null, "snapshot_index": null, "lag": 12, "uptime_s": null,
		 "http_address": "127.0.0.1:8080", "rpc_address": "127.0.0.1:9000"},
		{"alias": "node2", "state": "running", "pid": 68204, "role": "nonvoter", "group": null, "term": 4, "last_index": 130, "commit_index": 128,
		 "applied_index": 127, "snapshot_index": 100, "lag": 0, "uptime_s": 3725.5,
		 "http_address": "127.0.0.1:8081", "rpc_address": "127.0.0.1:9001"},
		{"alias": "node3", "state": "running", "pid": 68204, "role": "leader", "group": null, "term": 4, "last_index": 130, "commit_index": 128,
		 "applied_index": 127, "snapshot_index": 100, "lag": 0, "uptime_s": 3725.5,
		 "http_address": "127.0.0.1:8082", "rpc_address": "127.0.0.1:9002"}]}`
	if diff := cmp.Diff(decode(t, want), decode(t, out.String())); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := writeJSON(&out, newReport(gossiping3()[:1]), ""); err != nil || !strings.Contains(out.String(), `"gossip_address":"127.0.0.1:7000"}`) {
		t.Errorf("%v %s", err, out.String())
	}
	out.Reset()
	if err := writeJSON(&out, newReport(gossiping3()), ""); err != nil || !strings.Contains(out.String(), `"gossip_address":"127.0.0.1:7000","gossip":"failed"}`) {
		t.Errorf("%v %s", err, out.String())
	}
	var none strings.Builder
	if err := writeJSON(&none, newReport(nil), ""); err != nil || none.String() != `{"leader":null,"nodes":[]}`+"\n" {
		t.Errorf("%v %s", err, none.String())
	}
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAgreement(t *testing.T) {
	leader, follower := answering(node1, "leader", 2, &node1), answering(node2, "follower", 2, &node1)
	tests := []struct {
		name          string
		nodes         []process.NodeStatus
		picture, lack string
	}{
		{"all follow", []process.NodeStatus{leader, follower, {Node: node3}}, "node1 node1 node2", ""},
		{"nobody runs", []process.NodeStatus{{Node: node1}}, "", "no node leads"},
		{"one lags behind", []process.NodeStatus{leader, answering(node2, "follower", 1, &node3)}, "", "node2 does not follow node1"},
		{"one is paused", []process.NodeStatus{leader, five()[3]}, "", "node4 is paused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			picture, lack := newReport(test.nodes).agreement()
			if picture != test.picture || lack != test.lack {
				t.Errorf("%q, %q", picture, lack)
			}
		})
	}
}
