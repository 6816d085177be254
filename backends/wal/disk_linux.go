package wal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// again repeats a system call that a signal has interrupted.
func again(call string, f *os.File, do func(fd int) error) error {
	for {
		err := do(int(f.Fd()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: call, Path: f.Name(), Err: err}
		}
		return nil
	}
}

// reserve makes f longer, and finds out whether there is room for it.
func reserve(f *os.File, bytes int64) error {
	err := again("fallocate", f, func(fd int) error { return unix.Fallocate(fd, 0, 0, bytes) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(bytes)
	}
	return err
}

// syncData flushes what was written to f within its length, and not when that was.
func syncData(f *os.File) error { return again("fdatasync", f, unix.Fdatasync) }

// openZeroer opens a file to zero it, or returns nil on a file system that does not write
// in place, or is not known to.
func openZeroer(path string) (zeroer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	err = again("fstatfs", f, func(fd int) error { return unix.Fstatfs(fd, &fs) })
	if err != nil || fs.Type != unix.EXT4_SUPER_MAGIC && fs.Type != unix.XFS_SUPER_MAGIC {
		return nil, errors.Join(err, f.Close())
	}
	return diskZeroer{f}, nil
}

type diskZeroer struct{ *os.File }

// Zero implements zeroer.
func (z diskZeroer) Zero(at, bytes int64) error {
	_, err := z.WriteAt(zeros[:bytes], at)
	return err
}

// zeros are never written to.
var zeros [pieceBytes]byte

// WriteOut implements zeroer.
func (z diskZeroer) WriteOut(at, bytes int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return again("sync_file_range", z.File, func(fd int) error { return unix.SyncFileRange(fd, at, bytes, all) })
}
