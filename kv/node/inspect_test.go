package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// files returns all that a folder holds, with the times at which it was written.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			all[path] = info.ModTime().String()
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = info.ModTime().String() + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// used is the folder of a node that was alone: 20 keys, a snapshot, 5 more.
func used(t *testing.T, engine core.Engine, backend string) string {
	t.Helper()
	dir := t.TempDir()
	n := startAlone(t, dir, engine, backend)
	for i := range 25 {
		if i == 20 {
			if err := n.replica.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.replica.Propose(t.Context(), kv.EncodeSet(fmt.Sprint("key", i), []byte("value"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startAlone starts the node of a folder, and waits until it leads.
func startAlone(t *testing.T, dir string, engine core.Engine, backend string) *Node {
	t.Helper()
	cfg := config(t, Config{ID: "n1", Data: dir, Engine: engine, Backend: backend,
		OpenStore: func(dir string) (core.LogStore, error) { return openBuiltin(backend, dir) }})
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads, and the group knows where it is", func() bool {
		address, _ := n.store.HTTPAddress("n1")
		return address == n.http && n.replica.ReadBarrier(t.Context()) == nil
	})
	return n
}

// TestInspect reads the folders of every store and engine.
func TestInspect(t *testing.T) {
	for name, engine := range bothEngines() {
		for _, backend := range []string{"bolt", "mdb", "wal", "pebble"} {
			t.Run(name+" "+backend, func(t *testing.T) {
				dir := used(t, engine, backend)
				got, err := Inspect(t.Context(), dir, testParts())
				if err != nil || got.Damage != "" {
					t.Fatalf("%v, %s", err, got.Damage)
				}
				i, err := readIdentity(dir)
				if err != nil {
					t.Fatal(err)
				}
				if got.ID != "n1" || got.Engine != name || got.Store != backend || got.Log != "log" || got.Incarnation != i.Incarnation ||
					got.CreatedBy != program() || got.WrittenBy != program() || time.Since(got.Created) > time.Hour || len(got.Nodes) != 1 {
					t.Errorf("%+v", got)
				}
				r := got.Raft
				if r.Group == "" || r.Term == 0 || r.SnapshotIndex < 20 || r.Last < r.SnapshotIndex+5 || r.LastTerm != r.Term ||
					len(r.Members) != 1 || r.Members[0].ID != "n1" || !r.Members[0].Voter || r.Members[0].Incarnation != i.Incarnation {
					t.Errorf("%+v", *r)
				}
			})
		}
	}
}

// TestInspectDamaged: what is not damaged is still told.
func TestInspectDamaged(t *testing.T) {
	dir := logFolder(t, "wal")
	if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	got, err := Inspect(t.Context(), dir, testParts())
	if err != nil || got.ID != "n1" || got.Store != "wal" || got.Raft != nil || !strings.Contains(got.Damage, filepath.Join(dir, "log")) {
		t.Errorf("%+v, %v", got, err)
	}
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("%d files were %d", len(after), len(before))
	}
	dir = logFolder(t, "bolt")
	if err := os.WriteFile(filepath.Join(dir, "log", "raft.db"), []byte("no log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = Inspect(t.Context(), dir, testParts()); err != nil || !strings.Contains(got.Damage, filepath.Join(dir, "log")) {
		t.Errorf("a log that cannot be opened: %q, %v", got.Damage, err)
	}
}

// TestInspectLeft: folders that are not used any more, or not yet, are named.
func TestInspectLeft(t *testing.T) {
	dir := logFolder(t, "wal")
	m := Migration{Data: dir, To: "bolt", Keep: true, Open: openBuiltin}
	if _, err := Migrate(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(t.Context(), dir, testParts())
	if err != nil || got.Log != "log-bolt" || len(got.Kept) != 1 || got.Kept[0] != "log" || got.Discard != "" {
		t.Errorf("%+v, %v", got, err)
	}
	m = Migration{Data: dir, To: "pebble", Open: openBuiltin, step: func(name string) error {
		if name == "remove log-bolt" {
			return errors.New("killed")
		}
		return nil
	}}
	if _, err := Migrate(t.Context(), m); err == nil {
		t.Fatal("it was to be killed")
	}
	got, err = Inspect(t.Context(), dir, testParts())
	if err != nil || got.Log != "log-pebble" || got.Discard != "log-bolt" || len(got.Kept) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestInspectRefused: a folder that is in use, or of nobody.
func TestInspectRefused(t *testing.T) {
	if _, err := Inspect(t.Context(), t.TempDir(), testParts()); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("an empty folder: %v", err)
	}
	dir := logFolder(t, "wal")
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Inspect(t.Context(), dir, testParts()); err == nil || !strings.Contains(err.Error(), "in use by another kvnode (pid ") {
		t.Errorf("a folder in use: %v", err)
	}
}

// TestSigned: a folder says who made it and who wrote to it last. A program that does not know of
// that leaves it out.
func TestSigned(t *testing.T) {
	dir := used(t, bothEngines()["hashicorp"], "bolt")
	for _, older := range []string{"v0.1.0 abc", ""} {
		i, err := readIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		i.CreatedBy, i.WrittenBy = older, older
		if err := writeJSON(filepath.Join(dir, identityName), i); err != nil {
			t.Fatal(err)
		}
		if got, err := Inspect(t.Context(), dir, testParts()); err != nil || got.CreatedBy != older || got.WrittenBy != older {
			t.Errorf("%+v, %v", got, err)
		}
		if err := startAlone(t, dir, bothEngines()["hashicorp"], "bolt").Stop(); err != nil {
			t.Fatal(err)
		}
		if got, err := Inspect(t.Context(), dir, testParts()); err != nil || got.CreatedBy != older || got.WrittenBy != program() {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
