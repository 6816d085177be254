package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/client"
)

func errorsIsNotRunning(err error) bool { return errors.Is(err, ErrNotRunning) }

// startErrors takes an error apart.
func startErrors(err error) []*StartError {
	var e *StartError
	switch joined := err.(type) {
	case *StartError:
		return []*StartError{joined}
	case interface{ Unwrap() []error }:
		var all []*StartError
		for _, one := range joined.Unwrap() {
			all = append(all, startErrors(one)...)
		}
		return all
	}
	if errors.As(err, &e) {
		return []*StartError{e}
	}
	return nil
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStartStop(t *testing.T) {
	w := standIns(t, 3, Options{}, nil)
	w.start()
	events := w.take()
	slices.Sort(events[7:]) // the followers become ready in any order
	expect(t, events, "starting node1*", "started node1*", "ready node1*",
		"starting node2", "started node2", "starting node3", "started node3", "ready node2", "ready node3")
	for alias, joined := range map[string]string{"node1": "", "node2": w.file.Nodes[0].HTTPAddress} {
		if got, want := w.log(alias), "join "+joined+"\n"; got != want {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
	for i, s := range w.Status(context.Background()) {
		if s.Err != nil || !s.State.Running || s.State.Paused || s.Status == nil || s.Status.Me.ID != w.file.Nodes[i].Alias ||
			s.Status.Me.PID != s.State.PID || time.Since(s.State.Started) > time.Minute || time.Until(s.State.Started) > time.Minute {
			t.Errorf("%+v", s)
		}
	}

	w.start() // again: nothing to do
	events = w.take()
	slices.Sort(events)
	expect(t, events, "already running node1*", "already running node2", "already running node3", "ready node1*", "ready node2", "ready node3")

	w.stop()
	expect(t, w.take(), "stopping node2", "stopping node3", "stopped node2", "stopped node3", "stopping node1*", "stopped node1*")
	w.stop()
	expect(t, w.take(), "already stopped node2", "already stopped node3", "already stopped node1*")
	for _, s := range w.Status(context.Background()) {
		if !errors.Is(s.Err, ErrNotRunning) || s.Status != nil || s.State != (State{}) {
			t.Errorf("%+v", s)
		}
		if _, err := os.Stat(w.PIDPath(s.Node.Alias)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: pid file left: %v", s.Node.Alias, err)
		}
	}

	if err := os.RemoveAll(w.Dir("node1")); err != nil { // the founder's data
		t.Fatal(err)
	}
	w.start()
	joins := []string{"join " + w.file.Nodes[1].HTTPAddress + "," + w.file.Nodes[2].HTTPAddress + "\n"}
	expect(t, []string{w.log("node1")}, joins...)
}

func TestStartNode(t *testing.T) {
	ctx := context.Background()
	w := standIns(t, 3, Options{}, map[string]map[string]any{"node2": {"neverready": true}})
	if err := w.StartNodes(ctx, "node2"); err == nil || !strings.Contains(err.Error(), "'clusterctl -c cluster.yaml start node1'") {
		t.Fatal(err)
	}
	for _, alias := range []string{"node1", "node3"} {
		if err := w.StartNodes(ctx, alias); err != nil {
			t.Fatal(describe(err))
		}
	}
	if err := w.StopNode(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(ctx, "node3"); err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(ctx, "node3"); !errors.Is(err, ErrNotRunning) {
		t.Fatal(err)
	}
	// One of three cannot become ready; it is enough that it answers.
	if err := w.StartNodes(ctx, "node2"); err != nil {
		t.Fatal(describe(err))
	}
	expect(t, w.take(), "starting node1*", "started node1*", "ready node1*", "starting node3", "started node3", "ready node3",
		"stopping node1*", "stopped node1*", "killed node3", "starting node2", "started node2", "ready node2")
}

// TestStartSome: several nodes are started as one is, the founder first if it is
// among them.
func TestStartSome(t *testing.T) {
	ctx := context.Background()
	w := standIns(t, 5, Options{}, map[string]map[string]any{"node2": {"neverready": true}})
	if err := w.StartNodes(ctx, "node3", "node4"); err == nil || !strings.Contains(err.Error(), "start node3, node4: ") {
		t.Fatal(err)
	}
	if err := w.StartNodes(ctx, "node3", "node1", "node3"); err != nil {
		t.Fatal(describe(err))
	}
	expect(t, w.take(), "starting node1*", "started node1*", "ready node1*", "starting node3", "started node3", "ready node3")
	w.stop()
	w.take()
	if err := w.StartNodes(ctx, "node2", "node3"); err != nil { // two of five cannot become ready
		t.Fatal(describe(err))
	}
	events := w.take()
	slices.Sort(events[4:])
	expect(t, events, "starting node2", "started node2", "starting node3", "started node3", "ready node2", "ready node3")
}

// TestNotAMember: who has data and is in nobody's configuration is not waited for
// until the time is over.
func TestNotAMember(t *testing.T) {
	for name, c := range map[string]map[string]any{
		"not ready": {"neverready": true, "role": "follower"},
		"ready":     {"role": "follower"},
	} {
		t.Run(name, func(t *testing.T) {
			w := standIns(t, 2, Options{ReadyTimeout: time.Minute}, map[string]map[string]any{
				"node1": {"role": "leader", "members": []any{"node1"}}, "node2": c})
			err := w.Start(context.Background())
			var stranger *NotMemberError
			if !errors.As(err, &stranger) || *stranger != (NotMemberError{Alias: "node2", Leader: "node1"}) {
				t.Fatal(err)
			}
			if all := startErrors(err); len(all) != 1 || all[0].Alias != "node2" {
				t.Error(describe(err))
			}
		})
	}
}

func TestFailsAtStart(t *testing.T) {
	for _, foreground := range []bool{false, true} {
		t.Run(fmt.Sprintf("foreground=%v", foreground), func(t *testing.T) {
			// node2 would keep the caller waiting for half a minute.
			w := standIns(t, 3, Options{Foreground: foreground}, map[string]map[string]any{"node2": {"neverready": true}, "node3": {"fail": true}})
			if err := os.MkdirAll(w.Dir("node3"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.LogPath("node3"), []byte("of an earlier start\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := w.Start(context.Background())
			all := startErrors(err)
			if len(all) != 1 || all[0].Alias != "node3" || all[0].LogPath != w.LogPath("node3") {
				t.Fatalf("%v: %+v", err, all)
			}
			if !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), w.LogPath("node3")) {
				t.Error(err)
			}
			if tail := all[0].Tail; len(tail) != 20 || tail[0] != "line 10" || tail[19] != "line 29" {
				t.Errorf("%q", tail)
			}
			if !strings.HasPrefix(w.log("node3"), "of an earlier start\njoin ") {
				t.Errorf("%q", w.log("node3"))
			}
			if got := w.inspect("node1").Running; got == foreground {
				t.Errorf("node1 running: %v", got)
			}
			if w.inspect("node3").Running {
				t.Error("node3 runs")
			}
		})
	}
}

func TestShortTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 3*tailBytes)
	if err := os.WriteFile(path, []byte("old\nnew\n"+long+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, tail(path, 8+int64(len(long))-3), "xxx")
	if got := tail(path, 0); len(got) != 1 || len(got[0]) != tailBytes-1 {
		t.Errorf("%d lines", len(got))
	}
	if got := tail(path, 1<<30); len(got) != 1 {
		t.Errorf("of a log that was rotated since: %d lines", len(got))
	}
	expect(t, tail(path+"2", 0))
}

func TestEndsBeforeReady(t *testing.T) {
	w := standIns(t, 1, Options{}, map[string]map[string]any{"node1": {"doomed": true, "neverready": true}})
	err := w.Start(context.Background())
	if len(startErrors(err)) != 1 || !strings.Contains(err.Error(), "exit status 4") {
		t.Fatal(err)
	}
	expect(t, w.take(), "starting node1*", "started node1*")
	err = w.Start(context.Background())
	if all := startErrors(err); len(all) != 1 || len(all[0].Tail) != 1 {
		t.Errorf("the tail goes back beyond this start: %s", describe(err))
	}
}

func TestNeverReady(t *testing.T) {
	w := standIns(t, 1, Options{ReadyTimeout: time.Second}, map[string]map[string]any{"node1": {"neverready": true}})
	err := w.Start(context.Background())
	if len(startErrors(err)) != 1 || !strings.Contains(err.Error(), "not ready after 1s without progress") || !strings.Contains(err.Error(), "still thinking") {
		t.Error(err)
	}
	if !w.inspect("node1").Running {
		t.Error("it is not left to be looked at")
	}
	err = w.Start(context.Background()) // of who ran before, too, the log is shown
	if all := startErrors(err); len(all) != 1 || len(all[0].Tail) == 0 {
		t.Error(describe(err))
	}
}

// TestProgress: who gets on is waited for, however long it takes.
func TestProgress(t *testing.T) {
	for name, b := range map[string]behaviour{"applies": {Applies: 5}, "receives": {Receives: 5}, "stands still": {NeverReady: true}} {
		t.Run(name, func(t *testing.T) {
			w := standIns(t, 1, Options{ReadyTimeout: time.Nanosecond}, nil)
			node := &w.file.Nodes[0]
			server := httptest.NewServer(b.handler(node.Alias, w.Dir(node.Alias)))
			defer server.Close()
			node.HTTPAddress = server.Listener.Addr().String()
			nodes, err := client.New(addresses(w.file.Nodes), client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer nodes.Close()
			a := &attempt{node: *node, moved: time.Now()}
			if a.process, err = open(os.Getpid()); err != nil {
				t.Fatal(err)
			}
			defer a.process.close()
			err = w.awaitAll(t.Context(), nodes, []*attempt{a}, ready)
			if b.NeverReady != (err != nil) {
				t.Error(err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	w := standIns(t, 1, Options{}, map[string]map[string]any{"node1": {"neverready": true}})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		eventually(t, "started", func() bool { return len(w.taken()) == 2 })
		cancel(cause)
	}()
	if err := w.Start(ctx); !errors.Is(err, cause) {
		t.Error(err)
	}
}

// taken is take without forgetting.
func (w *world) taken() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func TestNoAgreement(t *testing.T) {
	for name, c := range map[string]struct {
		node2 map[string]any
		want  string
	}{
		"two leaders": {map[string]any{"leader": "node2"}, "node2 follows node2, others follow node1"},
		"no member":   {map[string]any{"members": []any{"node1"}}, "node2 does not count node2 as members"},
	} {
		t.Run(name, func(t *testing.T) {
			w := standIns(t, 2, Options{ReadyTimeout: time.Second}, map[string]map[string]any{"node2": c.node2})
			err := w.Start(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			if all := startErrors(err); len(all) != 1 || all[0].Alias != "node2" || len(all[0].Tail) == 0 {
				t.Errorf("the log of node2 is not shown: %s", describe(err))
			}
		})
	}
}

// TestAnotherAnswers: a port that somebody else has taken meanwhile answers as ready.
func TestAnotherAnswers(t *testing.T) {
	w := standIns(t, 1, Options{ReadyTimeout: 300 * time.Millisecond}, map[string]map[string]any{"node1": {"deaf": true}})
	answer := behaviour{Leader: "node1", Members: []string{"node1"}}.handler("node1", t.TempDir())
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if len(w.taken()) == 0 { // nothing is started yet
			panic(http.ErrAbortHandler)
		}
		answer.ServeHTTP(rw, r)
	}))
	w.file.Nodes[0].HTTPAddress = other.Listener.Addr().String()
	other.Start()
	defer other.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	err := w.Start(context.Background())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("answered by another node: id \"node1\", pid %d", os.Getpid())) {
		t.Error(err)
	}
}

func TestHangsOnStop(t *testing.T) {
	w := standIns(t, 2, Options{StopTimeout: 200 * time.Millisecond}, map[string]map[string]any{"node2": {"ignoreterm": true}})
	w.start()
	w.take()
	w.stop()
	expect(t, w.take(), "stopping node2", "killing node2", "killed node2", "stopping node1*", "stopped node1*")
}

func TestPause(t *testing.T) {
	ctx := context.Background()
	w := standIns(t, 2, Options{}, nil)
	if err := w.Pause(ctx, "node1"); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	w.start()
	w.take()
	for range 2 {
		if err := w.Pause(ctx, "node2"); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.inspect("node2"); !s.Running || !s.Paused {
		t.Errorf("%+v", s)
	}
	if s := w.Status(ctx)[1]; s.Status != nil || s.Err == nil || !s.State.Paused {
		t.Errorf("%+v", s)
	}
	if err := w.Start(ctx); err == nil || !strings.Contains(err.Error(), "paused: 'clusterctl -c cluster.yaml resume node2'") {
		t.Error(err)
	}
	if err := w.Resume(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	if w.inspect("node2").Paused {
		t.Error("still paused")
	}
	if err := w.Pause(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	w.stop()
	expect(t, w.take(), "paused node2", "paused node2", "resumed node2", "paused node2",
		"stopping node2", "stopped node2", "stopping node1*", "stopped node1*")
}

func TestUsage(t *testing.T) {
	ctx := context.Background()
	w := standIns(t, 1, Options{}, nil)
	for name, err := range map[string]error{
		"start": w.StartNodes(ctx, "x"), "stop": w.StopNode(ctx, "x"), "kill": w.Kill(ctx, "x"),
		"pause": w.Pause(ctx, "x"), "resume": w.Resume(ctx, "x"),
	} {
		if !errors.Is(err, ErrUnknownNode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Inspect("x"); !errors.Is(err, ErrUnknownNode) {
		t.Error(err)
	}
	w.stop() // there is not even a data directory
	w.opts.Binary = filepath.Join(t.TempDir(), "kvnode")
	err := w.Start(ctx)
	if len(startErrors(err)) != 1 || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "build kvnode to "+w.opts.Binary) {
		t.Error(err)
	}
	w.file.Leader = ""
	if err := w.Start(ctx); !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), "add leader: node1") {
		t.Error(err)
	}
}

func TestBinaryIsNeverFromPath(t *testing.T) {
	f := newFile(t, 1, clusterfile.Generate)
	for bin, want := range map[string]string{"bin": "bin/kvnode", ".": "./kvnode", "/x": "/x/kvnode"} {
		f.BinPath = bin
		if got := New(f, Options{}).opts.Binary; got != want {
			t.Errorf("%s: %s, want %s", bin, got, want)
		}
	}
}

func TestLock(t *testing.T) {
	ctx := context.Background()
	w := standIns(t, 1, Options{}, nil)
	if err := os.MkdirAll(w.file.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	held, err := New(w.file, Options{}).lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.lockTimeout = 50 * time.Millisecond
	for name, err := range map[string]error{"start": w.Start(ctx), "stop": w.Stop(ctx), "kill": w.Kill(ctx, "node1")} {
		if !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	w.start()
}
