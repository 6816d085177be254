package sharing

import (
	"context"
	"sync"
	"sync/atomic"
)

// Event is something that happens now and then and that many wait for. The zero value
// is ready. Safe for concurrent use.
type Event struct {
	mu   sync.Mutex
	next chan struct{} // made by the first that waits, closed when it happens
}

// Channel returns what is closed when the event happens next.
func (e *Event) Channel() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = make(chan struct{})
	}
	return e.next
}

// Happened wakes all who wait.
func (e *Event) Happened() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next != nil {
		close(e.next)
		e.next = nil
	}
}

// Progress is an index that only grows and that callers can wait for. Advancing
// costs two atomic operations while nobody waits. The zero value is ready. Safe for
// concurrent use.
type Progress struct {
	index   atomic.Uint64
	waiting atomic.Int32
	moved   Event
}

// Load returns the index.
func (p *Progress) Load() uint64 { return p.index.Load() }

// Advance raises the index to at least to.
func (p *Progress) Advance(to uint64) {
	for {
		old := p.index.Load()
		if to <= old {
			return
		}
		if p.index.CompareAndSwap(old, to) {
			break
		}
	}
	if p.waiting.Load() > 0 {
		p.moved.Happened()
	}
}

// Wait returns nil once the index is at least target, or the error of the
// context or of stopped.
func (p *Progress) Wait(ctx context.Context, target uint64, stopped <-chan struct{}, reason func() error) error {
	if p.index.Load() >= target {
		return nil
	}
	// Announced before the index is read again, so that advance either sees the
	// waiter or the waiter sees the new index.
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for {
		moved := p.moved.Channel()
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
