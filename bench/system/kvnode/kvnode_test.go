package kvnode

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system/clients"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/kv/api"
)

// TestSent reads the counters of a node.
func TestSent(t *testing.T) {
	const both = `# HELP raftlab_gossip_messages_total Packets and streams.
# TYPE raftlab_gossip_messages_total counter
raftlab_gossip_messages_total{direction="received"} 7
raftlab_gossip_messages_total{direction="sent",kind="packet"} 12
raftlab_gossip_messages_total{direction="sent",kind="stream"} 1
# TYPE raftlab_gossip_bytes_total counter
raftlab_gossip_bytes_total{direction="received"} 9
raftlab_gossip_bytes_total{direction="sent"} 1.5e+06
go_goroutines 31
`
	read := func(text string, gossips bool) (messages, bytes int64, err error) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }))
		defer server.Close()
		m := memberAt(strings.TrimPrefix(server.URL, "http://"), gossips)
		s, err := m.Sent(t.Context())
		return s.Messages, s.Bytes, err
	}
	if messages, bytes, err := read(both, true); err != nil || messages != 13 || bytes != 1_500_000 {
		t.Errorf("%d messages, %d bytes, %v", messages, bytes, err)
	}
	if messages, bytes, err := read("", false); err != nil || messages+bytes != 0 {
		t.Errorf("without gossip: %d messages, %d bytes, %v", messages, bytes, err)
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"bytes missing":  "raftlab_gossip_messages_total{direction=\"sent\"} 12\n",
		"other counters": "raftlab_gossip_messages_totals{direction=\"sent\"} 1\n",
	} {
		if _, _, err := read(text, true); !errors.Is(err, errNoCounters) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := read("raftlab_gossip_bytes_total{direction=\"sent\"} many\n", true); err == nil || errors.Is(err, errNoCounters) {
		t.Errorf("no number: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := memberAt("127.0.0.1:1", true).Sent(ctx); err == nil {
		t.Error("nobody answered, and nothing was said of it")
	}
}

func memberAt(address string, gossips bool) *member {
	return &member{id: "node1", address: address, gossips: gossips}
}

func TestCountVoters(t *testing.T) {
	follower := func(id string, voter bool) api.Follower { return api.Follower{Peer: api.Peer{ID: id}, Voter: voter} }
	leader := api.Node{Peer: api.Peer{ID: "node1"}, Voter: true}
	for want, s := range map[int]api.Status{
		0: {},
		1: {Me: leader, Followers: []api.Follower{follower("node2", false), follower("node1", true)}},
		2: {Me: leader, Followers: []api.Follower{follower("node2", true), follower("node3", false)}},
	} {
		if got := statusOf(s).Voters; got != want {
			t.Errorf("%d voters in %+v, want %d", got, s, want)
		}
	}
}

// loadOf is a cell of the Redis protocol.
func loadOf(connections int, target string) *record.CellInfo {
	return &record.CellInfo{Cell: experiment.Cell{Load: experiment.Load{Client: experiment.ClientRESP, Connections: connections, Target: target}}}
}

// TestTargets: each client has a member of its own, which takes its writes too, and reads
// there what others have written elsewhere; over both protocols.
func TestTargets(t *testing.T) {
	g := redisGroup(t)
	for _, protocol := range []string{experiment.ClientHTTP, experiment.ClientRESP} {
		for _, whom := range []string{experiment.TargetFollowers, experiment.TargetAll} {
			cell := loadOf(0, whom)
			cell.Load.Client = protocol
			all, err := clients.Open(g.file.Nodes, cell)
			if err != nil {
				t.Fatal(err)
			}
			whole := all.Target(experiment.ReadLinearizable).(workload.Parted)
			for round := range 4 {
				key, value := protocol+whom, fmt.Sprint(round)
				if err := whole.Part(round).Do(t.Context(), &workload.Op{Kind: workload.Write, Key: key, Value: []byte(value)}); err != nil {
					t.Fatalf("%s, %s: a write: %v", protocol, whom, err)
				}
				for other := range g.file.Nodes {
					read := workload.Op{Kind: workload.Read, Key: key}
					if err := whole.Part(other).Do(t.Context(), &read); err != nil || string(read.Value) != value {
						t.Errorf("%s, %s: %q, %v, want %s", protocol, whom, read.Value, err, value)
					}
				}
			}
			if err := all.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
