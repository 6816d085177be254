// Package pebble keeps log entries and stable values in Pebble, the log-structured merge
// tree of CockroachDB: one batch and one flush a write. It is the choice to compare with
// where a log is kept in a general ordered store; an append goes to Pebble's own log first
// and later, unless it was deleted meanwhile, to sorted tables.
//
// Pebble takes a failed write of its log for the end of the process. Here it is the end
// of the store: the call returns the error, and until it is opened again every write is
// refused. Pebble checks what it reads by checksums of its own; that an entry is the
// one that was written is seen to by package checked.
package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/storedir"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/size"
)

// Name is the store's name in the catalogue.
const Name = "pebble"

// Defaults and bounds of Options. What is deleted before a memtable is full never gets
// into a table.
const (
	DefaultMemtableBytes = 32 << 20
	DefaultCacheBytes    = 8 << 20
	minBytes             = 1 << 20
	maxBytes             = 1 << 30
)

const library = "github.com/cockroachdb/pebble/v2"

var (
	_ core.LogStore    = (*Store)(nil)
	_ core.SyncCounter = (*Store)(nil)
)

// Options are the settings of the store; 0 is the default.
type Options struct {
	MemtableBytes uint64 // what is written before it is sorted into a table
	CacheBytes    uint64 // of blocks of tables
}

// Validate returns a core.ErrInvalid for a size out of bounds.
func (o Options) Validate() error {
	var errs []error
	for _, x := range []struct {
		key   string
		bytes uint64
	}{{"memtable_size", o.MemtableBytes}, {"cache_size", o.CacheBytes}} {
		if x.bytes != 0 && (x.bytes < minBytes || x.bytes > maxBytes) {
			errs = append(errs, fmt.Errorf("%w: options.pebble.%s = %s: want %s to %s", core.ErrInvalid, x.key,
				size.Format(x.bytes), size.Format(minBytes), size.Format(maxBytes)))
		}
	}
	return errors.Join(errs...)
}

// Store is a log store in one folder. Make one with [Open].
type Store struct {
	core.LogStore
	dir    string
	db     *pebbledb.DB
	disk   *countingFS
	failed atomic.Pointer[error] // the first failed write: none is made after it
}

// Open opens the store in dir, making it where missing. One folder is used by one process
// at a time, and opened once in it.
func Open(dir string, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := storedir.Make(dir); err != nil {
		return nil, fmt.Errorf("pebble: open: %w", err)
	}
	s, err := open(vfs.Default, dir, opts)
	if err != nil {
		return nil, err
	}
	if err := storedir.Flush(dir); err != nil {
		return nil, errors.Join(s.explain("open", err), s.Close())
	}
	return s, nil
}

func open(disk vfs.FS, dir string, opts Options) (*Store, error) {
	s := &Store{dir: dir, disk: &countingFS{FS: disk}}
	lock, err := pebbledb.LockDirectory(dir, disk)
	if err != nil {
		return nil, fmt.Errorf("pebble: open %s: another process has it open, or this one has it open already: %w", dir, err)
	}
	options := &pebbledb.Options{
		FS: s.disk, Lock: lock, FormatMajorVersion: pebbledb.FormatNewest,
		CacheSize: int64(orDefault(opts.CacheBytes, DefaultCacheBytes)), MemTableSize: orDefault(opts.MemtableBytes, DefaultMemtableBytes),
		Logger: logger{s}, EventListener: &pebbledb.EventListener{DataCorruption: func(pebbledb.DataCorruptionInfo) {}},
	}
	log := &entryLog{store: s}
	err, _ = storedir.Safely(func() (err error) {
		if s.db, err = pebbledb.Open(dir, options); err != nil {
			return err
		}
		return log.findEnds()
	})
	if err != nil {
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		return nil, errors.Join(s.explain("open", err), lock.Close())
	}
	end := func() error { return errors.Join(s.end(), lock.Close()) }
	s.LogStore = core.Adapted{Logs: log, Stable: stable{s}, Info: Info(), Close: end, Around: s.around}.Store()
	return s, nil
}

func orDefault(size, byDefault uint64) uint64 {
	if size == 0 {
		return byDefault
	}
	return size
}

// Info describes the store.
func Info() core.StoreInfo {
	return core.StoreInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Durability: core.DurableDisk}
}

// SyncCount implements core.SyncCounter: every flush of a file or of the folder, also those
// of tables that Pebble writes beside the calls.
func (s *Store) SyncCount() uint64 { return s.disk.syncs.Load() }

// end writes a table of what is in the log of Pebble only, of which damage at the end could
// not be told from a write that was torn, and closes. A store that has failed is left as it
// is: Pebble may hold its locks for ever.
func (s *Store) end() error {
	if s.failed.Load() != nil {
		return nil
	}
	err, _ := storedir.Safely(func() error { return errors.Join(s.db.Flush(), s.db.Close()) })
	return s.explain("close", err)
}

func (s *Store) around(op string, write bool, call func() error) error {
	if failed := s.failed.Load(); write && failed != nil {
		return s.explain(op, fmt.Errorf("an earlier write has failed, and what it left is known only once the store is opened again: %w", *failed))
	}
	err, panicked := storedir.Safely(call)
	if failed := s.failed.Load(); panicked && failed != nil {
		err = *failed
	} else if panicked && write {
		s.fail(err)
	}
	return s.explain(op, err)
}

