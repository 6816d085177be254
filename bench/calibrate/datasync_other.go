//go:build !linux

package calibrate

import "os"

// HasFdatasync says whether this system has fdatasync. Where it has not, fsync
// is measured in its place.
const HasFdatasync = false

func datasync(f *os.File) error { return f.Sync() }

// reserve gives a file its length.
func reserve(f *os.File, bytes int64) error { return f.Truncate(bytes) }
