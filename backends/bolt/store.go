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

// Store is a log store in one BoltDB file: raft-boltdb's, adapted. Make one with [Open].
type Store struct {
	core.LogStore
	bolt    *raftboltdb.BoltStore
	file    *os.File // BoltDB's own
	path    string
	noSync  bool
	commits atomic.Uint64
	damaged atomic.Pointer[error] // BoltDB has panicked: its locks are as that has left them
}

// Open opens the store in dir, making both where missing. A file that another
// process holds is an error after a second.
func Open(dir string, opts Options) (*Store, error) {
	if err := storedir.Make(dir); err != nil {
		return nil, fmt.Errorf("bolt: open: %w", err)
	}
	s := &Store{path: filepath.Join(dir, fileName), noSync: opts.NoSync}
	if err := checkFile(s.path); err != nil {
		return nil, s.explain("open", err)
	}
	if err := s.around("open", false, func() error { return s.open(opts) }); err != nil {
		if s.damaged.Load() != nil && s.file != nil {
			err = errors.Join(err, s.file.Close()) // with the lock on it; the map stays
		}
		return nil, err
	}
	s.LogStore = core.Adapted{Logs: s.bolt, Stable: s.bolt, Close: s.end, Around: s.around, Info: Info(opts)}.Store()
	if err := storedir.Flush(dir); err != nil {
		return nil, errors.Join(s.explain("open", err), s.Close())
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

// end closes the file. Of a store that was found damaged it closes nothing else:
// BoltDB may hold its locks for ever.
func (s *Store) end() error {
	if s.damaged.Load() != nil {
		return s.explain("close", s.file.Close())
	}
	return s.around("close", false, s.bolt.Close)
}

// around runs a call. A page that is not what BoltDB takes it for is a panic, and one
// that cannot be read a fault: either ends the call and the store.
func (s *Store) around(op string, write bool, call func() error) error {
	if damaged := s.damaged.Load(); damaged != nil {
		return *damaged
	}
	err, panicked := storedir.Safely(call)
	if err == nil && write {
		s.commits.Add(1)
	}
	err = s.explain(op, err)
	if panicked {
		s.damaged.CompareAndSwap(nil, &err)
	}
	return err
}

// explain translates errors of BoltDB, and of the decoder of its records.
func (s *Store) explain(op string, err error) error {
	switch {
	case err == nil, err == raft.ErrLogNotFound, err == raftboltdb.ErrKeyNotFound:
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("bolt: %s %s: another process has it open: %w", op, s.path, err)
	case op == "get log" && !errors.Is(err, core.ErrDamaged):
		err = fmt.Errorf("%w: %w", core.ErrDamaged, err) // it cannot be decoded
	case !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		err = fmt.Errorf("%w (%v)", syscall.ENOSPC, err) // bbolt makes text of an error of growing the file
	}
	return fmt.Errorf("bolt: %s: %s: %w", op, s.path, err)
}
