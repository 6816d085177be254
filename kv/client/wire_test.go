package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// script serves each connection with one script, in turn, and the last one from then on.
// A script is given each request with its body and says what to answer, and whether the
// connection is closed then.
type script func(c net.Conn, r *bufio.Reader)

type scripted struct {
	address string
	dialed  atomic.Int64
}

func serveScripts(t *testing.T, scripts ...script) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &scripted{address: l.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.dialed.Add(1)
			wg.Go(func() {
				defer c.Close()
				scripts[min(i, len(scripts)-1)](c, bufio.NewReader(c))
			})
		}
	})
	return n
}

// take reads one request, nil at the end.
func take(r *bufio.Reader) *http.Request {
	q, err := http.ReadRequest(r)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, q.Body); err != nil {
		return nil
	}
	return q
}

// always answers every request with text.
func always(text string) script {
	return func(c net.Conn, r *bufio.Reader) {
		for take(r) != nil {
			io.WriteString(c, text)
		}
	}
}

// once answers one request and closes the connection.
func once(text string) script {
	return func(c net.Conn, r *bufio.Reader) {
		if take(r) != nil {
			io.WriteString(c, text)
		}
	}
}

func newTestSender(t *testing.T) *Sender {
	s := NewSender()
	t.Cleanup(s.CloseIdle)
	return s
}

// ask sends a request and reads the answer.
func ask(t *testing.T, s *Sender, r *Request) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, err := s.Send(ctx, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, body), err
}

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestAnswerForms: whatever form an answer has it is read, and its connection is used
// again only where the next answer would be found.
func TestAnswerForms(t *testing.T) {
	for name, c := range map[string]struct {
		serve  script
		want   string
		reused bool
	}{
		"length":            {always(okay), "200 ok", true},
		"nothing":           {always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "200 ", true},
		"not modified":      {always("HTTP/1.1 304 Not Modified\r\n\r\n"), "304 ", true},
		"chunks":            {always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), "200 ok", true},
		"until the end":     {once("HTTP/1.1 200 OK\r\n\r\nok"), "200 ok", false},
		"closing":           {always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), "200 ok", false},
		"HTTP/1.0":          {once("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), "200 ok", false},
		"interim":           {always("HTTP/1.1 103 Early Hints\r\n\r\n" + okay), "200 ok", true},
		"more than was due": {always(okay + okay), "200 ok", false},
	} {
		t.Run(name, func(t *testing.T) {
			n, s := serveScripts(t, c.serve), newTestSender(t)
			for range 3 {
				if got, err := ask(t, s, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k", Body: []byte("v")}); got != c.want || err != nil {
					t.Fatalf("%q, %v; want %q", got, err, c.want)
				}
			}
			if dialed := n.dialed.Load(); (dialed == 1) != c.reused {
				t.Errorf("%d connections for 3 requests", dialed)
			}
		})
	}
}

