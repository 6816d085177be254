package backends_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for variable, child := range map[string]func(string) error{spoiling: spoilChild, opening: openChild} {
		if task := os.Getenv(variable); task != "" {
			if err := child(task); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// BenchmarkLogStore runs the shared benchmark on every backend, named so that
// benchstat compares them: benchstat -col /backend.
func BenchmarkLogStore(b *testing.B) {
	catalog := backends.Builtin()
	for _, name := range catalog.Names() {
		backend, err := catalog.Lookup(name)
		if err != nil {
			b.Fatal(err)
		}
		if backend.Available != nil && backend.Available() != nil {
			b.Logf("backend=%s: %v", name, backend.Available())
			continue
		}
		b.Run("backend="+name, func(b *testing.B) {
			coretest.BenchmarkLogStore(b, func(b *testing.B, dir string) core.LogStore {
				s, err := backend.Open(dir, nil)
				if err != nil {
					b.Fatal(err)
				}
				return s
			})
		})
	}
}

// BenchmarkWriters appends entries of 280 bytes from one or three stores at once on one
// disk, as a leader and its followers on one machine do. Time is that of one StoreLogs.
func BenchmarkWriters(b *testing.B) {
	const entryBytes = 280
	for _, name := range []string{"bolt", "wal", "pebble"} {
		backend, err := backends.Builtin().Lookup(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, writers := range []int{1, 3} {
			for _, batch := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("backend=%s/writers=%d/batch=%d", name, writers, batch), func(b *testing.B) {
					var stores []core.LogStore
					for range writers {
						s, err := backend.Open(b.TempDir(), nil)
						if err != nil {
							b.Fatal(err)
						}
						stores = append(stores, s)
					}
					b.ReportAllocs()
					b.ResetTimer()
					var appending sync.WaitGroup
					for _, s := range stores {
						appending.Go(func() { appendBatches(b, s, batch, entryBytes) })
					}
					appending.Wait()
					b.StopTimer()
					for _, s := range stores {
						if err := s.Close(); err != nil {
							b.Error(err)
						}
					}
				})
			}
		}
	}
}

func appendBatches(b *testing.B, s core.LogStore, batch, entryBytes int) {
	entries := make([]*raft.Log, batch)
	for i := range entries {
		entries[i] = &raft.Log{Term: 3, Data: make([]byte, entryBytes), AppendedAt: time.Now()}
	}
	next := uint64(1)
	for range b.N {
		for _, e := range entries {
			e.Index = next
			next++
		}
		if err := s.StoreLogs(entries); err != nil {
			b.Error(err)
			return
		}
	}
}
