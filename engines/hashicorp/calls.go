package hashicorp

import (
	"bytes"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// guardedTransport has requests of the others pass the gate, finds members that have
// moved, takes answers only from the member that was asked, notes in rounds which peers
// agree, bounds messages and the wait for a member that is back, and is otherwise what
// it wraps.
type guardedTransport struct {
	core.Transport
	gate     *gate
	rounds   *rounds
	detours  *detours
	outages  *outages
	credible func(term uint64) error
}

// Consumer implements raft.Transport.
func (t guardedTransport) Consumer() <-chan raft.RPC {
	if t.gate.requests != nil {
		return t.gate.requests
	}
	return t.Transport.Consumer()
}

// SetHeartbeatHandler implements raft.Transport.
func (t guardedTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle != nil {
		handle = isolated(handle)
		if t.gate.requests != nil { // otherwise the transport has asked the gate
			unchecked := handle
			handle = func(rpc raft.RPC) {
				if !t.gate.handle(&rpc) {
					unchecked(rpc)
				}
			}
		}
	}
	t.Transport.SetHeartbeatHandler(handle)
}

// EncodePeer implements raft.Transport. It names the member and the group too. The
// library knows by this alone for whom it has voted, and another member may have the
// address later; and it is in every message.
func (t guardedTransport) EncodePeer(id raft.ServerID, address raft.ServerAddress) []byte {
	return t.gate.self.header(id, t.Transport.EncodePeer(id, address))
}

// DecodePeer implements raft.Transport.
func (t guardedTransport) DecodePeer(encoded []byte) raft.ServerAddress {
	address, _, _ := bytes.Cut(encoded, []byte{0})
	return t.Transport.DecodePeer(address)
}

// AppendEntries implements raft.Transport.
func (t guardedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	trim(req)
	req.RPCHeader = addressed(req.RPCHeader, id)
	if !isHeartbeat(req) {
		if err := t.outages.await(id, req.Term); err != nil {
			return err
		}
	}
	sent, begun := t.rounds.next(), time.Now()
	at, err := t.detours.call(id, target, resp, func(at raft.ServerAddress) error {
		return t.Transport.AppendEntries(id, at, req, resp)
	})
	if err == nil {
		err = t.credible(resp.Term)
	}
	t.outages.ended(id, err)
	if err == nil && resp.Success && resp.Term == req.Term {
		t.rounds.agreed(id, agreement{term: req.Term, sent: sent, lastIndex: resp.LastLog, begun: begun, at: time.Now(), address: at})
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport. Who answers is not looked at: the
// library opens a pipeline right after an answer of the member to AppendEntries.
func (t guardedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	var p raft.AppendPipeline
	_, err := t.detours.call(id, target, nil, func(at raft.ServerAddress) (err error) {
		p, err = t.Transport.AppendEntriesPipeline(id, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return boundedPipeline{p, id}, nil
}

// RequestVote implements raft.Transport.
func (t guardedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, all *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	one := *all // the others are sent the same request
	one.RPCHeader = addressed(one.RPCHeader, id)
	req := &one
	_, err := t.detours.call(id, target, resp, func(at raft.ServerAddress) error {
		return t.Transport.RequestVote(id, at, req, resp)
	})
	if err == nil {
		err = t.credible(resp.Term)
	}
	return err
}

// RequestPreVote implements raft.WithPreVote.
func (t guardedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, all *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	one := *all
	one.RPCHeader = addressed(one.RPCHeader, id)
	req := &one
	_, err := t.detours.call(id, target, resp, func(at raft.ServerAddress) error {
		return t.Transport.RequestPreVote(id, at, req, resp)
	})
	if err == nil {
		err = t.credible(resp.Term)
	}
	return err
}

// InstallSnapshot implements raft.Transport. A snapshot is read once, so it is the
// library that tries again.
func (t guardedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	req.RPCHeader = addressed(req.RPCHeader, id)
	if err := t.outages.await(id, req.Term); err != nil {
		return err
	}
	_, err := t.detours.call(id, target, nil, func(at raft.ServerAddress) error {
		return t.Transport.InstallSnapshot(id, at, req, resp, data)
	})
	if err == nil {
		err = t.credible(resp.Term)
	}
	t.outages.ended(id, err)
	return err
}

// TimeoutNow implements raft.Transport.
func (t guardedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	req.RPCHeader = addressed(req.RPCHeader, id)
	_, err := t.detours.call(id, target, nil, func(at raft.ServerAddress) error {
		return t.Transport.TimeoutNow(id, at, req, resp)
	})
	return err
}
