//go:build !linux

package coretest

import (
	"fmt"
	"runtime"

	"github.com/themilchenko/raftlab/core"
)

// failFlushes cannot be done here.
func failFlushes() error {
	return fmt.Errorf("making flushes fail is %w on %s", core.ErrUnsupported, runtime.GOOS)
}
