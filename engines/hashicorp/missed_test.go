package hashicorp_test

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// TestPreVoteOfOneMissesTheLeader: a follower that has not heard from its leader for a
// heartbeat timeout agrees to an election that another asks for, whatever its own timer
// says; before that it does not.
func TestPreVoteOfOneMissesTheLeader(t *testing.T) {
	const heartbeat = time.Second
	members, late := lateGroup(t, core.Tuning{HeartbeatTimeout: heartbeat, LeaderLeaseTimeout: heartbeat})
	put(t, members[0], "k", "v")
	asker, asked := members[1], members[2]
	eventually(t, "all have it", func() bool { return asker.has("k", "v") && asked.has("k", "v") })
	self := core.Member{ID: asked.Status().ID, Address: asked.cfg.Link.Address()}
	ask := func() bool {
		s := asker.Status()
		request := raft.RequestPreVoteRequest{
			RPCHeader: hashicorp.Header(asker.Replica, self),
			Term:      s.Term + 1, LastLogIndex: s.LastIndex, LastLogTerm: s.Term,
		}
		var response raft.RequestPreVoteResponse
		if err := asker.cfg.Link.Transport.RequestPreVote(hashicorp.ServerID(self), raft.ServerAddress(self.Address), &request, &response); err != nil {
			t.Fatal(err)
		}
		return response.Granted
	}
	if ask() {
		t.Error("it agrees although it hears from a leader")
	}
	late[0].deafen.Store(true)
	eventually(t, "n3 misses the leader", func() bool {
		s := asked.Status()
		return s.Role != core.Follower || time.Since(s.LastContact) >= heartbeat
	})
	agrees := ask()
	if !agrees { // a busy machine may not get to look in time
		agrees = ask()
	}
	if !agrees {
		t.Errorf("it does not agree although it has not heard from a leader for a heartbeat timeout: it is %+v, and who asks is %+v", asked.Status(), asker.Status())
	}
}
