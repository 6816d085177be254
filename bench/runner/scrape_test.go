package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/kv/api"
)

func TestParseSent(t *testing.T) {
	const exposition = `# HELP raftlab_gossip_messages_total Packets and streams.
# TYPE raftlab_gossip_messages_total counter
raftlab_gossip_messages_total{direction="received"} 7
raftlab_gossip_messages_total{direction="sent",kind="packet"} 12
raftlab_gossip_messages_total{direction="sent",kind="stream"} 1
raftlab_gossip_bytes_total{direction="received"} 9
raftlab_gossip_bytes_total{direction="sent"} 1.5e+06
go_goroutines 31
`
	messages, bytes, err := parseSent(strings.NewReader(exposition))
	if err != nil || messages != 13 || bytes != 1_500_000 {
		t.Errorf("%d messages, %d bytes, %v", messages, bytes, err)
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"bytes missing":  `raftlab_gossip_messages_total{direction="sent"} 12`,
		"other counters": "raftlab_gossip_messages_totals{direction=\"sent\"} 1\nraftlab_gossip_bytes_total{direction=\"received\"} 1\n",
	} {
		if _, _, err := parseSent(strings.NewReader(text)); !errors.Is(err, errNoCounters) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := parseSent(strings.NewReader(`raftlab_gossip_bytes_total{direction="sent"} many`)); err == nil || errors.Is(err, errNoCounters) {
		t.Errorf("no number: %v", err)
	}
}

func TestFormationGates(t *testing.T) {
	node1 := leadership{"node1", 2}
	for name, c := range map[string]struct {
		gate   record.Gate
		want   record.Verdict
		reason string
	}{
		"all run":        {aliveGate(nil), record.Pass, ""},
		"one stopped":    {aliveGate(errors.New("node2 stopped")), record.Fail, "node2 stopped"},
		"one leader":     {oneLeaderGate(node1, []leadership{node1}), record.Pass, ""},
		"another":        {oneLeaderGate(node1, []leadership{{"node2", 2}}), record.Fail, "node2"},
		"another term":   {oneLeaderGate(node1, []leadership{{"node1", 3}}), record.Fail, "term 3"},
		"none":           {oneLeaderGate(node1, nil), record.Fail, "0 members lead"},
		"two":            {oneLeaderGate(node1, []leadership{node1, {"node2", 3}}), record.Fail, "2 members lead"},
		"all voters":     {votersGate(3, 3), record.Pass, ""},
		"one not voting": {votersGate(2, 3), record.Fail, "2 of 3"},
	} {
		if c.gate.Verdict != c.want || !strings.Contains(c.gate.Reason, c.reason) {
			t.Errorf("%s: %+v", name, c.gate)
		}
	}
}

// TestLast: a group is whole when the last of the events has happened, which is
// no earlier than the latest of the earliest moments.
func TestLast(t *testing.T) {
	got := last(sighting{at: 30, earliest: 10}, sighting{at: 25, earliest: 24})
	if want := (sighting{at: 30, earliest: 24}); got != want || got.error() != 6 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCountVoters(t *testing.T) {
	follower := func(id string, voter bool) api.Follower { return api.Follower{Peer: api.Peer{ID: id}, Voter: voter} }
	leader := api.Node{Peer: api.Peer{ID: "node1"}, Voter: true}
	for want, s := range map[int]api.Status{
		0: {},
		1: {Me: leader, Followers: []api.Follower{follower("node2", false)}},
		2: {Me: leader, Followers: []api.Follower{follower("node2", true), follower("node3", false)}},
	} {
		if got := countVoters(s); got != want {
			t.Errorf("%d voters in %+v, want %d", got, s, want)
		}
	}
}
