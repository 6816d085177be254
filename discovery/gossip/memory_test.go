package gossip

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
)

func TestFileStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "founding.json")
	s := FileStore(path)
	if m, err := s.Load(); err != nil || !m.equal(Memory{}) {
		t.Fatalf("of nothing: %+v, %v", m, err)
	}
	promise := []core.Member{{ID: "a", Address: "a:1", Voter: true}, {ID: "b", Address: "b:1", Voter: true}}
	for _, want := range []Memory{{Promise: promise}, {Promise: promise, Founded: true, Group: 1 << 63}, {Group: 7}, {}} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFileStoreErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "founding.json")
	for _, text := range []string{"", "{", `{"group":"x"}`, `{"promise":[{"id":"b"},{"id":"a"}]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := FileStore(path).Load(); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
	lost := FileStore(filepath.Join(t.TempDir(), "none", "founding.json"))
	if err := lost.Save(Memory{Group: 1}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("save without a folder: %v", err)
	}
	// A node that cannot store its promise makes none.
	cfg := testConfig("a")
	cfg.Expect, cfg.Memory = 1, lost
	a := start(t, cfg)
	if members, err := a.Bootstrap(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("founded %v, %v", members, err)
	}
	if a.local.promised {
		t.Error("published a promise that was not stored")
	}
}
