package hashicorp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// The library knows a server by its id alone, which is its name as package identity has it.

// serverID returns the id under which the library knows a member.
func serverID(id, incarnation string) raft.ServerID {
	return raft.ServerID(identity.Name(id, incarnation))
}

// identityOf returns what a serverID says of a member.
func identityOf(server raft.ServerID) core.Identity { return identity.Of(string(server)) }

// memberID takes a serverID apart.
func memberID(server raft.ServerID) (id, incarnation string) {
	m := identityOf(server)
	return m.ID, m.Incarnation
}

// persona is the identity of this replica, as its messages carry it.
type persona struct {
	*identity.Self
	server   raft.ServerID
	accepted atomic.Pointer[acceptance] // the last one
	written  atomic.Pointer[written]
}

// settle finds out the identity of the replica, and says whether there are data to go on with.
func (p *persona) settle(cfg core.ReplicaConfig, logs core.LogStore, snapshots raft.SnapshotStore) (holdsData bool, err error) {
	kept, err := snapshots.List()
	if err != nil {
		return false, fmt.Errorf("list the snapshots of %s: %w", cfg.ID, err)
	}
	found := identity.State{Snapshots: len(kept) > 0}
	if found.Term, found.Last, err = logState(logs); err != nil {
		return false, fmt.Errorf("look for existing state of %s: %w", cfg.ID, err)
	}
	if p.Self, err = identity.Settle(cfg, logs, Name, found); err != nil {
		return false, err
	}
	p.server = raft.ServerID(p.Name)
	return found.HoldsData(), nil
}

// termKey is where the library keeps the term.
var termKey = []byte("CurrentTerm")

// logState returns the term and the last index in a log; both 0: it has never been used.
func logState(logs core.LogStore) (term, last uint64, err error) {
	term, err = logs.GetUint64(termKey)
	if err != nil && err.Error() != "not found" {
		return 0, 0, fmt.Errorf("read the term: %w", err)
	}
	last, err = logs.LastIndex()
	return term, last, err
}

// written is the last header that was asked for: nearly always this replica's own, for
// each message and each answer.
type written struct {
	server  raft.ServerID
	address raft.ServerAddress
	group   *string
	header  []byte
}

// header is what this replica writes into its messages, as the library's Addr: the
// address as the transport encodes it, the server and the group, so that whoever gets
// one knows whose it is. Nobody may change it.
func (p *persona) header(t core.Transport, server raft.ServerID, address raft.ServerAddress) []byte {
	group := p.Group()
	if w := p.written.Load(); w != nil && w.server == server && w.address == address && w.group == group {
		return w.header
	}
	h := slices.Clip(slices.Concat(t.EncodePeer(server, address), []byte{0}, []byte(server), []byte{0}, []byte(*group)))
	p.written.Store(&written{server, address, group, h})
	return h
}

// addressed adds to a header which member the message is for. The library sends some
// requests more than once.
func addressed(h raft.RPCHeader, to raft.ServerID) raft.RPCHeader {
	if bytes.Count(h.Addr, []byte{0}) > 2 {
		return h
	}
	h.Addr = slices.Concat(h.Addr, []byte{0}, []byte(to))
	return h
}

// sender returns which member a message says that it is from, and for; "" where it
// does not say.
func sender(h raft.RPCHeader) (from core.Identity, to raft.ServerID) {
	fields := bytes.SplitN(h.Addr, []byte{0}, 4) // the address and the server come first
	from = identityOf(raft.ServerID(h.ID))
	if len(fields) > 2 {
		from.Group = string(fields[2])
	}
	if len(fields) > 3 {
		to = raft.ServerID(fields[3])
	}
	return from, to
}

// acceptance is a header that was accepted. A follower gets the same again and again.
type acceptance struct {
	id, addr []byte
	group    *string // that this replica was of
	from     core.Identity
}

// accepts refuses a request that is not for this replica or not of its group.
func (p *persona) accepts(h raft.RPCHeader) (core.Identity, error) {
	group := p.Group()
	if a := p.accepted.Load(); a != nil && a.group == group && bytes.Equal(a.addr, h.Addr) && bytes.Equal(a.id, h.ID) {
		return a.from, nil
	}
	from, to := sender(h)
	if err := p.Recognise(from); err != nil {
		return from, err
	}
	if to != p.server {
		return from, handshake.Meant(p.Identity(), identityOf(to))
	}
	p.accepted.Store(&acceptance{bytes.Clone(h.ID), bytes.Clone(h.Addr), group, from})
	return from, nil
}

// Acquaintance implements core.Acquainted.
func (r *replica) Acquaintance(id string) (core.Identity, bool) {
	m, ok := r.member(id)
	if !ok {
		return core.Identity{}, false
	}
	return r.self.Met(identity.Name(m.ID, m.Incarnation))
}

// Probe implements core.Prober. It asks for a pre-vote of term 0: whatever the
// answer, the one that is asked changes nothing (Raft dissertation, §9.6).
func (r *replica) Probe(ctx context.Context, m core.Member) (core.Identity, error) {
	op := "probe " + m.ID + " at " + m.Address
	if !r.enter() {
		return core.Identity{}, r.stopped(op)
	}
	type outcome struct {
		peer core.Identity
		err  error
	}
	answer := make(chan outcome, 1)
	go func() { // ends with the call: at the latest when the transport is closed
		defer r.callDone()
		peer, err := r.probe(m)
		answer <- outcome{peer, err}
	}()
	select {
	case a := <-answer:
		if a.err != nil {
			return a.peer, fmt.Errorf("%s: %w", op, a.err)
		}
		return a.peer, nil
	case <-ctx.Done():
		return core.Identity{}, fmt.Errorf("%s: %w", op, ctx.Err())
	case <-r.Done():
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
	peer, _ := sender(response.RPCHeader)
	if err := handshake.Recognise(r.self.Identity(), peer); err != nil {
		return peer, err
	}
	if from := serverID(peer.ID, peer.Incarnation); from != server {
		return peer, &strangerError{at: at, from: string(from), meant: string(server)}
	}
	if met, ok := r.self.Met(string(server)); ok { // it has said more on the connection
		return met, nil
	}
	return peer, nil
}
