package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// TestOnlyNodesAnswer: another server that happens to listen at an endpoint and is
// content with everything, as many are, has read nothing and changed nothing.
func TestOnlyNodesAnswer(t *testing.T) {
	content := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"9"`)
		io.WriteString(w, `{}`)
	}
	reads := map[string]func(context.Context, *client.Client) error{
		"get": func(ctx context.Context, c *client.Client) error {
			_, err := c.Get(ctx, "k", client.Linearizable)
			return err
		},
		"stale": func(ctx context.Context, c *client.Client) error { _, err := c.Get(ctx, "k", client.Stale); return err },
		"scan": func(ctx context.Context, c *client.Client) error {
			_, err := c.Scan(ctx, "", "", 0, client.Stale)
			return err
		},
		"status":  func(ctx context.Context, c *client.Client) error { _, err := c.Status(ctx); return err },
		"members": func(ctx context.Context, c *client.Client) error { _, err := c.Members(ctx); return err },
		"digest":  func(ctx context.Context, c *client.Client) error { _, err := c.Nodes()[0].Digest(ctx); return err },
		"health":  func(ctx context.Context, c *client.Client) error { return c.Nodes()[0].Health(ctx) },
		"ready":   func(ctx context.Context, c *client.Client) error { return c.Nodes()[0].Ready(ctx) },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			stranger := serve(t, content)
			err := read(within(t, time.Minute), open(t, stranger.address))
			var e *client.Error
			if !errors.As(err, &e) || e.Endpoint != stranger.address || !strings.Contains(err.Error(), api.HeaderNode) {
				t.Errorf("%v: want an error that names the stranger and what it lacks", err)
			}
		})
	}
	eachWrite(t, func(t *testing.T, write func(context.Context, *client.Client) error) {
		stranger := serve(t, content)
		if err := write(within(t, time.Minute), open(t, stranger.address)); !errors.Is(err, core.ErrOutcomeUnknown) || stranger.requests.Load() != 1 {
			t.Errorf("%v after %d requests", err, stranger.requests.Load())
		}
	})
	// A read finds the node beside it.
	node := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, "n")
		w.Header().Set("ETag", `"7-octets"`)
		io.WriteString(w, "v")
	})
	for range 4 {
		v, err := open(t, serve(t, content).address, node.address).Get(within(t, time.Minute), "k", client.Linearizable)
		if err != nil || string(v.Data) != "v" || v.Index != 7 {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

// TestClosedAndStopped: whether the client was closed or a node has stopped are two
// things.
func TestClosedAndStopped(t *testing.T) {
	n := serve(t, fail(503, api.CodeStopped))
	c := open(t, n.address)
	_, err := c.Nodes()[0].Get(within(t, time.Minute), "k", client.Stale)
	if !errors.Is(err, client.ErrStopped) || errors.Is(err, core.ErrClosed) {
		t.Errorf("of a node that has stopped: %v", err)
	}
	c.Close()
	if _, err := c.Get(within(t, time.Minute), "k", client.Stale); !errors.Is(err, client.ErrClosed) || errors.Is(err, client.ErrStopped) {
		t.Errorf("of a closed client: %v", err)
	}
}

// TestLinksNoRaft: a program that talks to a group need not link what makes one.
func TestLinksNoRaft(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "raftlab/kv/api") {
		t.Fatalf("not the dependencies of the client: %s", out)
	}
	for _, dependency := range strings.Fields(string(out)) {
		if strings.Contains(dependency, "hashicorp") {
			t.Errorf("kv/client links %s", dependency)
		}
	}
}
