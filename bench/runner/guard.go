package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/internal/poll"
)

// What a closed loop writes nobody can foresee, so memory is watched while a trial runs:
// what is left of it would be gone within seconds, and the machine with it.
const (
	memoryLeft    = 256 << 20 // bytes; half of what there is, on a machine that begins with less than twice that
	guardInterval = 250 * time.Millisecond
)

var errMemory = errors.New("the memory of the machine ran low, so the trial was ended")

// guarded runs a trial under a context that ends, with errMemory as its cause, when the
// machine is about to run out of memory. free tells how much there is.
func guarded(ctx context.Context, free func() (uint64, error), run func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun, err := free()
	if err != nil {
		return err
	}
	limit := min(memoryLeft, begun/2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = poll.Until(ctx, guardInterval, func() (bool, error) { // its end is that of ctx
			left, err := free()
			if err == nil && left < limit {
				cancel(fmt.Errorf("%w: %s were left of %s; lower keys, value_size, clients, or what the log store keeps", errMemory, Bytes(float64(left)), Bytes(float64(begun))))
			}
			return false, nil
		})
	}()
	err = run(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errMemory) {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	<-done
	return err
}

// freeMemory is the memory that is available.
func freeMemory(dir string) func() (uint64, error) {
	return func() (uint64, error) {
		memory, _, err := calibrate.Free(dir)
		return memory, err
	}
}
