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
