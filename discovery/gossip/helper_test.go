package gossip

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what must come.
const deadline = 20 * time.Second

// journal is a logger that remembers its lines.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// count returns how many lines hold all of the parts.
func (j *journal) count(parts ...string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
lines:
	for line := range strings.Lines(j.buf.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		n++
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// incarnation is that of the node id, and of no other.
func incarnation(id string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return fmt.Sprintf("%016x", h.Sum64())
}

// testConfig is a voter called id that is alone in the world.
func testConfig(id string) Config {
	return Config{
		ID:      id,
		Cluster: "test",
		Self:    discovery.Self{Incarnation: incarnation(id), RaftAddress: id + ":12000", HTTPAddress: id + ":11000", Voter: true},
		Bind:    "127.0.0.1:0",
		Profile: Local(),
	}
}

func start(t *testing.T, cfg Config) *Agent {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("on", cfg.ID)
	}
	a, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// await waits until condition holds, looking again whenever a's view changes.
func await(t *testing.T, a *Agent, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for {
		changed := a.Changes()
		if condition() {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: never: %s", what, view(a))
		}
	}
}

// view is a's view of all nodes in one line: "n1 alive, n2 failed".
func view(a *Agent) string {
	var s []string
	for _, p := range a.Peers() {
		s = append(s, fmt.Sprintf("%s %s", p.ID, p.State))
	}
	return strings.Join(s, ", ")
}

func awaitView(t *testing.T, a *Agent, want string) {
	t.Helper()
	await(t, a, "view of "+want, func() bool { return view(a) == want })
}

func peer(a *Agent, id string) discovery.Peer {
	for _, p := range a.Peers() {
		if p.ID == id {
			return p
		}
	}
	return discovery.Peer{}
}
