package hashicorp

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// maxTermJump is how far a message may be ahead of the replica's term. Elections
// count terms up one by one, so a real group never gets that far; a term near the
// end of the range would leave it no further election.
const maxTermJump = 1 << 32

// gate looks at each request of the others before the library does:
//
//   - It must be for this member, of this group, from a node that names itself, and
//     of a term that can be.
//   - A replica without a group enters that of the leader that replicates to it.
//   - No vote is given for one heartbeat timeout after a start with data. Before it
//     the replica may have promised that time to a leader, whose lease rests on that
//     (Raft dissertation, §6.4.1).
//   - A pre-vote that somebody asks for makes a follower look for its leader: see missed.
//   - A snapshot of what is applied here already is not installed: the state machine
//     would go back to it.
//   - Entries that a snapshot covers are not looked for in the log.
//   - A heartbeat that would depose this replica, or take it to another term, waits for its
//     turn with the other requests (see changesNothing).
type gate struct {
	replica  *replica
	self     *persona
	logger   hclog.Logger
	requests chan raft.RPC // those that the library gets; nil: it gets them straight from the transport
	ready    chan struct{} // closed once replica.raft is set, or will not be
	failed   bool          // it will not be; set before ready is closed
	closed   chan struct{} // closed once the library takes no more requests
	votes    time.Time     // none is given before
}

func newGate(r *replica, logger hclog.Logger, votes time.Time) *gate {
	return &gate{replica: r, self: r.self, logger: logger, votes: votes, ready: make(chan struct{}), closed: make(chan struct{})}
}

// attach makes requests that come to the transport pass the gate. A transport that
// does not offer that costs each of them a hop to another goroutine: pump.
func (g *gate) attach(t core.Transport) {
	if i, ok := core.As[core.Interceptor](t); ok {
		i.Intercept(g.handle)
		return
	}
	g.requests = make(chan raft.RPC)
}

// open lets requests through; ok tells whether the library runs.
func (g *gate) open(ok bool) {
	g.failed = !ok
	close(g.ready)
}

// pump hands requests on until quit is closed.
func (g *gate) pump(from <-chan raft.RPC, quit <-chan struct{}) {
	for {
		var rpc raft.RPC
		select {
		case rpc = <-from:
		case <-quit:
			return
		}
		if g.handle(&rpc) {
			continue
		}
		select {
		case g.requests <- rpc:
		case <-quit:
			rpc.Respond(nil, errStopping)
			return
		}
	}
}

// handle answers a request that the library is not to see, and says whether it was
// one. It may replace rpc's command by one that asks for less.
func (g *gate) handle(rpc *raft.RPC) bool {
	<-g.ready
	if g.failed {
		return respond(rpc, nil, errStopping)
	}
	g.replica.received(rpc)
	from, term, err := g.check(rpc)
	if err != nil {
		g.self.Refusals.Say(g.logger, from, err)
		return respond(rpc, nil, err)
	}
	switch request := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		if err := g.follow(from); err != nil {
			return respond(rpc, nil, err)
		}
		if isHeartbeat(request) && !g.replica.changesNothing(request.Term) {
			rpc.Command = inTurn(request)
		} else if shorter := g.beyondSnapshot(request); shorter != nil {
			rpc.Command = shorter
		}
	case *raft.InstallSnapshotRequest:
		if err := g.follow(from); err != nil {
			return respond(rpc, nil, err)
		}
		if current := g.replica.raft.CurrentTerm(); term >= current && request.LastLogIndex <= g.replica.applied.Load() {
			// True: all that it holds is applied here, so the leader may go on after it.
			return respond(rpc, &raft.InstallSnapshotResponse{RPCHeader: g.replica.header(), Term: current, Success: true}, nil)
		}
	case *raft.RequestVoteRequest:
		if !request.LeadershipTransfer && time.Now().Before(g.votes) {
			return respond(rpc, &raft.RequestVoteResponse{RPCHeader: g.replica.header(), Term: g.replica.raft.CurrentTerm()}, nil)
		}
	case *raft.RequestPreVoteRequest:
		if time.Now().Before(g.votes) {
			return respond(rpc, &raft.RequestPreVoteResponse{RPCHeader: g.replica.header(), Term: g.replica.raft.CurrentTerm()}, nil)
		}
		g.replica.missed.look(g.replica)
	}
	return false
}

