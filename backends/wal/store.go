// Package wal keeps log entries in segment files that are only appended to, through
// HashiCorp's raft-wal: one flush an append, where a B+tree needs two.
//
// What the library (v0.4.0) leaves open is mended at its plug-in points: the files it
// writes (files.go), where it remembers its segments (meta.go), and what is done before
// it reads them again after a crash (recover.go). That is:
//
//   - The last segment is read through before it is used. Of a write that a crash has
//     torn nothing is left, not even bytes behind the end, where a later recovery could
//     take them for entries. What is kept is flushed before it is served: a killed
//     process may have left it in the memory of the system only.
//   - Bytes that are not those written, with flushed ones behind them, are damage; so is
//     a segment that is missing, or that ends before where it was once seen whole.
//   - A segment whose end was written but not noted, and one that was cut by DeleteRange,
//     can be appended behind and read again after the next start.
//   - A new segment waits for nobody: what goes wrong with it is an error of a write.
//
// A flush or write that has failed is never repeated: the kernel may have dropped the
// pages and would call the next one a success. The store then refuses every write until
// it is opened again.
//
// Entries are checked as they are read by package checked.
package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/themilchenko/raftlab/backends/storedir"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/size"
	"github.com/themilchenko/raftlab/internal/lockfile"
)

// Name is the store's name in the catalogue.
const Name = "wal"

// Bounds of Options.SegmentBytes.
const (
	DefaultSegmentBytes = 64 << 20
	MinSegmentBytes     = 64 << 10
	MaxSegmentBytes     = 1 << 30
)

const (
	library  = "github.com/hashicorp/raft-wal"
	lockName = "LOCK"
)

var (
	_ core.LogStore          = (*Store)(nil)
	_ core.SyncCounter       = (*Store)(nil)
	_ raft.MonotonicLogStore = (*Store)(nil)
)

// Options are the settings of the store.
type Options struct {
	// SegmentBytes is the size of a segment file, which is reserved as it is made;
	// 0 is DefaultSegmentBytes. The last append to a segment may make it larger. Space is
	// freed by whole segments.
	SegmentBytes uint64
}

// Validate returns a core.ErrInvalid for a size out of bounds.
func (o Options) Validate() error {
	if o.SegmentBytes == 0 || MinSegmentBytes <= o.SegmentBytes && o.SegmentBytes <= MaxSegmentBytes {
		return nil
	}
	return fmt.Errorf("%w: options.wal.segment_size = %s: want %s to %s", core.ErrInvalid,
		size.Format(o.SegmentBytes), size.Format(MinSegmentBytes), size.Format(MaxSegmentBytes))
}

// Store is a log store in one folder. Make one with [Open]. It is a
// raft.MonotonicLogStore: entries follow each other without gaps, and only the beginning
// or the end of the log is deleted.
type Store struct {
	core.LogStore
	dir    string
	wal    *raftwal.WAL
	folder *folder
	meta   *meta
	filer  *filer
	writes sync.Mutex // one change of the log at a time, with the new segment that it leads to
}

// Open opens the store in dir, making it where missing. One folder is used by one process
// at a time, and opened once in it.
func Open(dir string, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := storedir.Make(dir); err != nil {
		return nil, fmt.Errorf("wal: open: %w", err)
	}
	lock, err := lockfile.Take(filepath.Join(dir, lockName))
	if errors.Is(err, lockfile.ErrLocked) {
		return nil, fmt.Errorf("wal: open %s: another process has it open, or this one has it open already: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wal: open %s: %w", dir, err)
	}
	s, err := open(diskFiles{}, dir, opts, lock)
	if err != nil {
		return nil, err
	}
	if err := storedir.Flush(dir); err != nil {
		return nil, errors.Join(s.explain("open", err), s.Close())
	}
	return s, nil
}

