package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// ownStore is an engine that keeps its term, its vote and its log in the folder of the
// snapshots, and leaves the log store that it is given empty.
type ownStore struct{ hashicorp.Engine }

func (ownStore) Describe() core.EngineInfo { return core.EngineInfo{Name: "ownstore"} }

func ownDir(dir string) string { return filepath.Join(dir, "own") }

func (e ownStore) HasState(_ core.LogStore, dir string) (bool, error) {
	if _, err := os.Stat(ownDir(dir)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	own, err := bolt.Open(ownDir(dir), bolt.Options{})
	if err != nil {
		return false, err
	}
	has, err := e.Engine.HasState(own, dir)
	return has, errors.Join(err, own.Close())
}

func (e ownStore) Start(cfg core.ReplicaConfig) (core.Replica, error) {
	given := cfg.Logs
	own, err := bolt.Open(ownDir(cfg.SnapshotDir), bolt.Options{})
	if err != nil {
		return nil, err
	}
	cfg.Logs = own
	replica, err := e.Engine.Start(cfg)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return ownReplica{replica, given}, nil
}

type ownReplica struct {
	core.Replica
	given core.LogStore
}

func (r ownReplica) Close() error { return errors.Join(r.Replica.Close(), r.given.Close()) }

// TestStateElsewhere: where an engine keeps its state is the engine's to know. A node on
// one that leaves the log store empty goes on with what it has, and does not take it for
// lost.
func TestStateElsewhere(t *testing.T) {
	cfg := config(t, Config{ID: "node1", Engine: ownStore{}})
	for _, want := range []bool{false, true} {
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n.hasState != want {
			t.Errorf("has state: %t, want %t", n.hasState, want)
		}
		eventually(t, "it is known as a member", func() bool {
			_, err := os.Stat(filepath.Join(cfg.Data, nodesName))
			return err == nil
		})
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStateOfNobody: state that only the engine knows of is not taken for a new node's.
func TestStateOfNobody(t *testing.T) {
	before := config(t, Config{ID: "node1", Engine: ownStore{}})
	n, err := Start(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads", func() bool { return n.replica.Status().Role == core.Leader })
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	after := config(t, Config{ID: "node2", Engine: ownStore{}})
	if err := os.Rename(ownDir(before.Data), ownDir(after.Data)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first refusal leaves nothing that says whose it is
		n, err := Start(t.Context(), after)
		if err == nil {
			t.Fatal("it started", n.Stop())
		}
		if !strings.Contains(err.Error(), "that says whose it is: bring that file back") {
			t.Error(err)
		}
	}
}

// TestProfiles: a profile has the timings of Raft and those of gossip, and what was set
// wins over it.
func TestProfiles(t *testing.T) {
	for name, want := range map[string]gossip.Profile{LAN: gossip.LAN(), Local: gossip.Local(), WAN: gossip.WAN()} {
		p, ok := ProfileOf(name)
		n := &Node{cfg: Config{Profile: p, Gossip: &Gossip{}}}
		if got := n.gossipConfig(n.self()).Profile; !ok || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if tuned := p.Tuned(core.Tuning{MaxInFlight: 3}); tuned.HeartbeatTimeout != p.Raft.HeartbeatTimeout || tuned.MaxInFlight != 3 ||
			tuned.LeaderLeaseTimeout != p.Raft.LeaderLeaseTimeout || tuned.LeaderLeaseTimeout > tuned.HeartbeatTimeout {
			t.Errorf("%s: %+v", name, tuned)
		}
		if own := (core.Tuning{HeartbeatTimeout: 100 * time.Millisecond}); p.Tuned(own) != own {
			t.Errorf("%s: a heartbeat timeout of one's own, and yet %+v", name, p.Tuned(own))
		}
		if got := p.Tuned(core.Tuning{LeaderLeaseTimeout: time.Millisecond}).LeaderLeaseTimeout; got != time.Millisecond {
			t.Errorf("%s: a lease of one's own, and yet %v", name, got)
		}
	}
	if _, ok := ProfileOf("moon"); ok {
		t.Error("there is a profile moon")
	}
}
