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

// Lock is a file that is locked until it is closed.
type Lock struct{ *os.File }

// Close releases the lock. To close the file alone would not do: a process that is being
// started has all that is open here until it runs its program, and would keep the lock so long.
func (l *Lock) Close() error {
	return errors.Join(flock(l.File, unix.LOCK_UN), l.File.Close())
}

func flock(f *os.File, how int) (err error) {
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	return err
}

// Take takes the lock on the file at path, which it makes where it is missing. An ErrLocked
// is returned at once.
func Take(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err = flock(f, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return &Lock{f}, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	_ = f.Close()
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