// open opens the store on disk; lock is closed with it, also where this fails.
func open(disk files, dir string, opts Options, lock io.Closer) (*Store, error) {
	size := opts.SegmentBytes
	if size == 0 {
		size = DefaultSegmentBytes
	}
	s := &Store{dir: dir, folder: &folder{disk: disk, dir: dir, open: map[*handle]bool{}}}
	s.meta = &meta{folder: s.folder, segmentBytes: uint32(size)}
	s.filer = &filer{Filer: segment.NewFiler(dir, s.folder), folder: s.folder}
	s.meta.rotated = s.filer.rotated
	err, _ := storedir.Safely(func() (err error) {
		s.wal, err = raftwal.Open(dir, raftwal.WithSegmentFiler(s.filer), raftwal.WithMetaStore(s.meta), raftwal.WithCodec(&codec{}),
			raftwal.WithSegmentSize(int(size)), raftwal.WithLogger(hclog.NewNullLogger()))
		return err
	})
	if err != nil {
		return nil, errors.Join(s.explain("open", err), s.folder.closeAll(), lock.Close())
	}
	end := func() error {
		return errors.Join(s.explain("close", s.end()), lock.Close())
	}
	s.LogStore = core.Adapted{Logs: &entryLog{s}, Stable: s.wal, Info: Info(), Close: end, Around: s.around}.Store()
	return s, nil
}

// Info describes the store.
func Info() core.StoreInfo {
	return core.StoreInfo{Name: Name, Library: library, Version: core.ModuleVersion(library), Durability: core.DurableDisk}
}

// SyncCount implements core.SyncCounter: every flush of a file or of the folder.
func (s *Store) SyncCount() uint64 { return s.folder.syncs.Load() }

// IsMonotonic implements raft.MonotonicLogStore.
func (s *Store) IsMonotonic() bool { return true }

// end notes where the last segment ends, so that what is missing of it will be seen, and
// closes all.
func (s *Store) end() error {
	var err error
	if s.folder.failure() == nil {
		err = s.meta.save()
	}
	return errors.Join(err, s.wal.Close(), s.folder.closeAll())
}

// around runs a call. After a failed write none is made any more.
func (s *Store) around(op string, write bool, call func() error) error {
	if failed := s.folder.failure(); write && failed != nil {
		return s.explain(op, fmt.Errorf("an earlier write has failed, and what it left is known only once the store is opened again: %w", failed))
	}
	err, panicked := storedir.Safely(call)
	if write && panicked {
		s.folder.fail(err)
	}
	return s.explain(op, err)
}

func (s *Store) explain(op string, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil, err == raft.ErrLogNotFound:
		return err
	case errors.Is(err, core.ErrDamaged), errors.As(err, &errno), errors.Is(err, core.ErrInvalid):
	case op == "get log" || op == "open" && isDamage(err):
		err = fmt.Errorf("%w: %w", core.ErrDamaged, err)
	}
	return fmt.Errorf("wal: %s: %s: %w", op, s.dir, err)
}

func isDamage(err error) bool {
	return errors.Is(err, raftwal.ErrCorrupt) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// entryLog is the library's log as the adapter uses it.
type entryLog struct{ *Store }

// FirstIndex implements raft.LogStore.
func (l *entryLog) FirstIndex() (uint64, error) { return l.wal.FirstIndex() }

// LastIndex implements raft.LogStore.
func (l *entryLog) LastIndex() (uint64, error) { return l.wal.LastIndex() }

// GetLog implements raft.LogStore. The library would still find deleted entries before the
// first, and it may come upon a segment that a DeleteRange beside it has just closed.
func (l *entryLog) GetLog(index uint64, out *raft.Log) error {
	for {
		first, err := l.wal.FirstIndex()
		if err != nil {
			return err
		}
		if index < first {
			return raft.ErrLogNotFound
		}
		if err := l.wal.GetLog(index, out); !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
}

// StoreLog implements raft.LogStore.
func (l *entryLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *entryLog) StoreLogs(entries []*raft.Log) error {
	const fields = 64 // of an entry beside its bytes, at most
	for _, e := range entries {
		if size := len(e.Data) + len(e.Extensions) + fields; size > segment.MaxEntrySize {
			return fmt.Errorf("%w: log entry %d has %d bytes, and at most %d can be read back", core.ErrInvalid, e.Index, size, segment.MaxEntrySize)
		}
	}
	return l.change(func() error { return l.wal.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore.
func (l *entryLog) DeleteRange(low, high uint64) error {
	return l.change(func() error { return l.wal.DeleteRange(low, high) })
}

// change runs a call that changes the log, and waits for the new segment that it may have
// led to: a DeleteRange beside that would have the library note the wrong one as full.
func (l *entryLog) change(call func() error) error {
	l.writes.Lock()
	defer l.writes.Unlock()
	if err := l.folder.failure(); err != nil {
		return err
	}
	err := call()
	l.filer.wait()
	if failed := l.folder.failure(); err != nil && failed != nil {
		return failed // the library's own may say less
	}
	return err
}
