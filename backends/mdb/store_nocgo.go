//go:build !cgo

package mdb

import (
	"fmt"

	"github.com/themilchenko/raftlab/core"
)

// Available tells why mdb stores cannot be opened by this program.
func Available() error {
	return fmt.Errorf("mdb: %w: LMDB is a C library and this program was built without cgo; "+
		"rebuild it with a C compiler on the PATH and CGO_ENABLED=1", core.ErrUnavailable)
}

// Open returns the error of [Available].
func Open(string, Options) (core.LogStore, error) { return nil, Available() }

// EnsureRuntime does nothing: without cgo there is nothing to ensure.
func EnsureRuntime() error { return nil }
