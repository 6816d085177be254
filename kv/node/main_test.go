package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// patience is how long a test waits for a condition: it bounds a hang, on a busy machine too.
const patience = time.Minute

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if text := os.Getenv(doomedEnv); text != "" {
		var d doomed
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(d.live())
	}
	goleak.VerifyTestMain(m)
}

// config fills in what cfg leaves open: a new folder, a log store on disk, free ports.
func config(t *testing.T, cfg Config) Config {
	t.Helper()
	bolt, err := backends.Builtin().Lookup("bolt")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	cfg.HTTPBind, cfg.RaftBind, cfg.RequestTimeout = "127.0.0.1:0", "127.0.0.1:0", api.DefaultTimeout
	if cfg.OpenStore == nil {
		cfg.Backend = "bolt"
		cfg.OpenStore = func(dir string) (core.LogStore, error) { return bolt.Open(dir, nil) }
	}
	cfg.Network = tcp.New(tcp.Options{})
	if cfg.Engine == nil {
		cfg.Engine = hashicorp.Engine{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// startLogged starts a node that logs to log.
func startLogged(t *testing.T, log io.Writer, cfg Config) *Node {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	n, err := Start(t.Context(), config(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startHere starts a node that the end of the test stops.
func startHere(t *testing.T, cfg Config) *Node {
	t.Helper()
	n := startLogged(t, io.Discard, cfg)
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
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
