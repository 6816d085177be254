package process

import (
	"context"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/client"
)

// kvnodeMoved: a file may give all nodes other addresses while they are stopped, also
// where they do not gossip.
func kvnodeMoved(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := realCluster(t, bin, 3)
	w.start()
	if _, err := clientOf(t, w).Set(ctx, "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	w.stop()
	elsewhere := newFile(t, 3, clusterfile.Generate).Nodes
	for i := range w.file.Nodes {
		w.file.Nodes[i].HTTPAddress, w.file.Nodes[i].RPCAddress = elsewhere[i].HTTPAddress, elsewhere[i].RPCAddress
	}
	if err := w.Start(ctx); err != nil {
		t.Fatal(describe(err))
	}
	nodes := clientOf(t, w)
	if v, err := nodes.Get(ctx, "a", client.Linearizable); err != nil || string(v.Data) != "1" {
		t.Errorf("%q %v", v.Data, err)
	}
	eventually(t, "the configuration has the new addresses", func() bool {
		members, err := nodes.Members(ctx)
		right := 0
		for _, m := range members {
			if n, err := w.node(m.ID); err == nil && m.Address == n.RPCAddress && m.HTTPAddress == n.HTTPAddress {
				right++
			}
		}
		return err == nil && right == len(w.file.Nodes)
	})
	w.stop()
}
