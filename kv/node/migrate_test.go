package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
)

const lastMoved = 1100 // entries of a log that is moved: two batches

func openBuiltin(backend, dir string) (core.LogStore, error) {
	b, err := backends.Builtin().Lookup(backend)
	if err != nil {
		return nil, err
	}
	return b.Open(dir, nil)
}

func movedEntry(index uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: 3 + index/100, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d", index),
		Extensions: fmt.Appendf(nil, "of %d", index), AppendedAt: time.Unix(1_700_000_000, int64(index)),
	}
}

// logFolder makes a node's folder with a log of entries 5 to lastMoved in a store.
func logFolder(t *testing.T, backend string) string {
	t.Helper()
	dir := t.TempDir()
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.claim(identity{ID: "n1", Backend: backend, Engine: "hashicorp", Incarnation: "0123", Created: time.Now()})
	s, errOpen := openBuiltin(backend, filepath.Join(dir, logDir))
	if err := errors.Join(err, errOpen, d.Close()); err != nil {
		t.Fatal(err)
	}
	var entries []*raft.Log
	for index := uint64(5); index <= lastMoved; index++ {
		entries = append(entries, movedEntry(index))
	}
	err = errors.Join(s.StoreLogs(entries), s.SetUint64([]byte("CurrentTerm"), 77), s.SetUint64([]byte("LastVoteTerm"), 76),
		s.Set([]byte("LastVoteCand"), []byte("n2")), s.Set([]byte("raftlab.incarnation"), []byte("0123")), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMigrateLost: a log that is lost is not taken for an empty one.
func TestMigrateLost(t *testing.T) {
	dir := logFolder(t, "wal")
	if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
		t.Fatal(err)
	}
	_, err := Migrate(t.Context(), Migration{Data: dir, To: "bolt", Open: openBuiltin})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, logDir)) || KeptIn(dir) != "wal" {
		t.Errorf("%v, and the log is in %s", err, KeptIn(dir))
	}
}

// checkLog opens the folder as a node does, and compares all. It returns the store.
func checkLog(t *testing.T, dir string) (backend string) {
	t.Helper()
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.settle(nil); err != nil {
		t.Fatal(err)
	}
	s, err := openBuiltin(d.identity.Backend, d.logPath())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if first != 5 || last != lastMoved {
		t.Fatalf("the log is %d to %d", first, last)
	}
	for index := first; index <= last; index++ {
		var got raft.Log
		if err := s.GetLog(index, &got); err != nil || !same(&got, movedEntry(index)) {
			t.Fatalf("entry %d: %+v, %v", index, got, err)
		}
	}
	term, errTerm := s.GetUint64([]byte("CurrentTerm"))
	voted, errVoted := s.GetUint64([]byte("LastVoteTerm"))
	vote, errVote := s.Get([]byte("LastVoteCand"))
	incarnation, errInc := s.Get([]byte("raftlab.incarnation"))
	if err := errors.Join(errTerm, errVoted, errVote, errInc); err != nil || term != 77 || voted != 76 || string(vote) != "n2" || string(incarnation) != "0123" {
		t.Fatalf("term %d, vote %d %q, incarnation %q: %v", term, voted, vote, incarnation, err)
	}
	return d.identity.Backend
}

func folders(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.IsDir() {
			names = append(names, f.Name())
		}
	}
	return names
}

// TestMigrate moves a log from store to store, round and back.
func TestMigrate(t *testing.T) {
	dir := logFolder(t, "bolt")
	for _, to := range []string{"wal", "pebble", "bolt"} {
		told := uint64(0)
		done, err := Migrate(t.Context(), Migration{Data: dir, To: to, Open: openBuiltin, Progress: func(_ string, n, _ uint64) { told = n }})
		if err != nil {
			t.Fatal(err)
		}
		if done.ID != "n1" || done.First != 5 || done.Last != lastMoved || done.Kept != "" || told != lastMoved-4 {
			t.Errorf("%+v, told of %d", done, told)
		}
		if now := checkLog(t, dir); now != to {
			t.Errorf("it is in %s", now)
		}
		if got := folders(t, dir); len(got) != 1 || got[0] != "log-"+to {
			t.Errorf("folders: %q", got)
		}
	}
}

