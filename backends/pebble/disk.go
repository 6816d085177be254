package pebble

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// countingFS counts the flushes of a file system and keeps the first that fails, or write.
type countingFS struct {
	vfs.FS
	syncs  atomic.Uint64
	failed atomic.Pointer[error]
}

// Unwrap implements vfs.FS.
func (d *countingFS) Unwrap() vfs.FS { return d.FS }

func (d *countingFS) note(err error) error {
	if err != nil {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

func (d *countingFS) counted(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &countingFile{File: f, disk: d}, nil
}

// Create implements vfs.FS.
func (d *countingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	return d.counted(f, d.note(err))
}

// OpenReadWrite implements vfs.FS.
func (d *countingFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.counted(d.FS.OpenReadWrite(name, category, opts...))
}

// ReuseForWrite implements vfs.FS.
func (d *countingFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(old, name, category)
	return d.counted(f, d.note(err))
}

// OpenDir implements vfs.FS.
func (d *countingFS) OpenDir(name string) (vfs.File, error) { return d.counted(d.FS.OpenDir(name)) }

type countingFile struct {
	vfs.File
	disk *countingFS
}

// Write implements vfs.File.
func (f *countingFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.disk.note(err)
}

// Sync implements vfs.File.
func (f *countingFile) Sync() error {
	f.disk.syncs.Add(1)
	return f.disk.note(f.File.Sync())
}

// SyncData implements vfs.File.
func (f *countingFile) SyncData() error {
	f.disk.syncs.Add(1)
	return f.disk.note(f.File.SyncData())
}

// SyncTo implements vfs.File. It is a flush only where it says so.
func (f *countingFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	if full {
		f.disk.syncs.Add(1)
	}
	return full, f.disk.note(err)
}
