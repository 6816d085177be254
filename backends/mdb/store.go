//go:build cgo

package mdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	gomdb "github.com/armon/gomdb"
	"github.com/hashicorp/raft"
	raftmdb "github.com/hashicorp/raft-mdb"

	"github.com/themilchenko/raftlab/backends/storedir"
	"github.com/themilchenko/raftlab/core"
)

// syncsPerCommit: mdb_txn_commit calls fdatasync for the data pages and writes
// the meta page through a descriptor opened with O_DSYNC.
const syncsPerCommit = 2

var (
	_ core.LogStore    = (*Store)(nil)
	_ core.SyncCounter = (*Store)(nil)
	_ core.Located     = (*Store)(nil)
)

// Store is a log store in one LMDB environment. Make one with [Open].
type Store struct {
	mu      sync.RWMutex // held for reading by every call, for writing by Close
	mdb     *raftmdb.MDBStore
	dir     string
	path    string
	mapSize uint64
	closed  bool

	broken  atomic.Pointer[error] // the first failed write; no write is tried after it
	commits atomic.Uint64
}

// Available returns nil where mdb stores can be opened by this process.
func Available() error { return checkRuntime() }

// Open opens the store in dir, making both where missing. The file is checked first,
// which reads all of it once.
func Open(dir string, opts Options) (*Store, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	size := opts.MapSizeBytes
	if size == 0 {
		size = DefaultMapSizeBytes
	}
	page := uint64(os.Getpagesize())
	size = (size + page - 1) / page * page
	inner := filepath.Join(dir, subDir)
	if err := storedir.Make(inner); err != nil {
		return nil, fmt.Errorf("mdb: open: %w", err)
	}
	path := filepath.Join(inner, fileName)
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("mdb: open: %s: %w", path, err)
	}
	m, err := raftmdb.NewMDBStoreWithSize(dir, size)
	if err != nil {
		return nil, fmt.Errorf("mdb: open %s with a map of %s: %w", dir, core.FormatBytes(size), plain(err))
	}
	s := &Store{mdb: m, dir: dir, path: path, mapSize: size}
	if err := errors.Join(storedir.Flush(inner), storedir.Flush(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("mdb: open: %w", err), s.Close())
	}
	return s, nil
}

// Path implements core.Located.
func (s *Store) Path() string { return s.path }

// Describe implements core.LogStore.
func (s *Store) Describe() core.StoreInfo { return Info() }

// SyncCount implements core.SyncCounter. It is derived, not observed: the
// number of committed transactions times the two flushes of each.
func (s *Store) SyncCount() uint64 { return s.commits.Load() * syncsPerCommit }

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (index uint64, err error) {
	err = s.read("first index", func() (err error) { index, err = s.mdb.FirstIndex(); return })
	return index, err
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (index uint64, err error) {
	err = s.read("last index", func() (err error) { index, err = s.mdb.LastIndex(); return })
	return index, err
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	*out = raft.Log{} // decoding leaves fields alone that the record does not hold
	return s.read("get log", func() error {
		err := s.mdb.GetLog(index, out)
		var code gomdb.Errno
		if err == nil || err == raft.ErrLogNotFound || errors.As(err, &code) {
			return err
		}
		return fmt.Errorf("log entry %d is %w: %w", index, core.ErrDamaged, err) // it cannot be decoded
	})
}

// Get implements raft.StableStore. A missing key is the error "not found".
func (s *Store) Get(key []byte) (value []byte, err error) {
	err = s.read("get", func() (err error) { value, err = s.mdb.Get(key); return })
	return value, err
}

// GetUint64 implements raft.StableStore. A missing key is the error "not found".
func (s *Store) GetUint64(key []byte) (value uint64, err error) {
	err = s.read("get", func() (err error) { value, err = s.mdb.GetUint64(key); return })
	return value, err
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore: one transaction.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	return s.write("store logs", func() error { return s.mdb.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore: one transaction. It walks the log from
// its beginning, whatever the range.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.write("delete range", func() error { return s.mdb.DeleteRange(low, high) })
}

// Set implements raft.StableStore. raft-mdb cannot store an empty value, which
// is refused as core.ErrInvalid.
func (s *Store) Set(key, value []byte) error {
	if len(key) == 0 || len(value) == 0 {
		return fmt.Errorf("mdb: set %q: %w: LMDB's binding takes no empty key or value", key, core.ErrInvalid)
	}
	return s.write("set", func() error { return s.mdb.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.write("set", func() error { return s.mdb.SetUint64(key, value) })
}

// Close waits for calls under way and closes the environment.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.mdb.Close()
}

func (s *Store) read(op string, call func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("mdb: %s: %s: %w", op, s.dir, core.ErrClosed)
	}
	err := safely(call)
	if err == nil || err == raft.ErrLogNotFound || err.Error() == "not found" {
		return err
	}
	return fmt.Errorf("mdb: %s: %s: %w", op, s.path, plain(err))
}

// safely makes an error of a fault or a panic that a damaged record leads to in Go,
// as it is copied out of the map. One in LMDB itself ends the process.
func safely(call func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", core.ErrDamaged, p)
		}
	}()
	return call()
}

func (s *Store) write(op string, call func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("mdb: %s: %s: %w", op, s.dir, core.ErrClosed)
	}
	if broken := s.broken.Load(); broken != nil {
		return fmt.Errorf("mdb: %s: an earlier write failed: %w", op, *broken)
	}
	err := safely(call)
	if err == nil {
		s.commits.Add(1)
		return nil
	}
	if plain(err) == syscall.EIO && noSpace(s.dir) {
		err = syscall.ENOSPC // LMDB takes a write that a full disk cut short for a broken one
	}
	if errors.Is(err, gomdb.MapFull) {
		err = fmt.Errorf("mdb: %s: %s: %w: the map of %s is used up; raise options.mdb.map_size",
			op, s.dir, core.ErrFull, core.FormatBytes(s.mapSize))
	} else {
		err = fmt.Errorf("mdb: %s: %s: %w", op, s.dir, plain(err))
	}
	s.broken.CompareAndSwap(nil, &err)
	return err
}

// noSpace says whether the file system of dir has less room than a few pages.
func noSpace(dir string) bool {
	const few = 16
	var fs syscall.Statfs_t
	return syscall.Statfs(dir, &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) < few*uint64(os.Getpagesize())
}

// plain turns LMDB's copy of an operating system error into the error itself,
// so that errors.Is(err, syscall.ENOSPC) works, and names the damage that LMDB finds.
func plain(err error) error {
	var code gomdb.Errno
	if errors.As(err, &code) && slices.Contains([]error{gomdb.Corrupted, gomdb.PageNotFound, gomdb.Invalid, gomdb.Panic}, error(code)) {
		return fmt.Errorf("%w: %w", core.ErrDamaged, err)
	}
	if errors.As(err, &code) && code > 0 {
		return syscall.Errno(code)
	}
	return err
}
