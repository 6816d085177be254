package process

import (
	"context"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// kvnodeJoins: under load the leader takes a snapshot and cuts its log, a new node
// joins from the snapshot, and a follower is killed and comes back; then every
// acknowledged write is read back from every node.
func kvnodeJoins(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := gossipCluster(t, bin, 3, Options{})
	w.file.Kvnode["raft"] = map[string]any{"heartbeat_timeout": "200ms", "trailing_logs": 4}
	w.start()
	founders := clientOf(t, w)
	load := startLoad(ctx, t, founders, audit.Parameters{
		Seed: 1, Workers: 8, KeysPerWorker: 100, ValueBytes: 10_000, BatchShare: 0.1, DeleteShare: 0.1})
	leader := awaitLeader(ctx, t, w)
	grown := func(by uint64) {
		t.Helper()
		var target uint64
		eventually(t, "the log grows", func() bool {
			s, err := founders.Status(ctx)
			if err == nil && target == 0 {
				target = s.Me.CommitIndex + by
			}
			return err == nil && s.Me.CommitIndex >= target
		})
	}

	grown(300)
	if err := founders.Node(httpAddress(t, w, leader)).Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	fourth := newFile(t, 1, clusterfile.GenerateGossip).Nodes[0]
	fourth.Alias = "node4"
	w.file.Nodes = append(w.file.Nodes, fourth)
	if err := w.StartNodes(ctx, "node4"); err != nil {
		t.Fatal(describe(err))
	}
	grown(50)
	follower := "node2"
	if leader == follower {
		follower = "node3"
	}
	if err := w.Kill(ctx, follower); err != nil {
		t.Fatal(err)
	}
	grown(50)
	if err := w.StartNodes(ctx, follower); err != nil {
		t.Fatal(describe(err))
	}

	result := load.end()
	t.Logf("%d writes acknowledged, %d of unknown outcome; longest stall %v", result.Acknowledged, result.Unknown, result.LongestStall)
	nodes := clientOf(t, w)
	voting(t, w, nodes)
	status, err := nodes.Node(fourth.HTTPAddress).Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status.Me.SnapshotIndex == 0 {
		t.Error("node4 has not got a snapshot: the test did not test what it is for")
	}
	check(ctx, t, nodes, load.journal)
	w.stop()
}

func httpAddress(t *testing.T, w *world, alias string) string {
	t.Helper()
	n, err := w.node(alias)
	if err != nil {
		t.Fatal(err)
	}
	return n.HTTPAddress
}
