package trace_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/bench/trace"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	spans "github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports"
)

// delay is by how much a store is slowed down.
const delay = 2 * time.Millisecond

// slow is a log store whose every write of entries takes delay longer.
type slow struct{ core.LogStore }

func (s slow) Unwrap() core.LogStore { return s.LogStore }

func (s slow) StoreLogs(entries []*raft.Log) error {
	time.Sleep(delay)
	return s.LogStore.StoreLogs(entries)
}

// anatomy has a group of three, some of them slowed down, serve writes.
func anatomy(t *testing.T, network, persistence string, slowed ...string) *trace.Breakdown {
	t.Helper()
	inmem, err := backends.Builtin().Lookup("inmem")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := transports.Builtin().Lookup(network)
	if err != nil {
		t.Fatal(err)
	}
	net, err := transport.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	buffers := map[string]*spans.Buffer{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	group, err := cluster.StartInProcess(ctx, cluster.Spec{
		Nodes: 3, Engine: hashicorp.Engine{}, Network: net, Dir: t.TempDir(), SnapshotsInMemory: true,
		Tuning: core.Tuning{Persistence: persistence},
		OpenStore: func(dir string) (core.LogStore, error) {
			s, err := inmem.Open(dir, nil)
			if slices.Contains(slowed, filepath.Base(filepath.Dir(dir))) {
				s = slow{s}
			}
			return s, err
		},
		Trace: func(id string) core.Trace {
			b, err := spans.NewBuffer(1 << 16)
			if err != nil {
				t.Error(err)
				return nil
			}
			buffers[id] = b
			return b
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	clock := spans.NewClock()
	var calls []trace.Call
	for range 100 {
		command := kv.EncodeSet("key", []byte(time.Now().String()))
		begin := time.Now()
		_, err := group.Nodes[0].Replica.Propose(ctx, command)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, trace.Call{Begin: clock.At(begin), End: clock.At(time.Now()), Checksum: spans.Checksum(command)})
	}
	if err := group.Close(); err != nil {
		t.Fatal(err)
	}
	var logs []spans.Log
	for id, b := range buffers {
		logs = append(logs, b.Log(id))
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	return trace.Join(calls, logs, "node1", 3)
}

// TestSlowedStore: a store that is slower moves the stage that it is part of, and no other
// write of a log. An overlapped leader waits for one of two that are slow.
func TestSlowedStore(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, x := range []struct {
		name, network    string
		slowed           []string
		leader, follower bool // are slow on the path
	}{
		{"none", "tcp", nil, false, false},
		{"leader", "tcp", []string{"node1"}, true, false},
		{"one follower", "tcp", []string{"node2"}, false, false},
		{"both followers", "tcp", []string{"node2", "node3"}, false, true},
		{"leader and one follower", "inmem", []string{"node1", "node3"}, true, false},
		{"all", "inmem", []string{"node1", "node2", "node3"}, true, true},
	} {
		for _, persistence := range []string{core.Serial, core.Overlapped} {
			t.Run(x.name+", "+persistence, func(t *testing.T) {
				b := anatomy(t, x.network, persistence, x.slowed...)
				if b.Joined != b.Calls || b.Dropped != 0 || b.SumNS() != b.TotalNS {
					t.Fatalf("%d of %d calls joined, %d spans dropped, %d of %d ns", b.Joined, b.Calls, b.Dropped, b.SumNS(), b.TotalNS)
				}
				leader, follower := 0, 0
				both, one := 0, 0
				for i := range b.Joined {
					l, f := time.Duration(b.Durations[trace.LeaderWrite][i]) >= delay, time.Duration(b.Durations[trace.FollowerWrite][i]) >= delay
					leader, follower = leader+count(l), follower+count(f)
					both, one = both+count(l && f), one+count(l != f)
				}
				most := func(n int) bool { return n > b.Joined/2 }
				if overlapped := persistence == core.Overlapped; overlapped && x.leader && x.follower {
					if !most(one) {
						t.Errorf("of %d calls %d waited for one slow store and %d for two", b.Joined, one, both)
					}
				} else if most(leader) != x.leader || most(follower) != x.follower {
					t.Errorf("of %d calls %d waited for the leader's slow store and %d for a follower's", b.Joined, leader, follower)
				}
				if len(x.slowed) == 1 && x.slowed[0] != "node1" && most(b.Decided[x.slowed[0]]) {
					t.Errorf("%s is slow and decided %v", x.slowed[0], b.Decided)
				}
				if persistence == core.Overlapped && x.leader && !x.follower && !most(b.Decided["node1"]) {
					t.Errorf("the leader is slow, and decided %v", b.Decided)
				}
				for _, stage := range []trace.Stage{trace.Replicator, trace.WireThere, trace.WireBack, trace.Commit} {
					if m := time.Duration(median(b.Durations[stage])); m >= delay {
						t.Errorf("stage %d: median %s", stage, m)
					}
				}
			})
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func median(of []int64) int64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
