//go:build !linux

package wal

import "os"

// reserve makes f longer; whether there is room for it is found out as it is written.
func reserve(f *os.File, bytes int64) error { return f.Truncate(bytes) }

// syncData flushes f.
func syncData(f *os.File) error { return f.Sync() }

// openZeroer returns nil: the system cannot be told to write out a part of a file.
func openZeroer(string) (zeroer, error) { return nil, nil }
