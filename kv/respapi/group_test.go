package respapi_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/respapi"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a member of a real group with both of its interfaces on loopback ports.
type node struct {
	id      string
	replica core.Replica
	store   *kv.Store
	api     *httpapi.Server
	http    *httptest.Server
	resp    *respapi.Server
	address string // of the Redis protocol
	served  chan error
	answers atomic.Pointer[httpapi.Server] // HTTP requests; api, but for a test that says otherwise
}

// start starts a group; the first node leads. edit may change what a node serves.
func start(t testing.TB, n int, edit func(*respapi.Config)) []*node {
	t.Helper()
	engine, err := engines.New(engines.Builtin(), "hashicorp", core.Options{"batch_apply": true})
	if err != nil {
		t.Fatal(err)
	}
	members, err := cluster.StartInProcess(t.Context(), cluster.Spec{
		Nodes: n, Engine: engine, Network: tcp.New(tcp.Options{}), SnapshotsInMemory: true,
		OpenStore: func(string) (core.LogStore, error) { return inmem.New(), nil },
		Tuning: core.Tuning{HeartbeatTimeout: time.Second, ElectionTimeout: time.Second, LeaderLeaseTimeout: time.Second,
			CommitTimeout: 5 * time.Millisecond, MaxAppendEntries: 1024},
	})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*node
	for _, m := range members.Nodes {
		nodes = append(nodes, serve(t, m.ID, m.Replica, m.Map, edit))
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.close(t)
		}
	})
	for _, x := range nodes {
		command, err := kv.EncodeAnnounce(x.id, x.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[0].replica.Propose(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range nodes { // each knows where the leader is
		eventually(t, "the group is up", func() bool {
			_, resp := x.api.Leader(t.Context())
			return resp == nodes[0].address
		})
	}
	return nodes
}

func serve(t testing.TB, id string, replica core.Replica, store *kv.Store, edit func(*respapi.Config)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{id: id, replica: replica, store: store, address: l.Addr().String(), served: make(chan error, 1)}
	n.http = httptest.NewUnstartedServer(nil)
	n.api, err = httpapi.New(httpapi.Config{
		Replica: replica, Map: store, Timeout: 20 * time.Second,
		HTTPAddress: n.http.Listener.Addr().String(), RESPAddress: n.address,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.answers.Store(n.api)
	n.http.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.answers.Load().ServeHTTP(w, r) })
	n.http.Start()
	cfg := respapi.Config{Replica: replica, Map: store, Node: n.api, Version: "test", Timeout: 20 * time.Second}
	if edit != nil {
		edit(&cfg)
	}
	if n.resp, err = respapi.New(cfg); err != nil {
		t.Fatal(err)
	}
	go func() { n.served <- n.resp.Serve(l) }()
	return n
}

func (n *node) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.resp.Shutdown(ctx); err != nil {
		t.Errorf("%s: shutdown: %v", n.id, err)
	}
	if err := <-n.served; err != nil {
		t.Errorf("%s: serve: %v", n.id, err)
	}
	n.http.Close()
	if err := n.api.Close(); err != nil {
		t.Error(err)
	}
	if err := n.replica.Close(); err != nil {
		t.Error(err)
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
