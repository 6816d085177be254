// Package inmem keeps log entries and stable values in the memory of the
// process. It is the base line of every comparison of log stores: what is left
// of the latency once storing costs nothing. It never touches a disk, so
// everything is gone after Close or a crash, and a member that restarts on it
// breaks Raft's promise to remember its vote: use it for measuring and tests.
package inmem

import (
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

// Store is an in-memory log store. Make one with [New]. Close drops all that it holds.
type Store struct{ core.LogStore }

// New returns an empty store.
func New() *Store {
	m := &memory{logs: map[uint64]raft.Log{}, stable: map[string][]byte{}, numbers: map[string]uint64{}}
	return &Store{core.Adapted{Logs: m, Stable: m, Info: Info(), Close: m.drop}.Store()}
}

// Info describes the store.
func Info() core.StoreInfo {
	return core.StoreInfo{Name: Name, Durability: core.DurableNothing}
}

// SyncCount implements core.SyncCounter: memory is never flushed.
func (s *Store) SyncCount() uint64 { return 0 }

// memory is what a Store keeps.
type memory struct {
	mu          sync.RWMutex
	logs        map[uint64]raft.Log
	first, last uint64 // 0, 0 while empty
	stable      map[string][]byte
	numbers     map[string]uint64
}

// FirstIndex implements raft.LogStore.
func (m *memory) FirstIndex() (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.first, nil
}

// LastIndex implements raft.LogStore.
func (m *memory) LastIndex() (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.last, nil
}

// GetLog implements raft.LogStore.
func (m *memory) GetLog(index uint64, out *raft.Log) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	entry, ok := m.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*out = entry
	return nil
}

// StoreLog implements raft.LogStore.
func (m *memory) StoreLog(entry *raft.Log) error { return m.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (m *memory) StoreLogs(entries []*raft.Log) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		kept := *e
		kept.Data = slices.Clone(e.Data)
		kept.Extensions = slices.Clone(e.Extensions)
		m.logs[e.Index] = kept
		if m.first == 0 || e.Index < m.first {
			m.first = e.Index
		}
		m.last = max(m.last, e.Index)
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (m *memory) DeleteRange(low, high uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := max(low, m.first); i <= min(high, m.last) && i != 0; i++ {
		delete(m.logs, i)
	}
	if len(m.logs) == 0 {
		m.first, m.last = 0, 0
		return nil
	}
	for !m.has(m.first) {
		m.first++
	}
	for !m.has(m.last) {
		m.last--
	}
	return nil
}

func (m *memory) has(index uint64) bool {
	_, ok := m.logs[index]
	return ok
}

// Set implements raft.StableStore.
func (m *memory) Set(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stable[string(key)] = slices.Clone(value)
	return nil
}

// Get implements raft.StableStore. A missing key is an empty value.
func (m *memory) Get(key []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.stable[string(key)]), nil
}

// SetUint64 implements raft.StableStore.
func (m *memory) SetUint64(key []byte, value uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.numbers[string(key)] = value
	return nil
}

// GetUint64 implements raft.StableStore. A missing key is 0.
func (m *memory) GetUint64(key []byte) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.numbers[string(key)], nil
}

// drop lets go of everything that the store holds.
func (m *memory) drop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs, m.stable, m.numbers = nil, nil, nil
	m.first, m.last = 0, 0
	return nil
}
