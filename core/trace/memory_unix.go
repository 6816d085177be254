//go:build unix

package trace

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate maps memory for slots, which hold no pointers.
func allocate(n int) ([]slot, func() error, error) {
	if n < 1 {
		return nil, func() error { return nil }, nil
	}
	memory, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(slot{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("trace: memory for %d spans: %w", n, err)
	}
	return unsafe.Slice((*slot)(unsafe.Pointer(unsafe.SliceData(memory))), n), func() error { return unix.Munmap(memory) }, nil
}

// NewClock reads both clocks, several times: of the two readings around that of the
// machine's the closest pair counts.
func NewClock() Clock {
	var best Clock
	shortest := time.Duration(1<<63 - 1)
	for range 20 {
		var ts unix.Timespec
		before := time.Now()
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			break // before is all that there is: processes cannot be put together
		}
		if took := time.Since(before); took < shortest {
			shortest = took
			best = Clock{before.Add(took / 2), ts.Nano()}
		}
	}
	if best.epoch.IsZero() {
		best = Clock{epoch: time.Now()}
	}
	return best
}
