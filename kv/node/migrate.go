package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
)

// A node's log is moved to another store while the node does not run. The copy is made
// beside the log and node.json tells the two apart at every moment: first it notes the
// copy as one to be discarded; once that is whole and checked, it names the copy as the
// log, and the old one as what is to be discarded. So after a crash the folder is wholly
// as before or wholly as after, and whoever opens it next removes the rest.

// Migration says what is to be moved.
type Migration struct {
	Data string // folder of the node
	To   string // name of the store to move to
	Keep bool   // leave the old log where it is
	// Open opens a store by its name, making it where missing, as the node does.
	Open func(backend, dir string) (core.LogStore, error)
	// Progress is told how many of the entries were copied and then how many were
	// compared, after each batch; nil: nobody is told.
	Progress func(what string, done, all uint64)

	step steps
}

// steps is for tests: it is called before each step, which an error ends. Nil: nobody is.
type steps func(name string) error

func (s steps) at(name string) error {
	if s == nil {
		return nil
	}
	return s(name)
}

// Migrated says what was moved.
type Migrated struct {
	ID          string // of the node
	From        string // name of the store that was moved from
	Kept        string // where its log still is; empty: it was removed
	First, Last uint64 // entries that were moved; 0: there were none
	// Passed are entries before a gap, which a snapshot has taken the place of; the new
	// store cannot keep a gap.
	Passed uint64
}

// KeptIn returns the name of the store that the node in a folder keeps its log in; empty:
// the folder is new, or Start will say what is wrong with it.
func KeptIn(data string) string {
	i, err := readIdentity(data)
	if err != nil {
		return ""
	}
	return i.Backend
}

// Migrate moves the log of a node that does not run to another store: entries with all
// that belongs to them, and stable values. Each is compared with the old one once the copy
// is on the disk. On an error, and where ctx ends, the node goes on with the log that it
// had; what is wrong with the settings is a core.ErrInvalid.
func Migrate(ctx context.Context, m Migration) (done Migrated, err error) {
	d, err := openUsed(m.Data)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.settle(m.step); err != nil {
		return done, err
	}
	done.ID, done.From = d.identity.ID, d.identity.Backend
	if d.identity.Incarnation != "" {
		if err := mustHaveLog(d.logPath()); err != nil {
			return done, fmt.Errorf("%s: %w", m.Data, err)
		}
	}
	if done.From == m.To {
		return done, fmt.Errorf("%w: %s keeps its log in %s already", core.ErrInvalid, m.Data, m.To)
	}
	target := filepath.Join(d.identity.State, logDir+"-"+m.To)
	if _, err := os.Stat(filepath.Join(d.path, target)); err == nil {
		return done, fmt.Errorf("%w: %s is there, kept by an earlier migration: move it away first", core.ErrInvalid, filepath.Join(d.path, target))
	}
	next := *d.identity
	next.Discard = target
	if err := d.claimAt(m.step, "note the copy", next); err != nil {
		return done, err
	}
	if err := m.copy(ctx, d, filepath.Join(d.path, target), &done); err != nil {
		err = fmt.Errorf("migrate the log of %s from %s to %s: nothing was changed: %w", done.ID, done.From, m.To, err)
		return done, errors.Join(err, d.settle(m.step))
	}
	old := d.identity.log()
	next.Backend, next.Log, next.Discard = m.To, filepath.Base(target), old
	if m.Keep {
		next.Discard, done.Kept = "", filepath.Join(d.path, old)
	}
	if err := d.claimAt(m.step, "switch over", next); err != nil {
		return done, err
	}
	return done, d.settle(m.step)
}

func (m *Migration) progress(what string, done, all uint64) {
	if m.Progress != nil {
		m.Progress(what, done, all)
	}
}

// copy makes the copy and compares it with the log once it was closed and opened again.
func (m *Migration) copy(ctx context.Context, d *dataDir, target string, done *Migrated) (err error) {
	from, err := m.Open(done.From, d.logPath())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := m.step.at("make the copy"); err != nil {
		return err
	}
	to, err := m.Open(m.To, target)
	if err != nil {
		return err
	}
	if done.First, done.Last, done.Passed, err = bounds(from, core.IsMonotonic(to)); err == nil {
		err = errors.Join(copyStable(from, to), m.copyEntries(ctx, from, to, done))
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	if err := m.step.at("compare"); err != nil {
		return err
	}
	if to, err = m.Open(m.To, target); err != nil {
		return err
	}
	if err = errors.Join(m.compare(ctx, from, to, done), to.Close()); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(target))
}