func (s *Store) fail(err error) { s.failed.CompareAndSwap(nil, &err) }

func (s *Store) explain(op string, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil, err == raft.ErrLogNotFound:
		return err
	case errors.As(err, &errno), errors.Is(err, core.ErrDamaged), errors.Is(err, core.ErrInvalid):
	case pebbledb.IsCorruptionError(err):
		err = fmt.Errorf("%w: %w", core.ErrDamaged, err)
	}
	return fmt.Errorf("pebble: %s: %s: %w", op, s.dir, err)
}

// logger keeps Pebble quiet. What is fatal to it fails the store.
type logger struct{ store *Store }

// Infof implements pebble.Logger.
func (logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (logger) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger, and must not return. In a call of the store it ends
// that call, by a panic that around recovers. In a goroutine of Pebble's own there is
// nobody to tell: it stays here, with what it holds, until the process ends, which a
// replica whose store has failed does next.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if cause := l.store.disk.failed.Load(); cause != nil {
		err = fmt.Errorf("%w (%w)", err, *cause)
	}
	l.store.fail(err)
	if !inCall() {
		select {}
	}
	panic(err)
}

// inCall says whether the goroutine is in a call that Safely runs.
func inCall() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "storedir.Safely") {
			return true
		}
		if !more {
			return false
		}
	}
}

// Keys: entries by their index, big endian, apart from stable values.
const (
	entryPrefix  = 'l'
	stablePrefix = 's'
)

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{entryPrefix}, index)
}

func stableKey(key []byte) []byte { return append([]byte{stablePrefix}, key...) }

// entryLog is the log in the store. It remembers its ends, which are costly to look for
// behind what was deleted.
type entryLog struct {
	store *Store
	mu    sync.Mutex // of writes: the ends change with them
	ends  atomic.Pointer[[2]uint64]
}

// FirstIndex implements raft.LogStore.
func (l *entryLog) FirstIndex() (uint64, error) { return l.ends.Load()[0], nil }

// LastIndex implements raft.LogStore.
func (l *entryLog) LastIndex() (uint64, error) { return l.ends.Load()[1], nil }

func (l *entryLog) findEnds() (err error) {
	it, err := l.store.db.NewIter(&pebbledb.IterOptions{LowerBound: []byte{entryPrefix}, UpperBound: []byte{entryPrefix + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var ends [2]uint64
	for i, seek := range []func() bool{it.First, it.Last} {
		if !seek() {
			break
		}
		if len(it.Key()) != len(entryKey(0)) {
			return storedir.Damaged("it has a key %q", it.Key())
		}
		ends[i] = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if err := it.Error(); err != nil {
		return err
	}
	l.ends.Store(&ends)
	return nil
}

// GetLog implements raft.LogStore.
func (l *entryLog) GetLog(index uint64, out *raft.Log) (err error) {
	value, err := l.store.get(entryKey(index))
	if err != nil {
		return err
	}
	if value == nil {
		return raft.ErrLogNotFound
	}
	out.Index = index
	return storedir.DecodeEntry(value, out)
}

// StoreLog implements raft.LogStore.
func (l *entryLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *entryLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, e := range entries {
		size += len(e.Data) + len(e.Extensions) + 64
	}
	b := l.store.db.NewBatchWithSize(min(size, math.MaxInt32))
	defer b.Close()
	ends := *l.ends.Load()
	for _, e := range entries {
		op := b.SetDeferred(len(entryKey(0)), storedir.EntryBytes(e))
		op.Key[0] = entryPrefix
		binary.BigEndian.PutUint64(op.Key[1:], e.Index)
		_ = storedir.AppendEntry(op.Value[:0], e) // it has just that room
		if err := op.Finish(); err != nil {
			return err
		}
		if ends[0] == 0 || e.Index < ends[0] {
			ends[0] = e.Index
		}
		ends[1] = max(ends[1], e.Index)
	}
	if err := b.Commit(pebbledb.Sync); err != nil {
		return err
	}
	l.ends.Store(&ends)
	return nil
}

// DeleteRange implements raft.LogStore.
func (l *entryLog) DeleteRange(low, high uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := []byte{entryPrefix + 1}
	if high < math.MaxUint64 {
		end = entryKey(high + 1)
	}
	if low > high {
		return nil
	}
	if err := l.store.db.DeleteRange(entryKey(low), end, pebbledb.Sync); err != nil {
		return err
	}
	return l.findEnds()
}

// get returns a copy of a value, not nil, or nil where there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(value)), value...), closer.Close()
}

// stable are the stable values.
type stable struct{ store *Store }

// Set implements raft.StableStore.
func (s stable) Set(key, value []byte) error {
	return s.store.db.Set(stableKey(key), value, pebbledb.Sync)
}

// Get implements raft.StableStore.
func (s stable) Get(key []byte) ([]byte, error) { return s.store.get(stableKey(key)) }

// SetUint64 implements raft.StableStore.
func (s stable) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (s stable) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	switch {
	case err != nil || len(value) == 0:
		return 0, err
	case len(value) != 8:
		return 0, fmt.Errorf("%w: the %d bytes of %q are no number", core.ErrInvalid, len(value), key)
	}
	return binary.BigEndian.Uint64(value), nil
}
