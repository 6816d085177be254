package coretest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// load writes keys of its own to whoever leads, until it is stopped, and knows which
// were acknowledged.
type load struct {
	in     *cluster
	cancel context.CancelFunc
	wait   func()

	mu    sync.Mutex
	acked []string
}

// write begins a load of n writers.
func (c *cluster) write(n int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	w := &load{in: c, cancel: cancel}
	writers := group{t: c.t}
	w.wait = writers.Wait
	for i := range n {
		writers.do(func() {
			for nth := 0; ctx.Err() == nil; nth++ {
				w.one(ctx, fmt.Sprintf("w%d-%d", i, nth))
			}
		})
	}
	c.t.Cleanup(w.stop)
	return w
}

// one tries to write a key.
func (w *load) one(ctx context.Context, key string) {
	m := w.in.leaderNow()
	if m == nil {
		time.Sleep(beat / 20)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*beat)
	defer cancel()
	replica, _ := m.now()
	_, err := replica.Propose(ctx, command(key, "v"))
	switch {
	case err == nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.acked = append(w.acked, key)
	case errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrOutcomeUnknown), errors.Is(err, core.ErrClosed), ctx.Err() != nil:
		time.Sleep(beat / 20)
	default:
		w.in.t.Errorf("Propose under load: %v: an error of no kind", err)
	}
}

func (w *load) acknowledged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.acked...)
}

// more waits until n more writes are acknowledged.
func (w *load) more(n int) {
	w.in.t.Helper()
	before := len(w.acknowledged())
	w.in.t.until("writes go on", func() bool { return len(w.acknowledged()) >= before+n })
}

func (w *load) stop() {
	w.cancel()
	w.wait()
}

// audit fails the test if a member that runs lacks a write that was acknowledged.
func (w *load) audit() {
	w.in.t.Helper()
	keys := w.acknowledged()
	w.in.put("audit", fmt.Sprint(len(keys)))
	w.in.everywhere("audit", fmt.Sprint(len(keys)))
	for _, m := range w.in.up() {
		lost := 0
		for _, key := range keys {
			if !m.machine.has(key, "v") {
				lost++
			}
		}
		if lost > 0 {
			w.in.t.Errorf("%s lacks %d of %d writes that were acknowledged", m.id, lost, len(keys))
		}
	}
}