// bounds returns which entries are to be copied: all, or those behind the last gap.
func bounds(from core.LogStore, withoutGaps bool) (first, last, passed uint64, err error) {
	first, errFirst := from.FirstIndex()
	last, errLast := from.LastIndex()
	if err := errors.Join(errFirst, errLast); err != nil || last == 0 || !withoutGaps {
		return first, last, 0, err
	}
	begin := last
	for ; begin > first; begin-- {
		if err := from.GetLog(begin-1, new(raft.Log)); err == raft.ErrLogNotFound {
			break
		} else if err != nil {
			return 0, 0, 0, err
		}
	}
	for i := first; i < begin; i++ {
		if err := from.GetLog(i, new(raft.Log)); err == nil {
			passed++
		}
	}
	return begin, last, passed, nil
}

const (
	batchEntries = 1024
	batchBytes   = 1 << 20
)

func (m *Migration) copyEntries(ctx context.Context, from, to core.LogStore, done *Migrated) error {
	var batch []*raft.Log
	size := 0
	for index := done.First; index <= done.Last && index > 0; index++ {
		entry := new(raft.Log)
		switch err := from.GetLog(index, entry); {
		case err == nil:
			batch, size = append(batch, entry), size+len(entry.Data)+len(entry.Extensions)
		case err != raft.ErrLogNotFound:
			return err
		}
		if len(batch) < batchEntries && size < batchBytes && index < done.Last {
			continue
		}
		if err := errors.Join(context.Cause(ctx), m.step.at("copy a batch")); err != nil {
			return err
		}
		if err := to.StoreLogs(batch); err != nil {
			return err
		}
		batch, size = nil, 0
		m.progress("copied", index-done.First+1, done.Last-done.First+1)
	}
	return nil
}

// Numbers that every store has kept, also those from before the keys were remembered, in
// places of their own.
func numberKeys() []string { return []string{"CurrentTerm", "LastVoteTerm"} }

// stableKeys returns the names of the values that a store holds. Which, package checked
// remembers; what it does not know is what raft itself keeps.
func stableKeys(from core.LogStore) []string {
	keys := []string{"LastVoteCand"}
	if known, ok := core.As[interface{ Keys() []string }](from); ok {
		keys = append(keys, known.Keys()...)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(numberKeys(), key) })
}

func copyStable(from, to core.LogStore) error {
	for _, key := range numberKeys() {
		value, err := number(from, key)
		if err == nil && value != 0 {
			err = to.SetUint64([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	for _, key := range stableKeys(from) {
		value, err := text(from, key)
		if err == nil && len(value) > 0 {
			err = to.Set([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare reads both logs from the beginning to the end.
func (m *Migration) compare(ctx context.Context, from, to core.LogStore, done *Migrated) error {
	first, errFirst := to.FirstIndex()
	last, errLast := to.LastIndex()
	if err := errors.Join(errFirst, errLast); err != nil {
		return err
	}
	if first != done.First || last != done.Last {
		return fmt.Errorf("the copy holds entries %d to %d, not %d to %d", first, last, done.First, done.Last)
	}
	for index := first; index <= last && index > 0; index++ {
		var a, b raft.Log
		errA, errB := from.GetLog(index, &a), to.GetLog(index, &b)
		switch {
		case errA == raft.ErrLogNotFound && errB == raft.ErrLogNotFound:
		case errA != nil || errB != nil:
			return fmt.Errorf("compare entry %d: %w", index, errors.Join(errA, errB))
		case !same(&a, &b):
			return fmt.Errorf("entry %d of the copy differs", index)
		}
		if index%batchEntries == 0 || index == last {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			m.progress("compared", index-first+1, last-first+1)
		}
	}
	for _, key := range numberKeys() {
		a, errA := number(from, key)
		b, errB := number(to, key)
		if errA != nil || errB != nil || a != b {
			return errors.Join(fmt.Errorf("the value of %s differs: %d and %d", key, a, b), errA, errB)
		}
	}
	for _, key := range stableKeys(from) {
		a, errA := text(from, key)
		b, errB := text(to, key)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			return errors.Join(fmt.Errorf("the value of %s differs: %q and %q", key, a, b), errA, errB)
		}
	}
	return nil
}

func same(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func number(s core.LogStore, key string) (uint64, error) {
	value, err := s.GetUint64([]byte(key))
	if err != nil && err.Error() == "not found" {
		err = nil
	}
	return value, err
}

func text(s core.LogStore, key string) ([]byte, error) {
	value, err := s.Get([]byte(key))
	if err != nil && err.Error() == "not found" {
		err = nil
	}
	return value, err
}
