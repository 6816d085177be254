package raftlab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk runs on a real file system that is full: a small tmpfs, which
// takes the right to mount. Without it the runner's own test, with a store that
// says ENOSPC, has to do.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Logf("not run on a real file system: %v", err)
		return
	}
	defer syscall.Unmount(disk, 0)
	for _, backend := range []string{"bolt", "mdb"} {
		t.Run(backend, func(t *testing.T) { fillDisk(t, backend, disk) })
	}
}

func fillDisk(t *testing.T, backend, disk string) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "full.toml"), filepath.Join(dir, "out")
	toml := strings.Replace(small, "[load]", "[load]\nvalue_size = 1048576", 1)
	toml = strings.Replace(toml, `"200ms"`, `"5s"`, 1) // it ends when the disk is full
	toml = strings.Replace(toml, `["inmem", "bolt"]`, fmt.Sprintf("[%q]", backend), 1)
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), Builtin(), []string{"run", file, "--out", out, "--data-dir", disk}, &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "is full") || !strings.Contains(stderr.String(), "--resume") {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	for name := range recorded(t, out) { // trials that came to an end before the disk was full
		data, err := os.ReadFile(filepath.Join(out, "trials", name))
		if err != nil || strings.Contains(string(data), `"failure"`) {
			t.Errorf("%s is recorded although the full disk broke it off: %v\n%s", name, err, stderr.String())
		}
	}
}
