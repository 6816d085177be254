// Package poll waits: for a time, or for what cannot be waited for but by looking again
// and again. It bounds no time by itself, and starts no goroutine.
package poll

import (
	"context"
	"time"
)

// Until calls done at once and then with a pause of interval in between, until it is true
// or fails. When ctx ends it returns the cause of that, also if done has failed for it.
func Until(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	for {
		ok, err := done()
		switch {
		case ok && err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		if err := Sleep(ctx, interval); err != nil {
			return err
		}
	}
}

// Sleep waits for d or the end of ctx, of which it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
