package hashicorp

import (
	"testing"

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

// Traced reports whether a replica of cfg has any of the decorators that trace.
func Traced(r core.Replica, cfg core.ReplicaConfig) bool {
	bare, isBare := r.(*replica)
	return !isBare || bare.trace != nil || bare.logs.LogStore != cfg.Logs || tracedFSM(cfg.FSM, bare.trace) != cfg.FSM
}

// ReceiveAllocates returns how much a replica allocates to look at a request.
func ReceiveAllocates(r core.Replica) float64 {
	rpc := &raft.RPC{Command: &raft.AppendEntriesRequest{Entries: []*raft.Log{{Index: 1}}}}
	return testing.AllocsPerRun(1000, func() { r.(*replica).received(rpc) })
}
