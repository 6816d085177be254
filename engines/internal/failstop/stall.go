package failstop

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// A disk that hangs gives no error, and a group may keep a leader that can do nothing. So
// writes are watched: core.Tuning.StallTimeout and StallLimit say what for.

// Where core.Tuning.StallTimeout is 0: the heartbeat timeout, after which the group would
// not wait for a leader that is gone either, but longer than a busy disk may take for one
// flush: a leader whose disk is slow serves, if slowly, and the next one's is no faster.
//
// Where core.Tuning.StallLimit is 0: ten heartbeat timeouts, but long enough for a disk
// that comes back (one that fails over, or that was frozen for a snapshot) not to cost
// a restart.
const (
	leastStallTimeout    = time.Second
	stallLimitHeartbeats = 10
	leastStallLimit      = 10 * time.Second
)

// Watch knows how long writes have been under way.
type Watch struct {
	timeout, limit time.Duration
	epoch          time.Time
	oldest         atomic.Int64 // when the oldest write that is under way began, in ns after epoch; 0: none is

	mu    sync.Mutex
	begun []int64 // when each did, oldest first: mostly one, two while a snapshot compacts the log

	given chan struct{} // closed once a write has taken longer than limit
}

// NewWatch returns a watch with the limits of a tuning: see [Limits].
func NewWatch(timeout, limit time.Duration) *Watch {
	return &Watch{timeout: timeout, limit: limit, epoch: time.Now(), given: make(chan struct{})}
}

// During runs a write.
func (w *Watch) During(write func() error) error {
	begun := w.begin()
	defer w.end(begun)
	return write()
}

func (w *Watch) begin() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := max(1, int64(time.Since(w.epoch)))
	w.begun = append(w.begun, now)
	w.oldest.Store(w.begun[0])
	return now
}

func (w *Watch) end(begun int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.begun, begun) // two of the same moment are alike
	w.begun = slices.Delete(w.begun, i, i+1)
	if len(w.begun) == 0 {
		w.oldest.Store(0)
	} else {
		w.oldest.Store(w.begun[0])
	}
}

// age returns how long the oldest write has been under way; 0: none is.
func (w *Watch) age() time.Duration {
	begun := w.oldest.Load()
	if begun == 0 {
		return 0
	}
	return time.Since(w.epoch) - time.Duration(begun)
}

// Stalled returns the age of a write that takes longer than the timeout; 0: none does.
func (w *Watch) Stalled() time.Duration {
	if age := w.age(); age > w.timeout {
		return age
	}
	return 0
}

// Run looks after the writes until quit is closed, or one has taken longer than the
// limit: it calls stalled each time it finds one over the timeout, and gaveUp once. It
// wakes up once a timeout while all is well.
func (w *Watch) Run(quit <-chan struct{}, stalled func(), gaveUp func(time.Duration)) {
	timer := time.NewTimer(w.timeout)
	defer timer.Stop()
	for {
		select {
		case <-quit:
			return
		case <-timer.C:
		}
		age, next := w.age(), w.timeout
		switch {
		case age > w.limit:
			close(w.given)
			gaveUp(age)
			return
		case age > w.timeout:
			stalled()
			next = min(next, w.limit-age+time.Millisecond)
		default:
			next = min(w.timeout, w.limit) - age + time.Millisecond
		}
		timer.Reset(next)
	}
}

// Limits returns the stall timeout and limit of a tuning, given the heartbeat timeout that
// is in force. A limit below the timeout is an error that is core.ErrInvalid.
func Limits(t core.Tuning, heartbeat time.Duration) (timeout, limit time.Duration, err error) {
	timeout, limit = max(leastStallTimeout, heartbeat), max(leastStallLimit, stallLimitHeartbeats*heartbeat)
	timeout = cmp.Or(t.StallTimeout, timeout)
	limit = cmp.Or(t.StallLimit, max(limit, 2*timeout))
	if limit < timeout {
		err = fmt.Errorf("%w: stall_limit = %s is less than stall_timeout = %s: raise the one or lower the other", core.ErrInvalid, limit, timeout)
	}
	return timeout, limit, err
}

// Given is closed once a write has taken longer than the limit.
func (w *Watch) Given() <-chan struct{} { return w.given }
