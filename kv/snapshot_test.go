package kv_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

func written(t testing.TB, s *kv.Store) []byte {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	var file bytes.Buffer
	if n, err := snap.WriteTo(&file); err != nil || n != int64(file.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, file.Len(), err)
	}
	return file.Bytes()
}

// TestReleasedSnapshotIsNotWritten: as an empty map it would be a valid
// snapshot, and restoring it would lose everything.
func TestReleasedSnapshotIsNotWritten(t *testing.T) {
	s := kv.New()
	set(t, s, 1, "a", "1")
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	snap.Release()
	var file bytes.Buffer
	if n, err := snap.WriteTo(&file); n != 0 || file.Len() != 0 || !errors.Is(err, core.ErrClosed) {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
}

// TestReadErrorIsNoDamage: a disk that cannot be read is told apart from a
// snapshot that is damaged, wherever it strikes.
func TestReadErrorIsNoDamage(t *testing.T) {
	s := kv.New()
	set(t, s, 1, "a", "value")
	s.Apply(2, nil)
	whole := written(t, s)
	fault := errors.New("input/output error")
	for i := range whole {
		from := io.MultiReader(bytes.NewReader(whole[:i]), iotest.ErrReader(fault))
		if err := kv.New().Restore(from); !errors.Is(err, fault) || errors.Is(err, kv.ErrSnapshot) {
			t.Fatalf("fault at byte %d: %v", i, err)
		}
	}
}

// TestWriteToCountsWhatWasWritten, also where the writer fails half way.
func TestWriteToCountsWhatWasWritten(t *testing.T) {
	s := kv.New()
	set(t, s, 1, "a", "1")
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	fault := errors.New("disk full")
	if n, err := snap.WriteTo(failingWriter{fault}); n != 0 || !errors.Is(err, fault) {
		t.Fatalf("%d bytes: %v", n, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
