// Package lockfile keeps two processes from using one thing at a time, by a lock on a
// file. The kernel drops the lock when the process ends, however it ends, so a crash
// leaves nothing to clean up. It never waits for a lock, and never removes a file.
package lockfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another open file holds the lock, in this process or in another.
var ErrLocked = errors.New("locked by another process")

// Take takes the lock on the file at path, which it makes where it is missing. To close
// the file is to release the lock. An ErrLocked is returned at once.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// Held says whether the lock on the file at path is taken. Where there is no such file it
// is not.
func Held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, unix.LOCK_SH), ErrLocked)
}

func flock(f *os.File, how int) error {
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
