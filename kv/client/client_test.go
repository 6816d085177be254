package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is an HTTP server that counts the requests it gets.
type node struct {
	address  string
	requests atomic.Int64
}

func serve(t *testing.T, h http.HandlerFunc) *node {
	t.Helper()
	n := &node{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	n.address = s.Listener.Addr().String()
	return n
}

// accept serves connections at the level of the socket: each is handed to h with
// what was sent on it, after which it is closed.
func accept(t *testing.T, h func(n *node, conn net.Conn, r *bufio.Reader)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{address: l.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				h(n, conn, bufio.NewReader(conn))
			})
		}
	})
	return n
}

// readRequest reads one request to its end.
func (n *node) readRequest(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	n.requests.Add(1)
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// refusing returns an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func open(t *testing.T, endpoints ...string) *client.Client {
	t.Helper()
	c, err := client.New(endpoints, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func taken(w http.ResponseWriter, _ *http.Request) { w.Header().Set(api.HeaderIndex, "7") }

func fail(status int, code api.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(api.Error{Error: "because of it", Code: code})
	}
}

func TestReadLeavesANodeThatFails(t *testing.T) {
	for name, broken := range map[string]func(*testing.T) string{
		"refuses": refusing,
		"hangs":   func(t *testing.T) string { return hang(t).address },
		"closes": func(t *testing.T) string {
			return accept(t, func(n *node, _ net.Conn, r *bufio.Reader) { n.readRequest(r) }).address
		},
		"stops halfway": func(t *testing.T) string {
			return accept(t, func(n *node, conn net.Conn, r *bufio.Reader) {
				n.readRequest(r)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			}).address
		},
		"has no leader": func(t *testing.T) string { return serve(t, fail(503, api.CodeNoLeader)).address },
		"not ready":     func(t *testing.T) string { return serve(t, fail(503, api.CodeNotReady)).address },
		"overloaded":    func(t *testing.T) string { return serve(t, fail(503, api.CodeOverloaded)).address },
		"garbage": func(t *testing.T) string {
			return serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }).address
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(api.HeaderNode, "n")
				w.Header().Set("ETag", `"9-octets"`)
				io.WriteString(w, "whole")
			})
			v, err := open(t, n.address, broken(t)).Get(within(t, 2*time.Second), "k", client.Linearizable)
			if err != nil || string(v.Data) != "whole" || v.Index != 9 {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

func TestReadOfMissingKey(t *testing.T) {
	n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, "n")
		w.WriteHeader(404)
		io.WriteString(w, `{"k":""}`)
	})
	if _, err := open(t, n.address).Get(within(t, 5*time.Second), "k", client.Stale); !errors.Is(err, core.ErrNotFound) {
		t.Error(err)
	}
	other := serve(t, http.NotFound)
	if _, err := open(t, other.address).Get(within(t, 5*time.Second), "k", client.Stale); err == nil || errors.Is(err, core.ErrNotFound) {
		t.Errorf("some other server has no such page: %v", err)
	}
}

func TestAllEndpointsDown(t *testing.T) {
	one, two := refusing(t), refusing(t)
	c := open(t, one, two)
	eachWrite(t, func(t *testing.T, write func(context.Context, *client.Client) error) {
		err := write(within(t, 50*time.Millisecond), c)
		if !errors.Is(err, client.ErrUnreachable) || errors.Is(err, core.ErrOutcomeUnknown) {
			t.Error(err)
		}
		if !strings.Contains(err.Error(), one) && !strings.Contains(err.Error(), two) {
			t.Errorf("%v: names neither endpoint", err)
		}
	})
	if _, err := c.Get(within(t, 50*time.Millisecond), "k", client.Linearizable); !errors.Is(err, client.ErrUnreachable) {
		t.Error(err)
	}
}

func TestNoLeaderUntilTheDeadline(t *testing.T) {
	n := serve(t, fail(503, api.CodeNoLeader))
	_, err := open(t, n.address).Set(within(t, 100*time.Millisecond), "k", nil)
	if !errors.Is(err, core.ErrNotLeader) || errors.Is(err, client.ErrUnreachable) || errors.Is(err, core.ErrOutcomeUnknown) {
		t.Error(err)
	}
	if n.requests.Load() < 2 {
		t.Errorf("%d requests: want tries until the deadline", n.requests.Load())
	}
}

func TestLeaderIsAskedFirst(t *testing.T) {
	leader := serve(t, taken)
	follower := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.HeaderLeader, leader.address)
		taken(w, r)
	})
	c := open(t, follower.address) // the leader is not among the endpoints
	ctx := within(t, 5*time.Second)
	for range 3 {
		if _, err := c.Set(ctx, "k", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, "k", client.Linearizable); err != nil {
			t.Fatal(err)
		}
	}
	if f, l := follower.requests.Load(), leader.requests.Load(); f != 1 || l != 5 || c.Leader() != leader.address {
		t.Errorf("%d requests to the follower, %d to the leader %s", f, l, c.Leader())
	}
}

func TestStaleReadsGoRound(t *testing.T) {
	nodes := []*node{serve(t, taken), serve(t, taken), serve(t, taken)}
	c := open(t, nodes[0].address, nodes[1].address, nodes[2].address)
	for range 6 {
		if _, err := c.Get(within(t, 5*time.Second), "k", client.Stale); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		if n.requests.Load() != 2 {
			t.Errorf("%d requests to node %d, want 2", n.requests.Load(), i)
		}
	}
}

