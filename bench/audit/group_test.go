package audit_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/transports"
)

type addresses map[string]string

func (a addresses) HTTPAddress(id string) (string, bool) {
	address, ok := a[id]
	return address, ok
}

func startGroup(t *testing.T) *cluster.InProcess {
	t.Helper()
	engine, err := engines.New(engines.Builtin(), "hashicorp", nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := backends.Builtin().Lookup("bolt")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := transports.Builtin().Lookup("tcp")
	if err != nil {
		t.Fatal(err)
	}
	network, err := transport.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := cluster.StartInProcess(t.Context(), cluster.Spec{
		Nodes:     3,
		Engine:    engine,
		Network:   network,
		OpenStore: func(dir string) (core.LogStore, error) { return store.Open(dir, nil) },
		Dir:       t.TempDir(),
		Tuning: core.Tuning{
			HeartbeatTimeout:   200 * time.Millisecond,
			ElectionTimeout:    200 * time.Millisecond,
			LeaderLeaseTimeout: 200 * time.Millisecond,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// serve puts an HTTP server in front of every member.
func serve(t *testing.T, g *cluster.InProcess) ([]*http.Server, []string) {
	t.Helper()
	var listeners []net.Listener
	var servers []*http.Server
	var endpoints []string
	where := addresses{}
	for _, n := range g.Nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		where[n.ID] = l.Addr().String()
		endpoints = append(endpoints, where[n.ID])
	}
	for i, n := range g.Nodes {
		h, err := httpapi.New(httpapi.Config{Replica: n.Replica, Map: n.Map, HTTPAddress: where[n.ID], Directory: where})
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: h}
		servers = append(servers, s)
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(listeners[i]) }()
		t.Cleanup(func() { s.Close(); <-done; h.Close() })
	}
	return servers, endpoints
}

// TestLeaderIsLost takes the leader away under load, with the requests that it has
// in its hands. Nothing that was acknowledged may be missing afterwards; what is
// then taken from a node's map by hand must be missed.
func TestLeaderIsLost(t *testing.T) {
	g := startGroup(t)
	servers, endpoints := serve(t, g)
	c, err := client.New(endpoints, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var lost error
	before, after := false, false // whether writes were acknowledged before and after the loss
	path := filepath.Join(t.TempDir(), "journal")
	result, err := audit.Load(ctx, audit.Config{
		Client:      c,
		JournalPath: path,
		Parameters:  audit.Parameters{Workers: 8, BatchShare: 0.1, DeleteShare: 0.1},
		OnSecond: func(s audit.Counts) {
			switch {
			case s.Acknowledged == 0:
			case !before:
				before = true
				servers[0].Close()
				lost = g.Nodes[0].Replica.Close()
			default:
				after = true
				cancel()
			}
		},
	})
	if err := errors.Join(err, lost); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged, %d unknown, %d refused; longest stall %v",
		result.Acknowledged, result.Unknown, result.Refused, result.LongestStall)
	if !before || !after {
		t.Fatalf("the load did not go on: %+v", result.Counts)
	}

	j, err := audit.ReadJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	left := []*client.Node{c.Node(endpoints[1]), c.Node(endpoints[2])}
	f, err := audit.Check(t.Context(), c, j, left, audit.CheckOptions{})
	if err != nil || !f.OK() || f.Keys != j.Keys() {
		t.Fatalf("%+v, %v", f, err)
	}
	dropOne(t, g.Nodes[1].Map, j.Prefix)
	f, err = audit.Check(t.Context(), c, j, left, audit.CheckOptions{Patience: time.Second})
	if err != nil || f.OK() {
		t.Errorf("a key is gone and was not missed: %+v, %v", f, err)
	}
}

// dropOne deletes a key behind the back of the group.
func dropOne(t *testing.T, m *kv.Store, prefix string) {
	t.Helper()
	page := m.Scan(prefix, "", 1)
	if len(page) == 0 {
		t.Fatal("no keys")
	}
	m.Apply(m.Applied()+1, kv.EncodeDelete(page[0].Key))
}
