package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/themilchenko/raftlab/internal/atomicfile"
)

// files is what the store asks of a file system; the tests have one that loses all that
// was not flushed.
type files interface {
	List(dir string) ([]string, error)
	// Open opens a file to read and write it. With create it is made, or emptied.
	Open(path string, create bool) (file, error)
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
	// OpenZeroer opens a file once more to zero it; nil where that does not pay.
	OpenZeroer(path string) (zeroer, error)
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Resize cuts the file, or makes it longer by zeros for which there is room.
	Resize(bytes int64) error
	Sync() error
	// SyncData is Sync where nothing was written behind the length that was flushed.
	SyncData() error
}

// diskFiles are the files of the operating system.
type diskFiles struct{}

func (diskFiles) List(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	var names []string
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names, err
}

func (diskFiles) Open(path string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (diskFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (diskFiles) Remove(path string) error     { return os.Remove(path) }
func (diskFiles) SyncDir(dir string) error     { return atomicfile.SyncDir(dir) }

func (diskFiles) OpenZeroer(path string) (zeroer, error) { return openZeroer(path) }

type diskFile struct{ *os.File }

func (f diskFile) SyncData() error { return syncData(f.File) }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Resize(bytes int64) error {
	size, err := f.Size()
	if err != nil || bytes <= size {
		return errors.Join(err, f.Truncate(bytes))
	}
	return reserve(f.File, bytes)
}

// folder is the store's folder. It is the library's types.VFS, counts flushes and keeps
// the first failure of a write.
type folder struct {
	disk   files
	dir    string
	syncs  atomic.Uint64
	failed atomic.Pointer[error]
	tail   atomic.Pointer[handle] // the segment that is appended to

	mu   sync.Mutex
	open map[*handle]bool
}

var _ types.VFS = (*folder)(nil)

// handle is an open segment.
type handle struct {
	file
	folder  *folder
	id      uint64
	size    int64        // that the file was made with; of the one that is written to
	ahead   *ahead       // nil: nothing is zeroed
	serves  bool         // entries are read from it: it is recovered
	written int64        // where the last write ended; the one writer's
	flushed atomic.Int64 // up to here it is on the disk
}

// fail keeps the first failure of a write and returns err.
func (d *folder) fail(err error) error {
	if err != nil {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// failure returns the first failure of a write.
func (d *folder) failure() error {
	if failed := d.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

func (d *folder) path(name string) string { return filepath.Join(d.dir, name) }

func (d *folder) sync(f file) error { return d.flush(f.Sync) }

func (d *folder) flush(sync func() error) error {
	d.syncs.Add(1)
	return d.fail(sync())
}

func (d *folder) syncDir() error {
	return d.flush(func() error { return d.disk.SyncDir(d.dir) })
}

// prepare makes the file of a segment durable with its name, so that a segment that is
// noted has a file. Room for it is found out before it is noted.
func (d *folder) prepare(info types.SegmentInfo) error {
	path := d.path(segment.FileName(info))
	f, err := d.disk.Open(path, true)
	if err != nil {
		return d.fail(fmt.Errorf("make %s: %w", path, err))
	}
	err = f.Resize(int64(info.SizeLimit))
	if err == nil {
		err = d.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return d.fail(fmt.Errorf("make %s: %w", path, errors.Join(err, d.disk.Remove(path))))
	}
	return d.syncDir()
}

// ListDir implements types.VFS.
func (d *folder) ListDir(string) ([]string, error) { return d.disk.List(d.dir) }

// Create implements types.VFS. The file is there: see prepare.
func (d *folder) Create(dir, name string, _ uint64) (types.WritableFile, error) {
	return d.OpenWriter(dir, name)
}

// OpenWriter implements types.VFS.
func (d *folder) OpenWriter(_, name string) (types.WritableFile, error) {
	h, err := d.handle(name)
	if err != nil {
		return nil, d.fail(err)
	}
	if h.size, err = h.file.Size(); err != nil {
		return nil, d.fail(err)
	}
	if zeroer, err := d.disk.OpenZeroer(d.path(name)); err == nil && zeroer != nil {
		h.ahead = zeroAhead(zeroer, h.size)
	}
	d.tail.Store(h)
	return h, nil
}

// OpenReader implements types.VFS.
func (d *folder) OpenReader(_, name string) (types.ReadableFile, error) {
	h, err := d.handle(name)
	if err != nil {
		return nil, err
	}
	h.serves = true
	return h, nil
}

func (d *folder) handle(name string) (*handle, error) {
	_, id, err := segmentName(name)
	if err != nil {
		return nil, err
	}
	f, err := d.disk.Open(d.path(name), false)
	if err != nil {
		return nil, err
	}
	h := &handle{file: f, folder: d, id: id}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[h] = true
	return h, nil
}

// Delete implements types.VFS. That a file is gone need not last: what is not noted is
// removed by the next Open.
func (d *folder) Delete(_, name string) error { return d.disk.Remove(d.path(name)) }

// closeAll closes what the library has left open.
func (d *folder) closeAll() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for h := range d.open {
		errs = append(errs, h.end())
	}
	clear(d.open)
	return errors.Join(errs...)
}

// An entry is read with readBytes, and where it is longer, again with its own length. Of a
// read of readBytes less will do, then, if the frame that it begins with is whole. What is
// read again cannot pass for one: it begins with an index, big endian.
const readBytes, shortBytes = 64 << 10, 4 << 10

// ReadAt implements types.ReadableFile.
func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	if !h.serves || len(b) != readBytes {
		return h.file.ReadAt(b, at)
	}
	n, err := h.file.ReadAt(b[:shortBytes], at)
	if err == nil && binary.LittleEndian.Uint32(b) == frameEntry && uint64(binary.LittleEndian.Uint32(b[4:]))+frameBytes <= uint64(n) {
		return n, io.EOF
	}
	return h.file.ReadAt(b, at)
}

// WriteAt implements types.WritableFile.
func (h *handle) WriteAt(b []byte, at int64) (int, error) {
	if err := h.folder.failure(); err != nil {
		return 0, err
	}
	if h.ahead != nil {
		h.ahead.pass(at + int64(len(b)))
	}
	n, err := h.file.WriteAt(b, at)
	h.written = at + int64(n)
	return n, h.folder.fail(err)
}

// Sync implements types.WritableFile.
func (h *handle) Sync() error {
	if err := h.folder.failure(); err != nil {
		return err
	}
	sync := h.file.SyncData
	if h.written > h.size {
		sync = h.file.Sync
	}
	if err := h.folder.flush(sync); err != nil {
		return err
	}
	h.flushed.Store(h.written)
	return nil
}

// Close implements io.Closer.
func (h *handle) Close() error {
	h.folder.mu.Lock()
	defer h.folder.mu.Unlock()
	if !h.folder.open[h] {
		return nil
	}
	delete(h.folder.open, h)
	return h.end()
}

func (h *handle) end() error {
	if h.ahead != nil {
		h.ahead.close()
	}
	return h.file.Close()
}

// filer is the library's, and knows while a new segment is being made.
type filer struct {
	*segment.Filer
	folder  *folder
	mu      sync.Mutex
	waiting chan struct{} // closed, and nil again, once it is made
}

// Create implements types.SegmentFiler.
func (f *filer) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	defer f.rotated()
	w, err := f.Filer.Create(coded(info))
	return f.appender(w, err)
}

// RecoverTail implements types.SegmentFiler.
func (f *filer) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.Filer.RecoverTail(coded(info))
	return f.appender(w, err)
}

func (f *filer) appender(w types.SegmentWriter, err error) (types.SegmentWriter, error) {
	if err != nil {
		return nil, err
	}
	f.folder.tail.Load().serves = true
	return &appender{SegmentWriter: w, filer: f}, nil
}

// Open implements types.SegmentFiler.
func (f *filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	return f.Filer.Open(coded(info))
}

// rotated says that the new segment is there, or has failed.
func (f *filer) rotated() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting != nil {
		close(f.waiting)
		f.waiting = nil
	}
}

// wait waits for the new segment, if there is to be one.
func (f *filer) wait() {
	f.mu.Lock()
	waiting := f.waiting
	f.mu.Unlock()
	if waiting != nil {
		<-waiting
	}
}

// appender is a segment that is appended to. Once it says that it is full, the library
// has a goroutine make the next one.
type appender struct {
	types.SegmentWriter
	filer *filer
}

// Sealed implements types.SegmentWriter.
func (a *appender) Sealed() (bool, uint64, error) {
	sealed, index, err := a.SegmentWriter.Sealed()
	if sealed && err == nil {
		a.filer.mu.Lock()
		a.filer.waiting = make(chan struct{})
		a.filer.mu.Unlock()
	}
	return sealed, index, err
}

// segmentName takes a segment's file name apart.
func segmentName(name string) (base, id uint64, err error) {
	if _, err = fmt.Sscanf(name, "%020d-%016x.wal", &base, &id); err != nil {
		err = fmt.Errorf("%s is no name of a segment: %w", name, err)
	}
	return base, id, err
}
