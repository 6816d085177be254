package hashicorp

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/links"
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

// MaxPerMember is how many connections of one member are kept.
const MaxPerMember = links.MaxPerMember

// FrameAs frames a wire as the node who would.
func FrameAs(wire core.Wire, who core.Identity) core.Transport {
	return Frame(wire, FrameOptions{self: &persona{Self: identity.New(who), server: serverID(who.ID, who.Incarnation)}})
}

// Remembered returns how many peers' answers a replica keeps.
func Remembered(r core.Replica) int {
	rounds := r.(*replica).rounds
	rounds.mu.Lock()
	defer rounds.mu.Unlock()
	return len(rounds.agreements)
}

// Overlap is the log of a leader of others under overlapped persistence.
type Overlap = overlap

// NewOverlap returns one on store.
func NewOverlap(store core.LogStore, stall time.Duration) *Overlap {
	var o *overlap
	o = newOverlap(newGuard(store, failstop.NewWatch(stall, stall), func(error) { o.abandon() }))
	o.begin(func() bool { return true })
	return o
}

// Drain waits until what is pending is durable, or never will be.
func (o *overlap) Drain() error { o.drain(); return o.Failed() }

// Durable returns the index up to which nothing is pending.
func (o *overlap) Durable(last uint64) uint64 { return o.until(last) }

// Await waits as an answer for index does.
func (o *overlap) Await(index uint64) error { return o.await(index, nil) }

// Holding returns the transport on link whose answers wait for o.
func Holding(link core.Link, o *Overlap) core.Transport {
	r := &replica{overlap: o}
	if link.Wire != nil {
		return Frame(link.Wire, FrameOptions{MaxInFlight: 16, hear: r.hear})
	}
	return relaying{link.Transport, r.hear}
}

// Breaking returns e with rules of overlapped persistence broken: no-ops become pending
// too, and answers for what is pending are not held back.
func Breaking(e Engine, pendingNoops, unheld bool) Engine {
	e.overlapBroken = func(o *overlap) {
		if pendingNoops {
			o.pends = func(e *raft.Log) bool { return e.Type == raft.LogCommand || e.Type == raft.LogNoop }
		}
		o.unheld = unheld
	}
	return e
}

// Depose has the overlap's replica lead no more.
func Depose(o *Overlap) { o.begin(func() bool { return false }) }

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
