package hashicorp_test

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// TestLeaseBarrierWithLateAnswers: the lease begins when a message was sent, not when
// its answer arrives.
func TestLeaseBarrierWithLateAnswers(t *testing.T) {
	const heartbeat = 400 * time.Millisecond
	members, late := lateGroup(t, core.Tuning{HeartbeatTimeout: heartbeat})
	old := members[0]
	put(t, old, "k", "old")
	if err := old.LeaseBarrier(deadline(t)); err != nil {
		t.Fatal(err)
	}
	// Answers to what is sent from now on take their time. Nothing is sent after them.
	arrive := make(chan struct{})
	late[0].kept.Store(0)
	late[0].keep.Store(&arrive)
	eventually(t, "both followers have answered", func() bool { return late[0].kept.Load() >= 4 })
	begin := time.Now()
	nobody := raft.ServerAddress(old.cfg.Link.Address())
	late[1].cut.Store(&nobody)
	late[2].cut.Store(&nobody)
	time.Sleep(heartbeat * 3 / 4)
	late[0].deafen.Store(true)
	close(arrive)
	// From here on a follower whose heartbeat timer was short may be elected.
	time.Sleep(time.Until(begin.Add(heartbeat + 10*time.Millisecond)))
	if err := members[1].Replica.(core.Campaigner).Campaign(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var next *member
	eventually(t, "n2 leads, or n3", func() bool {
		for _, m := range members[1:] {
			if m.Status().Role == core.Leader {
				next = m
			}
		}
		return next != nil
	})
	put(t, next, "k", "new")
	if err := old.LeaseBarrier(deadline(t)); err == nil && old.has("k", "old") {
		t.Errorf("%v after the last message that was answered: a read by the lease misses a write that was acknowledged", time.Since(begin))
	}
}
