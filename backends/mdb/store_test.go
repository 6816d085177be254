//go:build cgo

package mdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

// withoutRuntime marks the child process of TestOpenWithoutRuntime.
const withoutRuntime = "MDB_TEST_WITHOUT_RUNTIME"

func TestMain(m *testing.M) {
	if os.Getenv(withoutRuntime) != "" {
		_, err := mdb.Open(os.TempDir(), mdb.Options{})
		fmt.Println(err, errors.Is(err, core.ErrUnavailable))
		os.Exit(0)
	}
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string, opts mdb.Options) *mdb.Store {
	t.Helper()
	s, err := mdb.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
		t.Helper()
		return open(t, dir, mdb.Options{})
	})
}

func TestFullMap(t *testing.T) {
	dir := t.TempDir()
	opts := mdb.Options{MapSizeBytes: 2 << 20}
	s := open(t, dir, opts)
	var err error
	stored := uint64(0)
	for index := uint64(1); index < 100 && err == nil; index++ {
		err = s.StoreLog(&raft.Log{Index: index, Term: 1, Data: bytes.Repeat([]byte{1}, 64<<10)})
		if err == nil {
			stored = index
		}
	}
	if !errors.Is(err, core.ErrFull) {
		t.Fatalf("filling a map of 2 MiB: %v", err)
	}
	for _, want := range []string{"2MiB", "options.mdb.map_size", dir} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if err := s.SetUint64([]byte("term"), 1); !errors.Is(err, core.ErrFull) {
		t.Errorf("a write after the failed one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Nothing that was stored is lost, and a larger map takes more.
	s = open(t, dir, mdb.Options{MapSizeBytes: 8 << 20})
	defer s.Close()
	if last, err := s.LastIndex(); err != nil || last != stored {
		t.Fatalf("last index %d, %v; stored %d", last, err, stored)
	}
	if err := s.StoreLog(&raft.Log{Index: stored + 1, Term: 1, Data: make([]byte, 64<<10)}); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	_, err := mdb.Open(t.TempDir(), mdb.Options{MapSizeBytes: 4096})
	if !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("a map of one page: %v", err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mdb.Open(filepath.Join(file, "dir"), mdb.Options{}); err == nil {
		t.Fatal("opened below a file")
	}
}

// TestOpenWithoutRuntime sees that a process that was not restarted is refused
// with what to do, instead of dying in the first read.
func TestOpenWithoutRuntime(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=", withoutRuntime+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"cgocheck=0", "mdb.EnsureRuntime", "true"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}
