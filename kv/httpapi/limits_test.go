package httpapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// limited serves the leader's replica, of a group of one, once more within limits.
func limited(t *testing.T, limits httpapi.Limits) (*group, *node) {
	t.Helper()
	g := start(t, 1, nil)
	leader := g.nodes[0]
	return g, g.serveWithin("node1", leader.replica, leader.store, nil, limits)
}

// held waits until the node holds want bytes for requests, and returns what it says.
func (g *group) held(n *node, fits func(bytes float64) bool) {
	g.t.Helper()
	eventually(g.t, func() error {
		text := g.must(n, "GET", "/metrics", "").body
		if got := metric(g.t.(*testing.T), text, "raftlab_http_held_bytes"); !fits(got) {
			return fmt.Errorf("%v bytes are held", got)
		}
		return nil
	})
}

// TestBodiesHeldAreBounded: senders whose bodies are under way hold memory up to the
// limit; who comes then is refused and can try again, small requests go on, and once
// the senders have gone all is as before.
func TestBodiesHeldAreBounded(t *testing.T) {
	const size, limit = 1 << 20, 8 << 20
	g, n := limited(t, httpapi.Limits{HeldBytes: limit, Patience: time.Minute})
	header := fmt.Sprintf("PUT /key/k?timeout=1m HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n", size)
	refused, connections := 0, []*connection{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 30 {
		c := connect(t, n.address())
		connections = append(connections, c)
		wait.Go(func() {
			if _, err := io.WriteString(c, header+strings.Repeat("x", size-1)); err != nil {
				return // refused meanwhile
			}
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				return // it waits for the last byte
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if _, err := (response{resp, string(body)}).isRefused(503, api.CodeOverloaded, "bytes"); err != nil {
				t.Error(err)
			}
			mu.Lock()
			refused++
			mu.Unlock()
		})
	}
	wait.Wait()
	if refused == 0 {
		t.Error("nobody was refused")
	}
	g.held(n, func(bytes float64) bool { return bytes > 0 && bytes <= limit })
	g.must(n, "GET", "/healthz", "")
	for _, c := range connections {
		c.Close()
	}
	g.held(n, func(bytes float64) bool { return bytes == 0 })
	g.must(n, "PUT", "/key/k", strings.Repeat("x", size))
	g.held(n, func(bytes float64) bool { return bytes == 0 })
}

// TestAnswersHeldAreBounded: answers that nobody takes count as well, in JSON, as bytes
// and as pages, and their readers are cut off after a while.
func TestAnswersHeldAreBounded(t *testing.T) {
	const size, limit = 10 << 20, 90 << 20 // the sockets' buffers take some MiB of each answer
	for name, request := range map[string]string{
		"JSON":  "GET /key/k HTTP/1.1\r\nHost: n\r\n\r\n",
		"page":  "GET /key HTTP/1.1\r\nHost: n\r\n\r\n",
		"bytes": "GET /key/k HTTP/1.1\r\nHost: n\r\nAccept: application/octet-stream\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, n := limited(t, httpapi.Limits{HeldBytes: limit, BytesPerS: 16 << 20, Patience: 8 * time.Second})
			g.must(g.nodes[0], "PUT", "/key/k", strings.Repeat("x", size))
			// Readers that take nothing but the first line, until there is no room for the next.
			eventually(t, func() error {
				c := connect(t, n.address())
				if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(c, request); err != nil {
					t.Fatal(err)
				}
				line := make([]byte, len("HTTP/1.1 200"))
				if _, err := io.ReadFull(c, line); err != nil {
					t.Fatal(err)
				}
				if string(line) == "HTTP/1.1 200" {
					return errors.New("there is room still")
				}
				resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(line), c)), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				response{resp, string(body)}.refused(t, 503, api.CodeOverloaded, "at most")
				return nil
			})
			g.held(n, func(bytes float64) bool { return bytes <= limit })
			// Nobody has read, and nobody has gone: they were cut off.
			g.held(n, func(bytes float64) bool { return bytes == 0 })
			g.must(n, "GET", "/key/k", "")
		})
	}
}

