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
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			err = ErrLocked
		}
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}
