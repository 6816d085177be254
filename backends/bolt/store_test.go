package bolt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends/bolt"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

func TestLogStore(t *testing.T) {
	t.Run("sync", func(t *testing.T) { testWith(t, bolt.Options{}) })
	t.Run("no-sync", func(t *testing.T) { testWith(t, bolt.Options{NoSync: true, NoFreelistSync: true}) })
}

func testWith(t *testing.T, opts bolt.Options) {
	coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
		t.Helper()
		s, err := bolt.Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestOpenLocked(t *testing.T) {
	dir := t.TempDir()
	first, err := bolt.Open(dir, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := bolt.Open(dir, bolt.Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second open: %v", err)
	}
}

func TestDurabilityFollowsOptions(t *testing.T) {
	if d := bolt.Info(bolt.Options{}).Durability; d != core.DurableDisk {
		t.Errorf("with flushes: %q", d)
	}
	if d := bolt.Info(bolt.Options{NoSync: true}).Durability; d != core.DurableOSBuffer {
		t.Errorf("without flushes: %q", d)
	}
}

func TestClosedIsClosed(t *testing.T) {
	s, err := bolt.Open(t.TempDir(), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LastIndex(); !errors.Is(err, core.ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
}
