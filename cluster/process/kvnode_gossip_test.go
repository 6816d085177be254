package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// gossipCluster is a cluster of n kvnodes that find each other.
func gossipCluster(t *testing.T, bin string, n int, o Options) *world {
	t.Helper()
	f := newFile(t, n, clusterfile.GenerateGossip)
	f.BinPath = bin
	f.Kvnode = map[string]any{"raft": map[string]any{"heartbeat_timeout": "200ms"}}
	return newWorld(t, f, o)
}

func clientOf(t *testing.T, w *world) *client.Client {
	t.Helper()
	nodes, err := client.New(addresses(w.file.Nodes), client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nodes.Close(); err != nil {
			t.Error(err)
		}
	})
	return nodes
}

// voting wants the members to be those of the file, all with a vote and at the
// addresses of the file.
func voting(t *testing.T, w *world, nodes *client.Client) {
	t.Helper()
	members, err := nodes.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got, want []api.Member
	for _, m := range members {
		if m.Incarnation == "" {
			t.Errorf("%s is of no incarnation", m.ID)
		}
		m.Leader, m.Incarnation = false, ""
		got = append(got, m)
	}
	for _, n := range w.file.Nodes {
		want = append(want, api.Member{Peer: api.Peer{ID: n.Alias, Address: n.RPCAddress, HTTPAddress: n.HTTPAddress}, Voter: true})
	}
	slices.SortFunc(got, func(a, b api.Member) int { return strings.Compare(a.ID, b.ID) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// kvnodeGossip leads two clusters on one machine through what can happen to them;
// each of them has found its own.
func kvnodeGossip(t *testing.T, bin string) {
	ctx := context.Background()
	w, other := gossipCluster(t, bin, 5, Options{}), gossipCluster(t, bin, 3, Options{})
	keys := t.TempDir() + "/keys"
	if err := os.WriteFile(keys, []byte("MDEyMzQ1Njc4OWFiY2RlZg==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other.file.GossipKey = keys
	w.start()
	other.start()
	nodes, others := clientOf(t, w), clientOf(t, other)
	voting(t, w, nodes)
	voting(t, other, others)
	if _, err := nodes.Set(ctx, "key", []byte("of five")); err != nil {
		t.Fatal(err)
	}
	if _, err := others.Set(ctx, "key", []byte("of three")); err != nil {
		t.Fatal(err)
	}

	leader := awaitLeader(ctx, t, w)
	dead := []string{leader, "node5"}
	if leader == "node5" {
		dead[1] = "node4"
	}
	for _, alias := range dead {
		if err := w.Kill(ctx, alias); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the others take writes", func() bool {
		_, err := nodes.Set(ctx, "key", []byte("of three of five"))
		return err == nil
	})
	w.start()
	voting(t, w, nodes)
	w.stop()
	other.stop()
	w.start()
	other.start()
	voting(t, w, nodes)
	voting(t, other, others)
	for value, from := range map[string]*client.Client{"of three of five": nodes, "of three": others} {
		for _, n := range from.Nodes() {
			if v, err := n.Get(ctx, "key", client.Linearizable); err != nil || string(v.Data) != value {
				t.Errorf("%s: %q, %v, want %q", n.Endpoint(), v.Data, err, value)
			}
		}
	}
	w.stop()
	other.stop()
}

// kvnodeLost: two of three have lost their data, and a new node is in the file. They
// found nothing beside the data that is left. Nor do they vote for it: two votes of three
// are lost with what they stood for. With the data of one of them brought back there is a
// majority, which gives the other a new vote.
func kvnodeLost(t *testing.T, bin string) {
	ctx := context.Background()
	w := gossipCluster(t, bin, 3, Options{})
	w.start()
	if _, err := clientOf(t, w).Set(ctx, "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "node3 has noted its cluster", func() bool {
		_, err := os.Stat(w.statePath("node3"))
		return err == nil
	})
	w.stop()
	aside := t.TempDir()
	for _, alias := range []string{"node1", "node2"} {
		if err := os.Rename(w.Dir(alias), filepath.Join(aside, alias)); err != nil {
			t.Fatal(err)
		}
	}
	more := newFile(t, 1, clusterfile.GenerateGossip).Nodes[0]
	more.Alias = "node4"
	w.file.Nodes = append(w.file.Nodes, more)
	for _, alias := range []string{"node1", "node2"} {
		if err := w.StartNodes(ctx, alias); err != nil {
			t.Fatal(describe(err))
		}
	}
	eventually(t, "they see each other", func() bool {
		met := 0
		for _, s := range w.Status(ctx)[:2] {
			for _, p := range s.Status.Gossip {
				if p.ID != s.Node.Alias && p.State == string(discovery.Alive) {
					met++
				}
			}
		}
		return met == 2
	})
	for _, s := range w.Status(ctx)[:2] {
		if s.Status.Leader != nil || s.Status.Me.LastIndex > 0 {
			t.Errorf("%s is in a cluster of its own: %+v", s.Node.Alias, s.Status)
		}
	}
	if err := w.StopNode(ctx, "node1"); err != nil {
		t.Fatal(describe(err))
	}
	if err := errors.Join(os.RemoveAll(w.Dir("node1")), os.Rename(filepath.Join(aside, "node1"), w.Dir("node1"))); err != nil {
		t.Fatal(err)
	}
	w.start()
	nodes := clientOf(t, w)
	voting(t, w, nodes)
	for _, n := range nodes.Nodes() {
		if v, err := n.Get(ctx, "key", client.Linearizable); err != nil || string(v.Data) != "value" {
			t.Errorf("%s: %q, %v", n.Endpoint(), v.Data, err)
		}
	}
	w.stop()
}
