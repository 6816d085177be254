package hashicorp_test

import (
	"slices"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// TestTransferToWhoAnswers: a member that is gone is no successor, also where it has
// all that was written.
func TestTransferToWhoAnswers(t *testing.T) {
	members := group(t, options{nodes: 3, tuning: fast})
	put(t, members[0], "k", "v")
	for _, m := range members {
		eventually(t, m.cfg.ID+" has the write", func() bool { return m.has("k", "v") })
	}
	if err := members[1].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 has been silent for long", func() bool {
		f := members[0].Status().Followers
		i := slices.IndexFunc(f, func(f core.FollowerStatus) bool { return f.ID == members[1].cfg.ID })
		return i >= 0 && time.Since(f[i].LastContact) > 3*fast.HeartbeatTimeout
	})
	for range 3 {
		err := members[0].TransferLeadership(deadline(t), "")
		if err == nil {
			eventually(t, "n3 leads", func() bool { return members[2].Status().Role == core.Leader })
			return
		}
		t.Log(err)
	}
	t.Error("never to n3, which is there")
}
