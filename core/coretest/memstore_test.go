package coretest

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// memStore is a plain, correct log store: the subject that the suite must pass.
// Its contents live in a disk, which outlives it as a folder does.
type memStore struct {
	mu         sync.RWMutex
	closed     bool
	disk       *disk
	durability core.Durability
}

var (
	_ core.LogStore    = (*memStore)(nil)
	_ core.SyncCounter = (*memStore)(nil)
)

// disk is what a memStore keeps.
type disk struct {
	logs   map[uint64]raft.Log
	values map[string][]byte
	counts map[string]uint64
	writes uint64
	file   string // where it is kept for another process; empty: nowhere
	flush  func(*os.File) error
}

// kept is a disk's file.
type kept struct {
	Logs   map[uint64]raft.Log
	Values map[string][]byte
	Counts map[string]uint64
}

// save replaces the file.
func (d *disk) save() error {
	if d.file == "" {
		return nil
	}
	f, err := os.Create(d.file + ".new")
	if err != nil {
		return err
	}
	err = errors.Join(gob.NewEncoder(f).Encode(kept{d.logs, d.values, d.counts}), d.flush(f), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(d.file+".new", d.file)
}

func (d *disk) load() error {
	f, err := os.Open(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	k := kept{d.logs, d.values, d.counts}
	return gob.NewDecoder(f).Decode(&k)
}

// disks hands out the disk of each folder.
type disks map[string]*disk

func (d disks) open(dir string, durability core.Durability) *memStore {
	k, ok := d[dir]
	if !ok || durability == core.DurableNothing {
		k = &disk{logs: map[uint64]raft.Log{}, values: map[string][]byte{}, counts: map[string]uint64{}, flush: (*os.File).Sync}
		d[dir] = k
	}
	return &memStore{disk: k, durability: durability}
}

// opener is an OpenStore over disks of its own; wrap may replace the store. Only the
// properties that use two processes get a disk with a file.
func opener(durability core.Durability, wrap func(*memStore) core.LogStore) func(*testing.T, string) core.LogStore {
	d := disks{}
	return func(t *testing.T, dir string) core.LogStore {
		if !strings.HasSuffix(t.Name(), "/KilledWriter") && !strings.HasSuffix(t.Name(), "/FailingFlush") {
			return wrap(d.open(dir, durability))
		}
		s := disks{}.open(dir, durability)
		s.disk.file = filepath.Join(dir, "disk")
		if err := s.disk.load(); err != nil {
			t.Fatal(err)
		}
		return wrap(s)
	}
}

func correct(s *memStore) core.LogStore { return s }

func (s *memStore) read(op string, f func(*disk) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("memstore: %s: %w", op, core.ErrClosed)
	}
	return f(s.disk)
}

func (s *memStore) write(op string, f func(*disk)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("memstore: %s: %w", op, core.ErrClosed)
	}
	f(s.disk)
	s.disk.writes++
	return s.disk.save()
}

func (s *memStore) Describe() core.StoreInfo {
	return core.StoreInfo{Name: "mem", Durability: s.durability}
}

func (s *memStore) SyncCount() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.disk.writes
}

func (s *memStore) FirstIndex() (first uint64, err error) {
	err = s.read("first index", func(d *disk) error {
		for i := range d.logs {
			if first == 0 || i < first {
				first = i
			}
		}
		return nil
	})
	return first, err
}

func (s *memStore) LastIndex() (last uint64, err error) {
	err = s.read("last index", func(d *disk) error {
		for i := range d.logs {
			last = max(last, i)
		}
		return nil
	})
	return last, err
}

func (s *memStore) GetLog(index uint64, log *raft.Log) error {
	return s.read("get", func(d *disk) error {
		l, ok := d.logs[index]
		if !ok {
			return raft.ErrLogNotFound
		}
		*log = l
		return nil
	})
}

func (s *memStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *memStore) StoreLogs(logs []*raft.Log) error {
	return s.write("store", func(d *disk) {
		for _, l := range logs {
			kept := *l
			kept.Data, kept.Extensions = slices.Clone(l.Data), slices.Clone(l.Extensions)
			d.logs[l.Index] = kept
		}
	})
}

func (s *memStore) DeleteRange(low, high uint64) error {
	return s.write("delete", func(d *disk) {
		for i := range d.logs {
			if low <= i && i <= high {
				delete(d.logs, i)
			}
		}
	})
}

func (s *memStore) Set(key, value []byte) error {
	return s.write("set", func(d *disk) { d.values[string(key)] = slices.Clone(value) })
}

func (s *memStore) Get(key []byte) (value []byte, err error) {
	err = s.read("get value", func(d *disk) error {
		var ok bool
		if value, ok = d.values[string(key)]; !ok {
			return errors.New(stableMissing)
		}
		return nil
	})
	return value, err
}

func (s *memStore) SetUint64(key []byte, value uint64) error {
	return s.write("set uint64", func(d *disk) { d.counts[string(key)] = value })
}

func (s *memStore) GetUint64(key []byte) (value uint64, err error) {
	err = s.read("get uint64", func(d *disk) error {
		var ok bool
		if value, ok = d.counts[string(key)]; !ok {
			return errors.New(stableMissing)
		}
		return nil
	})
	return value, err
}

func (s *memStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
