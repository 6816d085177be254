package steward_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/discovery/steward"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// node is all of a kvnode but its HTTP side, put together as there.
type node struct {
	place
	self    discovery.Self
	agent   *gossip.Agent
	replica core.Replica
	steward *steward.Steward
	data    *kv.Store
	log     *journal // of the engine and the steward
}

// place is how a node is started.
type place struct {
	id, dir string
	cluster string // empty: test
	raft    string // empty: any free address
	expect  int
	join    []string
}

// free is an address on a host that nobody else takes a port of until the test is over, so
// that a node can come back to its port, or another take it.
func free(t *testing.T) string {
	t.Helper()
	host, release, err := clustertest.Host()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return net.JoinHostPort(host, "0")
}

// startNode starts a node in dir. It returns before the node has found the others;
// ready is closed when its replica runs.
func startNode(t *testing.T, p place) (n *node, ready chan struct{}) {
	t.Helper()
	n = &node{place: p, data: kv.New(), log: &journal{}}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), n.log), nil)).With("on", p.id)
	link, err := tcp.New(tcp.Options{}).Listen(cmp.Or(p.raft, free(t)))
	if err != nil {
		t.Fatal(err)
	}
	logs, err := bolt.Open(filepath.Join(p.dir, "log"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	n.self = identify(t, logs)
	n.self.RaftAddress, n.self.HTTPAddress, n.self.Voter = link.Address(), "http."+link.Address(), true
	n.agent, err = gossip.Start(t.Context(), gossip.Config{
		ID: p.id, Cluster: cmp.Or(p.cluster, "test"), Self: n.self, Bind: free(t), Join: p.join, Expect: p.expect,
		Memory: gossip.FileStore(filepath.Join(p.dir, "founding.json")), Profile: gossip.Local(), Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	ready = make(chan struct{})
	go func() {
		defer close(ready)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		if err := n.run(ctx, logs, link, logger); err != nil {
			t.Error(err)
		}
	}()
	return n, ready
}

// identify tells of a store's data whose they are, and imprints one without any.
func identify(t *testing.T, logs core.LogStore) (self discovery.Self) {
	t.Helper()
	last, err := logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	self.HasState = last > 0
	if self.Group, err = core.ImprintedGroup(logs); err != nil {
		t.Fatal(err)
	}
	if self.Incarnation, err = core.Imprint(logs, "", self.HasState); err == nil && self.Incarnation == "" {
		self.Incarnation, err = core.Imprint(logs, core.NewIncarnation(), self.HasState)
	}
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func (n *node) run(ctx context.Context, logs core.LogStore, link core.Link, logger *slog.Logger) error {
	members, err := n.agent.Bootstrap(ctx)
	if err != nil {
		return err
	}
	n.replica, err = hashicorp.Engine{}.Start(core.ReplicaConfig{
		ID: n.id, Incarnation: n.self.Incarnation, Service: n.self.HTTPAddress, FSM: n.data, Logs: logs, Link: link,
		SnapshotDir: n.dir, Bootstrap: members, Locate: n.agent.RaftAddress, Logger: logger,
		Tuning: core.Tuning{HeartbeatTimeout: 500 * time.Millisecond, CommitTimeout: 10 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	n.agent.Know(func() []core.Member { return n.replica.Status().Members })
	n.steward, err = steward.Start(steward.Config{
		Replica: n.replica, Peers: n.agent, Logger: logger,
		LastContact: time.Second, Stabilization: 100 * time.Millisecond, Interval: 50 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	for len(n.replica.Status().Members) == 0 && ctx.Err() == nil { // waits to be added
		time.Sleep(5 * time.Millisecond)
	}
	self := n.self
	self.HasState, self.Group = true, n.replica.Status().Group
	return n.agent.Announce(self)
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(n.steward.Close(), n.replica.Close(), n.agent.Close()); err != nil {
		t.Error(n.id, err)
	}
}

// members is the configuration, once all nodes have the same and one of them leads: then
// it stays, whichever of them stops.
func members(nodes map[string]*node) string {
	seen, led := map[string]bool{}, false
	for _, n := range nodes {
		status := n.replica.Status()
		led = led || status.Role == core.Leader
		var s []string
		for _, m := range status.Members {
			if !m.Voter {
				m.ID += "(reader)"
			}
			s = append(s, m.ID)
		}
		seen[strings.Join(s, " ")] = true
	}
	if !led || len(seen) != 1 {
		return "not agreed"
	}
	return slices.Collect(maps.Keys(seen))[0]
}

func write(t *testing.T, nodes map[string]*node, key string) {
	t.Helper()
	await(t, "write "+key, func() bool {
		for _, n := range nodes {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := n.replica.Propose(ctx, kv.EncodeSet(key, []byte("v")))
			cancel()
			if err == nil {
				return true
			}
		}
		return false
	})
}

func awaitKey(t *testing.T, n *node, key string) {
	t.Helper()
	await(t, n.id+" has "+key, func() bool { _, _, ok := n.data.Get(key); return ok })
}

// crowd is nodes that gossip, by id.
type crowd map[string]*node

// found starts nodes of a new group, in the folders of dir, and waits until they are one.
func found(t *testing.T, dir string, nodes int, change func(*place)) crowd {
	t.Helper()
	c := crowd{}
	var waiting sync.WaitGroup
	var join []string
	var ids []string
	for i := range nodes {
		p := place{id: fmt.Sprintf("node%d", i+1), expect: nodes, join: join}
		p.dir = folder(t, dir, p.id)
		if change != nil {
			change(&p)
		}
		n, ready := startNode(t, p)
		c[p.id], join = n, []string{n.agent.Address()}
		ids = append(ids, p.id)
		waiting.Go(func() { <-ready })
	}
	t.Cleanup(func() { c.stop(t) })
	waiting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	all := strings.Join(ids, " ")
	await(t, all, func() bool { return members(c) == all })
	return c
}

func folder(t *testing.T, dir, id string) string {
	t.Helper()
	path := filepath.Join(dir, id)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c crowd) stop(t *testing.T) {
	for id, n := range c {
		n.stop(t)
		delete(c, id)
	}
}

// leader waits for one of them to lead.
func (c crowd) leader(t *testing.T) *node {
	t.Helper()
	var leader *node
	await(t, "a leader", func() bool {
		for _, n := range c {
			if n.replica.Status().Role == core.Leader {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// start starts a node and waits until its replica runs.
func (c crowd) start(t *testing.T, p place) *node {
	t.Helper()
	n, ready := startNode(t, p)
	<-ready
	if t.Failed() {
		t.FailNow()
	}
	c[p.id] = n
	return n
}

// TestWithGossip is the life of a cluster: five nodes found it, a sixth joins and
// leaves, two crash and come back on other ports.
func TestWithGossip(t *testing.T) {
	dir := t.TempDir()
	nodes := found(t, dir, 5, nil)
	const five = "node1 node2 node3 node4 node5"
	write(t, nodes, "first")

	join := []string{nodes["node3"].agent.Address()}
	sixth := nodes.start(t, place{id: "node6", dir: folder(t, dir, "node6"), join: join})
	await(t, "the sixth votes", func() bool { return members(nodes) == five+" node6" })
	awaitKey(t, sixth, "first")
	if err := sixth.agent.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the sixth is gone", func() bool { return members(nodes) == five })
	sixth.stop(t)
	delete(nodes, "node6")

	var gone []place
	for _, id := range []string{"node2", "node4"} {
		gone = append(gone, nodes[id].place)
		nodes[id].stop(t) // to the others as good as killed: gossip says no word
		delete(nodes, id)
	}
	write(t, nodes, "meanwhile")
	for _, p := range gone {
		p.join = []string{nodes["node1"].agent.Address()}
		awaitKey(t, nodes.start(t, p), "meanwhile")
	}
	await(t, five, func() bool { return members(nodes) == five })
}

// TestWipedUnderGossip: a voter's folder is emptied, and it comes back under its id and
// address as it was started at first.
func TestWipedUnderGossip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nodes := found(t, dir, 3, nil)
	leader := nodes.leader(t)
	lost := nodes["node3"]
	if lost == leader {
		lost = nodes["node2"]
	}
	p, old := lost.place, lost.self
	lost.stop(t)
	delete(nodes, p.id)
	write(t, nodes, "meanwhile")
	if err := os.RemoveAll(p.dir); err != nil {
		t.Fatal(err)
	}
	p.dir, p.raft, p.join = folder(t, dir, p.id), old.RaftAddress, []string{leader.agent.Address()}
	back := nodes.start(t, p)
	awaitKey(t, back, "meanwhile")
	await(t, "all vote", func() bool { return members(nodes) == "node1 node2 node3" })
	for _, m := range leader.replica.Status().Members {
		if m.ID == p.id && (m.Incarnation != back.self.Incarnation || m.Incarnation == old.Incarnation) {
			t.Errorf("%+v votes; it is %+v now and was %+v", m, back.self, old)
		}
	}
	write(t, nodes, "after")
}

// TestStrayOfAnotherGroup: a group has the ids and ports of an earlier one, of which a
// node is started on a free port. What the stray has in its configuration leads to the
// new group, whose nodes hear of it by gossip too, where it has their cluster's name.
func TestStrayOfAnotherGroup(t *testing.T) {
	for _, cluster := range []string{"test", "other"} {
		t.Run("cluster "+cluster, func(t *testing.T) {
			t.Parallel()
			earlier := found(t, t.TempDir(), 3, func(p *place) { p.cluster = cluster })
			write(t, earlier, "earlier")
			stray := earlier["node1"].place
			ports := map[string]string{}
			for id, n := range earlier {
				ports[id] = n.self.RaftAddress
			}
			earlier.stop(t)

			nodes := found(t, t.TempDir(), 3, func(p *place) { p.raft = ports[p.id] })
			write(t, nodes, "new")
			await(t, "node1 leads, for which the stray could be taken", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				leader := nodes.leader(t)
				return leader.id == "node1" || leader.replica.TransferLeadership(ctx, "node1") == nil
			})
			stray.raft, stray.join = "", []string{nodes["node2"].agent.Address()}
			earlier.start(t, stray)
			nodes.holdOut(t, earlier["node1"], cluster == "test")
			if cluster == "test" {
				nodes.outlive(t, earlier["node1"])
			}
			if _, _, mixed := earlier["node1"].data.Get("new"); mixed {
				t.Error("the stray has what was written to the new group")
			}
		})
	}
}

// holdOut waits until the stray has tried, and sees that nobody takes it for node1.
func (c crowd) holdOut(t *testing.T, stray *node, gossips bool) {
	t.Helper()
	await(t, "the stray is refused", func() bool {
		return c["node2"].log.count("refused what comes from no member of this group")+c["node3"].log.count("refused what comes from no member of this group") > 0
	})
	if gossips {
		await(t, "the stray is noticed", func() bool {
			return c["node2"].log.count("announces another address")+c["node3"].log.count("announces another address") > 0
		})
	}
	for i := range 20 {
		write(t, c, fmt.Sprintf("beside the stray %d", i))
		if role := stray.replica.Status().Role; role == core.Leader {
			t.Fatal("the stray leads")
		}
	}
	for _, id := range []string{"node2", "node3"} {
		want := c["node1"].self
		if at, _ := c[id].agent.HTTPAddress("node1"); at != want.HTTPAddress {
			t.Errorf("%s takes %s for node1's HTTP address, which is %s", id, at, want.HTTPAddress)
		}
		if at, _ := c[id].agent.RaftAddress("node1"); at != want.RaftAddress {
			t.Errorf("%s takes %s for node1's Raft address, which is %s", id, at, want.RaftAddress)
		}
		if _, _, mixed := c[id].data.Get("earlier"); mixed {
			t.Errorf("%s has data of the earlier group", id)
		}
	}
}

// outlive stops node1, so that the stray is all that gossips under its id, and has it come
// back at another address.
func (c crowd) outlive(t *testing.T, stray *node) {
	t.Helper()
	p := c["node1"].place
	c["node1"].stop(t)
	delete(c, "node1")
	for _, n := range c {
		await(t, n.id+" hears only of the stray", func() bool {
			for _, other := range n.agent.Peers() {
				if other.ID == "node1" {
					return other.State == discovery.Alive && other.Incarnation == stray.self.Incarnation
				}
			}
			return false
		})
		if at, known := n.agent.HTTPAddress("node1"); known {
			t.Errorf("%s takes %s for node1's HTTP address", n.id, at)
		}
		if at, known := n.agent.RaftAddress("node1"); known {
			t.Errorf("%s takes %s for node1's Raft address", n.id, at)
		}
	}
	write(t, c, "without node1")
	p.raft, p.join = "", []string{c["node2"].agent.Address()}
	back := c.start(t, p)
	awaitKey(t, back, "without node1")
	await(t, "node1 is where it is now", func() bool {
		for _, m := range c.leader(t).replica.Status().Members {
			if m.ID == "node1" {
				return m.Address == back.self.RaftAddress && m.Incarnation == back.self.Incarnation && m.Voter
			}
		}
		return false
	})
}
