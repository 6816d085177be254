package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func spec(t *testing.T, engine, backend, transport string, nodes int) cluster.Spec {
	t.Helper()
	e, err := engines.New(engines.Builtin(), engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := backends.Builtin().Lookup(backend)
	if err != nil {
		t.Fatal(err)
	}
	n, err := transports.Builtin().Lookup(transport)
	if err != nil {
		t.Fatal(err)
	}
	network, err := n.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Spec{
		Nodes:     nodes,
		Engine:    e,
		Network:   network,
		OpenStore: func(dir string) (core.LogStore, error) { return b.Open(dir, nil) },
		Dir:       t.TempDir(),
	}
}

// TestEveryCombination starts a group of each engine, backend and transport,
// writes, and sees the write on every member.
func TestEveryCombination(t *testing.T) {
	for _, engine := range engines.Libraries(engines.Builtin()) {
		for _, backend := range backends.Builtin().Names() {
			for _, transport := range transports.Builtin().Names() {
				for _, nodes := range []int{1, 3} {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", engine, backend, transport, nodes), func(t *testing.T) {
						t.Parallel()
						s := spec(t, engine, backend, transport, nodes)
						if entry, err := engines.Builtin().Lookup(engine); err != nil {
							t.Fatal(err)
						} else if entry.Takes(engine, s.Network.Describe()) != nil {
							if _, err := cluster.StartInProcess(t.Context(), s); !errors.Is(err, core.ErrInvalid) {
								t.Errorf("a group on a network that the engine does not take: %v", err)
							}
							return
						}
						testGroup(t, s)
					})
				}
			}
		}
	}
}

func testGroup(t *testing.T, s cluster.Spec) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	group, err := cluster.StartInProcess(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	}()
	leader := group.Leader()
	if leader != group.Nodes[0] {
		t.Fatalf("the leader is %v, want node1", leader)
	}
	applied, err := leader.Replica.Propose(ctx, kv.EncodeSet("key", []byte("value")))
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := applied.Result.(kv.Result); !ok || r.Changed != 1 || applied.Index == 0 {
		t.Fatalf("applied: %+v", applied)
	}
	for _, n := range group.Nodes {
		for {
			if v, index, ok := n.Map.Get("key"); ok && string(v) == "value" && index == applied.Index {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%s never got the write: %+v", n.ID, n.Replica.Status())
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestStartFailsClean(t *testing.T) {
	s := spec(t, "hashicorp", "inmem", "tcp", 3)
	broken := errors.New("no store today")
	opened := 0
	open := s.OpenStore
	s.OpenStore = func(dir string) (core.LogStore, error) {
		if opened++; opened == 3 {
			return nil, broken
		}
		return open(dir)
	}
	if _, err := cluster.StartInProcess(t.Context(), s); !errors.Is(err, broken) {
		t.Fatalf("start: %v", err)
	}
}

func TestStartWithoutNodes(t *testing.T) {
	if _, err := cluster.StartInProcess(t.Context(), cluster.Spec{}); !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("start: %v", err)
	}
}
