package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestStalledStore: while the disk hangs the node says so, in its health and in its
// metrics, and refuses at once what needs it; when the disk is back, so is the node.
func TestStalledStore(t *testing.T) {
	var gate faulty.Gate
	patient := tuning()
	patient.StallTimeout, patient.StallLimit = 50*time.Millisecond, time.Minute
	members, err := cluster.StartInProcess(t.Context(), cluster.Spec{
		Nodes: 1, Engine: engine(t), Network: tcp.New(tcp.Options{}), SnapshotsInMemory: true, Tuning: patient,
		OpenStore: func(string) (core.LogStore, error) { return faulty.Wrap(inmem.New(), gate.Hold()), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	g := &group{t: t, client: &http.Client{Transport: transport}}
	n := g.serve("node1", members.Nodes[0].Replica, members.Nodes[0].Map, nil)
	t.Cleanup(func() { gate.Open(); transport.CloseIdleConnections(); n.close(t) })
	g.must(n, "PUT", "/key/a", "1")
	g.must(n, "GET", "/healthz", "")
	if v := metric(t, g.must(n, "GET", "/metrics", "").body, "raftlab_store_stalled_seconds"); v != 0 {
		t.Errorf("stalled for %v s while all is well", v)
	}

	gate.Shut()
	hung := make(chan int, 1)
	go func() { hung <- g.do(n, "PUT", "/key/a?timeout=100ms", "2").StatusCode }()
	eventually(t, func() error {
		_, err := g.do(n, "GET", "/healthz", "").isRefused(503, api.CodeNotReady, "a write to its log store has not returned")
		return err
	})
	g.do(n, "GET", "/readyz", "").refused(t, 503, api.CodeNotReady, "node1 has stalled")
	if v := metric(t, g.must(n, "GET", "/metrics", "").body, "raftlab_store_stalled_seconds"); v < 0.05 {
		t.Errorf("stalled for %v s", v)
	}
	begun := time.Now()
	for _, method := range []string{"PUT", "GET"} {
		g.do(n, method, "/key/b", "").refused(t, 503, api.CodeNoLeader, "stalled")
	}
	if took := time.Since(begun); took > api.DefaultTimeout {
		t.Errorf("refused after %s: it has waited for the deadlines", took)
	}
	<-hung

	gate.Open()
	eventually(t, func() error {
		if r := g.do(n, "PUT", "/key/a", "3"); r.StatusCode != 200 {
			return fmt.Errorf("%d %s", r.StatusCode, strings.TrimSpace(r.body))
		}
		return nil
	})
	g.must(n, "GET", "/healthz", "")
}
