package hashicorp

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Probe implements core.Prober. It asks for a pre-vote of term 0: whatever the
// answer, who is asked changes nothing (Raft dissertation, §9.6).
func (r *replica) Probe(ctx context.Context, id, address string) error {
	op := "probe " + id + " at " + address
	if !r.enter() {
		return r.stopped(op)
	}
	answer := make(chan error, 1)
	go func() { // ends with the call: at the latest when the transport is closed
		defer r.callDone()
		answer <- r.probe(id, address)
	}()
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.done:
		return r.stopped(op)
	}
}

func (r *replica) probe(id, address string) error {
	request := raft.RequestPreVoteRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(r.id),
		Addr:            []byte(r.address),
	}}
	var response raft.RequestPreVoteResponse
	if err := r.transport.RequestPreVote(raft.ServerID(id), raft.ServerAddress(address), &request, &response); err != nil {
		return err
	}
	if from := string(response.ID); from != id {
		return &strangerError{at: raft.ServerAddress(address), from: from, meant: id}
	}
	return nil
}
