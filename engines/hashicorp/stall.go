package hashicorp

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// A disk that hangs gives no error. The library's main goroutine waits for it, and
// others go on to send heartbeats: the group keeps a leader that can do nothing. So
// writes are watched. While one takes longer than core.Tuning.StallTimeout, nothing is
// sent that keeps followers from electing another leader, and calls that need the
// leader are refused; after StallLimit the replica stops.

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

// errMuted is returned for a message that a replica with a stalled log store does not
// send.
var errMuted = errors.New("not sent: the log store has stalled, and the group is to elect another leader")

// watch knows how long writes have been under way.
type watch struct {
	timeout, limit time.Duration
	epoch          time.Time
	oldest         atomic.Int64 // when the oldest write that is under way began, in ns after epoch; 0: none is

	mu    sync.Mutex
	begun []int64 // when each did, oldest first: mostly one, two while a snapshot compacts the log

	given chan struct{} // closed once a write has taken longer than limit
}

func newWatch(timeout, limit time.Duration) *watch {
	return &watch{timeout: timeout, limit: limit, epoch: time.Now(), given: make(chan struct{})}
}

// during runs a write.
func (w *watch) during(write func() error) error {
	begun := w.begin()
	defer w.end(begun)
	return write()
}

func (w *watch) begin() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := max(1, int64(time.Since(w.epoch)))
	w.begun = append(w.begun, now)
	w.oldest.Store(w.begun[0])
	return now
}

func (w *watch) end(begun int64) {
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
func (w *watch) age() time.Duration {
	begun := w.oldest.Load()
	if begun == 0 {
		return 0
	}
	return time.Since(w.epoch) - time.Duration(begun)
}

// stalled returns the age of a write that takes longer than the timeout; 0: none does.
func (w *watch) stalled() time.Duration {
	if age := w.age(); age > w.timeout {
		return age
	}
	return 0
}

// run looks after the writes until quit is closed, or one has taken longer than the
// limit: it calls stalled each time it finds one over the timeout, and gaveUp once. It
// wakes up once a timeout while all is well.
func (w *watch) run(quit <-chan struct{}, stalled func(), gaveUp func(time.Duration)) {
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

// stallLimits lays the tuning over the defaults.
func stallLimits(t core.Tuning, heartbeat time.Duration) (timeout, limit time.Duration) {
	timeout, limit = max(leastStallTimeout, heartbeat), max(leastStallLimit, stallLimitHeartbeats*heartbeat)
	override(&timeout, t.StallTimeout)
	if t.StallLimit == 0 {
		limit = max(limit, 2*timeout)
	}
	override(&limit, t.StallLimit)
	return timeout, limit
}

// stallGivenUp is called, once, when a write has taken longer than the limit.
func (r *replica) stallGivenUp(age time.Duration) {
	at := "the log store"
	if l, ok := core.As[core.Located](r.logs.LogStore); ok {
		at = l.Path()
	}
	_ = r.logs.fail(fmt.Errorf("%w: a write to %s has not returned for %s", core.ErrStalled, at, age.Round(time.Millisecond)))
}

// refuseStalled returns an error where the log store has stalled: what needs it has
// no effect and is not tried.
func (r *replica) refuseStalled(op string) error {
	age := r.logs.watch.stalled()
	if age == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w: a write of %s has not returned for %s",
		r.translate(op, raft.ErrNotLeader), core.ErrStalled, r.self.id, age.Round(time.Millisecond))
}
