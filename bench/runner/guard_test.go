package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// TestGuard: a trial is told to end before the memory is gone, and says why it has.
func TestGuard(t *testing.T) {
	var left atomic.Uint64
	left.Store(8 << 30)
	free := func() (uint64, error) { return left.Load(), nil }
	err := guarded(t.Context(), free, func(ctx context.Context) error {
		left.Store(100 << 20)
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, errMemory) {
		t.Errorf("with the memory gone: %v", err)
	}
	left.Store(300 << 20) // a small machine, which stays as it is
	if err := guarded(t.Context(), free, func(context.Context) error { return nil }); err != nil {
		t.Errorf("with little memory from the beginning: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := guarded(ctx, free, func(ctx context.Context) error { return ctx.Err() }); !errors.Is(err, context.Canceled) || errors.Is(err, errMemory) {
		t.Errorf("interrupted: %v", err)
	}
}