func TestNodeIsAskedOnceAndNobodyElse(t *testing.T) {
	other := serve(t, taken)
	n := serve(t, fail(503, api.CodeNotReady))
	c := open(t, other.address)
	ctx := within(t, 5*time.Second)
	if err := c.Node(n.address).Ready(ctx); err == nil {
		t.Error("ready")
	}
	if _, err := c.Node(n.address).Get(ctx, "k", client.Stale); err == nil {
		t.Error("got")
	}
	if _, err := c.Node(refusing(t)).Digest(ctx); !errors.Is(err, client.ErrUnreachable) {
		t.Error(err)
	}
	if err := c.Node("nonsense").Health(ctx); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
	if n.requests.Load() != 2 || other.requests.Load() != 0 {
		t.Errorf("%d requests to the node, %d to the other", n.requests.Load(), other.requests.Load())
	}
}

func TestServerLearnsTheTimeLeft(t *testing.T) {
	var got atomic.Int64
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("timeout"))
		if err != nil {
			t.Error(err)
		}
		got.Store(int64(d))
		taken(w, r)
	})
	c := open(t, n.address)
	for _, limit := range []time.Duration{time.Second, time.Hour} {
		if _, err := c.Set(within(t, limit), "k", nil); err != nil {
			t.Fatal(err)
		}
		if d := time.Duration(got.Load()); d <= 0 || d >= limit || d > api.MaxTimeout {
			t.Errorf("of %v the server was given %v", limit, d)
		}
	}
}

func TestScanReadsAllForms(t *testing.T) {
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("prefix") != "p q" || q.Get("after") != "\xff" || q.Get("limit") != "2" || q.Get("consistency") != "stale" {
			t.Errorf("query %v", q)
		}
		w.Header().Set(api.HeaderNode, "n")
		io.WriteString(w, `{"pairs":[{"key":"a","value":"1","index":3},{"key_base64":"/y8=","value_base64":"/g==","index":4}],"next":"%FF%2F"}`)
	})
	page, err := open(t, n.address).Scan(within(t, 5*time.Second), "p q", "\xff", 2, client.Stale)
	if err != nil || len(page.Pairs) != 2 || page.Next != "\xff/" {
		t.Fatalf("%+v, %v", page, err)
	}
	if p := page.Pairs[1]; p.Key != "\xff/" || string(p.Data) != "\xfe" || p.Index != 4 || string(page.Pairs[0].Data) != "1" {
		t.Errorf("%+v", page)
	}
}

func TestBadArguments(t *testing.T) {
	for _, endpoint := range []string{"", "host", ":1", "host:", "host:0", "host:x", "https://host:1", "http://host:1/path", "host:99999"} {
		if _, err := client.New([]string{endpoint}, client.Options{}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if _, err := client.New(nil, client.Options{}); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
	if _, err := client.New([]string{"h:1"}, client.Options{Timeout: -1}); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
	n := serve(t, taken)
	c := open(t, "http://"+n.address+"/")
	ctx := within(t, 5*time.Second)
	if _, err := c.Set(ctx, "", nil); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
	if _, err := c.SetAll(ctx, map[string][]byte{"k": {0xff}}); !errors.Is(err, core.ErrInvalid) {
		t.Error(err)
	}
	if n.requests.Load() != 0 {
		t.Errorf("%d requests", n.requests.Load())
	}
	c.Close()
	if _, err := c.Set(ctx, "k", nil); !errors.Is(err, client.ErrClosed) || !errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrOutcomeUnknown) {
		t.Error(err)
	}
}

// TestManyWorkers shares a client among goroutines, for the race detector.
func TestManyWorkers(t *testing.T) {
	var sum atomic.Int64
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		i, _ := strconv.Atoi(string(body))
		sum.Add(int64(i))
		taken(w, r)
	})
	c := open(t, n.address, refusing(t))
	ctx := within(t, 10*time.Second)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := c.Set(ctx, "k", []byte(strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sum.Load() != 1225 {
		t.Errorf("sum %d", sum.Load())
	}
}

// TestConnectionsAreKept: a client that has as many requests under way as it was told opens no
// further connection for later ones; without being told it closes those beyond 512.
func TestConnectionsAreKept(t *testing.T) {
	const callers = 600
	for connections, most := range map[int]int64{callers: callers, 0: 2 * callers} {
		var arrived atomic.Int64
		together := make(chan struct{})
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if arrived.Add(1)%callers == 0 { // nobody is answered before all have asked
				for range callers - 1 {
					together <- struct{}{}
				}
			} else {
				<-together
			}
			taken(w, r)
		})
		c, err := client.New([]string{n.address}, client.Options{Connections: connections})
		if err != nil {
			t.Fatal(err)
		}
		ctx := within(t, time.Minute)
		if connections > 0 { // these are there already
			if err := c.Connect(ctx, n.address, callers); err != nil || c.Opened() != callers {
				t.Errorf("%d connections opened beforehand, %v", c.Opened(), err)
			}
		}
		for range 2 {
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					if _, err := c.Set(ctx, "k", []byte("v")); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		switch opened := c.Opened(); {
		case opened < callers || opened > most:
			t.Errorf("told of %d: %d connections were opened", connections, opened)
		case connections == 0 && opened == callers:
			t.Error("without being told, all were kept")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
