package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// rumours is what a node has heard.
type rumours []discovery.Peer

// Peers implements httpapi.Gossip.
func (r rumours) Peers() []discovery.Peer { return r }

// Stats implements httpapi.Gossip.
func (rumours) Stats() gossip.Stats {
	return gossip.Stats{
		Sent:     gossip.Traffic{Packets: 1, PacketBytes: 10, Streams: 2, StreamBytes: 20},
		Received: gossip.Traffic{Packets: 3, PacketBytes: 30, Streams: 4, StreamBytes: 40},
	}
}

func heard(id string, state discovery.State, since time.Time) discovery.Peer {
	return discovery.Peer{
		ID: id, State: state, Since: since, GossipAddress: id + ":7946",
		Self: discovery.Self{RaftAddress: id + ":12000", HTTPAddress: id + ":11000", Voter: true},
	}
}

// gossiping gives the node an interface that gossips.
func gossiping(t *testing.T, n *node, peers rumours, leave func(context.Context) error) {
	t.Helper()
	server, err := httpapi.New(httpapi.Config{
		Replica: n.replica, Map: n.store, HTTPAddress: n.address(), Gossip: peers, Leave: leave,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	n.http.Config.Handler = server
}

func TestGossipIsShown(t *testing.T) {
	g := start(t, 2, nil)
	if r := g.must(g.nodes[0], "GET", "/status", ""); strings.Contains(r.body, "gossip") {
		t.Errorf("without gossip: %s", r.body)
	}
	if r := g.must(g.nodes[0], "GET", "/metrics", ""); strings.Contains(r.body, "gossip") {
		t.Error("without gossip there are metrics of it")
	}
	since := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	gossiping(t, g.nodes[0], rumours{heard("node1", discovery.Alive, since), heard("node2", discovery.Alive, since), heard("node9", discovery.Failed, since)}, nil)
	s := decode[api.Status](t, g.must(g.nodes[0], "GET", "/status", ""))
	want := api.GossipPeer{
		Peer:          api.Peer{ID: "node9", Address: "node9:12000", HTTPAddress: "node9:11000"},
		GossipAddress: "node9:7946", State: "failed", Since: since, Voter: true,
	}
	if diff := cmp.Diff(want, s.Gossip[2]); diff != "" || len(s.Gossip) != 3 {
		t.Errorf("%d peers; %s", len(s.Gossip), diff)
	}
	text := g.must(g.nodes[0], "GET", "/metrics", "").body
	for name, want := range map[string]float64{
		`raftlab_gossip_messages_total{direction="sent"}`:     3,
		`raftlab_gossip_messages_total{direction="received"}`: 7,
		`raftlab_gossip_bytes_total{direction="sent"}`:        30,
		`raftlab_gossip_bytes_total{direction="received"}`:    70,
		`raftlab_gossip_peers{state="alive"}`:                 2,
		`raftlab_gossip_peers{state="failed"}`:                1,
		`raftlab_gossip_peers{state="left"}`:                  0,
	} {
		if got := metric(t, text, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 && strings.HasPrefix(problems[0].Metric, "raftlab_gossip") {
		t.Errorf("%v %v", problems, err)
	}
}

// TestNoRemovalInVain: a node that gossip would bring back is not removed.
func TestNoRemovalInVain(t *testing.T) {
	g := start(t, 3, nil)
	leader := g.nodes[0]
	gossiping(t, leader, rumours{heard("node2", discovery.Alive, time.Now()), heard("node3", discovery.Failed, time.Now())}, nil)
	g.do(leader, "DELETE", "/members/node2", "").refused(t, 400, api.CodeBadRequest, "POST /leave")
	g.must(leader, "DELETE", "/members/node3", "")
	if got := g.memberList(leader); strings.Contains(got, "node3") || !strings.Contains(got, "node2") {
		t.Errorf("members %s", got)
	}
}

func TestLeave(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	g.do(n, "POST", "/leave", "").refused(t, 400, api.CodeBadRequest, "DELETE /members/node1")
	var outcome error
	calls := 0
	gossiping(t, n, nil, func(ctx context.Context) error {
		calls++
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("no deadline")
		}
		return outcome
	})
	g.must(n, "POST", "/leave", "")
	g.do(n, "GET", "/leave", "").refused(t, 405, api.CodeMethodNotAllowed, "POST")
	for _, test := range []struct {
		err    error
		status int
		code   api.Code
	}{
		{core.ErrInvalid, 400, api.CodeBadRequest},
		{core.ErrUnavailable, 503, api.CodeNotReady},
		{core.ErrOutcomeUnknown, 504, api.CodeOutcomeUnknown},
		{context.DeadlineExceeded, 504, api.CodeTimeout},
		{errors.New("why"), 500, api.CodeInternal},
	} {
		outcome = fmt.Errorf("cannot: %w", test.err)
		g.do(n, "POST", "/leave", "").refused(t, test.status, test.code, outcome.Error())
	}
	if calls != 6 {
		t.Errorf("%d calls", calls)
	}
}

// TestWaiting: a node without a replica says that it lives, and why it does no more.
func TestWaiting(t *testing.T) {
	s := httptest.NewServer(httpapi.Waiting("node1", func() string { return "2 more are missing" }))
	defer s.Close()
	defer s.Client().CloseIdleConnections()
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/healthz", 200}, {"HEAD", "/healthz", 200}, {"POST", "/healthz", 503},
		{"GET", "/readyz", 503}, {"GET", "/status", 503}, {"PUT", "/key/a", 503}, {"POST", "/key", 503}, {"POST", "/leave", 503}, {"GET", "/none", 503},
	} {
		r, err := http.NewRequest(test.method, s.URL+test.path, strings.NewReader(strings.Repeat("x", 1<<10)))
		if err != nil {
			t.Fatal(err)
		}
		g := &group{t: t, client: s.Client()}
		answer := g.send(r)
		if answer.StatusCode != test.status || answer.Header.Get(api.HeaderNode) != "node1" {
			t.Errorf("%s %s: %s %v", test.method, test.path, answer.Status, answer.Header)
		}
		if test.status == 503 {
			answer.refused(t, 503, api.CodeNotReady, "node1 belongs to no group yet: 2 more are missing")
		}
	}
}