// TestBadAnswers: what is no answer, or no end of one, is an error; the request was sent.
func TestBadAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":      "",
		"another line": "hello\r\n\r\n",
		"no end":       "HTTP/1.1 200 OK\r\nX-Raft-Node: n",
		"endless head": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeadBytes),
		"only interim": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim+1),
	} {
		t.Run(name, func(t *testing.T) {
			n, s := serveScripts(t, once(text)), newTestSender(t)
			_, err := ask(t, s, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k"})
			var unanswered *Unanswered
			if !errors.As(err, &unanswered) || !unanswered.Sent || n.dialed.Load() != 1 {
				t.Errorf("%v, on %d connections", err, n.dialed.Load())
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		n, s := serveScripts(t, once("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")), newTestSender(t)
		if got, err := ask(t, s, &Request{Method: "GET", Endpoint: n.address, Path: "/key/k"}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestStaleConnection: a connection that the node has closed in the meantime is not
// written to, and if it closes with the request only a read is sent again.
func TestStaleConnection(t *testing.T) {
	t.Run("closed before", func(t *testing.T) {
		closed := make(chan struct{})
		n, s := serveScripts(t, func(c net.Conn, r *bufio.Reader) {
			once(okay)(c, r)
			c.Close()
			close(closed)
		}, always(okay)), newTestSender(t)
		for range 2 {
			if got, err := ask(t, s, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k"}); got != "200 ok" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			<-closed
		}
	})
	for method, again := range map[string]bool{"GET": true, "PUT": false} {
		t.Run("closed with "+method, func(t *testing.T) {
			n, s := serveScripts(t, func(c net.Conn, r *bufio.Reader) {
				take(r)
				io.WriteString(c, okay)
				take(r)
			}, always(okay)), newTestSender(t)
			if got, err := ask(t, s, &Request{Method: "GET", Endpoint: n.address, Path: "/key/k"}); got != "200 ok" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			got, err := ask(t, s, &Request{Method: method, Endpoint: n.address, Path: "/key/k"})
			var unanswered *Unanswered
			if again && got != "200 ok" || !again && (!errors.As(err, &unanswered) || !unanswered.Sent || n.dialed.Load() != 1) {
				t.Errorf("%q, %v, on %d connections", got, err, n.dialed.Load())
			}
		})
	}
}

// TestLargeBody: its refusal is read although the node does not take all of it, and one
// that is taken leaves the connection to the next request.
func TestLargeBody(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 16<<20)
	t.Run("refused", func(t *testing.T) {
		n, s := serveScripts(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			_, _ = c.Read(make([]byte, 1)) // open until the client has gone
			io.Copy(io.Discard, c)
		}), newTestSender(t)
		for want := int64(1); want <= 2; want++ {
			got, err := ask(t, s, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k", Body: body})
			if got != "413 no" || err != nil || n.dialed.Load() != want {
				t.Fatalf("%q, %v, on %d connections", got, err, n.dialed.Load())
			}
		}
	})
	t.Run("taken", func(t *testing.T) {
		n, s := serveScripts(t, always(okay)), newTestSender(t)
		for range 2 {
			if got, err := ask(t, s, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k", Body: body}); got != "200 ok" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if n.dialed.Load() != 1 {
			t.Errorf("%d connections", n.dialed.Load())
		}
	})
	t.Run("given up", func(t *testing.T) {
		n, s := serveScripts(t, func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			<-t.Context().Done() // takes no more
		}), newTestSender(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.Send(ctx, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k", Body: body})
		var unanswered *Unanswered
		if !errors.As(err, &unanswered) || !unanswered.Sent || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestContextEnds while a request waits for its answer, or for the rest of it.
func TestContextEnds(t *testing.T) {
	for name, text := range map[string]string{"head": "", "body": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			n, s := serveScripts(t, func(c net.Conn, r *bufio.Reader) {
				take(r)
				io.WriteString(c, text)
				close(asked)
				io.Copy(io.Discard, c)
			}), newTestSender(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() { <-asked; cancel() }()
			resp, err := s.Send(ctx, &Request{Method: "GET", Endpoint: n.address, Path: "/key/k"})
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if l := s.take(n.address); l != nil {
				t.Error("the connection is to be used again")
			}
		})
	}
	t.Run("before", func(t *testing.T) {
		n, s := serveScripts(t, always(okay)), newTestSender(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cancel()
		_, err := s.Send(ctx, &Request{Method: "PUT", Endpoint: n.address, Path: "/key/k"})
		var unanswered *Unanswered
		if !errors.As(err, &unanswered) || unanswered.Sent || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestRequestHead: what a node reads of a request is what was to be said, and what could
// be taken for more than that is not sent.
func TestRequestHead(t *testing.T) {
	r := &Request{
		Method: "GET", Endpoint: "n:1", Path: "/key/a%2Fb", Group: "0123456789abcdef",
		Query:  map[string][]string{"consistency": {"stale"}, "prefix": {"a b&c=d"}, "timeout": {"1h"}},
		Header: http.Header{"Accept": {"a", "b"}},
	}
	q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.appendHead(nil, 2*time.Second))))
	if err != nil {
		t.Fatal(err)
	}
	query := q.URL.Query()
	if q.Method != "GET" || q.Host != "n:1" || q.URL.EscapedPath() != "/key/a%2Fb" || len(q.Header["Accept"]) != 2 ||
		q.Header.Get("X-Raft-Group") != r.Group || query.Get("prefix") != "a b&c=d" || query.Get("consistency") != "stale" ||
		len(query["timeout"]) != 1 || query.Get("timeout") != "1.9s" || len(query) != 3 {
		t.Errorf("%+v", q)
	}
	for name, bad := range map[string]*Request{
		"header": {Method: "GET", Path: "/", Header: http.Header{"If-Match": {"1\r\nX: y"}}},
		"group":  {Method: "GET", Path: "/", Group: "g\nX: y"},
		"path":   {Method: "GET", Path: "/a b"},
		"query":  {Method: "GET", Path: "/a?x=y"},
	} {
		bad.Endpoint = "n:1"
		if _, err := ask(t, newTestSender(t), bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStreamStalls: who stops sending in the midst is named.
func TestStreamStalls(t *testing.T) {
	stalls := func(c net.Conn, r *bufio.Reader) {
		if take(r) != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
			take(r) // until the client gives up
		}
	}
	n, s := serveScripts(t, stalls), newTestSender(t)
	got, err := ask(t, s, &Request{Method: "GET", Endpoint: n.address, Path: "/backup", Until: time.Now().Add(time.Minute), Idle: 50 * time.Millisecond})
	if got != "200 ok" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), n.address+" sends no more") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestIdleConnections are closed after their time, and those beyond the limit at once.
func TestIdleConnections(t *testing.T) {
	n, s := serveScripts(t, always(okay)), newTestSender(t)
	if _, err := ask(t, s, &Request{Method: "GET", Endpoint: n.address, Path: "/key/k"}); err != nil {
		t.Fatal(err)
	}
	s.closeIdle(time.Hour)
	if s.sweep == nil || len(s.idle[n.address]) != 1 {
		t.Errorf("%d idle connections, sweep %v: want one that is looked after", len(s.idle[n.address]), s.sweep)
	}
	s.closeIdle(0)
	if s.sweep != nil || len(s.idle) != 0 {
		t.Errorf("%v, sweep %v: want none", s.idle, s.sweep)
	}
}
