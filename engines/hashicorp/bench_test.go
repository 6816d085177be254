package hashicorp_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

// bareFSM is the map as a user of the library alone would write it.
type bareFSM struct{ *kv.Store }

func (f bareFSM) Apply(l *raft.Log) any { return f.Store.Apply(l.Index, l.Data) }

func (f bareFSM) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			results[i] = f.Store.Apply(l.Index, l.Data)
		}
	}
	return results
}

func (f bareFSM) Restore(from io.ReadCloser) error { return f.Store.Restore(from) }

func (f bareFSM) Snapshot() (raft.FSMSnapshot, error) {
	return nil, fmt.Errorf("not in this benchmark")
}

// proposer writes one command to a group's leader.
type proposer func(command []byte) error

// bareGroup is three nodes of the library without raftlab: the same store, the
// same transport, the same settings, raft.Apply.
func bareGroup(b *testing.B, stores func(node int) core.LogStore) proposer {
	const nodes = 3
	var transports []core.Transport
	var configuration raft.Configuration
	network := tcp.New(tcp.Options{})
	for i := range nodes {
		link, err := network.Listen("")
		if err != nil {
			b.Fatal(err)
		}
		transports = append(transports, hashicorp.Frame(link.Wire, hashicorp.FrameOptions{}))
		configuration.Servers = append(configuration.Servers, raft.Server{
			ID: raft.ServerID(fmt.Sprintf("n%d", i+1)), Address: raft.ServerAddress(link.Address()),
		})
	}
	var replicas []*raft.Raft
	for i := range nodes {
		conf := raft.DefaultConfig()
		conf.LocalID = configuration.Servers[i].ID
		conf.Logger = hclog.NewNullLogger()
		conf.NoLegacyTelemetry = true
		store := stores(i)
		cache, err := raft.NewLogCache(hashicorp.DefaultLogCache, store)
		if err != nil {
			b.Fatal(err)
		}
		snapshots := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(conf, cache, store, snapshots, transports[i], configuration); err != nil {
			b.Fatal(err)
		}
		r, err := raft.NewRaft(conf, bareFSM{kv.New()}, cache, store, snapshots, transports[i])
		if err != nil {
			b.Fatal(err)
		}
		replicas = append(replicas, r)
		b.Cleanup(func() { _ = r.Shutdown().Error(); _ = store.Close() })
	}
	for {
		for _, r := range replicas {
			if r.State() == raft.Leader && r.Barrier(0).Error() == nil {
				return func(command []byte) error { return r.Apply(command, 10*time.Second).Error() }
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// replicaGroup is the same by raftlab: core.Replica.Propose under a deadline.
func replicaGroup(b *testing.B, tuning core.Tuning, stores func(node int) core.LogStore) proposer {
	network := tcp.New(tcp.Options{})
	var configs []core.ReplicaConfig
	var members []core.Member
	for i := range 3 {
		link, err := network.Listen("")
		if err != nil {
			b.Fatal(err)
		}
		id := fmt.Sprintf("n%d", i+1)
		members = append(members, core.Member{ID: id, Address: link.Address(), Voter: true})
		configs = append(configs, core.ReplicaConfig{ID: id, FSM: kv.New(), Logs: stores(i), Link: link, Tuning: tuning})
	}
	var replicas []core.Replica
	for _, cfg := range configs {
		cfg.Bootstrap = members
		r, err := hashicorp.Engine{}.Start(cfg)
		if err != nil {
			b.Fatal(err)
		}
		replicas = append(replicas, r)
		b.Cleanup(func() { _ = r.Close() })
	}
	for {
		for _, r := range replicas {
			if r.Status().Role == core.Leader && r.ReadBarrier(b.Context()) == nil {
				return func(command []byte) error {
					ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
					defer cancel()
					_, err := r.Propose(ctx, command)
					return err
				}
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// BenchmarkFramework shows what raftlab's Replica adds to the library: the groups
// live at once and take turns, block by block in random order, so that the
// machine's mood falls on all alike. overhead-% compares the medians of the
// blocks' times, replica against bare; control-% does the same for a second bare
// group, and so is what the comparison itself is worth.
func BenchmarkFramework(b *testing.B) {
	for _, store := range []string{"bolt", "inmem"} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("store=%s/transport=tcp/clients=%d", store, clients), func(b *testing.B) {
				compareFramework(b, store, clients)
			})
		}
	}
}

func compareFramework(b *testing.B, store string, clients int) {
	dir := b.TempDir()
	open := func(group string) func(int) core.LogStore {
		return func(node int) core.LogStore {
			if store == "inmem" {
				return inmem.New()
			}
			s, err := bolt.Open(filepath.Join(dir, group, fmt.Sprint(node)), bolt.Options{})
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
	}
	groups := []proposer{bareGroup(b, open("bare")), replicaGroup(b, core.Tuning{}, open("replica")), bareGroup(b, open("control"))}
	const opsPerClient = 20
	times := make([][]float64, len(groups)) // µs per operation, a sample per block
	for _, p := range groups {
		runBlock(b, p, clients, 5*opsPerClient) // warm-up
	}
	rng := rand.New(rand.NewPCG(1, 1))
	b.ResetTimer()
	for done := 0; done < b.N; done += len(groups) * clients * opsPerClient {
		for _, g := range rng.Perm(len(groups)) {
			elapsed := runBlock(b, groups[g], clients, opsPerClient)
			times[g] = append(times[g], float64(elapsed.Nanoseconds())/1e3/float64(clients*opsPerClient))
		}
	}
	b.StopTimer()
	bare, replica, control := median(times[0]), median(times[1]), median(times[2])
	b.ReportMetric(bare, "bare-µs/op")
	b.ReportMetric(replica, "replica-µs/op")
	b.ReportMetric(100*(replica/bare-1), "overhead-%")
	b.ReportMetric(100*(control/bare-1), "control-%")
	b.ReportMetric(float64(len(times[0])), "blocks")
}

// BenchmarkPropose measures a write to a group of three, on disk one after the other and
// overlapped, and in memory: all that the engine does, without a client's protocol.
func BenchmarkPropose(b *testing.B) {
	for _, x := range []struct{ store, persistence string }{
		{"inmem", core.Serial}, {"wal", core.Serial}, {"wal", core.Overlapped},
	} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("store=%s/persistence=%s/clients=%d", x.store, x.persistence, clients), func(b *testing.B) {
				dir := b.TempDir()
				propose := replicaGroup(b, core.Tuning{Persistence: x.persistence}, func(node int) core.LogStore {
					if x.store == "inmem" {
						return inmem.New()
					}
					s, err := wal.Open(filepath.Join(dir, fmt.Sprint(node)), wal.Options{})
					if err != nil {
						b.Fatal(err)
					}
					return s
				})
				b.ReportAllocs()
				b.ResetTimer()
				runBlock(b, propose, clients, (b.N+clients-1)/clients)
			})
		}
	}
}

func runBlock(b *testing.B, propose proposer, clients, ops int) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range ops {
				if err := propose(kv.EncodeSet(fmt.Sprintf("key-%012d", i), make([]byte, 256))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func median(samples []float64) float64 {
	s := slices.Clone(samples)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
