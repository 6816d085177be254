package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// startHere starts a node in this process, on a new folder.
func startHere(t *testing.T, args ...string) *node {
	t.Helper()
	args = append(args, "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", t.TempDir())
	s := mustParse(t, "", args...)
	n, err := start(t.Context(), s, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestExpelled: an engine that its own removal ends takes the node down.
func TestExpelled(t *testing.T) {
	n1 := startHere(t, "--id", "node1")
	n2 := startHere(t, "--id", "node2", "--join", n1.http)
	eventually(t, "node2 votes", func() bool {
		m, _ := find(n2.replica.Status().Members, "node2")
		return m.Voter
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n1.replica.Remove(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if err := n1.wait(ctx); err == nil || !strings.Contains(err.Error(), "removed from its group") {
		t.Errorf("%v", err)
	}
	eventually(t, "node2 leads", func() bool { return n2.replica.Status().Role == core.Leader })
}

// TestUnusedConnections: at its end a server closes those that no request has come on,
// and no others.
func TestUnusedConnections(t *testing.T) {
	u := unused{conns: map[net.Conn]struct{}{}}
	var ends []net.Conn
	for _, states := range [][]http.ConnState{
		{http.StateNew},
		{http.StateNew, http.StateActive},
		{http.StateNew, http.StateActive, http.StateIdle},
	} {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		for _, state := range states {
			u.track(server, state)
		}
		ends = append(ends, server)
	}
	u.close()
	for i, c := range ends {
		err := c.SetDeadline(time.Time{})
		if closed := errors.Is(err, io.ErrClosedPipe); closed != (i == 0) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

// TestFoundersLeadAtOnce: without the wait for an election timeout, here 1 h.
func TestFoundersLeadAtOnce(t *testing.T) {
	n := startHere(t, "--id", "node1", "--raft-option", "heartbeat_timeout=1h")
	eventually(t, "node1 leads", func() bool { return n.replica.Status().Role == core.Leader })
	eventually(t, "node1 is in the directory", func() bool {
		address, ok := n.store.HTTPAddress("node1")
		return ok && address == n.http
	})
}

// TestForgottenAddress: what the directory has lost is put back.
func TestForgottenAddress(t *testing.T) {
	n := startHere(t, "--id", "node1", "--advertise-http", "example.org:0")
	known := func() bool { _, ok := n.store.HTTPAddress("node1"); return ok }
	eventually(t, "node1 is in the directory", known)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	forget, err := kv.EncodeAnnounce("node1", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.replica.Propose(ctx, forget); err != nil {
		t.Fatal(err)
	}
	eventually(t, "node1 is back in the directory", known)
	if address, _ := n.store.HTTPAddress("node1"); !strings.HasPrefix(address, "example.org:") || strings.HasSuffix(address, ":0") {
		t.Errorf("address %s", address)
	}
}

// TestJoinThisMachine: a port alone is one of this machine, as in -join :11000.
func TestJoinThisMachine(t *testing.T) {
	n1 := startHere(t, "-id", "node1", "-haddr", "localhost:0")
	_, port, err := net.SplitHostPort(n1.http)
	if err != nil {
		t.Fatal(err)
	}
	n2 := startHere(t, "-id", "node2", "-join", ":"+port, "-inmem")
	eventually(t, "node2 is a member", func() bool {
		_, member := find(n2.replica.Status().Members, "node2")
		return member
	})
}

// TestFullStore: a log store that cannot write ends the process with its reason.
func TestFullStore(t *testing.T) {
	dir := t.TempDir()
	address := make(chan string, 1)
	log := &trigger{text: "leader is node1", fire: func() { address <- "up" }}
	done := make(chan int, 1)
	args := []string{"--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--backend", "mdb", "--backend-option", "map_size=1MiB", dir}
	go func() { done <- runHere(t.Context(), args, log) }()
	<-address
	url := log.field(t, `msg="HTTP listening" address=`) + "/key/a"
	value := strings.Repeat("x", 100<<10)
	for range 100 {
		if answer, err := ask("PUT", url, value); err != nil || !strings.HasPrefix(answer, "200") {
			break
		}
	}
	select {
	case code := <-done:
		if code != exitFailed || !strings.Contains(log.String(), "map_size") {
			t.Errorf("exit code %d\n%s", code, log.String())
		}
	case <-time.After(patience):
		t.Fatalf("it goes on\n%s", log.String())
	}
}

func TestJSONLog(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, slog.LevelWarn, "json").Info("not this")
	newLogger(&out, slog.LevelWarn, "json").Warn("this", "a", 1)
	if got := out.String(); !strings.HasPrefix(got, `{"time":"`) || !strings.Contains(got, `"msg":"this","a":1}`) || strings.Contains(got, "not") {
		t.Errorf("%s", got)
	}
}

// TestState: a node knows whether its folder holds anything to go on with.
func TestState(t *testing.T) {
	s := mustParse(t, "", "--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", t.TempDir())
	for _, want := range []bool{false, true} {
		n, err := start(t.Context(), s, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if n.hasState != want {
			t.Errorf("has state: %t", n.hasState)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