// beat deals with a heartbeat of a transport that has not asked the gate before.
func (g *gate) beat(rpc raft.RPC, quick func(raft.RPC)) {
	if g.handle(&rpc) {
		return
	}
	if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && isHeartbeat(request) {
		quick(rpc)
		return
	}
	select {
	case g.requests <- rpc:
	case <-g.closed:
		rpc.Respond(nil, errStopping)
	}
}

// changesNothing says whether a heartbeat of term leaves role and term of this replica as
// they are. The library handles heartbeats on the goroutine of the transport, beside its
// main one, which does not look again at what it has found out: it would give the next
// proposal the new leader's term, and an index at which that has another entry, and
// nobody could tell the two apart; and it would count votes of its last term towards
// the leadership of the new one. So only heartbeats that change nothing are handled there.
// That a replica that stands for election just now is not taken back to the term
// before, guard sees to (SetUint64).
func (r *replica) changesNothing(term uint64) bool {
	current := r.raft.CurrentTerm()
	return term < current || term == current && r.raft.State() == raft.Follower
}

// inTurn returns a heartbeat as a request like others, which the library's main goroutine
// handles. A term of the entry before is not looked at where there is none.
func inTurn(beat *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	request := *beat
	request.PrevLogTerm = beat.Term
	return &request
}

// check refuses what no member can have sent.
func (g *gate) check(rpc *raft.RPC) (from core.Identity, term uint64, err error) {
	request, ok := rpc.Command.(raft.WithRPCHeader)
	if !ok {
		return from, 0, fmt.Errorf("%w: a request of type %T", core.ErrInvalid, rpc.Command)
	}
	if from, err = g.self.accepts(request.GetRPCHeader()); err != nil {
		return from, 0, err
	}
	switch r := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		term = r.Term
	case *raft.InstallSnapshotRequest:
		term = r.Term
	case *raft.RequestVoteRequest:
		term = r.Term
	case *raft.RequestPreVoteRequest:
		term = r.Term
	}
	return from, term, g.replica.credible(term)
}

// credible refuses terms that no group can have come to.
func (r *replica) credible(term uint64) error {
	if current := r.raft.CurrentTerm(); term > current && term-current > maxTermJump {
		return fmt.Errorf("%w: term %d, in a group that is at %d", core.ErrInvalid, term, current)
	}
	return nil
}

// follow makes the leader's group this replica's, if it has none.
func (g *gate) follow(leader core.Identity) error {
	if *g.self.Group() != "" {
		return nil
	}
	met, _ := g.self.Met(identity.Name(leader.ID, leader.Incarnation)) // a message does not tell the former group
	return g.self.Enter(leader.Group, met.Former)
}

// beyondSnapshot returns what is left of a request once that is taken off which a
// snapshot here covers, or nil if the log has all that the request is about. What
// a snapshot covers is committed, so it is what the leader has (Raft dissertation,
// §3.6.3, Leader Completeness), but the library looks for it in the log. It would
// refuse the request until the leader sends a newer snapshot (hashicorp/raft #697).
func (g *gate) beyondSnapshot(request *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	if len(request.Entries) == 0 && request.PrevLogEntry == 0 || request.PrevLogEntry == g.replica.raft.LastIndex() {
		return nil // a heartbeat, or what comes next
	}
	first, err := g.replica.logs.FirstIndex()
	if err != nil || first != 0 && (request.PrevLogEntry >= first || request.PrevLogEntry == 0 && first == 1) {
		return nil
	}
	covered, _ := strconv.ParseUint(g.replica.raft.Stats()["last_snapshot_index"], 10, 64)
	if request.PrevLogEntry > covered {
		return nil
	}
	shorter := *request
	for len(shorter.Entries) > 0 && shorter.Entries[0].Index <= covered {
		shorter.Entries = shorter.Entries[1:]
	}
	// With no entry before, none is looked for. What follows the entries here may be
	// none of the leader's, and the library commits up to the end of the log.
	shorter.PrevLogEntry, shorter.PrevLogTerm = 0, 0
	last := covered
	if n := len(shorter.Entries); n > 0 {
		last = shorter.Entries[n-1].Index
	}
	shorter.LeaderCommitIndex = min(shorter.LeaderCommitIndex, last)
	return &shorter
}

// respond answers a request, and says true: the library is not to see it.
func respond(rpc *raft.RPC, response any, err error) bool {
	if rpc.Reader != nil {
		_, _ = io.Copy(io.Discard, rpc.Reader) // it stands in the way of the next request
	}
	rpc.Respond(response, err)
	return true
}
