package bolt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

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

// TestRootIsAnotherPage: the file is whole but for the root of the entries' tree, which is
// another page of that tree. What that leads to is in order, and not all.
func TestRootIsAnotherPage(t *testing.T) {
	dir := t.TempDir()
	s, err := bolt.Open(dir, bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(1); index <= 40; index++ {
		if err := s.StoreLog(&raft.Log{Index: index, Data: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "raft.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pages, found := len(whole)/os.Getpagesize(), 0
	for at := range whole {
		if !bytes.HasPrefix(whole[at:], []byte("logs")) || at+12 > len(whole) {
			continue
		}
		root := whole[at+len("logs"):][:8]
		for page := range uint64(pages) {
			if page == binary.NativeEndian.Uint64(root) {
				continue
			}
			spoilt := bytes.Clone(whole)
			binary.NativeEndian.PutUint64(spoilt[at+len("logs"):], page)
			if err := os.WriteFile(path, spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := bolt.Open(dir, bolt.Options{})
			if errors.Is(err, core.ErrDamaged) {
				found++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			last, err := s.LastIndex() // that copy of the record is an old one
			if first, _ := s.FirstIndex(); err != nil || first != 1 || last != 40 {
				t.Errorf("root %d at byte %d: the log is %d to %d, %v", page, at, first, last, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found < pages/2 {
		t.Errorf("%d of %d roots were found: the test has lost its subject", found, pages)
	}
}
