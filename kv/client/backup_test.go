package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/client"
)

// TestBackupAndRestore over real nodes: what was backed up comes back.
func TestBackupAndRestore(t *testing.T) {
	g := startGroup(t)
	c, err := client.New(g.endpoints, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t, 30*time.Second)
	if _, err := c.Set(ctx, "k", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	stream, err := c.Backup(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []byte
	s, err := backup.Read(stream, func(p kv.Pair) error {
		pairs = kv.AppendPair(pairs, p.Key, p.Value)
		return nil
	}, nil)
	if err := errors.Join(err, stream.Close()); err != nil || s.Keys != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	if _, err := c.Set(ctx, "k", []byte("later")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.RestorePart(ctx, "r/1", 0, pairs); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.RestoreCommit(ctx, "r/1", 2, s.Content); !errors.Is(err, client.ErrCondition) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("a commit of more keys than have come: %v", err)
	}
	index, err := c.RestoreCommit(ctx, "r/1", 1, s.Content)
	if err != nil || index == 0 {
		t.Fatal(index, err)
	}
	if v, err := c.Get(ctx, "k", client.Linearizable); err != nil || string(v.Data) != "kept" || v.Index >= index {
		t.Errorf("%+v %v", v, err)
	}
	if err := c.RestorePart(ctx, "r/2", 0, pairs); err != nil {
		t.Fatal(err)
	}
	if err := c.RestoreForget(ctx, "r/2"); err != nil {
		t.Error(err)
	}
	if _, err := c.RestoreCommit(ctx, "r/2", 1, s.Content); !errors.Is(err, client.ErrCondition) {
		t.Errorf("a commit of what was given up: %v", err)
	}
}

// TestBackupOutlivesTheTimeout: that is for the beginning. The end of ctx ends it at once.
func TestBackupOutlivesTheTimeout(t *testing.T) {
	const timeout = 200 * time.Millisecond
	more := make(chan string)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, "n1")
		for text := range more {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer node.Close()
	defer close(more)
	c, err := client.New([]string{node.Listener.Addr().String()}, client.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { more <- "begins," }()
	stream, err := c.Backup(ctx, client.Stale)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	b := make([]byte, len("begins,"))
	if _, err := io.ReadFull(stream, b); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2*timeout, func() { more <- "goes on" })
	if _, err := io.ReadFull(stream, b); err != nil || string(b) != "goes on" {
		t.Fatalf("%q %v", b, err)
	}
	time.AfterFunc(timeout/10, cancel)
	if _, err := stream.Read(b); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// TestRestoreCommitUnknown: a commit that nobody answers may count.
func TestRestoreCommitUnknown(t *testing.T) {
	var requests atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer node.Close()
	c, err := client.New([]string{node.Listener.Addr().String()}, client.Options{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.RestoreCommit(t.Context(), "r", 1, [32]byte{}); !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("commit: %v", err)
	}
	if n := requests.Load(); n < 2 {
		t.Errorf("it was sent %d times: it does no harm to send it again", n)
	}
	if err := c.RestorePart(t.Context(), "r", 0, nil); err == nil || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("a part: %v", err)
	}
}
