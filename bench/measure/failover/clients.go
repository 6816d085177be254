package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core/errkind"
	"github.com/themilchenko/raftlab/internal/poll"
)

// stampSize is how many bytes of a value tell whose write it is, and its number.
const stampSize = 32

func stamp(client int, number int64) string { return fmt.Sprintf("%015d:%016d", client, number) }

// pauseAfterFailure keeps clients from asking a group that refuses at once without a pause.
const pauseAfterFailure = time.Millisecond

// client is one client of the load: it writes, and remembers of each of its keys, which
// are nobody else's, what may be there. It is the source and the recorder of a
// workload.Client.
type client struct {
	number  int
	value   []byte
	every   time.Duration // from one write to the next at the least; 0: as fast as they are answered
	keys    []key
	all     *tally
	stopped *atomic.Bool

	due time.Time // of the next write

	mu    sync.Mutex
	next  int64 // write
	acked int   // the key of the last acknowledged write; -1: there is none
	held  int   // the key that is not written to; -1: none
}

// key is what may be in one key.
type key struct {
	name  string
	acked int64   // the last acknowledged write; 0: none
	open  []int64 // writes that were not acknowledged: one of unknown outcome may yet take effect
}

func keyName(client, i int) string { return fmt.Sprintf("client-%05d-%05d", client, i) }

func newClient(number int, s settings, all *tally, stopped *atomic.Bool) *client {
	c := &client{number: number, all: all, stopped: stopped, acked: -1, held: -1, value: make([]byte, s.ValueSize)}
	for i := range c.value {
		c.value[i] = byte('a' + (i+number)%26)
	}
	for i := range s.Keys {
		c.keys = append(c.keys, key{name: keyName(number, i)})
	}
	if s.Rate > 0 {
		c.every = time.Duration(float64(s.Clients) / s.Rate * float64(time.Second))
		c.due = time.Now().Add(c.every * time.Duration(number) / time.Duration(s.Clients))
	}
	return c
}

func (c *client) keyOf(number int64) int { return int(number % int64(len(c.keys))) }

// Next implements workload.Source.
func (c *client) Next(op *workload.Op, last error) (wait time.Duration, ok bool) {
	if c.stopped.Load() {
		return 0, false
	}
	if last != nil {
		wait = pauseAfterFailure
	}
	if c.every > 0 {
		wait = max(wait, time.Until(c.due))
		c.due = c.due.Add(c.every)
		if now := time.Now(); c.due.Before(now) { // writes that an outage has held up are not made up for
			c.due = now
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next++; c.keyOf(c.next) == c.held {
		c.next++
	}
	value := append([]byte(stamp(c.number, c.next)), c.value[stampSize:]...)
	*op = workload.Op{Key: c.keys[c.keyOf(c.next)].name, Value: value}
	return wait, true
}

// Begin implements workload.Recorder.
func (c *client) Begin(*workload.Op) error { return nil }

// End implements workload.Recorder.
func (c *client) End(_ *workload.Op, at workload.Times, err error) error {
	c.mu.Lock()
	k := &c.keys[c.keyOf(c.next)]
	if err != nil {
		k.open = append(k.open, c.next)
	} else {
		k.acked, c.acked = c.next, c.keyOf(c.next)
	}
	c.mu.Unlock()
	c.all.take(at, err)
	return nil
}

// hold keeps the last write that was acknowledged from being overwritten.
func (c *client) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = c.acked
}

// release reads what hold kept, and tells whether it is lost.
func (c *client) release(ctx context.Context, target workload.Target) (lost bool, err error) {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	if held < 0 {
		return false, nil
	}
	lost, err = c.lost(ctx, target, held)
	c.mu.Lock()
	c.held = -1
	c.mu.Unlock()
	return lost, err
}

var errUntold = errors.New("the target does not tell what it reads, so nobody knows whether an acknowledged write is there")

// lost reads a key that is not written to meanwhile.
func (c *client) lost(ctx context.Context, target workload.Target, i int) (bool, error) {
	c.mu.Lock()
	k := c.keys[i]
	c.mu.Unlock()
	if k.acked == 0 {
		return false, nil
	}
	op := workload.Op{Kind: workload.Read, Key: k.name}
	var missing bool
	err := poll.Until(ctx, readPause, func() (bool, error) {
		op.Value = nil
		err := target.Do(ctx, &op)
		missing = errors.Is(err, system.ErrMissing)
		return err == nil || missing, nil
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("read %s back: %w", k.name, err)
	case missing:
		return true, nil
	case len(op.Value) < stampSize:
		return false, errUntold
	}
	got := string(op.Value[:stampSize])
	if got == stamp(c.number, k.acked) {
		return false, nil
	}
	for _, number := range k.open {
		if got == stamp(c.number, number) {
			return false, nil
		}
	}
	return true, nil
}

// readPause is the pause before what was not answered is read again.
const readPause = 20 * time.Millisecond

// tally counts what became of the writes of all clients, and sees when none is
// acknowledged. Safe for concurrent use.
type tally struct {
	mu                             sync.Mutex
	acknowledged, unknown, refused int64
	last                           time.Time     // of the acknowledgements
	gap                            time.Duration // the longest time without one since mark
	since                          time.Time     // the first acknowledgement of a write begun later is told to first
	first                          chan time.Time
}

func (t *tally) take(at workload.Times, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case errors.Is(err, errkind.ErrOutcomeUnknown):
		t.unknown++
		return
	case err != nil:
		t.refused++
		return
	}
	t.acknowledged++
	if at.End.After(t.last) {
		if !t.last.IsZero() {
			t.gap = max(t.gap, at.End.Sub(t.last))
		}
		t.last = at.End
	}
	if t.first != nil && at.Start.After(t.since) {
		t.first <- at.End
		t.first = nil
	}
}

// mark begins the search for the longest gap anew.
func (t *tally) mark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gap = 0
}

// await returns where the first acknowledgement comes of a write begun after now.
func (t *tally) await() <-chan time.Time {
	first := make(chan time.Time, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.first = time.Now(), first
	return first
}

// counts returns what was counted, and the longest gap.
func (t *tally) counts() (acknowledged, unknown, refused int64, gap time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acknowledged, t.unknown, t.refused, t.gap
}