// TestMigrateKilled ends a migration at each of its steps, and in the middle of the removal
// of what is left, as a crash does: the folder
// holds the log as before or as after, whole, and what was left goes with the next opening.
func TestMigrateKilled(t *testing.T) {
	whole := logFolder(t, "bolt")
	seen, switched := 0, false
	for kill := 1; ; kill++ {
		dir := filepath.Join(t.TempDir(), "n1")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		m := Migration{Data: dir, To: "wal"}
		var open []core.LogStore
		m.Open = func(backend, dir string) (core.LogStore, error) {
			s, err := openBuiltin(backend, dir)
			if err == nil {
				open = append(open, s)
			}
			return s, err
		}
		step, at := 0, ""
		m.step = func(name string) error {
			if step++; step == kill {
				at = name
				if old, removing := strings.CutPrefix(at, "remove "); removing { // killed in the middle of it
					if files, err := filepath.Glob(filepath.Join(dir, old, "*")); err != nil || len(files) == 0 || os.RemoveAll(files[0]) != nil {
						t.Errorf("%s has %q, %v", old, files, err)
					}
				}
				panic("killed")
			}
			return nil
		}
		if err := killed(func() error { _, err := Migrate(t.Context(), m); return err }); err != nil {
			t.Fatal(err)
		}
		for _, s := range open {
			_ = s.Close() // the end of a process would
		}
		if at == "" {
			break // it has ended before
		}
		seen++
		backend := checkLog(t, dir)
		switched = switched || backend == "wal"
		if got := folders(t, dir); len(got) != 1 {
			t.Errorf("killed before it was to %s: folders %q", at, got)
		}
		if text, err := os.ReadFile(filepath.Join(dir, identityName)); err != nil || bytes.Contains(text, []byte("discard")) {
			t.Errorf("killed before it was to %s: %s, %v", at, text, err)
		}
		if backend == "wal" || kill%3 > 0 {
			continue
		}
		m.step = nil
		if _, err := Migrate(t.Context(), m); err != nil || checkLog(t, dir) != "wal" {
			t.Errorf("again after it was killed before it was to %s: %v", at, err)
		}
	}
	if seen < 8 || !switched {
		t.Errorf("killed at %d steps, once switched over: %t", seen, switched)
	}
}

func killed(f func() error) error {
	defer func() { _ = recover() }()
	return f()
}

// TestMigrateFails: where a step fails, or the user interrupts it, the log is as before.
func TestMigrateFails(t *testing.T) {
	dir := logFolder(t, "wal")
	for name, m := range map[string]func(*Migration, context.CancelFunc){
		"interrupted": func(m *Migration, cancel context.CancelFunc) {
			m.Progress = func(string, uint64, uint64) { cancel() }
		},
		"no such store": func(m *Migration, _ context.CancelFunc) { m.To = "nowhere" },
		"full": func(m *Migration, _ context.CancelFunc) {
			m.step = func(name string) error {
				if name == "copy a batch" {
					return errors.New("no space")
				}
				return nil
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		migration := Migration{Data: dir, To: "bolt", Open: openBuiltin}
		m(&migration, cancel)
		if _, err := Migrate(ctx, migration); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if got := folders(t, dir); checkLog(t, dir) != "wal" || len(got) != 1 {
			t.Errorf("%s: folders %q", name, got)
		}
	}
}

// TestMigrateDamaged: a log with damage is not moved, and not changed.
func TestMigrateDamaged(t *testing.T) {
	dir := logFolder(t, "wal")
	segment := filepath.Join(dir, logDir, "00000000000000000005-0000000000000001.wal")
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("entry 1000"))
	data[at]++
	if err := os.WriteFile(segment, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Migrate(t.Context(), Migration{Data: dir, To: "bolt", Open: openBuiltin})
	if !errors.Is(err, core.ErrDamaged) {
		t.Errorf("migrated: %v", err)
	}
	after, err := os.ReadFile(segment)
	if got := folders(t, dir); err != nil || !bytes.Equal(after, data) || len(got) != 1 {
		t.Errorf("changed, or left: %q, %v", got, err)
	}
}

// TestMigrateRefused names what is wrong with what was asked.
func TestMigrateRefused(t *testing.T) {
	dir := logFolder(t, "wal")
	for to, want := range map[string]string{"wal": "in wal already"} {
		if _, err := Migrate(t.Context(), Migration{Data: dir, To: to, Open: openBuiltin}); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if _, err := Migrate(t.Context(), Migration{Data: t.TempDir(), To: "wal", Open: openBuiltin}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("an empty folder: %v", err)
	}
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(t.Context(), Migration{Data: dir, To: "bolt", Open: openBuiltin}); err == nil || !strings.Contains(err.Error(), "in use by another kvnode") {
		t.Errorf("a folder in use: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	done, err := Migrate(t.Context(), Migration{Data: dir, To: "bolt", Keep: true, Open: openBuiltin})
	if err != nil || done.Kept != filepath.Join(dir, logDir) || checkLog(t, dir) != "bolt" {
		t.Errorf("%+v, %v", done, err)
	}
	if got := folders(t, dir); len(got) != 2 {
		t.Errorf("the old log was to be kept: %q", got)
	}
}

// TestMigrateGap: a store that keeps gaps has old entries before the last one, which a
// snapshot has replaced.
func TestMigrateGap(t *testing.T) {
	dir := logFolder(t, "bolt")
	s, err := openBuiltin("bolt", filepath.Join(dir, logDir))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.DeleteRange(100, 199), s.Close()); err != nil {
		t.Fatal(err)
	}
	done, err := Migrate(t.Context(), Migration{Data: dir, To: "wal", Open: openBuiltin})
	if err != nil || done.First != 200 || done.Last != lastMoved || done.Passed != 95 {
		t.Errorf("%+v, %v", done, err)
	}
}
