package hashicorp

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
)

// Probe implements core.Prober. It asks for a pre-vote of term 0: whatever the
// answer, who is asked changes nothing (Raft dissertation, §9.6).
func (r *replica) Probe(ctx context.Context, m core.Member) (core.Identity, error) {
	op := "probe " + m.ID + " at " + m.Address
	if !r.enter() {
		return core.Identity{}, r.stopped(op)
	}
	type outcome struct {
		who core.Identity
		err error
	}
	answer := make(chan outcome, 1)
	go func() { // ends with the call: at the latest when the transport is closed
		defer r.callDone()
		who, err := r.probe(m)
		answer <- outcome{who, err}
	}()
	select {
	case a := <-answer:
		if a.err != nil {
			return a.who, fmt.Errorf("%s: %w", op, a.err)
		}
		return a.who, nil
	case <-ctx.Done():
		return core.Identity{}, fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.done:
		return core.Identity{}, r.stopped(op)
	}
}

func (r *replica) probe(m core.Member) (core.Identity, error) {
	server, at := serverID(m.ID, m.Incarnation), raft.ServerAddress(m.Address)
	request := raft.RequestPreVoteRequest{RPCHeader: addressed(r.header(), server)}
	var response raft.RequestPreVoteResponse
	if err := r.transport.RequestPreVote(server, at, &request, &response); err != nil {
		return core.Identity{}, err
	}
	who, _ := sender(response.RPCHeader)
	if err := handshake.Recognise(r.self.identity(), who); err != nil {
		return who, err
	}
	if from := serverID(who.ID, who.Incarnation); from != server {
		return who, &strangerError{at: at, from: string(from), meant: string(server)}
	}
	r.self.mu.Lock()
	defer r.self.mu.Unlock()
	if met, ok := r.self.met[server]; ok { // it has said more on the connection
		return met, nil
	}
	return who, nil
}
