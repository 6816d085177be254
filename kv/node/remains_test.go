package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// reading are the ways to read a folder, none of which is to change it.
func reading() map[string]func(ctx context.Context, dir string, parts Parts) error {
	return map[string]func(context.Context, string, Parts) error{
		"inspect": func(ctx context.Context, dir string, parts Parts) error {
			found, err := Inspect(ctx, dir, parts)
			if err == nil && found.Damage != "" {
				err = errors.New(found.Damage)
			}
			return err
		},
		"dump": func(ctx context.Context, dir string, parts Parts) error {
			left, err := OpenLeft(ctx, dir, parts)
			if err != nil {
				return err
			}
			_, err = left.Committed()
			for _, end := range left.Doubtful() {
				err = errors.Join(err, end)
			}
			return errors.Join(err, left.Close())
		},
		"recover": func(ctx context.Context, dir string, parts Parts) error {
			unsaid := errors.New("only planned")
			_, err := Recover(ctx, Recovery{Dirs: []string{dir}, Parts: parts, Confirm: func(RecoveryPlan) error { return unsaid }})
			if errors.Is(err, unsaid) && err.Error() == unsaid.Error() {
				err = nil
			}
			return err
		},
	}
}

// unchanged says what has become of a folder, and of the one for temporary files.
func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	now := files(t, dir)
	for path := range before {
		if _, there := now[path]; !there {
			t.Errorf("%s was removed", path)
		}
	}
	for path, text := range now {
		if text != before[path] {
			t.Errorf("%s was written", path)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("there are left %v, %v", left, err)
	}
}

// aloneOfThree is the folder of one of three: a snapshot, and 40 entries.
func aloneOfThree(t *testing.T, backend string) string {
	t.Helper()
	return folderIn(t, backend, foundedAt, "n1", someMembers("n1", "n2", "n3"), slices.Repeat([]uint64{3}, 40)...)
}

// TestReadingChangesNothing: whichever store the log is in, the folder is the same afterwards,
// file for file; and so is one that never was locked.
func TestReadingChangesNothing(t *testing.T) {
	stores := 0
	for backend, b := range backends.Builtin().All() {
		if info, err := b.Info(nil); err != nil || info.Durability != core.DurableDisk {
			continue
		}
		stores++
		dirs := map[string]string{"": aloneOfThree(t, backend), " without a lock": aloneOfThree(t, backend)}
		if err := os.Remove(filepath.Join(dirs[" without a lock"], lockName)); err != nil {
			t.Fatal(err)
		}
		for way, read := range reading() {
			for of, dir := range dirs {
				t.Run(way+" "+backend+of, func(t *testing.T) {
					t.Setenv("TMPDIR", t.TempDir())
					before := files(t, dir)
					if err := read(t.Context(), dir, testParts()); err != nil {
						t.Error(err)
					}
					unchanged(t, dir, before)
				})
			}
		}
	}
	if stores < 4 {
		t.Errorf("%d stores: the test has lost its subject", stores)
	}
}

// interrupting is a log store whose reader is told to end while it reads an entry.
type interrupting struct {
	core.LogStore
	interrupt func()
}

// GetLog implements raft.LogStore.
func (s interrupting) GetLog(index uint64, out *raft.Log) error {
	if index == foundedAt+20 {
		s.interrupt()
	}
	return s.LogStore.GetLog(index, out)
}

// TestReadingIsInterrupted: the end of ctx ends the reading of the log, with nothing changed,
// and is not taken for damage.
func TestReadingIsInterrupted(t *testing.T) {
	dir, cause := aloneOfThree(t, "wal"), errors.New("signal: interrupt")
	for way, read := range reading() {
		t.Run(way, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			before := files(t, dir)
			ctx, cancel := context.WithCancelCause(t.Context())
			parts := testParts()
			parts.Open = func(backend, dir string) (core.LogStore, error) {
				s, err := openBuiltin(backend, dir)
				return interrupting{s, func() { cancel(cause) }}, err
			}
			for _, when := range []string{"while it reads the log", "before it copies it"} {
				if err := read(ctx, dir, parts); !errors.Is(err, cause) || strings.Contains(err.Error(), "Leave this folder out") {
					t.Errorf("%s: %v", when, err)
				}
			}
			unchanged(t, dir, before)
		})
	}
}

// TestNotLockedWhileRead: what could not be locked is not written to if another has used it.
func TestNotLockedWhileRead(t *testing.T) {
	dir := aloneOfThree(t, "bolt")
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	r := Recovery{Dirs: []string{dir}, Parts: testParts(), Confirm: func(RecoveryPlan) error {
		d, err := openDataDir(dir)
		if err != nil {
			return err
		}
		return d.Close()
	}}
	if _, err := Recover(t.Context(), r); err == nil || !strings.Contains(err.Error(), "was used by another kvnode meanwhile") {
		t.Errorf("it was used meanwhile: %v", err)
	}
	r.Confirm = func(RecoveryPlan) error { return nil }
	if _, err := Recover(t.Context(), r); err != nil {
		t.Error(err)
	}
}

// TestHolder: who holds a folder is not taken for the process that wrote its id there last.
func TestHolder(t *testing.T) {
	dir := logFolder(t, "bolt")
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockName), fmt.Append(nil, ended.Process.Pid, "\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	reader, err := readDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(dir); err == nil || !strings.Contains(err.Error(), "in use by another kvnode: stop it first") {
		t.Errorf("a folder that is read: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

// forgetful is an engine that founds a group with another state.
type forgetful struct{ hashicorp.Engine }

func (e forgetful) Found(logs core.LogStore, dir string, f core.Founding) error {
	var state bytes.Buffer
	if _, err := f.State.WriteTo(&state); err != nil {
		return err
	}
	state.Bytes()[state.Len()/2] ^= 1
	f.State = &state
	return e.Engine.Found(logs, dir, f)
}

// TestLayCompares: a state that cannot be read back as it was written is none.
func TestLayCompares(t *testing.T) {
	members := someMembers("n1")
	for _, engine := range []core.Offline{hashicorp.Engine{}, forgetful{}} {
		_, broken := engine.(forgetful)
		b := foundation{path: filepath.Join(t.TempDir(), "data-1"), engine: engine, open: func(dir string) (core.LogStore, error) { return openBuiltin("bolt", dir) }}
		f := core.Founding{ID: "n1", Members: members, Index: 5, Term: 1, State: bytes.NewReader(bytes.Repeat([]byte("state"), 1<<18))}
		if err := b.lay(t.Context(), f); errors.Is(err, core.ErrDamaged) != broken || !broken && err != nil {
			t.Errorf("%T: %v", engine, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrNoProgress)
	b := foundation{path: filepath.Join(t.TempDir(), "data-1"), engine: hashicorp.Engine{}, open: func(dir string) (core.LogStore, error) { return openBuiltin("bolt", dir) }}
	if err := b.lay(ctx, core.Founding{ID: "n1", Members: members, Index: 5, Term: 1, State: strings.NewReader("state")}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("once ctx has ended: %v", err)
	}
}
