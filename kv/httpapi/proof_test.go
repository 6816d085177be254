package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// startKnown starts nodes that, as kvnodes do, tell each other by Raft where they serve
// HTTP; the directory says where else each of them should be.
func startKnown(t *testing.T, directory httpapi.Directory, ids ...string) *group {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	g := &group{t: t, network: tcp.New(tcp.Options{}), client: &http.Client{Transport: transport}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		for _, n := range g.nodes {
			n.close(t)
		}
	})
	var configs []known
	var founders []core.Member
	for _, id := range ids {
		cfg := g.prepare(id, core.NewIncarnation())
		configs = append(configs, cfg)
		founders = append(founders, core.Member{ID: id, Incarnation: cfg.Incarnation, Address: cfg.Link.Address(), Voter: true})
	}
	for _, cfg := range configs {
		cfg.Bootstrap = founders
		g.launch(cfg, directory)
	}
	if err := g.nodes[0].replica.(core.Campaigner).Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.leaderOf(g.nodes)
	return g
}

// prepare opens the ports of a node: that for HTTP is told by Raft.
func (g *group) prepare(id, incarnation string) known {
	g.t.Helper()
	link, err := g.network.Listen("")
	if err != nil {
		g.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	return known{l, core.ReplicaConfig{
		ID: id, Incarnation: incarnation, Service: l.Addr().String(), FSM: kv.New(), Logs: inmem.New(), Link: link, Tuning: tuning(),
	}}
}

// known is a node to be launched, and its port for HTTP.
type known struct {
	http net.Listener
	core.ReplicaConfig
}

func (g *group) launch(cfg known, directory httpapi.Directory) *node {
	g.t.Helper()
	replica, err := engine(g.t).Start(cfg.ReplicaConfig)
	if err != nil {
		g.t.Fatal(err)
	}
	g.next = cfg.http
	return g.serve(cfg.ID, replica, cfg.FSM.(*kv.Store), directory)
}

// impostor answers whatever it is asked as a node would that has served it, and counts.
func impostor(t *testing.T, as string) (address string, asked func() int) {
	t.Helper()
	requests := make(chan struct{}, 1000)
	address = listen(t, func(c net.Conn) {
		defer c.Close()
		for r := bufio.NewReader(c); ; {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			requests <- struct{}{}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Raft-Index: 7\r\n"+as+"Content-Length: 0\r\n\r\n")
		}
	})
	return address, func() int { return len(requests) }
}

// TestStrayLeader: another group has a leader of the same id, and that is where the
// directory, as gossip would, says that the leader is. Nothing is acknowledged there.
func TestStrayLeader(t *testing.T) {
	stray := start(t, 1, nil)
	lies := directories{"node1": stray.nodes[0].address()}
	before := stray.commands()

	t.Run("the leader has told where it is", func(t *testing.T) {
		g := startKnown(t, lies, "node1", "node2", "node3")
		for _, n := range g.nodes {
			g.must(n, "PUT", "/key/"+n.id, "v")
			s := decode[api.Status](t, g.must(n, "GET", "/status", ""))
			leader := g.leaderOf(g.nodes)
			if s.Leader == nil || s.Leader.HTTPAddress != leader.address() {
				t.Errorf("%s takes %+v for the leader, which is at %s", n.id, s.Leader, leader.address())
			}
		}
		for _, n := range g.nodes {
			g.must(n, "GET", "/key/"+n.id, "")
		}
	})
	t.Run("it has not", func(t *testing.T) {
		g := start(t, 3, func(string) httpapi.Directory { return lies })
		for _, c := range []struct{ method, target, body string }{
			{"PUT", "/key/k?timeout=300ms", "v"},
			{"DELETE", "/key/k?timeout=300ms", ""},
			{"GET", "/key/k?timeout=300ms", ""},
			{"GET", "/key/k?timeout=300ms&consistency=leader", ""},
		} {
			eventually(t, func() error { // a node too slow to refuse within the time leaves it open
				_, err := g.do(g.nodes[1], c.method, c.target, c.body).isRefused(503, api.CodeNoLeader, "of group "+stray.nodes[0].replica.Status().Group)
				return err
			})
		}
	})
	if stray.commands() != before {
		t.Error("the other group has taken a write")
	}
}

// TestJoinCannotRepoint: nobody can have writes forwarded to where a member is not, by
// saying that it is there.
func TestJoinCannotRepoint(t *testing.T) {
	g := startKnown(t, nil, "node1", "node2", "node3")
	second := g.nodes[1]
	status := second.replica.Status()
	fake, asked := impostor(t, proofOf(second))
	body := fmt.Sprintf(`{"id":"node2","incarnation":%q,"group":%q,"address":%q,"http_address":%q}`, status.Incarnation, status.Group, status.Address, fake)
	g.do(g.nodes[0], "POST", "/join", body).refused(t, 400, api.CodeBadRequest, second.address())
	body = fmt.Sprintf(`{"id":"node2","address":%q,"http_address":%q}`, status.Address, fake)
	g.do(g.nodes[2], "POST", "/join", body).refused(t, 400, api.CodeBadRequest, second.address())
	g.must(g.nodes[0], "POST", "/transfer", `{"id":"node2"}`)
	for i := range 20 {
		key := fmt.Sprintf("/key/%d", i)
		g.must(g.nodes[2*(i%2)], "PUT", key, "v")
		g.must(second, "GET", key, "")
	}
	if n := asked(); n != 0 {
		t.Errorf("the impostor was asked %d times", n)
	}
}

// TestReplaceIncarnation: a node that has lost its data is taken out and in again. As
// long as the member is there, another node does not get its place.
func TestReplaceIncarnation(t *testing.T) {
	g := startKnown(t, nil, "node1", "node2", "node3")
	leader, third := g.nodes[0], g.nodes[2]
	g.must(leader, "PUT", "/key/k", "v")
	before := leader.replica.Status()
	again := g.prepare("node3", core.NewIncarnation())
	newcomer := g.launch(again, nil)
	body := fmt.Sprintf(`{"id":"node3","incarnation":%q,"address":%q,"http_address":%q}`, again.Incarnation, again.Link.Address(), newcomer.address())
	g.do(leader, "POST", "/join", body).refused(t, 400, api.CodeBadRequest, "kvnode --id ANOTHER-ID")
	if after := leader.replica.Status(); !slices.Equal(after.Members, before.Members) {
		t.Errorf("the configuration was changed to %+v", after.Members)
	}

	if err := third.replica.Close(); err != nil {
		t.Fatal(err)
	}
	g.must(g.nodes[1], "POST", "/join", body)
	members := leader.replica.Status().Members
	m := members[slices.IndexFunc(members, func(m core.Member) bool { return m.ID == "node3" })]
	if m.Incarnation != again.Incarnation || !m.Voter || m.Address != again.Link.Address() {
		t.Errorf("node3 is %+v", m)
	}
	g.must(newcomer, "GET", "/key/k", "")
	g.must(g.nodes[1], "POST", "/join", body) // again: nothing is left to do

	// Of three voters, two have lost their data: those that stay are no majority.
	if err := newcomer.replica.Close(); err != nil {
		t.Fatal(err)
	}
	last := g.prepare("node2", core.NewIncarnation())
	g.launch(last, nil)
	if err := g.nodes[1].replica.Close(); err != nil {
		t.Fatal(err)
	}
	body = fmt.Sprintf(`{"id":"node2","incarnation":%q,"address":%q,"http_address":%q}`, last.Incarnation, last.Link.Address(), last.Service)
	if r := g.do(leader, "POST", "/join?timeout=4s", body); r.StatusCode < 500 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// TestVoteAfterCatchUp: a newcomer that does not get the entries gets no vote, and the
// request says so and can be made again.
func TestVoteAfterCatchUp(t *testing.T) {
	g := startKnown(t, nil, "node1")
	leader := g.nodes[0]
	for i := range 40 {
		g.must(leader, "PUT", fmt.Sprintf("/key/%d", i), "v")
	}
	cfg := g.prepare("node2", core.NewIncarnation())
	stuck := &gated{LogStore: inmem.New(), gate: make(chan struct{})}
	cfg.Logs = stuck
	n2 := g.launch(cfg, nil)
	t.Cleanup(stuck.open)
	body := fmt.Sprintf(`{"id":"node2","incarnation":%q,"address":%q,"http_address":%q}`, cfg.Incarnation, cfg.Link.Address(), n2.address())
	g.do(leader, "POST", "/join?timeout=500ms", body).refused(t, 503, api.CodeNotReady, "without a vote and catching up")
	if got := g.memberList(leader); got != "node1 (leader), node2 (non-voter)" {
		t.Errorf("members: %s", got)
	}
	g.must(leader, "PUT", "/key/k", "v") // the group does not wait for it
	stuck.open()
	g.must(leader, "POST", "/join?timeout=30s", body)
	if got := g.memberList(leader); got != "node1 (leader), node2" {
		t.Errorf("members: %s", got)
	}
}

// TestOtherGroup: a request that says for which group it is is not served by another.
func TestOtherGroup(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	own := n.replica.Status().Group
	g.must(n, "PUT", "/key/k", "v", api.HeaderGroup, own)
	g.do(n, "PUT", "/key/k", "w", api.HeaderGroup, "0123456789abcdef").refused(t, 503, api.CodeOtherGroup, own)
	r := g.must(n, "GET", "/key/k", "")
	if r.body != `{"k":"v"}` || r.Header.Get(api.HeaderGroup) != own || r.Header.Get(api.HeaderIncarnation) != n.replica.Status().Incarnation {
		t.Errorf("%s %v", r.body, r.Header)
	}
	g.do(n, "POST", "/join", `{"id":"x","group":"0123456789abcdef","address":"127.0.0.1:1","http_address":"127.0.0.1:2"}`).
		refused(t, 400, api.CodeBadRequest, "in a new directory with --join")
	g.do(n, "POST", "/join", `{"id":"node1#0123456789abcdef","address":"127.0.0.1:1","http_address":"127.0.0.1:2"}`).
		refused(t, 400, api.CodeBadRequest, "incarnation")
}

// gated is a log store that takes no entries before it is let.
type gated struct {
	core.LogStore
	gate chan struct{}
	once sync.Once
}

func (g *gated) open() { g.once.Do(func() { close(g.gate) }) }

// StoreLogs implements core.LogStore.
func (g *gated) StoreLogs(logs []*raft.Log) error {
	<-g.gate
	return g.LogStore.StoreLogs(logs)
}
