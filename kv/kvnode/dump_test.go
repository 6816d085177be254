package kvnode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/backup"
)

// seeded makes the folder of a node that has not run yet, with one key.
func seeded(t *testing.T) string {
	t.Helper()
	store := kv.New()
	store.Apply(1, kv.EncodeSet("fruit", []byte("pear")))
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "backup"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = backup.Write(file, backup.Header{}, store.Image(), nil)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "n1")
	var out bytes.Buffer
	if code := runHere(t.Context(), []string{"restore", file.Name(), "--id", "n1", "--raddr", "127.0.0.1:0", data}, &out); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	return data
}

// TestDumpInterrupted: a dump that was interrupted says so, and leaves no file that could be
// taken for a whole one.
func TestDumpInterrupted(t *testing.T) {
	data := seeded(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("signal: interrupt"))
	for _, format := range []string{asLines, asBackup} {
		folder := t.TempDir()
		path := filepath.Join(folder, "dump")
		var out bytes.Buffer
		if code := runHere(ctx, []string{"dump", "--format", format, "--out", path, data}, &out); code != exitFailed || !strings.Contains(out.String(), "signal: interrupt") {
			t.Errorf("%s: exit code %d: %s", format, code, &out)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s: it has left %v, %v", format, left, err)
		}
		if code := runHere(t.Context(), []string{"dump", "--format", format, "--out", path, data}, io.Discard); code != exitOK {
			t.Errorf("%s: exit code %d", format, code)
		}
	}
}
