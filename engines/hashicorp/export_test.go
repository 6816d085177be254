package hashicorp

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// VotesAtOnce returns an engine whose replicas vote as soon as they run, also after a
// restart.
func VotesAtOnce() Engine { return Engine{votesAtOnce: true} }

// Header returns the header of the replica's messages to a member.
func Header(r core.Replica, to core.Member) raft.RPCHeader {
	return addressed(r.(*replica).header(), ServerID(to))
}

// ServerID returns the name of a member in the library's configuration.
func ServerID(m core.Member) raft.ServerID { return serverID(m.ID, m.Incarnation) }

// ToleratedFailures is how many calls to a member fail before they are held.
const ToleratedFailures = toleratedFailures

// FrameAs frames a wire as the node who would.
func FrameAs(wire core.Wire, who core.Identity) core.Transport {
	self := &persona{id: who.ID, server: serverID(who.ID, who.Incarnation), met: map[raft.ServerID]core.Identity{}}
	self.group.Store(&who.Group)
	return Frame(wire, FrameOptions{self: self})
}

// Remembered returns how many peers' answers a replica keeps.
func Remembered(r core.Replica) int {
	rounds := r.(*replica).rounds
	rounds.mu.Lock()
	defer rounds.mu.Unlock()
	return len(rounds.agreements)
}

// StallTimeout returns how long a write may take with a tuning.
func StallTimeout(t core.Tuning) time.Duration {
	conf := raft.DefaultConfig()
	apply(conf, t)
	timeout, _ := stallLimits(t, conf.HeartbeatTimeout)
	return timeout
}
