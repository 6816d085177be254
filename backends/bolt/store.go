// Package bolt keeps log entries and stable values in a BoltDB file, through
// hashicorp's raft-boltdb: the store that Consul and Nomad ran on for years.
// Every write is one B+tree transaction with two flushes to the disk. The
// package never caches or batches anything on its own: what is measured is
// raft-boltdb.
//
// BoltDB maps its file and believes what it reads there; where a page is spoilt or
// missing, it panics. Here that is an error that is core.ErrDamaged: the file's size
// and its meta pages are checked before it is opened, and a panic or a fault in a call
// ends that call and the store. Values are not checked: see package checked.
package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/themilchenko/raftlab/backends/storedir"
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
	_ core.Located     = (*Store)(nil)
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
	file    *os.File // BoltDB's own
	path    string
	noSync  bool
	commits atomic.Uint64
	damaged atomic.Pointer[error] // BoltDB has panicked: its locks are as that has left them
}

// Open opens the store in dir, making both where missing. A file that another
// process holds is an error after a second.
func Open(dir string, opts Options) (_ *Store, err error) {
	if err := storedir.Make(dir); err != nil {
		return nil, fmt.Errorf("bolt: open: %w", err)
	}
	s := &Store{path: filepath.Join(dir, fileName), noSync: opts.NoSync}
	if err := checkFile(s.path); err != nil {
		return nil, s.wrap("open", err)
	}
	defer func() {
		if err != nil && s.damaged.Load() != nil && s.file != nil {
			err = errors.Join(err, s.file.Close()) // with the lock on it; the map stays
		}
	}()
	err = s.call("open", func() error { return s.open(opts) })
	if err != nil {
		return nil, err
	}
	if err := storedir.Flush(dir); err != nil {
		return nil, errors.Join(s.wrap("open", err), s.Close())
	}
	return s, nil
}

func (s *Store) open(opts Options) (err error) {
	boltOptions := *bbolt.DefaultOptions
	boltOptions.Timeout = lockWait
	boltOptions.NoFreelistSync = opts.NoFreelistSync
	boltOptions.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		s.file = f
		return f, err
	}
	s.bolt, err = raftboltdb.New(raftboltdb.Options{
		Path:                    s.path,
		BoltOptions:             &boltOptions,
		NoSync:                  opts.NoSync,
		MsgpackUseNewTimeFormat: true,
	})
	return err
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

// Path implements core.Located.
func (s *Store) Path() string { return s.path }

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
func (s *Store) FirstIndex() (index uint64, err error) {
	err = s.call("first index", func() (err error) { index, err = s.bolt.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (index uint64, err error) {
	err = s.call("last index", func() (err error) { index, err = s.bolt.LastIndex(); return err })
	return index, err
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	*out = raft.Log{} // decoding leaves fields alone that the record does not hold
	return s.call("get log", func() error {
		err := s.bolt.GetLog(index, out)
		if err == nil || err == raft.ErrLogNotFound || errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return err
		}
		return fmt.Errorf("log entry %d is %w: %w", index, core.ErrDamaged, err) // it cannot be decoded
	})
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore: one transaction.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	return s.write("store logs", func() error { return s.bolt.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore: one transaction.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.write("delete range", func() error { return s.bolt.DeleteRange(low, high) })
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	return s.write("set", func() error { return s.bolt.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.write("set", func() error { return s.bolt.SetUint64(key, value) })
}

// Get implements raft.StableStore. A missing key is the error "not found".
func (s *Store) Get(key []byte) (value []byte, err error) {
	err = s.call("get", func() (err error) { value, err = s.bolt.Get(key); return err })
	return value, err
}

// GetUint64 implements raft.StableStore. A missing key is the error "not found".
func (s *Store) GetUint64(key []byte) (value uint64, err error) {
	err = s.call("get", func() (err error) { value, err = s.bolt.GetUint64(key); return err })
	return value, err
}

// Close waits for transactions under way and closes the file. Of a store that was
// found damaged it only closes the file: BoltDB may hold its locks for ever.
func (s *Store) Close() error {
	if s.damaged.Load() != nil {
		if err := s.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return fmt.Errorf("bolt: close: %w", err)
		}
		return nil
	}
	return s.call("close", s.bolt.Close)
}

func (s *Store) write(op string, call func() error) error {
	err := s.call(op, call)
	if err == nil {
		s.commits.Add(1)
	}
	return err
}

// call runs what works on the mapped file. A page that is not what BoltDB takes it
// for is a panic, and one that cannot be read a fault, which the runtime makes a panic
// of here.
func (s *Store) call(op string, call func() error) (err error) {
	if damaged := s.damaged.Load(); damaged != nil {
		return *damaged
	}
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			err = fmt.Errorf("bolt: %s: %s is %w: %v", op, s.path, core.ErrDamaged, p)
			s.damaged.CompareAndSwap(nil, &err)
		}
	}()
	return s.wrap(op, call())
}

func (s *Store) wrap(op string, err error) error {
	switch {
	case err == nil, err == raft.ErrLogNotFound, err == raftboltdb.ErrKeyNotFound:
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("bolt: %s %s: another process has it open: %w", op, s.path, err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("bolt: %s: %s: %w", op, s.path, core.ErrClosed)
	case !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		// bbolt turns the error of growing the file into text.
		return fmt.Errorf("bolt: %s: %s: %w (%v)", op, s.path, syscall.ENOSPC, err)
	default:
		return fmt.Errorf("bolt: %s: %s: %w", op, s.path, err)
	}
}
