package backends_test

import (
	"fmt"
	"os"
	"testing"

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
