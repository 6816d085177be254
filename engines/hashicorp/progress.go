package hashicorp

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress is an index that only grows and that callers can wait for. Advancing
// costs two atomic operations while nobody waits. The zero value is ready.
type progress struct {
	index   atomic.Uint64
	waiting atomic.Int32
	mu      sync.Mutex
	moved   chan struct{} // made by who waits, closed when the index grew
}

func (p *progress) load() uint64 { return p.index.Load() }

func (p *progress) advance(to uint64) {
	for {
		old := p.index.Load()
		if to <= old {
			return
		}
		if p.index.CompareAndSwap(old, to) {
			break
		}
	}
	if p.waiting.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// wait returns nil once the index is at least target, or the error of the
// context or of stopped.
func (p *progress) wait(ctx context.Context, target uint64, stopped <-chan struct{}, reason func() error) error {
	if p.index.Load() >= target {
		return nil
	}
	// Announced before the index is read again, so that advance either sees the
	// waiter or the waiter sees the new index.
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for {
		p.mu.Lock()
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		if p.index.Load() >= target {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-stopped:
			return reason()
		}
	}
}
