//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package record

import (
	"errors"
	"fmt"
	"os"
)

// lockFile takes the lock at path by creating it. Without flock a crash leaves
// the file behind, and the message says what to do then.
func lockFile(path string) (release func() error, err error) {
	held := path + ".held"
	f, err := os.OpenFile(held, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w (if none is running, remove %s)", ErrLocked, held)
	}
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(f.Close(), os.Remove(held)) }, nil
}
