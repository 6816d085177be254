package lockfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	for range 2 { // the second time the file is there, and released
		lock, err := Take(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Take(path); !errors.Is(err, ErrLocked) {
			t.Errorf("taken twice: %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Take(filepath.Join(path, "LOCK")); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("below a file: %v", err)
	}
	if _, err := Take(filepath.Join(t.TempDir(), "none", "LOCK")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

// TestReleasedFromAll: a process that is being started has the same open file, and keeps no
// lock that was released.
func TestReleasedFromAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	lock, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	same, err := unix.Dup(int(lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(same)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
