package kvnode

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/node"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(leakChecked{m}, map[string]func(){"kvnode": func() {
		os.Exit(Main(context.Background(), cluster.Builtin(), os.Args[1:], os.Stdout, os.Stderr))
	}})
}

// leakChecked runs tests and fails if they leave goroutines behind.
type leakChecked struct{ m *testing.M }

// Run implements testscript.TestingM.
func (l leakChecked) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// TestScripts runs the program as its users do: see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Values[nodesKey{}] = map[string]*process{}
			e.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second more under -race
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit": exitCode, "node": startNode, "signal": signalNode, "ended": awaitEnd,
			"logged": awaitLog, "http": request, "await": awaitAnswer, "upload": hangingUpload, "spoil": spoil, "flip": flipBit, "cut": cutShort, "appears": appears,
		},
	})
}

// TestRunLeavesNothing starts and stops a node within this process: TestMain
// looks for goroutines that it left.
func TestRunLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	log := &trigger{text: "leader is node1", fire: cancel}
	args := []string{"--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", t.TempDir()}
	if code := runHere(ctx, args, log); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, log.String())
	}
	if !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("no orderly end:\n%s", log.String())
	}
}

// runHere runs the program in this process, until all that it says is in out.
func runHere(ctx context.Context, args []string, out io.Writer) int {
	return runWith(ctx, cluster.Builtin(), args, out)
}

func runWith(ctx context.Context, known cluster.Catalogs, args []string, out io.Writer) int {
	log := newLogQueue(out)
	defer log.close(patience)
	return run(ctx, known, args, nil, io.Discard, log)
}

// trigger is a log that calls fire once text was written in one piece.
type trigger struct {
	text string
	fire func()

	mu   sync.Mutex
	all  bytes.Buffer
	seen bool
}

// Write implements io.Writer.
func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.all.Write(p)
	if !w.seen && strings.Contains(string(p), w.text) {
		w.seen = true
		w.fire()
	}
	return n, err
}

// String returns what was written so far.
func (w *trigger) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// field returns the word that follows key in the log.
func (w *trigger) field(t *testing.T, key string) string {
	t.Helper()
	_, rest, ok := strings.Cut(w.String(), key)
	if !ok {
		t.Fatalf("no %s in\n%s", key, w.String())
	}
	return strings.Fields(rest)[0]
}

// TestFailedStartLeavesNothing has every step of the start fail.
func TestFailedStartLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args string
		code int
		want string
	}{
		"path":   {file, exitFailed, "file"},
		"haddr":  {"--haddr 192.0.2.1:0 " + dir + "/1", exitFailed, "--haddr 192.0.2.1:0"},
		"raddr":  {"--raddr 192.0.2.1:0 " + dir + "/2", exitFailed, "--raddr 192.0.2.1:0"},
		"vote":   {"--nonvoter " + dir + "/3", exitUsage, "--nonvoter"},
		"engine": {"--raft-option max_append_entries=2000 " + dir + "/4", exitUsage, "MaxAppendEntries"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args := append([]string{"--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0"}, strings.Fields(test.args)...)
			var out bytes.Buffer
			if code := runHere(ctx, args, &out); code != test.code || !strings.Contains(out.String(), test.want) {
				t.Errorf("exit code %d, want %d and %q in\n%s", code, test.code, test.want, out.String())
			}
		})
	}
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

// TestJoinThisMachine: a port alone is one of this machine, as in -join :11000.
func TestJoinThisMachine(t *testing.T) {
	start := func(args ...string) *node.Node {
		t.Helper()
		s := mustParse(t, "", append(args, "-raddr", "127.0.0.1:0", t.TempDir())...)
		s.Logger = slog.New(slog.DiscardHandler)
		n, err := node.Start(t.Context(), s.Config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	n1 := start("-id", "node1", "-haddr", "localhost:0")
	_, port, err := net.SplitHostPort(n1.HTTPAddress())
	if err != nil {
		t.Fatal(err)
	}
	start("-id", "node2", "-haddr", "127.0.0.1:0", "-join", ":"+port, "-inmem")
	until(t, func() error {
		m, err := get[api.Members](&gossiper{http: n1.HTTPAddress()}, "/members")
		if err == nil && len(m.Members) != 2 {
			err = fmt.Errorf("members %v", m.Members)
		}
		return err
	})
}
