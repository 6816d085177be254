package hashicorp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
)

// The library knows a server by its id alone. So the incarnation is part of the id
// that the library sees: a member that comes back without its data is another server
// to it, one that is in no configuration, whose votes nobody has asked for.

const incarnationMark = "#"

// serverID returns the id under which the library knows a member.
func serverID(id, incarnation string) raft.ServerID {
	return raft.ServerID(core.Identity{ID: id, Incarnation: incarnation}.String())
}

// identityOf returns what a serverID says of a member.
func identityOf(server raft.ServerID) (m core.Identity) {
	m.ID, m.Incarnation = memberID(server)
	return m
}

// memberID takes a serverID apart.
func memberID(server raft.ServerID) (id, incarnation string) {
	s := string(server)
	if i := strings.LastIndex(s, incarnationMark); i > 0 && core.IsIncarnation(s[i+1:]) {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// persona is the identity of this replica, and those of the members it has met.
type persona struct {
	logs    *guard
	id      string
	server  raft.ServerID
	service string
	group   atomic.Pointer[string] // never nil

	adopting sync.Mutex
	accepted atomic.Pointer[acceptance] // the last one
	written  atomic.Pointer[written]
	refusals refusals

	mu  sync.Mutex
	met map[raft.ServerID]core.Identity // as of the last handshake
}

// settle finds out the identity of the replica: from its log, or where that is empty, from
// cfg. A log that should hold more than it does is refused.
// It says whether the log holds data.
func (p *persona) settle(cfg core.ReplicaConfig, snapshots raft.SnapshotStore) (holdsData bool, err error) {
	if id, incarnation := memberID(raft.ServerID(cfg.ID)); incarnation != "" {
		return false, fmt.Errorf("%w: the id %q ends as if it named an incarnation; %q would do", core.ErrInvalid, cfg.ID, id)
	}
	kept, err := snapshots.List()
	if err != nil {
		return false, fmt.Errorf("list the snapshots of %s: %w", cfg.ID, err)
	}
	term, last, err := logState(p.logs)
	if err != nil {
		return false, fmt.Errorf("look for existing state of %s: %w", cfg.ID, err)
	}
	holdsData = term > 0 || last > 0 || len(kept) > 0
	// Not the last index: a log may rightly be empty behind a snapshot, but no member is
	// without a term.
	if term == 0 && (cfg.Joined || len(kept) > 0) {
		return false, fmt.Errorf("%s has been a member of a group, but its log holds no term: %w", cfg.ID, core.ErrLogLost)
	}
	incarnation, err := core.Imprint(p.logs, cfg.Incarnation, holdsData)
	if err != nil {
		return false, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	group, err := core.ImprintedGroup(p.logs)
	if err != nil {
		return false, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	if group == "" && holdsData {
		group = core.UnnamedGroup
	}
	p.id, p.server, p.service = cfg.ID, serverID(cfg.ID, incarnation), cfg.Service
	p.met = map[raft.ServerID]core.Identity{}
	p.group.Store(&group)
	return holdsData, nil
}

// logState returns the term and the last index in a log; both 0: it has never been used.
func logState(logs core.LogStore) (term, last uint64, err error) {
	term, err = logs.GetUint64([]byte("CurrentTerm"))
	if err != nil && err.Error() != "not found" {
		return 0, 0, fmt.Errorf("read the term: %w", err)
	}
	last, err = logs.LastIndex()
	return term, last, err
}

func (p *persona) identity() core.Identity {
	self := identityOf(p.server)
	self.Group, self.Service = *p.group.Load(), p.service
	return self
}

// enter makes the group this replica's, for good.
func (p *persona) enter(group string) error {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	if *p.group.Load() == group {
		return nil
	}
	if err := core.ImprintGroup(p.logs, group); err != nil {
		return err
	}
	p.group.Store(&group)
	return nil
}

// maxMet bounds what is remembered of others.
const maxMet = 256

// meets remembers the member at the other end of a connection.
func (p *persona) meets(peer core.Identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.met) >= maxMet {
		clear(p.met) // those that are still there are met again
	}
	p.met[serverID(peer.ID, peer.Incarnation)] = peer
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
	group := p.group.Load()
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

// recognise refuses what comes from another group, or from nobody.
func (p *persona) recognise(from core.Identity) error {
	self := p.identity()
	if err := handshake.Recognise(self, from); err != nil {
		return err
	}
	if self.Group != "" && from.Group == "" {
		return &handshake.RefusedError{Peer: from.String(), Reason: from.String() + " is in no group, so it has nothing to say here"}
	}
	return nil
}

// acceptance is a header that was accepted. A follower gets the same again and again.
type acceptance struct {
	id, addr []byte
	group    *string // that this replica was of
	from     core.Identity
}

// accepts refuses a request that is not for this replica or not of its group.
func (p *persona) accepts(h raft.RPCHeader) (core.Identity, error) {
	group := p.group.Load()
	if a := p.accepted.Load(); a != nil && a.group == group && bytes.Equal(a.addr, h.Addr) && bytes.Equal(a.id, h.ID) {
		return a.from, nil
	}
	from, to := sender(h)
	if err := p.recognise(from); err != nil {
		return from, err
	}
	if to != p.server {
		return from, handshake.Meant(p.identity(), identityOf(to))
	}
	p.accepted.Store(&acceptance{bytes.Clone(h.ID), bytes.Clone(h.Addr), group, from})
	return from, nil
}

// maxRefusals bounds what is remembered of refused nodes.
const maxRefusals = 64

// refusals tells of each node that was refused once, and again only if it is for
// another reason. The zero value is ready.
type refusals struct {
	mu   sync.Mutex
	said map[string]string // by node: the last reason
}

func (r *refusals) say(logger hclog.Logger, peer core.Identity, err error) {
	key, text := peer.String(), err.Error()
	r.mu.Lock()
	repeated := r.said[key] == text
	if r.said == nil || len(r.said) >= maxRefusals {
		r.said = map[string]string{}
	}
	r.said[key] = text
	r.mu.Unlock()
	if !repeated {
		logger.Warn("refused what comes from no member of this group", "error", text)
	}
}

// Acquaintance implements core.Acquainted.
func (r *replica) Acquaintance(id string) (core.Identity, bool) {
	m, ok := r.member(id)
	if !ok {
		return core.Identity{}, false
	}
	server := serverID(m.ID, m.Incarnation)
	if server == r.self.server {
		return r.self.identity(), true
	}
	r.self.mu.Lock()
	defer r.self.mu.Unlock()
	peer, ok := r.self.met[server]
	return peer, ok
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
	peer, _ := sender(response.RPCHeader)
	if err := handshake.Recognise(r.self.identity(), peer); err != nil {
		return peer, err
	}
	if from := serverID(peer.ID, peer.Incarnation); from != server {
		return peer, &strangerError{at: at, from: string(from), meant: string(server)}
	}
	r.self.mu.Lock()
	defer r.self.mu.Unlock()
	if met, ok := r.self.met[server]; ok { // it has said more on the connection
		return met, nil
	}
	return peer, nil
}
