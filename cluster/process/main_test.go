package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/kv/api"
)

// TestMain also makes this binary the programs that the tests start.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "-id":
		os.Exit(standIn(os.Args[1:]))
	case len(os.Args) > 1 && os.Args[1] == "start-and-end":
		os.Exit(startAndEnd(os.Args[2], os.Args[3] == "foreground"))
	}
	// With the race detector a program that ends sleeps for a second by default.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// behaviour is what kvnode.toml tells a stand-in to do.
type behaviour struct {
	Fail       bool     // end at once, after some words
	Doomed     bool     // end soon, before it is ready
	Deaf       bool     // never listen
	NeverReady bool     // answer, but not be ready
	IgnoreTerm bool     // not stop
	Applies    uint64   // be ready after so many looks, with another entry applied at each
	Receives   uint64   // be ready after so many looks, with more of a snapshot received at each
	Waiting    bool     // belong to no cluster
	InMemory   bool     // write nothing
	Voteless   bool     // say that it has no vote
	Unvoted    []string // whom to name without a vote
	Role       string   // what to say that it is
	Leader     string   // whom to name; empty: nobody
	Members    []string // whom to name
}

// standIn behaves as kvnode does where package process can see it, or as badly
// as it is told. It is given arguments like kvnode's.
func standIn(args []string) int {
	flags := map[string]string{}
	for len(args) > 1 {
		flags[args[0]] = args[1]
		args = args[2:]
	}
	var b behaviour
	if _, err := toml.DecodeFile(flags["-config"], &b); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println("join", flags["-join"])
	if address, gossips := flags["-gossip"]; gossips {
		fmt.Printf("gossip %s join %s expect %s cluster %s key %q profile %q\n", address, flags["-gossip-join"],
			flags["-bootstrap-expect"], flags["-cluster"], flags["-gossip-key"], flags["-profile"])
	}
	if b.Fail {
		for i := range 30 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		return 3
	}
	if err := b.write(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if b.IgnoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	if b.Doomed {
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(4) })
	}
	if !b.Deaf {
		l, err := net.Listen("tcp", flags["-haddr"])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() { _ = http.Serve(l, b.handler(flags["-id"], args[0])) }()
	}
	<-stop
	return 0
}

// write leaves in its folder what tells of a node's state.
func (b behaviour) write(dir string) error {
	if b.InMemory {
		return nil
	}
	// The lock goes with the process: no os.File, which the collector would close.
	lock, err := syscall.Open(filepath.Join(dir, lockName), syscall.O_CREAT|syscall.O_RDWR|syscall.O_TRUNC, 0o644)
	if err == nil {
		_, err = syscall.Write(lock, fmt.Appendln(nil, os.Getpid()))
	}
	if err == nil {
		err = syscall.Flock(lock, syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "node.json"), nil, 0o644)
	}
	if err == nil && !b.Waiting {
		err = os.WriteFile(filepath.Join(dir, "nodes.json"), nil, 0o644)
	}
	return err
}

func (b behaviour) handler(id, dir string) http.Handler {
	var looks atomic.Uint64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s := api.Status{Me: api.Node{Peer: api.Peer{ID: id}, Role: b.Role, PID: os.Getpid(), Term: 1, Voter: !b.Voteless}}
		if !b.Waiting {
			s.Me.LastIndex = 1
		}
		n := looks.Add(1)
		s.Me.AppliedIndex = min(n, b.Applies)
		if n <= b.Receives {
			grow(filepath.Join(dir, "snapshots", "1", "state.bin"), n)
		}
		if b.Leader != "" {
			s.Leader = &api.Peer{ID: b.Leader}
		}
		for _, m := range b.Members {
			if m != b.Leader {
				s.Followers = append(s.Followers, api.Follower{Peer: api.Peer{ID: m}, Voter: !slices.Contains(b.Unvoted, m)})
			}
		}
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if b.NeverReady || looks.Load() < max(b.Applies, b.Receives) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(api.Error{Error: "still thinking", Code: api.CodeNotReady})
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.HeaderNode, id)
		mux.ServeHTTP(w, r)
	})
}

