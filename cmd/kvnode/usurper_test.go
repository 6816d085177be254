package main

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

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
)

// askToJoin has a newcomer, m, ask the group of n once.
func askToJoin(t *testing.T, n *node, m membership) error {
	t.Helper()
	aside := startHere(t, "--id", "aside").replica
	m.raft, m.http, m.seeds, m.joining = "127.0.0.1:1", "127.0.0.1:1", []string{n.http}, true
	m.store, m.replica, m.logger = n.store, aside, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return m.tellGroup(ctx)
}

// TestUsurper: a new node does not take over the id of a member.
func TestUsurper(t *testing.T) {
	n1 := startHere(t, "--id", "node1")
	n2 := startHere(t, "--id", "node2", "--nonvoter", "--join", n1.http)
	eventually(t, "node2 is a member", func() bool {
		_, member := find(n2.replica.Status().Members, "node2")
		return member
	})
	before := n1.replica.Status().Members
	for _, id := range []string{"node1", "node2"} {
		err := askToJoin(t, n1, membership{id: id, fresh: true})
		if err == nil || !strings.Contains(err.Error(), "another --id") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if after := n1.replica.Status().Members; !slices.Equal(before, after) {
		t.Errorf("members %v, before %v", after, before)
	}
}

// TestRemovedWhileCatchingUp: who removes a node means it, also before the node
// has learned that it was a member.
func TestRemovedWhileCatchingUp(t *testing.T) {
	n1 := startHere(t, "--id", "node1")
	err := askToJoin(t, n1, membership{id: "node9", admitted: true})
	if err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("%v", err)
	}
	if _, member := find(n1.replica.Status().Members, "node9"); member {
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
	s := mustParse(t, "", "--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", dir)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	n, err := start(t.Context(), s, quiet)
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
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first failure must not make the second start succeed
		n, err := start(t.Context(), s, quiet)
		if err == nil {
			t.Fatal("it started", n.stop())
		}
		if !strings.Contains(err.Error(), "bring the log back") {
			t.Error(err)
		}
	}
}