// TestForwardedCopiesAreBounded: a node that passes values on holds them as well.
func TestForwardedCopiesAreBounded(t *testing.T) {
	g := start(t, 3, nil)
	follower := g.serveWithin("node2", g.nodes[1].replica, g.nodes[1].store, nil, httpapi.Limits{HeldBytes: 1 << 20})
	g.must(g.nodes[0], "PUT", "/key/k", strings.Repeat("x", 2<<20))
	g.do(follower, "GET", "/key/k?consistency=leader", "").refused(t, 503, api.CodeOverloaded, "at most 1048576")
	g.do(follower, "PUT", "/key/k", strings.Repeat("x", 2<<20)).refused(t, 503, api.CodeOverloaded, "at most 1048576")
	g.must(follower, "PUT", "/key/k", "v")
	g.held(follower, func(bytes float64) bool { return bytes == 0 })

	// What the leader has no room for is not pressed on it.
	full := g.serveWithin("node1", g.nodes[0].replica, g.nodes[0].store, nil, httpapi.Limits{HeldBytes: 1 << 20})
	passes := g.serve("node2", g.nodes[1].replica, g.nodes[1].store, directories{"node1": full.address()})
	g.do(passes, "PUT", "/key/k?timeout=1m", strings.Repeat("x", 2<<20)).refused(t, 503, api.CodeOverloaded, "node node1")
	if got := metric(t, g.must(passes, "GET", "/metrics", "").body, `raftlab_http_forwarded_requests_total{outcome="refused"}`); got != 1 {
		t.Errorf("sent to the leader %v times", got)
	}
}

// TestSlowSenders: a body that drips is cut off long before the request's deadline.
func TestSlowSenders(t *testing.T) {
	_, n := limited(t, httpapi.Limits{BytesPerS: 1 << 20, Patience: 300 * time.Millisecond})
	for name, encoding := range map[string]string{"counted": "Content-Length: 1000", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, n.address())
			r := c.ask("PUT /key/k?timeout=5m HTTP/1.1\r\nHost: n\r\n" + encoding + "\r\n\r\n5\r\nval")
			r.refused(t, 504, api.CodeTimeout, "too slowly")
			if !r.Close {
				t.Error("its connection is kept")
			}
		})
	}
}

// TestConnectionsAreBounded: at the limit a connection that is idle gives way; where all
// are busy, the new one is told, and can still ask how the node is.
func TestConnectionsAreBounded(t *testing.T) {
	const limit = 4
	g := start(t, 1, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	becameIdle := make(chan struct{}, 100)
	server := &http.Server{Handler: g.nodes[0].server, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			becameIdle <- struct{}{}
		}
	}}
	httpapi.BoundConnections(server, limit)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	const healthz = "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n"
	idle := []*connection{}
	for range 3 * limit {
		c := connect(t, l.Addr().String())
		if r := c.ask(healthz); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		<-becameIdle // the answer comes before
		idle = append(idle, c)
	}
	for i, c := range idle[:2*limit] {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("connection %d is open still: %v", i, err)
		}
	}
	if r := idle[3*limit-1].ask(healthz); r.StatusCode != 200 {
		t.Errorf("the last one: %d", r.StatusCode)
	}

	busy := []*connection{}
	for range limit {
		c := connect(t, l.Addr().String())
		if _, err := io.WriteString(c, "PUT /key/k?timeout=1m HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\nv"); err != nil {
			t.Fatal(err)
		}
		busy = append(busy, c)
		eventually(t, func() error { // it is taken in as busy before the next one comes
			text := g.must(g.nodes[0], "GET", "/metrics", "").body
			if got := metric(t, text, "raftlab_http_requests_in_flight"); int(got) != len(busy)+1 {
				return fmt.Errorf("%v requests in flight", got)
			}
			return nil
		})
	}
	c := connect(t, l.Addr().String())
	r := c.ask("PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv")
	r.refused(t, 503, api.CodeOverloaded, "connections")
	if !r.Close {
		t.Error("a connection too many is kept")
	}
	if r := connect(t, l.Addr().String()).ask(healthz); r.StatusCode != 200 || !r.Close {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, c := range busy {
		if r := c.ask("v"); r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	eventually(t, func() error { // once one of them is idle
		if r := connect(t, l.Addr().String()).ask("PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv"); r.StatusCode != 200 {
			return fmt.Errorf("%d %s", r.StatusCode, r.body)
		}
		return nil
	})
}

// TestSixtyBigValues has 60 clients send 16 MiB each at once, under the default limit.
func TestSixtyBigValues(t *testing.T) {
	if testing.Short() {
		t.Skip("moves a gigabyte")
	}
	g := start(t, 1, nil)
	value := strings.Repeat("x", api.MaxValueBytes)
	var most uint64
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	var wait sync.WaitGroup
	for range 60 {
		wait.Go(func() {
			r, err := http.NewRequest("PUT", "http://"+g.nodes[0].address()+"/key/k?timeout=1m", strings.NewReader(value))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := g.client.Do(r)
			if err != nil {
				return // the answer was lost with the connection that was closed on a sender
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 {
				answer := response{resp, string(body)}
				_, err := answer.isRefused(503, api.CodeOverloaded, "")
				if _, stalled := answer.isRefused(503, api.CodeNoLeader, "stalled"); err != nil && stalled != nil { // a disk may be too slow for a gigabyte
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	close(done)
	<-watched
	if most > 1<<30 { // nearly 4 GiB without a limit
		t.Errorf("%d MiB of heap were in use", most>>20)
	}
	g.must(g.nodes[0], "PUT", "/key/k", value)
}
