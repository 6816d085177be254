// Package bolt keeps log entries and stable values in a BoltDB file, through
// hashicorp's raft-boltdb: the store that Consul and Nomad ran on for years.
// Every write is one B+tree transaction with two flushes to the disk. The
// package never caches or batches anything on its own: what is measured is
// raft-boltdb.
package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/themilchenko/raftlab/core"
)

// Name is the store's name in the catalogue.
const Name = "bolt"

const (
	library  = "github.com/hashicorp/raft-boltdb/v2"
	fileName = "raft.db"

	// lockWait bounds the wait for another process to let go of the file.
	lockWait = time.Second

	// syncsPerCommit: bbolt's Tx.Commit writes the data pages, calls fdatasync,
	// writes the meta page and calls fdatasync again.
	syncsPerCommit = 2
)

var (
	_ core.LogStore    = (*Store)(nil)
	_ core.SyncCounter = (*Store)(nil)
)

// Options are the settings of the store.
type Options struct {
	// NoSync leaves out the flushes: a write then reaches the operating system
	// only (core.DurableOSBuffer). A crash of the machine can lose acknowledged
	// entries and damage the file.
	NoSync bool
	// NoFreelistSync keeps the list of free pages out of the file: smaller
	// writes, a slower open.
	NoFreelistSync bool
}

// Store is a log store in one BoltDB file. Make one with [Open].
type Store struct {
	bolt    *raftboltdb.BoltStore
	path    string
	noSync  bool
	commits atomic.Uint64
}

// Open opens the store in dir, making both where missing. A file that another
// process holds is an error after a second.
func Open(dir string, opts Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("bolt: open: %w", err)
	}
	path := filepath.Join(dir, fileName)
	boltOptions := *bbolt.DefaultOptions
	boltOptions.Timeout = lockWait
	boltOptions.NoFreelistSync = opts.NoFreelistSync
	b, err := raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		BoltOptions:             &boltOptions,
		NoSync:                  opts.NoSync,
		MsgpackUseNewTimeFormat: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("bolt: open %s: another process has it open: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	return &Store{bolt: b, path: path, noSync: opts.NoSync}, nil
}

// Info describes the store as Open with opts makes it.
func Info(opts Options) core.StoreInfo {
	durable := core.DurableDisk
	if opts.NoSync {
		durable = core.DurableOSBuffer
	}
	return core.StoreInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Durability: durable}
}

// Describe implements core.LogStore.
func (s *Store) Describe() core.StoreInfo { return Info(Options{NoSync: s.noSync}) }

// SyncCount implements core.SyncCounter. It is derived, not observed: the
// number of committed transactions times the two flushes of each. The rare
// flush when the file grows is not in it.
func (s *Store) SyncCount() uint64 {
	if s.noSync {
		return 0
	}
	return s.commits.Load() * syncsPerCommit
}

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) {
	i, err := s.bolt.FirstIndex()
	return i, s.wrap("first index", err)
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) {
	i, err := s.bolt.LastIndex()
	return i, s.wrap("last index", err)
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	*out = raft.Log{} // decoding leaves fields alone that the record does not hold
	err := s.bolt.GetLog(index, out)
	if err == raft.ErrLogNotFound {
		return raft.ErrLogNotFound
	}
	return s.wrap("get log", err)
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore: one transaction.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	return s.committed("store logs", s.bolt.StoreLogs(entries))
}

// DeleteRange implements raft.LogStore: one transaction.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.committed("delete range", s.bolt.DeleteRange(low, high))
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error { return s.committed("set", s.bolt.Set(key, value)) }

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.committed("set", s.bolt.SetUint64(key, value))
}

// Get implements raft.StableStore. A missing key is the error "not found".
func (s *Store) Get(key []byte) ([]byte, error) {
	v, err := s.bolt.Get(key)
	if err == raftboltdb.ErrKeyNotFound {
		return nil, err
	}
	return v, s.wrap("get", err)
}

// GetUint64 implements raft.StableStore. A missing key is the error "not found".
func (s *Store) GetUint64(key []byte) (uint64, error) {
	v, err := s.bolt.GetUint64(key)
	if err == raftboltdb.ErrKeyNotFound {
		return 0, err
	}
	return v, s.wrap("get", err)
}

// Close waits for transactions under way and closes the file.
func (s *Store) Close() error { return s.wrap("close", s.bolt.Close()) }

func (s *Store) committed(op string, err error) error {
	if err == nil {
		s.commits.Add(1)
	}
	return s.wrap(op, err)
}

func (s *Store) wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("bolt: %s: %s: %w", op, s.path, core.ErrClosed)
	case !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		// bbolt turns the error of growing the file into text.
		return fmt.Errorf("bolt: %s: %s: %w (%v)", op, s.path, syscall.ENOSPC, err)
	default:
		return fmt.Errorf("bolt: %s: %s: %w", op, s.path, err)
	}
}
