package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/themilchenko/raftlab/backends/wal"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

// TestLogStore has small segments, so that there are many; all else is as by default.
func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
		t.Helper()
		s, err := wal.Open(dir, wal.Options{SegmentBytes: wal.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestOpenTwice: the second is refused at once and the first goes on.
func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	first, err := wal.Open(dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wal.Open(dir, wal.Options{}); err == nil {
		t.Fatal("opened twice")
	}
	if err := errors.Join(first.SetUint64([]byte("term"), 1), first.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := wal.Open(dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	for _, size := range []uint64{1, wal.MinSegmentBytes - 1, wal.MaxSegmentBytes + 1} {
		dir := filepath.Join(t.TempDir(), "log")
		if _, err := wal.Open(dir, wal.Options{SegmentBytes: size}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("segments of %d bytes: %v", size, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("a folder was made all the same")
		}
	}
}
