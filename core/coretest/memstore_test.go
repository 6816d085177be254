package coretest

import (
	"errors"
	"fmt"
	"slices"
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
}

// disks hands out the disk of each folder.
type disks map[string]*disk

func (d disks) open(dir string, durability core.Durability) *memStore {
	kept, ok := d[dir]
	if !ok || durability == core.DurableNothing {
		kept = &disk{logs: map[uint64]raft.Log{}, values: map[string][]byte{}, counts: map[string]uint64{}}
		d[dir] = kept
	}
	return &memStore{disk: kept, durability: durability}
}

// opener is an OpenStore over disks of its own; wrap may replace the store.
func opener(durability core.Durability, wrap func(*memStore) core.LogStore) func(*testing.T, string) core.LogStore {
	d := disks{}
	return func(_ *testing.T, dir string) core.LogStore { return wrap(d.open(dir, durability)) }
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
	return nil
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
