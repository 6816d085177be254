package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/internal/poll"
)

// Snapshot is one that a member was told to write under the load.
type Snapshot struct {
	Member string `json:"member"`
	AtNS   int64  `json:"at_ns"`   // since the load began
	TookNS int64  `json:"took_ns"` // until the member had written it
}

// snapshots has all members write a snapshot after each such time, until the returned
// func is called, which waits for those under way and tells of all. A member that cannot
// ends it; 0: there are none.
func snapshots(ctx context.Context, g system.Group, every time.Duration) (end func() ([]Snapshot, error)) {
	if every == 0 {
		return func() ([]Snapshot, error) { return nil, nil }
	}
	pause, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var taken []Snapshot
	var failed error
	begin := time.Now()
	go func() {
		defer close(done)
		for failed == nil && poll.Sleep(pause, every) == nil {
			var round []Snapshot
			round, failed = snapshot(ctx, g, begin)
			taken = append(taken, round...)
		}
	}()
	return func() ([]Snapshot, error) {
		cancel()
		<-done
		return taken, failed
	}
}

// snapshot has all members write one at the same time.
func snapshot(ctx context.Context, g system.Group, begin time.Time) ([]Snapshot, error) {
	members := g.Members()
	taken, errs := make([]Snapshot, len(members)), make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() {
			s, ok := m.(system.Snapshotter)
			if !ok {
				errs[i] = fmt.Errorf("load.snapshot_every: %s cannot be told to write a snapshot", m.ID())
				return
			}
			start := time.Now()
			if err := s.Snapshot(ctx); err != nil {
				errs[i] = fmt.Errorf("snapshot of %s under the load: %w", m.ID(), err)
			}
			taken[i] = Snapshot{m.ID(), int64(start.Sub(begin)), int64(time.Since(start))}
		})
	}
	all.Wait()
	return taken, errors.Join(errs...)
}
