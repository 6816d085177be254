package enginetest

import (
	"errors"
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/engines/program"
)

var (
	rounds = flag.Int("rounds", 1, "how often members are killed under load")
	path   = flag.String("program", "", "test this program, and no other")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestKvnode: the Go engines go through what programs do.
func TestKvnode(t *testing.T) {
	if *path != "" {
		t.Skip("another program is given")
	}
	kvnode := clustertest.Program(t, "kvnode")
	for _, engine := range []string{"hashicorp", "etcd"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := Kvnode(kvnode, engine)
			s.Rounds = *rounds
			Run(t, s)
		})
	}
}

// TestPrograms: every program that was built goes through the suite, or the one that is given.
func TestPrograms(t *testing.T) {
	t.Setenv(program.Folders, filepath.Join("..", "..", "bin"))
	paths := map[string]string{}
	for _, name := range []string{"ratis", "raft-rs", "braft"} {
		paths[name] = ""
	}
	if *path != "" {
		paths = map[string]string{strings.TrimPrefix(filepath.Base(*path), "raftlab-"): *path}
	}
	for name, at := range paths {
		t.Run(name, func(t *testing.T) {
			var err error
			if at == "" {
				at, err = program.Find(name)
			}
			if errors.Is(err, program.ErrMissing) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := Of(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			s.Rounds = *rounds
			Run(t, s)
		})
	}
}
