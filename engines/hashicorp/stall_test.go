package hashicorp_test

import (
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// waitLeader waits until one of the members leads and answers reads.
func waitLeader(t *testing.T, members []*member) (leader *member) {
	t.Helper()
	eventually(t, "one of the others leads", func() bool {
		for _, m := range members {
			if m.Status().Role == core.Leader && m.ReadBarrier(deadline(t)) == nil {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

// TestStallTimeout: a short heartbeat timeout makes no stall of a slow flush.
func TestStallTimeout(t *testing.T) {
	for want, tuning := range map[time.Duration]core.Tuning{
		time.Second:            {HeartbeatTimeout: 150 * time.Millisecond},
		3 * time.Second:        {HeartbeatTimeout: 3 * time.Second},
		200 * time.Millisecond: {HeartbeatTimeout: 150 * time.Millisecond, StallTimeout: 200 * time.Millisecond},
	} {
		if got := hashicorp.StallTimeout(tuning); got != want {
			t.Errorf("%+v: %v, want %v", tuning, got, want)
		}
	}
}
