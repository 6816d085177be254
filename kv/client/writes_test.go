package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// writes are all kinds of writes.
var writes = map[string]func(context.Context, *client.Client) error{
	"set":    func(ctx context.Context, c *client.Client) error { _, err := c.Set(ctx, "k", []byte("v")); return err },
	"empty":  func(ctx context.Context, c *client.Client) error { _, err := c.Set(ctx, "k", nil); return err },
	"delete": func(ctx context.Context, c *client.Client) error { _, err := c.Delete(ctx, "k"); return err },
	"compare": func(ctx context.Context, c *client.Client) error {
		_, err := c.CompareAndSet(ctx, "k", []byte("v"), 3)
		return err
	},
	"absent": func(ctx context.Context, c *client.Client) error {
		_, err := c.SetIfAbsent(ctx, "k", []byte("v"))
		return err
	},
	"deleteIf": func(ctx context.Context, c *client.Client) error {
		_, err := c.DeleteIf(ctx, "k", 3)
		return err
	},
	"batch": func(ctx context.Context, c *client.Client) error {
		_, err := c.SetAll(ctx, map[string][]byte{"k": []byte("v"), "l": nil})
		return err
	},
	"join":     func(ctx context.Context, c *client.Client) error { return c.Join(ctx, api.Join{ID: "n"}) },
	"remove":   func(ctx context.Context, c *client.Client) error { return c.Remove(ctx, "n") },
	"transfer": func(ctx context.Context, c *client.Client) error { return c.Transfer(ctx, "") },
}

// eachWrite runs a subtest for every kind of write.
func eachWrite(t *testing.T, f func(t *testing.T, write func(context.Context, *client.Client) error)) {
	for name, write := range writes {
		t.Run(name, func(t *testing.T) { f(t, write) })
	}
}

func TestSentWriteIsNotSentAgain(t *testing.T) {
	eachWrite(t, func(t *testing.T, write func(context.Context, *client.Client) error) {
		broken := accept(t, func(n *node, _ net.Conn, r *bufio.Reader) { n.readRequest(r) })
		other := serve(t, taken)
		c := open(t, other.address, broken.address) // the round begins at the second
		err := write(within(t, 5*time.Second), c)
		if !errors.Is(err, core.ErrOutcomeUnknown) || broken.requests.Load() != 1 || other.requests.Load() != 0 {
			t.Errorf("%v; sent %d times to the broken node, %d to the other; want outcome unknown, 1, 0",
				err, broken.requests.Load(), other.requests.Load())
		}
	})
}

// TestSentWriteIsNotSentAgainOnReusedConnection: here net/http itself would send
// an idempotent request a second time.
func TestSentWriteIsNotSentAgainOnReusedConnection(t *testing.T) {
	eachWrite(t, func(t *testing.T, write func(context.Context, *client.Client) error) {
		n := accept(t, func(n *node, conn net.Conn, r *bufio.Reader) {
			if n.readRequest(r) {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: 1\r\nContent-Length: 2\r\n\r\n{}", api.HeaderIndex)
				n.readRequest(r)
			}
		})
		c := open(t, n.address)
		ctx := within(t, 5*time.Second)
		if err := write(ctx, c); err != nil {
			t.Fatal(err)
		}
		if err := write(ctx, c); !errors.Is(err, core.ErrOutcomeUnknown) || n.requests.Load() != 2 {
			t.Errorf("%v after %d requests, want outcome unknown after 2", err, n.requests.Load())
		}
	})
}

func TestWriteGoesOnWhereNothingWasSent(t *testing.T) {
	eachWrite(t, func(t *testing.T, write func(context.Context, *client.Client) error) {
		n := serve(t, taken)
		c := open(t, n.address, refusing(t))
		if err := write(within(t, 5*time.Second), c); err != nil || n.requests.Load() != 1 {
			t.Errorf("%v after %d requests, want success after 1", err, n.requests.Load())
		}
	})
}

