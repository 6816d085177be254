package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// connection is one that a test speaks HTTP over by itself.
type connection struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, address string) *connection {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &connection{t, c, bufio.NewReader(c)}
}

// ask sends a request and reads its answer.
func (c *connection) ask(request string) response {
	c.t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

func (c *connection) answer() response {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response{resp, string(body)}
}

// TestConnectionOutlivesARequest: whatever a request's body was and however long the
// answer took, the next one on its connection is served, or the connection is closed
// with the answer.
func TestConnectionOutlivesARequest(t *testing.T) {
	g, directory := misled(t)
	hanging := hangs(t)
	n := g.nodes[1]
	for name, request := range map[string]string{
		"no body":            "DELETE /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\n\r\n",
		"empty body":         "PUT /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\n\r\n",
		"empty chunked body": "PUT /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"body":               "PUT /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nvalue",
		"chunked body":       "PUT /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nvalue\r\n0\r\n\r\n",
		"body of a read":     "GET /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nvalue",
		"body of a delete":   "DELETE /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nvalue",
		"body too late":      "PUT /key/k?timeout=300ms HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nval",
	} {
		t.Run(name, func(t *testing.T) {
			directory.leader.Store(&hanging)
			c := connect(t, n.address())
			r := c.ask(request)
			if r.StatusCode != 504 {
				t.Fatalf("%d %s, want what becomes of a request at its deadline", r.StatusCode, r.body)
			}
			if name == "body too late" {
				if !r.Close {
					t.Error("the rest of the body would be taken for the next request")
				}
				return
			}
			right := g.nodes[0].address()
			directory.leader.Store(&right)
			for range 3 {
				if r := c.ask("PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv"); r.StatusCode != 200 {
					t.Fatalf("the next request: %d %s", r.StatusCode, r.body)
				}
			}
		})
	}
}

// TestWaitingConnection is the same for a node whose replica does not run yet.
func TestWaitingConnection(t *testing.T) {
	gate := make(chan struct{}, 1)
	waiting := httpapi.Waiting("n", func() string { <-gate; return "it waits" })
	server := &http.Server{Handler: waiting}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	c := connect(t, l.Addr().String())
	time.AfterFunc(300*time.Millisecond, func() { gate <- struct{}{} })
	c.ask("PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nvalue").refused(t, 503, api.CodeNotReady, "it waits")
	if r := c.ask("GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n"); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// TestHalfClosed: a client that has sent its request and says that it will send no more
// gets its answer, also where that takes a while.
func TestHalfClosed(t *testing.T) {
	g, directory := misled(t)
	n, right := g.nodes[1], g.nodes[0].address()
	for name, request := range map[string]string{
		"write":       "PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nvalue",
		"empty write": "PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\n\r\n",
		"read":        "GET /key/k?consistency=leader HTTP/1.1\r\nHost: n\r\n\r\n",
		"delete":      "DELETE /key/k HTTP/1.1\r\nHost: n\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g.must(g.nodes[0], "PUT", "/key/k", "old")
			directory.leader.Store(nil)
			c := connect(t, n.address())
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(300*time.Millisecond, func() { directory.leader.Store(&right) })
			if r := c.answer(); r.StatusCode != 200 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		})
	}
}

// TestWebPages: what a browser does for a page cannot change anything, whatever the page
// is; programs go on as they do.
func TestWebPages(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	g.must(n, "PUT", "/key/k", "v")
	before := decode[api.Digest](t, g.must(n, "GET", "/digest", ""))
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/key", `{"a":"1"}`}, {"POST", "/key/a", "1"}, {"PUT", "/key/a", "1"}, {"DELETE", "/key/k", ""},
		{"POST", "/join", `{"id":"n","address":"h:1","http_address":"h:2"}`}, {"DELETE", "/members/n", ""},
		{"POST", "/transfer", ""}, {"POST", "/snapshot", ""}, {"POST", "/leave", ""},
	} {
		for _, header := range [][]string{
			{"Origin", "http://elsewhere.example", "Content-Type", "text/plain"},
			{"Origin", "null"},
			{"Origin", "http://" + n.address()}, // of a name that has become this address
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
		} {
			r := g.do(n, c.method, c.target, c.body, header...)
			if r.StatusCode != 403 || !strings.Contains(r.body, `"code":"forbidden"`) {
				t.Errorf("%s %s with %v: %d %s", c.method, c.target, header, r.StatusCode, r.body)
			}
		}
	}
	if after := decode[api.Digest](t, g.must(n, "GET", "/digest", "")); after != before {
		t.Errorf("%+v, then %+v", before, after)
	}
	g.must(n, "PUT", "/key/k", "v", "Content-Type", "application/x-www-form-urlencoded") // curl -d
	g.must(n, "PUT", "/key/k", "v", "Sec-Fetch-Site", "none")
	g.must(n, "GET", "/key/k", "", "Origin", "http://elsewhere.example")
}

// TestETagsOfRepresentations: JSON and bare bytes are two representations, and no cache
// may take one for the other; a write takes either for the key's version.
func TestETagsOfRepresentations(t *testing.T) {
	g := start(t, 3, nil)
	const bytes = "application/octet-stream"
	for _, n := range g.nodes {
		g.must(n, "PUT", "/key/k", "v")
		for _, level := range []string{"linearizable", "leader"} {
			target := "/key/k?consistency=" + level
			tags := map[string]string{}
			for _, accept := range []string{"application/json", bytes} {
				tags[accept] = g.must(n, "GET", target, "", "Accept", accept).Header.Get("ETag")
				if head := g.must(n, "HEAD", target, "", "Accept", accept).Header.Get("ETag"); head != tags[accept] {
					t.Errorf("HEAD %s, GET %s", head, tags[accept])
				}
			}
			if tags[bytes] == tags["application/json"] {
				t.Errorf("both are %s", tags[bytes])
			}
			for accept, own := range tags {
				for _, known := range tags {
					want := 200
					if known == own {
						want = 304
					}
					if r := g.do(n, "GET", target, "", "Accept", accept, "If-None-Match", known); r.StatusCode != want {
						t.Errorf("%s with If-None-Match %s: %d, want %d", accept, known, r.StatusCode, want)
					}
				}
			}
			for accept := range tags {
				g.must(n, "PUT", "/key/k", "v", "If-Match", g.must(n, "GET", target, "", "Accept", accept).Header.Get("ETag"))
			}
			g.do(n, "DELETE", "/key/k", "", "If-Match", tags[bytes]).refused(t, 412, api.CodeConditionFailed, "")
		}
	}
}
