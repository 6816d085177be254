// Package inmem keeps log entries and stable values in the memory of the
// process. It is the base line of every comparison of log stores: what is left
// of the latency once storing costs nothing. It never touches a disk, so
// everything is gone after Close or a crash, and a member that restarts on it
// breaks Raft's promise to remember its vote: use it for measuring and tests.
package inmem

import (
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Name is the store's name in the catalogue.
const Name = "inmem"

var (
	_ core.LogStore    = (*Store)(nil)
	_ core.SyncCounter = (*Store)(nil)
)

// Store is an in-memory log store. Make one with [New].
type Store struct {
	mu          sync.RWMutex
	logs        map[uint64]raft.Log
	first, last uint64 // 0, 0 while empty
	stable      map[string][]byte
	numbers     map[string]uint64
	closed      bool
}

// New returns an empty store.
func New() *Store {
	return &Store{
		logs:    make(map[uint64]raft.Log),
		stable:  make(map[string][]byte),
		numbers: make(map[string]uint64),
	}
}

// Info describes the store.
func Info() core.StoreInfo {
	return core.StoreInfo{Name: Name, Durability: core.DurableNothing}
}

// Describe implements core.LogStore.
func (s *Store) Describe() core.StoreInfo { return Info() }

// SyncCount implements core.SyncCounter: memory is never flushed.
func (s *Store) SyncCount() uint64 { return 0 }

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.first, s.check("first index")
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last, s.check("last index")
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.check("get log"); err != nil {
		return err
	}
	entry, ok := s.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*out = entry
	return nil
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("store logs"); err != nil {
		return err
	}
	for _, e := range entries {
		kept := *e
		kept.Data = slices.Clone(e.Data)
		kept.Extensions = slices.Clone(e.Extensions)
		s.logs[e.Index] = kept
		if s.first == 0 || e.Index < s.first {
			s.first = e.Index
		}
		s.last = max(s.last, e.Index)
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(low, high uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("delete range"); err != nil {
		return err
	}
	for i := max(low, s.first); i <= min(high, s.last) && i != 0; i++ {
		delete(s.logs, i)
	}
	if len(s.logs) == 0 {
		s.first, s.last = 0, 0
		return nil
	}
	for !s.has(s.first) {
		s.first++
	}
	for !s.has(s.last) {
		s.last--
	}
	return nil
}

func (s *Store) has(index uint64) bool {
	_, ok := s.logs[index]
	return ok
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("set"); err != nil {
		return err
	}
	s.stable[string(key)] = slices.Clone(value)
	return nil
}

// Get implements raft.StableStore. A missing key is an empty value.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.stable[string(key)]), s.check("get")
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("set"); err != nil {
		return err
	}
	s.numbers[string(key)] = value
	return nil
}

// GetUint64 implements raft.StableStore. A missing key is 0.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.numbers[string(key)], s.check("get")
}

// Close drops everything that the store holds.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.logs, s.stable, s.numbers = nil, nil, nil
	s.first, s.last = 0, 0
	return nil
}

// check must be called with the lock held.
func (s *Store) check(op string) error {
	if s.closed {
		return fmt.Errorf("inmem: %s: %w", op, core.ErrClosed)
	}
	return nil
}