// grow makes a file of n bytes.
func grow(path string, n uint64) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, make([]byte, n), 0o644); err != nil {
		panic(err)
	}
}

// startAndEnd starts the cluster of a file and ends without stopping it; in the
// foreground it waits to be killed.
func startAndEnd(path string, foreground bool) int {
	f, err := clusterfile.Read(path)
	if err == nil {
		err = New(f, Options{Binary: os.Args[0], Foreground: foreground}).Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("started")
	if foreground {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	return 0
}

// world is a cluster and what happened to it.
type world struct {
	t *testing.T
	*Cluster
	file *clusterfile.File

	mu     sync.Mutex
	events []Event
}

// newFile describes n nodes in a new folder, on a host of their own; generate says how they find each other.
func newFile(t *testing.T, n int, generate func(int, string) (*clusterfile.File, error)) *clusterfile.File {
	t.Helper()
	host, release, err := clustertest.Host()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	f, err := generate(n, host)
	if err != nil {
		t.Fatal(err)
	}
	f.DataDir = filepath.Join(t.TempDir(), "var")
	f.Path = "cluster.yaml"
	return f
}

// newWorld makes a cluster that does not outlive the test.
func newWorld(t *testing.T, f *clusterfile.File, o Options) *world {
	t.Helper()
	w := &world{t: t, file: f}
	o.Events = func(e Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
	w.Cluster = New(f, o)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for _, n := range f.Nodes {
			if err := w.Kill(context.Background(), n.Alias); err != nil && !errorsIsNotRunning(err) {
				t.Error(err)
			}
		}
	})
	return w
}

// standIns is a cluster of n stand-ins which behave; change tells them otherwise.
func standIns(t *testing.T, n int, o Options, change map[string]map[string]any) *world {
	t.Helper()
	return standInsOf(t, newFile(t, n, clusterfile.Generate), o, change)
}

func standInsOf(t *testing.T, f *clusterfile.File, o Options, change map[string]map[string]any) *world {
	t.Helper()
	var members []any
	for _, node := range f.Nodes {
		members = append(members, node.Alias)
	}
	f.Kvnode = map[string]any{"leader": "node1", "members": members}
	for i := range f.Nodes {
		f.Nodes[i].Kvnode = change[f.Nodes[i].Alias]
	}
	o.Binary = testBinary(t)
	return newWorld(t, f, o)
}

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// take returns the events since the last call, as "kind alias", with a "*" at
// the leader.
func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.events {
		text := string(e.Kind) + " " + e.Node.Alias
		if e.Leader {
			text += "*"
		}
		if (e.PID == 0) != (e.Kind == Starting || e.Kind == AlreadyStopped) {
			w.t.Errorf("%s: pid %d", text, e.PID)
		}
		all = append(all, text)
	}
	w.events = nil
	return all
}

func (w *world) start() {
	w.t.Helper()
	if err := w.Start(context.Background()); err != nil {
		w.t.Fatal(describe(err))
	}
}

func (w *world) stop() {
	w.t.Helper()
	if err := w.Stop(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) inspect(alias string) State {
	w.t.Helper()
	s, err := w.Inspect(alias)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) log(alias string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.LogPath(alias))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// alive reports whether a process has not ended.
func alive(pid int) bool {
	p, err := open(pid)
	if err != nil || p == nil {
		return false
	}
	p.close()
	return true
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// sleeper is a process that has nothing to do with any cluster.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// describe is an error with the tails of logs in it.
func describe(err error) string {
	var b strings.Builder
	fmt.Fprintln(&b, err)
	for _, e := range startErrors(err) {
		fmt.Fprintf(&b, "%s:\n\t%s\n", e.Alias, strings.Join(e.Tail, "\n\t"))
	}
	return b.String()
}
