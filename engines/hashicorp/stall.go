package hashicorp

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// A disk that hangs gives no error. The library's main goroutine waits for it, and
// others go on to send heartbeats: the group keeps a leader that can do nothing. So
// writes are watched. While one takes longer than core.Tuning.StallTimeout, nothing is
// sent that keeps followers from electing another leader, and calls that need the
// leader are refused; after StallLimit the replica stops.

// errMuted is returned for a message that a replica with a stalled log store does not
// send.
var errMuted = errors.New("not sent: the log store has stalled, and the group is to elect another leader")

// refuseStalled returns an error where the log store has stalled: what needs it has
// no effect and is not tried.
func (r *replica) refuseStalled(op string) error {
	age := r.logs.Watch.Stalled()
	if age == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w: a write of %s has not returned for %s",
		r.translate(op, raft.ErrNotLeader), core.ErrStalled, r.self.ID, age.Round(time.Millisecond))
}
