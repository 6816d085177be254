package hashicorp

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// toleratedFailures is how many calls in a row may fail before the next one waits
// for a sign of life. The library doubles its pause with each: after six it is 320 ms.
const toleratedFailures = 6

// outages knows which members do not answer. The library replicates to a member
// that has failed often only after a pause of up to 10 s, also when it has long
// answered heartbeats again. So a call to such a member is held here until it
// answers, which is no failure to the library.
type outages struct {
	current func(id raft.ServerID, term uint64) bool // still leading, and id still a member
	closed  <-chan struct{}

	mu       sync.Mutex
	failures map[raft.ServerID]int
	back     chan struct{} // closed when a member has answered again
}

func newOutages(current func(raft.ServerID, uint64) bool, closed <-chan struct{}) *outages {
	return &outages{current: current, closed: closed, failures: map[raft.ServerID]int{}, back: make(chan struct{})}
}

// ended notes how a call to a member has ended.
func (o *outages) ended(id raft.ServerID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failures[id]++
		return
	}
	if o.failures[id] == 0 {
		return
	}
	delete(o.failures, id)
	close(o.back)
	o.back = make(chan struct{})
}

// lookInterval is how often a call that is held looks whether it is still wanted.
const lookInterval = 500 * time.Millisecond

// await returns nil once a call to the member has a chance, and an error if it is
// wanted no more.
func (o *outages) await(id raft.ServerID, term uint64) error {
	var tick *time.Ticker
	for {
		o.mu.Lock()
		down, back := o.failures[id] >= toleratedFailures, o.back
		o.mu.Unlock()
		if !down {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(lookInterval)
			defer tick.Stop()
		}
		select {
		case <-back:
		case <-tick.C:
			if !o.current(id, term) {
				o.forget(id)
				return fmt.Errorf("%s has not answered: nothing more is sent to it in term %d", id, term)
			}
		case <-o.closed:
			return errStopping
		}
	}
}

func (o *outages) forget(id raft.ServerID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.failures, id)
}

// isHeartbeat reports whether the library sends the request to be heard from only:
// it carries nothing.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return len(req.Entries) == 0 && req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && req.LeaderCommitIndex == 0
}
