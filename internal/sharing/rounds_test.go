package sharing

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestShare: those who come while a round runs share the next, and only that.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Rounds
		var asked atomic.Uint64
		ask := func(context.Context) (uint64, error) {
			n := asked.Add(1)
			time.Sleep(time.Second)
			return n, nil
		}
		var wg sync.WaitGroup
		got := func(want uint64) {
			wg.Go(func() {
				if n, err := q.Share(t.Context(), ask); n != want || err != nil {
					t.Errorf("round %d, %v; want %d", n, err, want)
				}
			})
		}
		got(1)
		synctest.Wait() // it runs: the others have come after its beginning
		for range 64 {
			got(2)
		}
		wg.Wait()
		got(3) // nothing is kept
		wg.Wait()
	})
}

// TestErrors: a failure is everybody's, but for the end of the maker's context.
func TestErrors(t *testing.T) {
	failed := errors.New("failed")
	for name, abandoned := range map[string]bool{"failure": false, "abandoned": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q Rounds
				running, hold := make(chan struct{}), make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					q.Share(t.Context(), func(context.Context) (uint64, error) { close(running); <-hold; return 1, nil })
				})
				<-running
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ask := func(ctx context.Context) (uint64, error) {
					if abandoned {
						cancel()
					}
					return 0, failed
				}
				wg.Go(func() {
					if _, err := q.Share(ctx, ask); !errors.Is(err, failed) {
						t.Errorf("maker: %v", err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					n, err := q.Share(t.Context(), func(context.Context) (uint64, error) { return 7, nil })
					if abandoned && (n != 7 || err != nil) || !abandoned && !errors.Is(err, failed) {
						t.Errorf("other: %d, %v", n, err)
					}
				})
				synctest.Wait()
				close(hold)
				wg.Wait()
			})
		})
	}
}

// TestLeaving: who stops waiting leaves the round to the others, also where it was to
// carry it through.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Rounds
		hold := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { q.Share(t.Context(), func(context.Context) (uint64, error) { <-hold; return 1, nil }) })
		synctest.Wait()
		ask := func(context.Context) (uint64, error) { return 2, nil }
		for i := range 3 {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if i < 2 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i+1)*time.Second)
			}
			wg.Go(func() {
				defer cancel()
				n, err := q.Share(ctx, ask)
				if i < 2 && !errors.Is(err, context.DeadlineExceeded) || i == 2 && (n != 2 || err != nil) {
					t.Errorf("%d: %d, %v", i, n, err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		close(hold)
		wg.Wait()
	})
}
