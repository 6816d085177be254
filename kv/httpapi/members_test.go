package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// newcomer starts a replica that is in no group yet, and its HTTP interface.
func (g *group) newcomer(id string) *node {
	g.t.Helper()
	store := kv.New()
	return g.serve(id, g.startReplica(id, store), store, nil)
}

// slowNewcomer is a newcomer that applies nothing before it is let.
func (g *group) slowNewcomer(id string) (*node, *slow) {
	g.t.Helper()
	fsm := &slow{Store: kv.New(), gate: make(chan struct{})}
	g.t.Cleanup(fsm.open) // a replica that cannot apply cannot be closed
	// Its own directory is as empty as its map.
	known := directories{g.nodes[0].id: g.nodes[0].address()}
	return g.serve(id, g.startReplica(id, fsm), fsm.Store, known), fsm
}

func (g *group) startReplica(id string, fsm core.FSM) core.Replica {
	g.t.Helper()
	link, err := g.network.Listen("")
	if err != nil {
		g.t.Fatal(err)
	}
	replica, err := engine(g.t).Start(core.ReplicaConfig{ID: id, FSM: fsm, Logs: inmem.New(), Link: link, Tuning: tuning()})
	if err != nil {
		g.t.Fatal(err)
	}
	return replica
}

func joinBody(n *node, nonvoter bool) string {
	return fmt.Sprintf(`{"id":"%s","address":"%s","http_address":"%s","nonvoter":%t}`,
		n.id, n.replica.Status().Address, n.address(), nonvoter)
}

