//go:build cgo

package mdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	gomdb "github.com/armon/gomdb"
	"github.com/hashicorp/raft"
	raftmdb "github.com/hashicorp/raft-mdb"

	"github.com/themilchenko/raftlab/backends/storedir"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/size"
)

// syncsPerCommit: mdb_txn_commit calls fdatasync for the data pages and writes
// the meta page through a descriptor opened with O_DSYNC.
const syncsPerCommit = 2

var (
	_ core.LogStore    = (*Store)(nil)
	_ core.SyncCounter = (*Store)(nil)
	_ core.Located     = (*Store)(nil)
)

// Store is a log store in one LMDB environment: raft-mdb's, adapted. Make one with
// [Open].
type Store struct {
	core.LogStore
	dir     string
	path    string
	mapSize uint64
	broken  atomic.Pointer[error] // the first failed write; no write is tried after it
	commits atomic.Uint64
}

// Available returns nil where mdb stores can be opened by this process.
func Available() error { return checkRuntime() }

// Open opens the store in dir, making both where missing. The file is checked first,
// which reads all of it once. Entries of an older version's form are written anew, which
// takes some MiB of the map; the older version does not read them after that.
func Open(dir string, opts Options) (*Store, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	mapSize := opts.size()
	inner := filepath.Join(dir, subDir)
	if err := storedir.Make(inner); err != nil {
		return nil, fmt.Errorf("mdb: open: %w", err)
	}
	path := filepath.Join(inner, fileName)
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("mdb: open: %s: %w", path, err)
	}
	s := &Store{dir: dir, path: path, mapSize: mapSize}
	var m *raftmdb.MDBStore
	err := renewEntries(inner, mapSize)
	if err == nil {
		m, err = raftmdb.NewMDBStoreWithSize(dir, mapSize)
	}
	if err != nil {
		return nil, fmt.Errorf("mdb: open %s with a map of %s: %w", dir, size.Format(mapSize), s.explain(err))
	}
	s.LogStore = core.Adapted{Logs: m, Stable: m, Close: m.Close, Around: s.around, Info: opts.Info()}.Store()
	if err := errors.Join(storedir.Flush(inner), storedir.Flush(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("mdb: open: %w", err), s.Close())
	}
	return s, nil
}

// Path implements core.Located.
func (s *Store) Path() string { return s.path }

// SyncCount implements core.SyncCounter. It is derived, not observed: the
// number of committed transactions times the two flushes of each.
func (s *Store) SyncCount() uint64 { return s.commits.Load() * syncsPerCommit }

// Set implements raft.StableStore. raft-mdb cannot store an empty value, which
// is refused as core.ErrInvalid.
func (s *Store) Set(key, value []byte) error {
	if len(key) == 0 || len(value) == 0 {
		return fmt.Errorf("mdb: set %q: %w: LMDB's binding takes no empty key or value", key, core.ErrInvalid)
	}
	return s.LogStore.Set(key, value)
}

// around runs a call and translates its error. Memory that is spoilt faults in Go only
// where a record is copied out of the map; in LMDB itself that ends the process.
func (s *Store) around(op string, write bool, call func() error) error {
	if broken := s.broken.Load(); write && broken != nil {
		return fmt.Errorf("mdb: %s: an earlier write failed: %w", op, *broken)
	}
	err, _ := storedir.Safely(call)
	if err == nil && write {
		s.commits.Add(1)
	}
	if err == nil || err == raft.ErrLogNotFound || err.Error() == "not found" {
		return err
	}
	var code gomdb.Errno
	if op == "get log" && !errors.As(err, &code) && !errors.Is(err, core.ErrDamaged) {
		err = fmt.Errorf("%w: %w", core.ErrDamaged, err) // it cannot be decoded
	}
	err = fmt.Errorf("mdb: %s: %s: %w", op, s.path, s.explain(err))
	if write {
		s.broken.CompareAndSwap(nil, &err)
	}
	return err
}

// explain says of an error of LMDB what it is and what to do about it.
func (s *Store) explain(err error) error {
	switch {
	case plain(err) == syscall.EIO && noSpace(s.dir):
		return syscall.ENOSPC // LMDB takes a write that a full disk cut short for a broken one
	case errors.Is(err, gomdb.MapFull):
		return fmt.Errorf("%w: the map of %s is used up; raise options.mdb.map_size", core.ErrFull, size.Format(s.mapSize))
	}
	return plain(err)
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
