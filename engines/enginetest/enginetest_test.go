package enginetest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/engines/program"
)

var (
	rounds = flag.Int("rounds", 1, "how often members are killed under load")
	path   = flag.String("program", "", "test the program at this absolute path, and no other")
)

// TestMain has programs looked for where make puts them.
func TestMain(m *testing.M) {
	bin, err := filepath.Abs("../../bin")
	if err == nil {
		err = os.Setenv(program.Folders, bin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

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

// TestPrograms: every program that was built goes through the suite.
func TestPrograms(t *testing.T) {
	names := []string{"ratis", "raft-rs", "braft"}
	if *path != "" {
		names = []string{filepath.Base(*path)}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, err := *path, error(nil)
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
