package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/client"
)

// TestMixedGroups: a client that is given nodes of two groups writes to one of them only,
// that which it was told or which has answered first, also when it has to look for
// another node.
func TestMixedGroups(t *testing.T) {
	ours, other := startGroup(t), startGroup(t)
	ctx := within(t, 60*time.Second)
	set := func(c *client.Client, key string) {
		t.Helper()
		_, err := c.Set(ctx, key, []byte("v"))
		for errors.Is(err, client.ErrOutcomeUnknown) { // a connection that has just been closed
			_, err = c.Set(ctx, key, []byte("v"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := other.Nodes[0].Map.Applied()

	told, err := client.New(append(other.endpoints[:3:3], ours.endpoints...), client.Options{Group: ours.Nodes[0].Replica.Status().Group})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	set(told, "told")

	first := open(t, ours.endpoints[0], ours.endpoints[0], other.endpoints[0], other.endpoints[1], other.endpoints[2], ours.endpoints[1], ours.endpoints[2])
	if _, err := first.Node(ours.endpoints[0]).Status(ctx); err != nil {
		t.Fatal(err)
	}
	for first.Leader() != ours.endpoints[0] { // whom it asks first
		if _, err := first.Members(ctx); err != nil {
			t.Fatal(err)
		}
	}
	set(first, "first")
	leader := ours.Nodes[0]
	if err := leader.Replica.TransferLeadership(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := ours.servers[leader.ID].Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		set(first, "later")
	}
	if applied := other.Nodes[0].Map.Applied(); applied != before {
		t.Errorf("the other group has taken %d writes", applied-before)
	}
	for _, key := range []string{"told", "first", "later"} {
		if _, _, ok := ours.Nodes[1].Map.Get(key); !ok {
			if _, err := open(t, ours.endpoints[1:]...).Get(ctx, key, client.Linearizable); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
}
