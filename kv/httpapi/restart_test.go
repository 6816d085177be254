package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// TestStaleReadsAfterARestart: a node that was restarted has an empty map until it knows
// what of its log is committed. Until it has caught up it says so, and not that keys are
// not there.
func TestStaleReadsAfterARestart(t *testing.T) {
	dir, network := t.TempDir(), tcp.New(tcp.Options{})
	g := start(t, 1, nil) // for its client and its end
	up := func(fsm core.FSM, store *kv.Store) *node {
		t.Helper()
		logs, err := bolt.Open(dir, bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		link, err := network.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		cfg := core.ReplicaConfig{ID: "n", FSM: fsm, Logs: logs, Link: link, Tuning: tuning()}
		if last, err := logs.LastIndex(); err != nil {
			t.Fatal(err)
		} else if last == 0 {
			cfg.Bootstrap = []core.Member{{ID: "n", Address: link.Address(), Voter: true}}
		}
		replica, err := engine(t).Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return g.serve("n", replica, store, nil)
	}
	store := kv.New()
	before := up(store, store)
	g.must(before, "PUT", "/key/k?timeout=1m", "v")
	g.must(before, "GET", "/key/k?consistency=stale", "")
	before.close(t)
	g.nodes = g.nodes[:1]

	fsm := &slow{Store: kv.New(), gate: make(chan struct{})}
	t.Cleanup(fsm.open)
	n := up(fsm, fsm.Store)
	for _, target := range []string{"/key/k?consistency=stale", "/key?consistency=stale"} {
		g.do(n, "GET", target, "").refused(t, 503, "not_ready", "")
	}
	g.must(n, "GET", "/digest", "") // tells what it holds, whatever that is
	fsm.open()
	eventually(t, func() error {
		r := g.do(n, "GET", "/key/k?consistency=stale", "")
		if r.StatusCode == 503 {
			return fmt.Errorf("%d %s", r.StatusCode, r.body)
		}
		if r.body != `{"k":"v"}` {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		return nil
	})
}