func TestAnswersToAWrite(t *testing.T) {
	garbage := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, "<html>") }
	}
	for name, tt := range map[string]struct {
		first    http.HandlerFunc // the answer to the first request; later ones succeed
		want     error            // nil: success
		requests int64
	}{
		"no leader":          {fail(503, api.CodeNoLeader), nil, 2},
		"not leader":         {fail(503, api.CodeNotLeader), nil, 2},
		"stopped":            {fail(503, api.CodeStopped), nil, 2},
		"not ready":          {fail(503, api.CodeNotReady), nil, 2},
		"overloaded":         {fail(503, api.CodeOverloaded), nil, 2},
		"timeout":            {fail(504, api.CodeTimeout), nil, 2},
		"unknown":            {fail(504, api.CodeOutcomeUnknown), core.ErrOutcomeUnknown, 1},
		"code of the future": {fail(503, "something_else"), core.ErrOutcomeUnknown, 1},
		"garbage 500":        {garbage(500), core.ErrOutcomeUnknown, 1},
		"garbage 503":        {garbage(503), core.ErrOutcomeUnknown, 1},
		"garbage 504":        {garbage(504), core.ErrOutcomeUnknown, 1},
		"no index":           {func(http.ResponseWriter, *http.Request) {}, core.ErrOutcomeUnknown, 1},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, core.ErrOutcomeUnknown, 1},
		"bad request": {fail(400, api.CodeBadRequest), core.ErrInvalid, 1},
		"forbidden":   {fail(403, api.CodeForbidden), core.ErrInvalid, 1},
		"too large":   {fail(413, api.CodeTooLarge), core.ErrInvalid, 1},
		"condition":   {fail(412, api.CodeConditionFailed), client.ErrCondition, 1},
		"not found":   {fail(404, api.CodeNotFound), core.ErrNotFound, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var n *node
			n = serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n.requests.Load() == 1 {
					tt.first(w, r)
				} else {
					taken(w, r)
				}
			})
			index, err := open(t, n.address).Set(within(t, 5*time.Second), "k", []byte("v"))
			if !errors.Is(err, tt.want) || err == nil && index != 7 || n.requests.Load() != tt.requests {
				t.Errorf("index %d, %v after %d requests; want %v after %d", index, err, n.requests.Load(), tt.want, tt.requests)
			}
			if unknown := tt.want == core.ErrOutcomeUnknown; errors.Is(err, core.ErrOutcomeUnknown) != unknown {
				t.Errorf("%v: is outcome unknown: %v", err, !unknown)
			}
		})
	}
}

func TestInternalErrorIsDefinite(t *testing.T) {
	n := serve(t, fail(500, api.CodeInternal))
	_, err := open(t, n.address).Set(within(t, 5*time.Second), "k", nil)
	if err == nil || errors.Is(err, core.ErrOutcomeUnknown) || n.requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, n.requests.Load())
	}
}

func TestServersTextIsTold(t *testing.T) {
	n := serve(t, fail(400, api.CodeBadRequest))
	_, err := open(t, n.address).Set(within(t, 5*time.Second), "k", nil)
	if err == nil || !strings.Contains(err.Error(), "because of it") || !strings.Contains(err.Error(), n.address) {
		t.Errorf("%v: want the server's text and address", err)
	}
}

func TestConditionErrorHasTheIndex(t *testing.T) {
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"42"`)
		fail(412, api.CodeConditionFailed)(w, r)
	})
	_, err := open(t, n.address).CompareAndSet(within(t, 5*time.Second), "k", nil, 41)
	var c *client.ConditionError
	if !errors.As(err, &c) || c.Index != 42 || c.Key != "k" {
		t.Errorf("%v (%+v)", err, c)
	}
}

// hang answers nothing until the client has gone.
func hang(t *testing.T) *node {
	return accept(t, func(n *node, _ net.Conn, r *bufio.Reader) {
		if n.readRequest(r) {
			r.ReadByte() // until the connection is closed
		}
	})
}

func TestWriteThatIsNotAnswered(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		other := serve(t, taken)
		c := open(t, other.address, hang(t).address)
		_, err := c.Set(within(t, 100*time.Millisecond), "k", nil)
		if !errors.Is(err, core.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) || other.requests.Load() != 0 {
			t.Errorf("%v, and %d requests to the other node", err, other.requests.Load())
		}
	})
	t.Run("cancel", func(t *testing.T) {
		n := hang(t)
		ctx, cancel := context.WithCancel(within(t, 5*time.Second))
		go func() {
			for n.requests.Load() == 0 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		_, err := open(t, n.address).Set(ctx, "k", nil)
		if !errors.Is(err, core.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
