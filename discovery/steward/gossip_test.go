package steward_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
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
	id      string
	dir     string
	agent   *gossip.Agent
	replica core.Replica
	steward *steward.Steward
	data    *kv.Store
}

// startNode starts a node in dir. It returns before the node has found the others;
// ready is closed when its replica runs.
func startNode(t *testing.T, id, dir string, expect int, join ...string) (n *node, ready chan struct{}) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil)).With("on", id)
	link, err := tcp.New(tcp.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	logs, err := bolt.Open(filepath.Join(dir, "log"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	last, err := logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	self := discovery.Self{RaftAddress: link.Address(), Voter: true, HasState: last > 0}
	n = &node{id: id, dir: dir, data: kv.New()}
	n.agent, err = gossip.Start(t.Context(), gossip.Config{
		ID: id, Cluster: "test", Self: self, Bind: "127.0.0.1:0", Join: join, Expect: expect,
		Memory: gossip.FileStore(filepath.Join(dir, "founding.json")), Profile: gossip.Local(), Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	ready = make(chan struct{})
	go func() {
		defer close(ready)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		members, err := n.agent.Bootstrap(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		n.replica, err = hashicorp.Engine{}.Start(core.ReplicaConfig{
			ID: id, FSM: n.data, Logs: logs, Link: link, SnapshotDir: dir, Bootstrap: members,
			Tuning: core.Tuning{HeartbeatTimeout: 500 * time.Millisecond, CommitTimeout: 10 * time.Millisecond},
		})
		if err != nil {
			t.Error(err)
			return
		}
		n.steward, err = steward.Start(steward.Config{
			Replica: n.replica, Peers: n.agent, Logger: logger,
			LastContact: time.Second, Stabilization: 100 * time.Millisecond, Interval: 50 * time.Millisecond,
		})
		if err != nil {
			t.Error(err)
			return
		}
		for len(n.replica.Status().Members) == 0 && ctx.Err() == nil { // waits to be added
			time.Sleep(5 * time.Millisecond)
		}
		self.HasState = true
		if err := n.agent.Announce(self); err != nil {
			t.Error(err)
		}
	}()
	return n, ready
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

// TestWithGossip is the life of a cluster: five nodes found it, a sixth joins and
// leaves, two crash and come back on other ports.
func TestWithGossip(t *testing.T) {
	nodes := map[string]*node{}
	defer func() {
		for _, n := range nodes {
			n.stop(t)
		}
	}()
	dir := func(id string) string {
		path := filepath.Join(t.TempDir(), id)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	join := ""
	var waiting sync.WaitGroup
	for i := range 5 {
		id := fmt.Sprintf("node%d", i+1)
		var known []string
		if join != "" {
			known = []string{join}
		}
		n, ready := startNode(t, id, dir(id), 5, known...)
		nodes[id], join = n, n.agent.Address()
		waiting.Go(func() { <-ready })
	}
	waiting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	const five = "node1 node2 node3 node4 node5"
	await(t, five, func() bool { return members(nodes) == five })
	write(t, nodes, "first")

	sixth, ready := startNode(t, "node6", dir("node6"), 0, join)
	<-ready
	nodes["node6"] = sixth
	await(t, "the sixth votes", func() bool { return members(nodes) == five+" node6" })
	awaitKey(t, sixth, "first")
	if err := sixth.agent.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the sixth is gone", func() bool { return members(nodes) == five })
	sixth.stop(t)
	delete(nodes, "node6")

	for _, id := range []string{"node2", "node4"} {
		nodes[id].stop(t) // to the others as good as killed: gossip says no word
	}
	two, four := nodes["node2"], nodes["node4"]
	delete(nodes, "node2")
	delete(nodes, "node4")
	write(t, nodes, "meanwhile")
	for _, n := range []*node{two, four} {
		back, ready := startNode(t, n.id, n.dir, 5, nodes["node1"].agent.Address())
		<-ready
		nodes[n.id] = back
		awaitKey(t, back, "meanwhile")
	}
	await(t, five, func() bool { return members(nodes) == five })
}
