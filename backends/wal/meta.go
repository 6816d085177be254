package wal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/themilchenko/raftlab/backends/storedir"
	"github.com/themilchenko/raftlab/core"
)

// The note is one file, replaced as a whole: a line with a checksum, and what it is of.
const (
	noteName    = "wal-meta.json"
	noteNewName = noteName + ".new"
	noteHead    = "raftlab-wal 1 %08x\n"
)

// note is what the store remembers beside its segments.
type note struct {
	Log    types.PersistentState
	Stable []stableValue // sorted by key
	// The segment TailID is whole at least up to byte TailEnd: that much of it was
	// flushed when this was written.
	TailID  uint64
	TailEnd int64
}

type stableValue struct{ Key, Value []byte }

// meta keeps the note. It is the library's types.MetaStore.
type meta struct {
	folder       *folder
	segmentBytes uint32 // of segments that Load makes
	rotated      func() // called where a new segment cannot be noted

	mu   sync.RWMutex
	note note
}

var _ types.MetaStore = (*meta)(nil)

// Load implements types.MetaStore. What it returns is recovered: see recover.go.
func (m *meta) Load(string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.read()
	if err != nil || !found {
		return types.PersistentState{}, err
	}
	for i, info := range m.note.Log.Segments {
		if info.SealTime.IsZero() {
			err = m.recoverTail(i)
		} else {
			err = m.recoverSealed(i)
		}
		if err != nil {
			return types.PersistentState{}, fmt.Errorf("%s: %w", m.folder.path(segment.FileName(info)), err)
		}
	}
	return m.note.Log, m.write(m.note) // also as it was: what renamed it may not have been flushed
}

// CommitState implements types.MetaStore. A new segment gets its file first.
func (m *meta) CommitState(state types.PersistentState) (err error) {
	defer func() {
		if err != nil {
			m.rotated()
		}
	}()
	if err := m.folder.failure(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	state.Segments = slices.Clone(state.Segments)
	for i, info := range state.Segments {
		state.Segments[i] = coded(info)
		known := func(old types.SegmentInfo) bool { return old.ID == info.ID }
		if !slices.ContainsFunc(m.note.Log.Segments, known) {
			if err := m.folder.prepare(info); err != nil {
				return err
			}
		}
	}
	next := m.note
	next.Log = state
	return m.write(next)
}

// GetStable implements types.MetaStore.
func (m *meta) GetStable(key []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if i, found := m.find(key); found {
		return bytes.Clone(m.note.Stable[i].Value), nil
	}
	return nil, nil
}

// SetStable implements types.MetaStore. An empty value removes the key.
func (m *meta) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.note
	next.Stable = slices.Clone(next.Stable)
	i, found := m.find(key)
	switch set := (stableValue{bytes.Clone(key), bytes.Clone(value)}); {
	case found && len(value) == 0:
		next.Stable = slices.Delete(next.Stable, i, i+1)
	case found:
		next.Stable[i] = set
	case len(value) > 0:
		next.Stable = slices.Insert(next.Stable, i, set)
	}
	return m.write(next)
}

// Close implements io.Closer. No file is open.
func (m *meta) Close() error { return nil }

// save writes the note again, for where the last segment ends.
func (m *meta) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(m.note)
}

func (m *meta) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(m.note.Stable, key, func(v stableValue, key []byte) int { return bytes.Compare(v.Key, key) })
}

// write makes next the note, durably, or fails the store. m.mu is held.
func (m *meta) write(next note) error {
	if err := m.folder.failure(); err != nil {
		return err
	}
	if tail := m.folder.tail.Load(); tail != nil && tail.flushed.Load() > 0 {
		next.TailID, next.TailEnd = tail.id, tail.flushed.Load()
	}
	body, err := json.MarshalIndent(next, "", " ")
	if err != nil {
		return err
	}
	data := append(fmt.Appendf(nil, noteHead, crc32.Checksum(body, castagnoli())), body...)
	if err := m.replace(data); err != nil {
		return m.folder.fail(fmt.Errorf("write %s: %w", m.folder.path(noteName), err))
	}
	m.note = next
	return nil
}

func (m *meta) replace(data []byte) error {
	d := m.folder
	f, err := d.disk.Open(d.path(noteNewName), true)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = d.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.disk.Rename(d.path(noteNewName), d.path(noteName)); err != nil {
		return err
	}
	return d.syncDir()
}

// read reads the note. A folder without one is new, unless a segment holds something.
func (m *meta) read() (found bool, err error) {
	path := m.folder.path(noteName)
	f, err := m.folder.disk.Open(path, false)
	if errors.Is(err, fs.ErrNotExist) {
		return false, m.mustBeEmpty()
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	data := make([]byte, size)
	if err := readFull(f, data, 0); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	head, body, _ := bytes.Cut(data, []byte{'\n'})
	if string(head)+"\n" != fmt.Sprintf(noteHead, crc32.Checksum(body, castagnoli())) || json.Unmarshal(body, &m.note) != nil {
		return false, fmt.Errorf("%s is %w: its checksum does not match", path, core.ErrDamaged)
	}
	return true, nil
}

// mustBeEmpty refuses segments that hold something without a note that knows them, and
// removes those that a crash of the first Open has left.
func (m *meta) mustBeEmpty() error {
	names, err := m.folder.disk.List(m.folder.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		if _, _, err := segmentName(name); err != nil {
			return storedir.Damaged("%v", err)
		}
		f, err := m.folder.disk.Open(m.folder.path(name), false)
		if err != nil {
			return err
		}
		head := make([]byte, headerBytes)
		n, _ := f.ReadAt(head, 0)
		if err := f.Close(); err != nil {
			return err
		}
		if !allZero(head[:n]) {
			return fmt.Errorf("%s is gone, and %s holds entries: %w", m.folder.path(noteName), name, core.ErrDamaged)
		}
		// The library would remove it under the one that it makes of the same name.
		if err := m.folder.disk.Remove(m.folder.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// seal notes that the segment at i of the log is full, and that another follows.
func (m *meta) seal(i int, last uint64, index int64) {
	log := &m.note.Log
	log.Segments = slices.Clone(log.Segments)
	s := &log.Segments[i]
	s.MaxIndex, s.IndexStart, s.SealTime = last, uint64(index), time.Now()
	log.Segments = append(log.Segments, types.SegmentInfo{
		ID: log.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1, Codec: s.Codec, CreateTime: time.Now(), SizeLimit: m.segmentBytes,
	})
	log.NextSegmentID++
}
