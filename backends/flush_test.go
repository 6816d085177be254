package backends_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends"
)

// opening, in the environment, makes this program a child that opens a store:
// "backend folder".
const opening = "BACKENDS_TEST_OPEN"

func openChild(task string) error {
	args := strings.Fields(task)
	backend, err := backends.Builtin().Lookup(args[0])
	if err != nil {
		return err
	}
	s, err := backend.Open(args[1], nil)
	if err != nil {
		return err
	}
	return s.Close()
}

// TestFolderIsFlushed: a new store's file, and its folder, are not gone after a power
// loss. Only the system calls show it.
func TestFolderIsFlushed(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace to look with")
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not look: %v: %s", err, out)
	}
	for name := range onDisk(t, "bolt", "mdb", "wal", "pebble") {
		base := t.TempDir()
		dir := filepath.Join(base, "log")
		calls := filepath.Join(t.TempDir(), "calls")
		child := exec.Command(strace, "-f", "-y", "-e", "trace=fsync", "-o", calls, os.Args[0])
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", opening, name, dir))
		out, errRun := child.CombinedOutput()
		seen, errRead := os.ReadFile(calls)
		if err := errors.Join(errRun, errRead); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		folders := []string{base, dir}
		if name == "mdb" {
			folders = append(folders, filepath.Join(dir, "mdb"))
		}
		for _, folder := range folders {
			if !strings.Contains(string(seen), "<"+folder+">") {
				t.Errorf("%s: %s is not flushed", name, folder)
			}
		}
	}
}
