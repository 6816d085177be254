package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// metric returns the value of one line of /metrics.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if line == nil {
		t.Fatalf("no %s in:\n%s", name, text)
	}
	value, err := strconv.ParseFloat(line[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestMetrics(t *testing.T) {
	g := start(t, 3, nil)
	leader, follower := g.nodes[0], g.nodes[1]
	for range 3 {
		g.must(follower, "PUT", "/key/some/key", "v")
	}
	g.do(follower, "BREW", "/key/a", "")
	g.do(follower, "GET", "/no/such/path", "")
	g.do(follower, "GET", "/key/none?consistency=stale", "")

	text := g.must(follower, "GET", "/metrics", "").body
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "raftlab_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	const count = "raftlab_http_request_duration_seconds_count"
	for name, want := range map[string]float64{
		count + `{code="2xx",method="PUT",route="/key/{key}"}`:                                            3,
		count + `{code="4xx",method="other",route="/key/{key}"}`:                                          1,
		count + `{code="4xx",method="GET",route="other"}`:                                                 1,
		count + `{code="4xx",method="GET",route="/key/{key}"}`:                                            1,
		"raftlab_http_requests_in_flight":                                                                 1,
		`raftlab_http_forwarded_requests_total{outcome="answered"}`:                                       3,
		`raftlab_http_forwarded_requests_total{outcome="lost"}`:                                           0,
		"raftlab_raft_is_leader":                                                                          0,
		"raftlab_raft_term":                                                                               float64(follower.replica.Status().Term),
		"raftlab_store_syncs_total":                                                                       7,
		"raftlab_kv_refused_commands_total":                                                               0,
		`raftlab_node_info{durability="nothing",id="node2",store="inmem",transport="tcp",version="test"}`: 1,
	} {
		if got := metric(t, text, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if contact := metric(t, text, "raftlab_raft_last_contact_seconds"); contact <= 0 {
		t.Errorf("last contact %v", contact)
	}
	metric(t, text, "go_goroutines")
	if strings.Contains(text, "some/key") {
		t.Error("a key in a label")
	}
	eventually(t, func() error {
		text := g.must(leader, "GET", "/metrics", "").body
		if strings.Count(text, "raftlab_raft_peer_lag_entries{") < 2 {
			return errors.New("the leader does not know all of its followers")
		}
		if metric(t, text, "raftlab_raft_is_leader") != 1 || metric(t, text, "raftlab_kv_keys") != 1 || metric(t, text, "raftlab_kv_commands_total") != 6 {
			t.Errorf("leader:\n%s", text)
		}
		metric(t, text, `raftlab_raft_peer_lag_entries{id="node3"}`)
		return nil
	})
	if one := g.must(leader, "GET", "/metrics?name[]=raftlab_kv_keys&name[]=raftlab_raft_term", "").body; strings.Contains(one, "go_goroutines") {
		t.Errorf("filtered: %s", one)
	}
}

// slow is a state machine that applies nothing until it is let: so that a
// follower is behind for as long as a test wants.
type slow struct {
	*kv.Store
	gate chan struct{}
	once sync.Once
}

func (s *slow) open() { s.once.Do(func() { close(s.gate) }) }

// Apply implements core.FSM.
func (s *slow) Apply(index uint64, command []byte) any {
	<-s.gate
	return s.Store.Apply(index, command)
}

// ApplyBatch implements core.BatchFSM.
func (s *slow) ApplyBatch(batch []core.BatchEntry) {
	<-s.gate
	s.Store.ApplyBatch(batch)
}

// TestReady sees that a node is ready once it has applied what the group had
// committed when it first reached a leader, not before.
func TestReady(t *testing.T) {
	g := start(t, 3, nil)
	for _, n := range g.nodes {
		g.must(n, "GET", "/readyz", "")
	}
	g.must(g.nodes[0], "PUT", "/key/k", "v")
	n4, fsm := g.slowNewcomer("n4")
	g.must(g.nodes[0], "POST", "/join", joinBody(n4, true))
	eventually(t, func() error {
		r := g.do(n4, "GET", "/readyz", "")
		if e := r.refused(t, 503, api.CodeNotReady, ""); !strings.Contains(e.Error, "catching up") {
			return errors.New(e.Error)
		}
		return nil
	})
	g.do(n4, "GET", "/key/k?consistency=stale", "").refused(t, 503, api.CodeNotReady, "catching up") // and not 404
	g.do(n4, "GET", "/key/k?timeout=80ms", "").refused(t, 504, api.CodeTimeout, "")
	fsm.open()
	eventually(t, func() error {
		if r := g.do(n4, "GET", "/readyz", ""); r.StatusCode != 200 {
			return fmt.Errorf("%d %s", r.StatusCode, r.body)
		}
		return nil
	})
	g.must(n4, "GET", "/key/k?consistency=stale", "")
}

// TestLog sees a line per request at debug level, and few for many failures.
func TestLog(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	var log lockedBuffer
	server, err := httpapi.New(httpapi.Config{
		Replica: n.replica, Map: n.store,
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	n.http.Config.Handler = server
	g.must(n, "PUT", "/key/a%2Fb", "v", forwardedTo(n)...)
	if err := n.replica.Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		g.do(n, "PUT", "/key/a", "v")
	}
	text := log.String()
	for _, want := range []string{`"level":"DEBUG","msg":"request","method":"PUT","route":"/key/{key}","path":"/key/a%2Fb","status":200`, `"forwarded_by":"node3"`, `"code":"stopped"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if warnings := strings.Count(text, `"level":"WARN"`); warnings < 1 || warnings > 25 {
		t.Errorf("%d warnings for 50 failures", warnings)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestNewRefuses(t *testing.T) {
	g := start(t, 1, nil)
	for _, cfg := range []httpapi.Config{
		{},
		{Replica: g.nodes[0].replica},
		{Replica: g.nodes[0].replica, Map: g.nodes[0].store, Timeout: -1},
		{Replica: g.nodes[0].replica, Map: g.nodes[0].store, Timeout: api.MaxTimeout + 1},
	} {
		if s, err := httpapi.New(cfg); !errors.Is(err, core.ErrInvalid) || s != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
