package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// group is a real group of in-process members, each with its HTTP interface on a
// loopback port.
type group struct {
	t       testing.TB
	nodes   []*node
	network core.Network
	client  *http.Client
	next    net.Listener // for the next node to serve on; nil: any port
}

type node struct {
	id      string
	replica core.Replica
	store   *kv.Store
	server  *httpapi.Server
	http    *httptest.Server
}

// directories tells the addresses of some nodes.
type directories map[string]string

func (d directories) HTTPAddress(id string) (string, bool) {
	address, ok := d[id]
	return address, ok
}

func engine(t testing.TB) core.Engine {
	t.Helper()
	e, err := engines.New(engines.Builtin(), "hashicorp", nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tuning has patience: the machine may have other things to do.
func tuning() core.Tuning {
	return core.Tuning{
		HeartbeatTimeout:   time.Second,
		ElectionTimeout:    time.Second,
		LeaderLeaseTimeout: time.Second,
		CommitTimeout:      5 * time.Millisecond,
	}
}

// start starts n nodes that know each other by announcements, as kvnodes do, or
// by the directory that lies returns for a node.
func start(t testing.TB, n int, lies func(id string) httpapi.Directory) *group {
	t.Helper()
	network := tcp.New(tcp.Options{})
	members, err := cluster.StartInProcess(t.Context(), cluster.Spec{
		Nodes:             n,
		Engine:            engine(t),
		Network:           network,
		OpenStore:         func(string) (core.LogStore, error) { return inmem.New(), nil },
		SnapshotsInMemory: true,
		Tuning:            tuning(),
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	g := &group{t: t, network: network, client: &http.Client{Transport: transport}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		for _, n := range g.nodes {
			n.close(t)
		}
	})
	for _, m := range members.Nodes {
		var directory httpapi.Directory
		if lies != nil {
			directory = lies(m.ID)
		}
		g.serve(m.ID, m.Replica, m.Map, directory)
	}
	for _, n := range g.nodes {
		command, err := kv.EncodeAnnounce(n.id, n.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.nodes[0].replica.Propose(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range g.nodes {
		eventually(t, func() error {
			if got := len(n.store.Nodes()); got < len(g.nodes) {
				return fmt.Errorf("%s knows %d of %d addresses", n.id, got, len(g.nodes))
			}
			return nil
		})
	}
	return g
}

func (g *group) serve(id string, replica core.Replica, store *kv.Store, directory httpapi.Directory) *node {
	g.t.Helper()
	return g.serveWithin(id, replica, store, directory, httpapi.Limits{})
}

func (g *group) serveWithin(id string, replica core.Replica, store *kv.Store, directory httpapi.Directory, limits httpapi.Limits) *node {
	g.t.Helper()
	n := &node{id: id, replica: replica, store: store, http: httptest.NewUnstartedServer(nil)}
	if g.next != nil {
		_ = n.http.Listener.Close()
		n.http.Listener, g.next = g.next, nil
	}
	server, err := httpapi.New(httpapi.Config{
		Replica:     replica,
		Map:         store,
		Version:     "test",
		HTTPAddress: n.address(),
		Store:       inmem.Info(),
		Syncs:       func() uint64 { return 7 },
		Transport:   "tcp",
		Directory:   directory,
		Limits:      limits,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	n.server = server
	n.http.Config.Handler = server
	n.http.Start()
	g.nodes = append(g.nodes, n)
	return n
}

func (n *node) address() string { return n.http.Listener.Addr().String() }

func (n *node) close(t testing.TB) {
	n.http.Close()
	if err := n.server.Close(); err != nil {
		t.Error(err)
	}
	if err := n.replica.Close(); err != nil {
		t.Error(err)
	}
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body string
}

// do sends a request to the node. headers are names and values in turn.
func (g *group) do(n *node, method, path, body string, headers ...string) response {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://"+n.address()+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return g.send(r)
}

// send does not end the test, so that other goroutines may use it.
func (g *group) send(r *http.Request) response {
	g.t.Helper()
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Errorf("%s %.100s: %v", r.Method, r.URL, err)
		return response{Response: &http.Response{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Errorf("%s %.100s: %v", r.Method, r.URL, err)
	}
	return response{resp, string(body)}
}

// must sends a request that has to be answered with 200.
func (g *group) must(n *node, method, path, body string, headers ...string) response {
	g.t.Helper()
	r := g.do(n, method, path, body, headers...)
	if r.StatusCode != http.StatusOK {
		g.t.Fatalf("%s %.100s on %s: %d %s", method, path, n.id, r.StatusCode, r.body)
	}
	return r
}

// refused fails unless the answer is that error, with want in its message.
func (r response) refused(t testing.TB, status int, code api.Code, want string) api.Error {
	t.Helper()
	e, err := r.isRefused(status, code, want)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (r response) isRefused(status int, code api.Code, want string) (api.Error, error) {
	var e api.Error
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		return e, fmt.Errorf("%d %q: %w", r.StatusCode, r.body, err)
	}
	if r.StatusCode != status || e.Code != code || !strings.Contains(e.Error, want) {
		return e, fmt.Errorf("%d %s %q; want %d %s with %q", r.StatusCode, e.Code, e.Error, status, code, want)
	}
	if retry := r.Header.Get("Retry-After"); (retry != "") != (status == http.StatusServiceUnavailable) {
		return e, fmt.Errorf("%d %s with Retry-After %q", status, code, retry)
	}
	return e, nil
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func decode[T any](t tester, r response) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", r.body, err)
	}
	return v
}

// eventually calls f until it returns nil, for at most 15 s.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// listen hands every connection to an address on loopback to serve, one after the
// other. They are closed at the end of the test, if not by serve.
func listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections := make(chan net.Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections <- c
			serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for {
			select {
			case c := <-connections:
				_ = c.Close()
			case <-done:
				if len(connections) == 0 {
					return
				}
			}
		}
	})
	return l.Addr().String()
}
