package pebble

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
		t.Helper()
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestOpenTwice: the second is refused at once and the first goes on.
func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		first, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "has it open") {
			t.Fatalf("a second open: %v", err)
		}
		if err := errors.Join(first.SetUint64([]byte("term"), 1), first.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []Options{{MemtableBytes: 1}, {CacheBytes: maxBytes + 1}} {
		if _, err := Open(t.TempDir(), opts); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}
