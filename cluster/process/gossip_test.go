package process

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// gossiping is a cluster of n stand-ins without a leader in its file.
func gossiping(t *testing.T, n int, o Options, change map[string]map[string]any) *world {
	t.Helper()
	return standInsOf(t, newFile(t, n, clusterfile.GenerateGossip), o, change)
}

// introduced returns what a node was last told of gossip.
func (w *world) introduced(alias string) string {
	w.t.Helper()
	eventually(w.t, alias+" says what it was told", func() bool { return strings.Contains(w.log(alias), "gossip ") })
	lines := strings.Split(strings.TrimSpace(w.log(alias)), "\n")
	return lines[len(lines)-1]
}

// introduction is what a node is to be told.
func (w *world) introduction(alias string, expect int) string {
	var others []string
	own := ""
	for _, n := range w.file.Nodes {
		if n.Alias == alias {
			own = n.GossipAddress
		} else {
			others = append(others, n.GossipAddress)
		}
	}
	return fmt.Sprintf("gossip %s join %s expect %d cluster %s key %q profile %q",
		own, strings.Join(others, ","), expect, w.file.ClusterName, w.file.GossipKey, "local")
}

func (w *world) wantIntroduced(expect int, aliases ...string) {
	w.t.Helper()
	for _, alias := range aliases {
		if got, want := w.introduced(alias), w.introduction(alias, expect); got != want {
			w.t.Errorf("%s:\n got %s\nwant %s", alias, got, want)
		}
	}
}

func TestGossipStart(t *testing.T) {
	ctx := context.Background()
	w := gossiping(t, 3, Options{}, nil)
	w.file.GossipKey = "keys"
	if err := w.StartNodes(ctx, "node1"); err == nil || !strings.Contains(err.Error(), "3 nodes found it together") {
		t.Fatal(err)
	}
	w.start()
	events := w.take()
	slices.Sort(events[6:])
	expect(t, events, "starting node1", "started node1", "starting node2", "started node2", "starting node3", "started node3",
		"ready node1", "ready node2", "ready node3")
	w.wantIntroduced(3, "node1", "node2", "node3")

	w.stop()
	w.start() // who has state founds nothing
	w.wantIntroduced(0, "node1", "node2", "node3")

	// Two lose their state, and a fourth is new: one with state is left, so they
	// must not found a second cluster.
	w.stop()
	for _, alias := range []string{"node1", "node2"} {
		if err := os.RemoveAll(w.Dir(alias)); err != nil {
			t.Fatal(err)
		}
	}
	more := newFile(t, 1, clusterfile.GenerateGossip).Nodes[0]
	more.Alias = "node4"
	w.file.Nodes = append(w.file.Nodes, more)
	w.file.Kvnode["members"] = append(w.file.Kvnode["members"].([]any), "node4")
	w.start()
	w.wantIntroduced(0, "node1", "node2", "node3", "node4")
}

// TestGossipOfVoters: who does not vote is not counted, and founds nothing.
func TestGossipOfVoters(t *testing.T) {
	w := gossiping(t, 3, Options{}, map[string]map[string]any{"node3": {"nonvoter": true, "voteless": true}})
	w.start()
	w.wantIntroduced(2, "node1", "node2")
	w.wantIntroduced(0, "node3")
}

// TestGossipAgain: what failed half way is done again, as long as nobody has
// founded the cluster.
func TestGossipAgain(t *testing.T) {
	ctx := context.Background()
	w := gossiping(t, 3, Options{}, map[string]map[string]any{"node1": {"waiting": true}, "node2": {"waiting": true}, "node3": {"fail": true}})
	if err := w.Start(ctx); err == nil {
		t.Fatal("node3 was to fail")
	}
	w.file.Nodes[2].Kvnode = map[string]any{"inmemory": true}
	if err := w.StartNodes(ctx, "node3"); err != nil { // the last of three
		t.Fatal(describe(err))
	}
	w.wantIntroduced(3, "node1", "node2", "node3")
	if err := w.Kill(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	w.start() // node3 keeps nothing on disk, but says that it has entries
	w.wantIntroduced(0, "node1")
}

func TestGossipVote(t *testing.T) {
	for name, c := range map[string]struct {
		node2 map[string]any
		want  string
	}{
		"no vote yet":          {map[string]any{"voteless": true}, "node2 has no vote yet"},
		"in the configuration": {map[string]any{"unvoted": []string{"node2"}}, "node2 does not count the votes of node2 yet"},
		"wants no vote":        {map[string]any{"voteless": true, "nonvoter": true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := gossiping(t, 2, Options{ReadyTimeout: 2 * time.Second}, map[string]map[string]any{"node2": c.node2})
			err := w.Start(context.Background())
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

// TestProfile: nodes of one machine get the timings for one, unless the file says otherwise.
func TestProfile(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*clusterfile.File)
		want   bool
	}{
		"this machine":        {func(*clusterfile.File) {}, true},
		"by name":             {func(f *clusterfile.File) { f.Nodes[1].GossipAddress = "LocalHost:7000" }, true},
		"by IPv6":             {func(f *clusterfile.File) { f.Nodes[1].GossipAddress = "[::1]:7000" }, true},
		"one is on a network": {func(f *clusterfile.File) { f.Nodes[1].GossipAddress = "192.0.2.1:7000" }, false},
		"a name":              {func(f *clusterfile.File) { f.Nodes[1].GossipAddress = "host:7000" }, false},
		"one's raft is":       {func(f *clusterfile.File) { f.Nodes[1].RPCAddress = "192.0.2.1:7000" }, false},
		"the file says it":    {func(f *clusterfile.File) { f.Kvnode = map[string]any{"profile": "lan"} }, false},
		"in the old way":      {func(f *clusterfile.File) { f.Kvnode = map[string]any{"gossip_profile": "lan"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, 2, clusterfile.GenerateGossip)
			c.change(f)
			if flags := New(f, Options{}).profile(f.Nodes[0]); slices.Contains(flags, "-profile") != c.want {
				t.Error(flags)
			}
		})
	}
}
