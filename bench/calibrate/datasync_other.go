//go:build !linux

package calibrate

import "os"

// HasFdatasync says whether this system has fdatasync. Where it has not, fsync
// is measured in its place.
const HasFdatasync = false

func datasync(f *os.File) error { return f.Sync() }
