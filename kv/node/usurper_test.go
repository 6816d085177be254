package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
)

// askToJoin has a newcomer ask the group of n once.
func askToJoin(t *testing.T, n *Node, id string, admitted bool) error {
	t.Helper()
	aside := startHere(t, Config{ID: "aside", Join: []string{"127.0.0.1:1"}}).replica
	m := membership{joining: true, admitted: admitted, Node: &Node{
		cfg: Config{Logger: slog.New(slog.DiscardHandler)}, id: id, incarnation: core.NewIncarnation(),
		raft: "127.0.0.1:1", http: "127.0.0.1:1", join: []string{n.http}, store: n.store, replica: aside,
	}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return m.tellGroup(ctx)
}

// startPair starts node1, which leads, and node2, which does not vote.
func startPair(t *testing.T) (leader *Node) {
	t.Helper()
	n1 := startHere(t, Config{ID: "node1"})
	n2 := startHere(t, Config{ID: "node2", Nonvoter: true, Join: []string{n1.http}})
	eventually(t, "node2 is a member", func() bool {
		_, member := n2.replica.Status().Member("node2")
		return member
	})
	return n1
}

// TestUsurper: a new node does not take over the id of a member.
func TestUsurper(t *testing.T) {
	n1 := startPair(t)
	before := n1.replica.Status().Members
	for _, id := range []string{"node1", "node2"} {
		err := askToJoin(t, n1, id, false)
		if err == nil || !strings.Contains(err.Error(), "kvnode --id ANOTHER-ID") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if after := n1.replica.Status().Members; !slices.Equal(before, after) {
		t.Errorf("members %v, before %v", after, before)
	}
}

// TestUsurperComesBack: nor does it once it has been refused and is started again.
func TestUsurperComesBack(t *testing.T) {
	n1 := startPair(t)
	before := n1.replica.Status().Members
	dir := t.TempDir()
	for range 2 {
		log := &trigger{text: "kvnode --id ANOTHER-ID"}
		refused := make(chan struct{})
		log.fire = func() { close(refused) }
		n := startLogged(t, log, Config{ID: "node2", Join: []string{n1.http}, Data: dir})
		select {
		case <-refused:
		case <-time.After(patience):
			t.Errorf("not refused:\n%s", log.String())
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}
	if after := n1.replica.Status().Members; !slices.Equal(before, after) {
		t.Errorf("members %v, before %v", after, before)
	}
}

// TestJoinWithDataOfAnotherGroup: the logs of two groups can seem to be one. A node
// whose data are of another group must not become a member with them.
func TestJoinWithDataOfAnotherGroup(t *testing.T) {
	dir := t.TempDir()
	other := startLogged(t, io.Discard, Config{ID: "node2", Data: dir})
	write := func(n *Node, key, value string) {
		t.Helper()
		if _, err := n.replica.Propose(t.Context(), kv.EncodeSet(key, []byte(value))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "node2 leads a group of its own", func() bool { return other.replica.Status().Role == core.Leader })
	eventually(t, "it is known as a member", func() bool { _, err := os.Stat(filepath.Join(dir, nodesName)); return err == nil })
	write(other, "a", "other")
	third := startLogged(t, io.Discard, Config{ID: "node3", Join: []string{other.http}}) // who is alone asks nobody
	eventually(t, "node3 votes", func() bool { m, _ := other.replica.Status().Member("node3"); return m.Voter })
	for _, n := range []*Node{third, other} {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}

	n1 := startHere(t, Config{ID: "node1"})
	eventually(t, "node1 leads", func() bool { return n1.replica.Status().Role == core.Leader })
	eventually(t, "node1 is announced", func() bool { _, ok := n1.store.HTTPAddress("node1"); return ok })
	for _, value := range []string{"1", "2", "3"} {
		write(n1, "a", value)
	}
	log := &trigger{text: "in a new directory"}
	refused := make(chan struct{})
	log.fire = func() { close(refused) }
	n := startLogged(t, log, Config{ID: "node2", Join: []string{n1.http}, Data: dir})
	select {
	case <-refused:
	case <-time.After(patience):
		t.Errorf("not refused:\n%s", log.String())
	}
	if members := n1.replica.Status().Members; len(members) != 1 {
		t.Errorf("members %v", members)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// TestRemovedWhileCatchingUp: who removes a node means it, also before the node
// has learned that it was a member.
func TestRemovedWhileCatchingUp(t *testing.T) {
	n1 := startHere(t, Config{ID: "node1"})
	err := askToJoin(t, n1, "node9", true)
	if err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("%v", err)
	}
	if _, member := n1.replica.Status().Member("node9"); member {
		t.Error("it is a member again")
	}
	group, err := client.New([]string{n1.http}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	if err := group.Remove(t.Context(), "node9"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestLostLog: without its log a member does not come back, also where a snapshot
// is left.
func TestLostLog(t *testing.T) {
	dir := t.TempDir()
	cfg := config(t, Config{ID: "node1", Data: dir})
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is known as a member", func() bool {
		_, err := os.Stat(filepath.Join(dir, nodesName))
		return err == nil
	})
	if err := n.replica.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first failure must not make the second start succeed
		n, err := Start(t.Context(), cfg)
		if err == nil {
			t.Fatal("it started", n.Stop())
		}
		if !strings.Contains(err.Error(), "Bring the log back") {
			t.Error(err)
		}
	}
}
