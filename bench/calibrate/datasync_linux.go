package calibrate

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// HasFdatasync says whether this system has fdatasync. Where it has not, fsync
// is measured in its place.
const HasFdatasync = true

func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reserve gives a file its room on the disk. Where the file system cannot, it only gets
// its length.
func reserve(f *os.File, bytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, bytes)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP):
			return f.Truncate(bytes)
		default:
			return err
		}
	}
}
