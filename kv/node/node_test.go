package node

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// TestExpelled: an engine that its own removal ends takes the node down.
func TestExpelled(t *testing.T) {
	n1 := startHere(t, Config{ID: "node1"})
	n2 := startHere(t, Config{ID: "node2", Join: []string{n1.http}})
	eventually(t, "node2 votes", func() bool {
		m, _ := n2.replica.Status().Member("node2")
		return m.Voter
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n1.replica.Remove(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if err := n1.Wait(ctx); err == nil || !strings.Contains(err.Error(), "removed from its group") {
		t.Errorf("%v", err)
	}
	eventually(t, "node2 leads", func() bool { return n2.replica.Status().Role == core.Leader })
}

// TestFoundersLeadAtOnce: without the wait for an election timeout, here 1 h.
func TestFoundersLeadAtOnce(t *testing.T) {
	n := startHere(t, Config{ID: "node1", Tuning: core.Tuning{HeartbeatTimeout: time.Hour}})
	eventually(t, "node1 leads", func() bool { return n.replica.Status().Role == core.Leader })
	eventually(t, "node1 is in the directory", func() bool {
		address, ok := n.store.HTTPAddress("node1")
		return ok && address == n.http
	})
}

// TestForgottenAddress: what the directory has lost is put back.
func TestForgottenAddress(t *testing.T) {
	n := startHere(t, Config{ID: "node1", HTTPAdvertise: "example.org:0"})
	known := func() bool { _, ok := n.store.HTTPAddress("node1"); return ok }
	eventually(t, "node1 is in the directory", known)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	forget, err := kv.EncodeAnnounce("node1", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.replica.Propose(ctx, forget); err != nil {
		t.Fatal(err)
	}
	eventually(t, "node1 is back in the directory", known)
	if address, _ := n.store.HTTPAddress("node1"); !strings.HasPrefix(address, "example.org:") || strings.HasSuffix(address, ":0") {
		t.Errorf("address %s", address)
	}
}

// TestState: a node knows whether its folder holds anything to go on with.
func TestState(t *testing.T) {
	cfg := config(t, Config{ID: "node1"})
	for _, want := range []bool{false, true} {
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n.hasState != want {
			t.Errorf("has state: %t", n.hasState)
		}
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoneliness: a node that has had no leader for long says so once, and again after it
// had one; one that is in no group yet does not.
func TestLoneliness(t *testing.T) {
	at := time.Now()
	l := loneliness{since: at}
	alone := core.Status{Members: []core.Member{{ID: "n1"}}}
	led := core.Status{Members: alone.Members, LeaderID: "n1"}
	for i, step := range []struct {
		after  time.Duration
		status core.Status
		want   bool
	}{
		{longAlone - 1, alone, false}, {1, alone, true}, {longAlone, alone, false},
		{1, led, false}, {longAlone - 1, alone, false}, {1, alone, true},
		{1, core.Status{}, false}, {2 * longAlone, core.Status{}, false}, {longAlone, alone, true},
	} {
		at = at.Add(step.after)
		if got := l.tell(at, step.status); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
}
