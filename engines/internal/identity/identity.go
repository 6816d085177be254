// Package identity is who a replica is, whichever engine makes it: what it finds out from
// its log store at a start, which log stores it refuses, and whom it has met. It sends
// nothing, and trusts what others say of themselves in a handshake.
package identity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
)

// A library knows a server by one name. So the incarnation is part of it: a member that
// comes back without its data is another server to the library, one that is in no
// configuration, whose votes nobody has asked for.

const incarnationMark = "#"

// Name returns the name under which a library knows a member.
func Name(id, incarnation string) string {
	return core.Identity{ID: id, Incarnation: incarnation}.String()
}

// Of returns what a name says of a member.
func Of(name string) core.Identity {
	if i := strings.LastIndex(name, incarnationMark); i > 0 && core.IsIncarnation(name[i+1:]) {
		return core.Identity{ID: name[:i], Incarnation: name[i+1:]}
	}
	return core.Identity{ID: name}
}

// Servers returns a configuration as libraries and snapshots have it.
func Servers(members []core.Member) (c raft.Configuration) {
	for _, m := range members {
		suffrage := raft.Nonvoter
		if m.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{
			ID: raft.ServerID(Name(m.ID, m.Incarnation)), Address: raft.ServerAddress(m.Address), Suffrage: suffrage,
		})
	}
	return c
}