func (g *group) memberList(n *node) string {
	g.t.Helper()
	var list []string
	for _, m := range decode[api.Members](g.t, g.must(n, "GET", "/members", "")).Members {
		text := m.ID
		if !m.Voter {
			text += " (non-voter)"
		}
		if m.Leader {
			text += " (leader)"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func (g *group) commands() uint64 { return g.nodes[0].store.Applied() }

func TestJoinAndRemove(t *testing.T) {
	g := start(t, 3, nil)
	leader, follower := g.nodes[0], g.nodes[1]
	n4 := g.newcomer("n4")
	g.do(n4, "GET", "/readyz", "").refused(t, 503, api.CodeNotReady, "knows no leader")
	g.do(n4, "PUT", "/key/k?timeout=40ms", "v").refused(t, 503, api.CodeNoLeader, "n4 knows no leader")

	g.must(follower, "POST", "/join", joinBody(n4, true))
	if got := g.memberList(leader); got != "n4 (non-voter), node1 (leader), node2, node3" {
		t.Errorf("members: %s", got)
	}
	g.do(leader, "POST", "/transfer", `{"id":"n4"}`).refused(t, 400, api.CodeBadRequest, "not a voter")
	// The newcomer serves, by the directory that it was sent.
	eventually(t, func() error {
		if r := g.do(n4, "GET", "/readyz", ""); r.StatusCode != 200 {
			return fmt.Errorf("%d %s", r.StatusCode, r.body)
		}
		return nil
	})
	g.must(n4, "PUT", "/key/k", "v")
	if r := g.must(n4, "GET", "/key/k", ""); r.body != `{"k":"v"}` {
		t.Errorf("%s", r.body)
	}

	commands, index := g.commands(), leader.replica.Status().LastIndex
	g.must(follower, "POST", "/join", joinBody(n4, true))
	if g.commands() != commands || leader.replica.Status().LastIndex != index {
		t.Error("joining again wrote something")
	}
	g.must(leader, "POST", "/join", joinBody(n4, false))
	if got := g.memberList(leader); got != "n4, node1 (leader), node2, node3" {
		t.Errorf("members: %s", got)
	}
	g.do(leader, "POST", "/join", joinBody(n4, true)).refused(t, 400, api.CodeBadRequest, "n4 is a voter")
	taken := leader.replica.Status().Address
	g.do(follower, "POST", "/join", `{"id":"n5","address":"`+taken+`","http_address":"h:1"}`).
		refused(t, 400, api.CodeBadRequest, "that of node node1")
	g.do(follower, "POST", "/join", `{"id":"n5","address":"h:1","http_address":"`+n4.address()+`"}`).
		refused(t, 400, api.CodeBadRequest, "that of node n4")

	g.must(follower, "DELETE", "/members/n4", "")
	if got := g.memberList(leader); got != "node1 (leader), node2, node3" {
		t.Errorf("members: %s", got)
	}
	if address, ok := leader.store.HTTPAddress("n4"); ok {
		t.Errorf("n4 is still announced at %s", address)
	}
	g.do(leader, "DELETE", "/members/n4", "").refused(t, 404, api.CodeNotFound, `"n4"`)
}

// TestRemoveLeader has the leader removed through itself and through a follower,
// down to the last voter.
func TestRemoveLeader(t *testing.T) {
	g := start(t, 3, nil)
	r := g.must(g.nodes[0], "DELETE", "/members/node1", "")
	second := g.leaderOf(g.nodes[1:])
	if id := r.Header.Get(api.HeaderLeaderID); id != second.id { // it has handed over first
		t.Errorf("the answer names %q as the leader, not %s", id, second.id)
	}
	asked := g.nodes[1]
	if asked == second {
		asked = g.nodes[2]
	}
	g.must(asked, "DELETE", "/members/"+second.id, "")
	if third := g.leaderOf([]*node{asked}); third != asked {
		t.Fatalf("%s leads, want %s", third.id, asked.id)
	}
	if got := g.memberList(asked); got != asked.id+" (leader)" {
		t.Errorf("members: %s", got)
	}
	g.do(asked, "DELETE", "/members/"+asked.id, "").refused(t, 400, api.CodeBadRequest, "the last voter")
	g.do(asked, "POST", "/transfer", "").refused(t, 400, api.CodeBadRequest, "the only voter")
	g.must(asked, "POST", "/transfer", `{"id":"`+asked.id+`"}`)
	g.must(asked, "PUT", "/key/k", "v")
}

// leaderOf waits until one of nodes leads.
func (g *group) leaderOf(nodes []*node) *node {
	g.t.Helper()
	var leader *node
	eventually(g.t, func() error {
		at := slices.IndexFunc(nodes, func(n *node) bool { return n.replica.Status().Role == core.Leader })
		if at < 0 {
			return fmt.Errorf("none of %d nodes leads", len(nodes))
		}
		leader = nodes[at]
		return nil
	})
	return leader
}

func TestTransfer(t *testing.T) {
	g := start(t, 3, nil)
	for i, to := range []int{1, 0, 2, 2} {
		target := g.nodes[to]
		g.must(g.nodes[i%3], "POST", "/transfer", `{"id":"`+target.id+`"}`)
		if role := target.replica.Status().Role; role != core.Leader {
			t.Errorf("%s is a %s", target.id, role)
		}
		g.must(g.nodes[(i+1)%3], "PUT", "/key/k", "v")
	}
	g.must(g.nodes[0], "POST", "/transfer", " ")
	if role := g.nodes[2].replica.Status().Role; role == core.Leader {
		t.Error("node3 leads still")
	}
	g.must(g.nodes[0], "PUT", "/key/k", "v")
}

func TestStatus(t *testing.T) {
	g := start(t, 3, nil)
	leader := g.nodes[0]
	g.must(leader, "POST", "/key", `{"a":"1","b":"2"}`)
	eventually(t, func() error { // the followers have said that they have it all
		for _, f := range decode[api.Status](t, g.must(leader, "GET", "/status", "")).Followers {
			if f.Lag == nil || *f.Lag != 0 || f.LastIndex == nil || f.LastContactMS == nil || *f.LastContactMS < 0 {
				return fmt.Errorf("%+v", f)
			}
		}
		return nil
	})
	s := decode[api.Status](t, g.must(leader, "GET", "/status", ""))
	me := s.Me
	status := leader.replica.Status()
	if me.ID != "node1" || me.Role != "leader" || !me.Voter || me.Term != status.Term || me.LastIndex != status.LastIndex ||
		me.Address != status.Address || me.HTTPAddress != leader.address() || me.Keys != 2 || me.Commands != 4 ||
		me.LastContactMS != 0 || me.Version != "test" || me.PID == 0 || me.UptimeS <= 0 || me.Transport != "tcp" ||
		me.Store.Name != "inmem" || me.Store.Durability != "nothing" || me.Store.Syncs == nil || *me.Store.Syncs != 7 {
		t.Errorf("me: %+v", me)
	}
	if s.Leader == nil || *s.Leader != me.Peer || len(s.Followers) != 2 || s.Followers[0].ID != "node2" || s.Followers[1].ID != "node3" {
		t.Errorf("%+v", s)
	}
	other := decode[api.Status](t, g.must(g.nodes[1], "GET", "/status", ""))
	if other.Leader == nil || *other.Leader != me.Peer || other.Me.Role != "follower" || other.Me.LastContactMS <= 0 {
		t.Errorf("%+v", other)
	}
	for i, f := range other.Followers {
		if n := g.nodes[i+1]; f.ID != n.id || f.HTTPAddress != n.address() || !f.Voter || f.Lag != nil || f.LastIndex != nil || f.LastContactMS != nil {
			t.Errorf("%+v", f)
		}
	}
}

func TestSnapshotAndDigest(t *testing.T) {
	g := start(t, 3, nil)
	g.must(g.nodes[0], "POST", "/key", `{"a":"1","b":"2"}`)
	var digests []api.Digest
	for _, n := range g.nodes {
		g.must(n, "GET", "/key/a", "") // it has applied all
		g.must(n, "POST", "/snapshot", "")
		if s := decode[api.Status](t, g.must(n, "GET", "/status", "")); s.Me.SnapshotIndex == 0 {
			t.Errorf("%s has no snapshot", n.id)
		}
		d := decode[api.Digest](t, g.must(n, "GET", "/digest", ""))
		if d.ID != n.id || d.Keys != 2 || d.Commands != 4 || len(d.SHA256) != 64 {
			t.Errorf("%+v", d)
		}
		d.ID = ""
		digests = append(digests, d)
	}
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Errorf("%+v", digests)
	}
}
