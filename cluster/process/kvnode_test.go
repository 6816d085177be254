package process

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/kv/client"
)

func TestKvnode(t *testing.T) {
	bin := filepath.Dir(clustertest.Program(t, "kvnode"))
	t.Run("life", func(t *testing.T) { kvnodeLife(t, bin) })
	t.Run("refused", func(t *testing.T) { kvnodeRefused(t, bin) })
	t.Run("gossip", func(t *testing.T) { kvnodeGossip(t, bin) })
	t.Run("lost", func(t *testing.T) { kvnodeLost(t, bin) })
	t.Run("moved", func(t *testing.T) { kvnodeMoved(t, bin) })
	t.Run("joins", func(t *testing.T) { kvnodeJoins(t, bin) })
}

// realCluster is a cluster of n kvnodes.
func realCluster(t *testing.T, bin string, n int) *world {
	t.Helper()
	f := newFile(t, n, clusterfile.Generate)
	f.BinPath = bin
	f.Kvnode = map[string]any{"raft": map[string]any{"heartbeat_timeout": "200ms"}}
	f.Nodes[0].Kvnode = map[string]any{"log-level": "debug"}
	return newWorld(t, f, Options{})
}

// kvnodeLife leads a cluster through what can happen to it.
func kvnodeLife(t *testing.T, bin string) {
	ctx := context.Background()
	w := realCluster(t, bin, 3)
	nodes, err := client.New(addresses(w.file.Nodes), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	read := func(key string) {
		t.Helper()
		v, err := nodes.Get(ctx, key, client.Linearizable)
		if err != nil || string(v.Data) != key {
			t.Fatalf("%s: %q, %v", key, v.Data, err)
		}
	}
	write := func(key string) {
		t.Helper()
		eventually(t, "written: "+key, func() bool { // nobody else writes, so again does no harm
			_, err := nodes.Set(ctx, key, []byte(key))
			return err == nil
		})
	}

	w.start()
	write("first")
	if s := w.Status(ctx); s[0].Status.Me.Role != "leader" || len(s[2].Status.Followers) != 2 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(w.log("node1"), "DEBUG") || strings.Contains(w.log("node2"), "DEBUG") {
		t.Error("the settings of node1 alone ask for debug")
	}

	w.stop()
	for _, n := range w.file.Nodes {
		if w.inspect(n.Alias).Running {
			t.Errorf("%s still runs", n.Alias)
		}
	}
	w.start()
	read("first")

	// The leader crashes, and its folder is lost: it must come back into the
	// cluster that it founded, not found another.
	if err := w.Kill(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	write("second")
	w.stop()
	if err := os.RemoveAll(w.Dir("node1")); err != nil {
		t.Fatal(err)
	}
	w.start()
	read("first")
	read("second")
	eventually(t, "node1 holds what the others hold", func() bool {
		var digests []string
		for _, n := range nodes.Nodes() {
			d, err := n.Digest(ctx)
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, d.SHA256)
		}
		return len(slices.Compact(digests)) == 1
	})

	follower := "node3"
	if w.leaderOf(w.Status(ctx)) == follower {
		follower = "node2"
	}
	if err := w.Pause(ctx, follower); err != nil {
		t.Fatal(err)
	}
	write("third")
	if err := w.Resume(ctx, follower); err != nil {
		t.Fatal(err)
	}
	w.start() // until it is back

	if err := w.StopNode(ctx, follower); err != nil {
		t.Fatal(err)
	}
	if err := w.StartNodes(ctx, follower); err != nil {
		t.Fatal(describe(err))
	}
	read("third")
	w.stop()
}

// kvnodeRefused: what a node says of its settings reaches the caller.
func kvnodeRefused(t *testing.T, bin string) {
	w := realCluster(t, bin, 1)
	w.file.Kvnode["backend"] = "blot"
	err := w.Start(context.Background())
	all := startErrors(err)
	if len(all) != 1 || len(all[0].Tail) == 0 || !strings.Contains(all[0].Tail[0], "bolt") ||
		!strings.Contains(all[0].Tail[0], filepath.Join(w.Dir("node1"), "kvnode.toml")) {
		t.Error(describe(err))
	}
}