// Members is the way back; they are sorted by id.
func Members(c raft.Configuration) (members []core.Member) {
	for _, s := range c.Servers {
		who := Of(string(s.ID))
		members = append(members, core.Member{ID: who.ID, Incarnation: who.Incarnation, Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

// Self is the identity of a replica, and those of the members it has met. Safe for
// concurrent use.
type Self struct {
	ID   string
	Name string
	// Refusals are those of nodes that this replica did not take for a member.
	Refusals Refusals

	logs     core.LogStore
	service  string
	group    atomic.Pointer[string] // never nil
	former   atomic.Pointer[string] // never nil
	adopting sync.Mutex

	mu  sync.Mutex
	met map[string]core.Identity // by name, as of the last handshake
}

// New returns the identity of a replica that keeps its group nowhere.
func New(who core.Identity) *Self {
	s := &Self{ID: who.ID, Name: Name(who.ID, who.Incarnation), service: who.Service, met: map[string]core.Identity{}}
	s.group.Store(&who.Group)
	s.former.Store(&who.Former)
	return s
}

// State is what an engine has found in a log store and among its snapshots.
type State struct {
	Term, Last uint64 // of the log; both 0: it has never been used
	Snapshots  bool   // there are some
}

// HoldsData says whether a replica would go on with something.
func (s State) HoldsData() bool { return s.Term > 0 || s.Last > 0 || s.Snapshots }

// Settle finds out the identity of a replica of engine: from its log, or where that is
// empty, from cfg. A log that should hold more than it does is refused as core.ErrLogLost,
// another engine's or another node's as core.ErrInvalid.
func Settle(cfg core.ReplicaConfig, logs core.LogStore, engine string, found State) (*Self, error) {
	if err := CheckID(cfg.ID); err != nil {
		return nil, err
	}
	unmarked, err := usedBy(logs, engine, found)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	// Not the last index: a log may rightly be empty behind a snapshot, but no member is
	// without a term.
	if found.Term == 0 && (cfg.Joined || found.Snapshots) {
		return nil, fmt.Errorf("%s has been a member of a group, but its log holds no term: %w", cfg.ID, core.ErrLogLost)
	}
	if unmarked {
		if err := mark(logs, engine); err != nil {
			return nil, fmt.Errorf("%s: %w", cfg.ID, err)
		}
	}
	incarnation, err := core.Imprint(logs, cfg.Incarnation, found.HoldsData())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	group, err := groupOf(logs, found)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	former, err := formerOf(logs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ID, err)
	}
	s := New(core.Identity{ID: cfg.ID, Incarnation: incarnation, Group: group, Former: former, Service: cfg.Service})
	s.logs = logs
	return s, nil
}

// CheckID refuses an id that could be taken for a name.
func CheckID(id string) error {
	if known := Of(id); known.Incarnation != "" {
		return fmt.Errorf("%w: the id %q ends as if it named an incarnation; %q would do", core.ErrInvalid, id, known.ID)
	}
	return nil
}

// groupOf returns the group of the data in a log store.
func groupOf(logs core.LogStore, found State) (string, error) {
	group, err := core.ImprintedGroup(logs)
	if group == "" && found.HoldsData() {
		group = core.UnnamedGroup
	}
	return group, err
}

// Unmarked is the engine whose logs carry no mark of it.
const Unmarked = "hashicorp"

var (
	engineKey = []byte("raftlab.engine")
	formerKey = []byte("raftlab.former")
)

// Engine returns the engine that a log store is marked as used by, or "".
func Engine(logs core.LogStore) (string, error) { return Text(logs, engineKey, "engine") }

// formerOf returns the group that the group of a log store was recovered from, or "".
func formerOf(logs core.LogStore) (string, error) { return Text(logs, formerKey, "former group") }

func imprintFormer(logs core.LogStore, former string) error {
	if former == "" || former == core.UnnamedGroup { // which could be any of them
		return nil
	}
	if err := logs.Set(formerKey, []byte(former)); err != nil {
		return fmt.Errorf("write the former group of the log: %w", err)
	}
	return nil
}

// Text reads a stable value of a log store; "": it is not there.
func Text(logs core.LogStore, key []byte, what string) (string, error) {
	value, err := logs.Get(key)
	if err != nil && err.Error() != "not found" {
		return "", fmt.Errorf("read the %s of the log: %w", what, err)
	}
	return string(value), nil
}

func mark(logs core.LogStore, engine string) error {
	if err := logs.Set(engineKey, []byte(engine)); err != nil {
		return fmt.Errorf("mark the log as of %s: %w", engine, err)
	}
	return nil
}

// usedBy refuses a log store that another engine than engine has used, and says whether it
// is to be marked.
func usedBy(logs core.LogStore, engine string, found State) (unmarked bool, err error) {
	used, err := Engine(logs)
	if err != nil {
		return false, err
	}
	if used == "" {
		if found.Term == 0 && found.Last == 0 {
			return engine != Unmarked, nil
		}
		used = Unmarked
	}
	if used != engine {
		return false, fmt.Errorf("%w: the log was written by the engine %s, not %s: start with that one (--engine %s), or in a new directory",
			core.ErrInvalid, used, engine, used)
	}
	return false, nil
}

// Identity returns who the replica is at the moment.
func (s *Self) Identity() core.Identity {
	self := Of(s.Name)
	self.Group, self.Former, self.Service = *s.group.Load(), *s.former.Load(), s.service
	return self
}

// Group returns the group. It is another pointer once it is another group.
func (s *Self) Group() *string { return s.group.Load() }

// Enter makes the group this replica's, for good: the log store keeps it, and the one that
// it was recovered from, if that is not "".
func (s *Self) Enter(group, former string) error {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	if *s.group.Load() == group {
		return nil
	}
	if err := imprintFormer(s.logs, former); err != nil {
		return err
	}
	if err := core.ImprintGroup(s.logs, group); err != nil {
		return err
	}
	s.former.Store(&former)
	s.group.Store(&group)
	return nil
}

// maxMet bounds what is remembered of others.
const maxMet = 256

// Meets remembers the member at the other end of a connection.
func (s *Self) Meets(peer core.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.met) >= maxMet {
		clear(s.met) // those that are still there are met again
	}
	s.met[Name(peer.ID, peer.Incarnation)] = peer
}

// Met returns who the member of that name proved to be in the last handshake with it.
func (s *Self) Met(name string) (core.Identity, bool) {
	if name == s.Name {
		return s.Identity(), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	peer, ok := s.met[name]
	return peer, ok
}

// Recognise refuses what comes from another group, or from nobody.
func (s *Self) Recognise(from core.Identity) error {
	self := s.Identity()
	if err := handshake.Recognise(self, from); err != nil {
		return err
	}
	if self.Group != "" && from.Group == "" {
		return &handshake.RefusedError{Peer: from.String(), Reason: from.String() + " is in no group, so it has nothing to say here"}
	}
	return nil
}

// maxRefusals bounds what is remembered of refused nodes.
const maxRefusals = 64

// Refusals tells of each node that was refused once, and again only if it is for
// another reason. The zero value is ready.
type Refusals struct {
	mu   sync.Mutex
	said map[string]string // by node: the last reason
}

// Say logs that peer was refused.
func (r *Refusals) Say(logger interface{ Warn(string, ...any) }, peer core.Identity, err error) {
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
