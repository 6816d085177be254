package founding

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/core"
)

// MaxExpect bounds how many nodes may found a group, so that their fingerprints
// fit into the metadata of gossip.
const MaxExpect = 15

// Record is what is known of another node, which may be out of date.
type Record struct {
	ID          string
	Incarnation string // of its data
	// Address is that of Raft: once promised, as it was in the promise.
	Address  string
	Alive    bool // as far as is known; a node that has left is not
	Voter    bool
	HasState bool
	Group    string // that its state is of, as core.GroupID; empty: not known
	Expect   int    // how many founders it waits for; 0: founds nothing
	Proposal Set    // the set that it proposes or has promised
	Promised bool
}

func (r Record) fingerprint() uint64 { return Fingerprint(r.member()) }

func (r Record) member() core.Member {
	return core.Member{ID: r.ID, Incarnation: r.Incarnation, Address: r.Address, Voter: true}
}

// Self is a node that has no state, wants to vote and expects founders.
type Self struct {
	ID, Incarnation, Address string

	Expect   int
	Proposal Set           // what it publishes as its proposal
	Promise  []core.Member // what it has promised, in this life or before; sorted by id
	Founded  bool          // Promise was founded, though it may not have come to have state
}

func (s Self) member() core.Member {
	return core.Member{ID: s.ID, Incarnation: s.Incarnation, Address: s.Address, Voter: true}
}

// Action is what a node has to do.
type Action string

// The actions. After Propose and Promise, as after Wait once something has
// changed, Step is asked again; Found and Join end it.
const (
	Wait    Action = "wait"
	Propose Action = "propose" // publish SetOf(Members) as the proposal; without members withdraw it
	Promise Action = "promise" // store Members as the promise, then publish it
	Found   Action = "found"   // bootstrap with Members
	Join    Action = "join"    // bootstrap nothing
)

// Decision is the outcome of [Step].
type Decision struct {
	Action  Action
	Members []core.Member // sorted by id
	// Reason says to an operator what the node waits for.
	Reason string
	// Blocked says that time alone will not help; Reason then names the mend.
	Blocked bool
}

// Step decides what self does next, given what it knows of the others. It is a
// pure function. The records have distinct ids, none of them self's.
func Step(self Self, others []Record) Decision {
	if self.Promise != nil {
		return promised(self, others)
	}
	if slices.ContainsFunc(others, func(r Record) bool { return r.HasState }) {
		return Decision{Action: Join}
	}
	for _, r := range others {
		if r.Alive && r.Expect > 0 && r.Expect != self.Expect {
			return withdraw(self, Decision{Action: Wait, Blocked: true, Reason: fmt.Sprintf(
				"%s expects %d founders and this node %d: start both with the same number", r.ID, r.Expect, self.Expect)})
		}
	}
	return choose(self, others)
}

// promised is Step of a node that has made its promise.
func promised(self Self, others []Record) Decision {
	set, group := SetOf(self.Promise), core.GroupID(self.Promise)
	var silent []string // members whose promise was not seen
	var state, dead, wiped, unknown string
	for _, r := range others {
		if r.HasState && r.Group == group {
			return Decision{Action: Found, Members: self.Promise}
		}
		if r.HasState {
			state = r.ID
		}
	}
	for _, m := range self.Promise {
		if m.ID == self.ID {
			continue
		}
		i := slices.IndexFunc(others, func(r Record) bool { return r.ID == m.ID })
		switch {
		case i < 0:
			unknown = m.ID
			silent = append(silent, m.ID)
		case others[i].Incarnation != m.Incarnation:
			wiped = m.ID // whether it had promised is not known, and another may have founded on it
			silent = append(silent, m.ID)
		case others[i].HasState, others[i].Promised && !others[i].Proposal.Equal(set):
			dead = m.ID // it never made this promise, and never will
		case !others[i].Promised:
			silent = append(silent, m.ID)
			if !others[i].Alive {
				unknown = m.ID
			}
		}
	}
	switch {
	case self.Founded, dead == "" && len(silent) == 0:
		return Decision{Action: Found, Members: self.Promise}
	case dead != "" && state != "":
		return Decision{Action: Join}
	case dead != "":
		return Decision{Action: Wait, Blocked: true, Reason: fmt.Sprintf(
			"this node promised to found a group with %s, which promised another one: it joins the group once there is one; "+
				"if there never is, start all nodes in new directories", dead)}
	case state != "":
		return Decision{Action: Wait, Blocked: true, Reason: fmt.Sprintf(
			"%s has state of another group than the one this node promised to found: to join it, start this node in a new "+
				"directory; to keep them apart, give them different cluster names", state)}
	case wiped != "":
		return Decision{Action: Wait, Blocked: true, Reason: fmt.Sprintf(
			"this node promised to found a group with %s, and %s has lost its data since, with what it had promised: "+
				"bring them back; if they are gone for good, start all nodes in new directories",
			names(self.Promise), wiped)}
	case unknown != "":
		return Decision{Action: Wait, Blocked: true, Reason: fmt.Sprintf(
			"this node promised to found a group with %s, and %s does not answer: start it again with its data; "+
				"if it is gone for good, start all nodes in new directories",
			names(self.Promise), unknown)}
	default:
		return Decision{Action: Wait, Reason: fmt.Sprintf("waiting for the promise of %s", strings.Join(silent, ", "))}
	}
}

// choose is Step of a node that may still promise: between the promises of others
// that name it and a proposal of its own, it takes what comes first.
func choose(self Self, others []Record) Decision {
	own := proposal(self, others)
	best, unresolved := adoptable(self, others)
	if best != nil && (own == nil || before(best, own)) {
		return Decision{Action: Promise, Members: best}
	}
	if own == nil || best == nil && underWay(own, others) {
		return withdraw(self, waiting(self, others, unresolved))
	}
	if !slices.ContainsFunc(own, func(m core.Member) bool { return m.ID == self.ID }) {
		return withdraw(self, Decision{Action: Wait, Reason: fmt.Sprintf(
			"%s found the group; this node joins it then", names(own))})
	}
	set := SetOf(own)
	if !self.Proposal.Equal(set) {
		return Decision{Action: Propose, Members: own}
	}
	var silent []string
	for _, r := range others {
		if set.has(r.fingerprint()) && !r.Proposal.Equal(set) {
			silent = append(silent, r.ID)
		}
	}
	if len(silent) > 0 {
		return Decision{Action: Wait, Reason: fmt.Sprintf("waiting for %s to propose the same founders", strings.Join(silent, ", "))}
	}
	return Decision{Action: Promise, Members: own}
}

// proposal returns the Expect smallest candidates in sight, or nil if there are
// fewer. Those that have promised are bound already.
func proposal(self Self, others []Record) []core.Member {
	members := []core.Member{self.member()}
	for _, r := range others {
		if r.Alive && r.Voter && r.Expect == self.Expect && !r.Promised {
			members = append(members, r.member())
		}
	}
	if len(members) < self.Expect {
		return nil
	}
	slices.SortFunc(members, compareMembers)
	return members[:self.Expect]
}

// adoptable returns the first among the configurations that others have promised,
// that name self and that may still be founded. unresolved names a node whose
// promise names self, with a member that self does not see as it was promised.
func adoptable(self Self, others []Record) (best []core.Member, unresolved string) {
	own := Fingerprint(self.member())
	for _, r := range others {
		if !r.Promised || !r.Proposal.has(own) {
			continue
		}
		members := []core.Member{self.member()}
		dead := false
		for _, o := range others {
			if r.Proposal.has(o.fingerprint()) {
				members = append(members, o.member())
				dead = dead || o.Promised && !o.Proposal.Equal(r.Proposal)
			}
		}
		slices.SortFunc(members, compareMembers)
		switch {
		case dead:
		case !SetOf(members).Equal(r.Proposal):
			unresolved = r.ID
		case best == nil || before(members, best):
			best = members
		}
	}
	return best, unresolved
}

// underWay says whether a node that comes before own has promised a configuration that
// may still be founded: then no second group is to be founded beside it.
func underWay(own []core.Member, others []Record) bool {
	for _, r := range others {
		if r.Promised && before([]core.Member{r.member()}, own[:1]) && !slices.ContainsFunc(others, func(o Record) bool {
			return r.Proposal.has(o.fingerprint()) && o.Promised && !o.Proposal.Equal(r.Proposal)
		}) {
			return true
		}
	}
	return false
}

// waiting says why there are too few candidates.
func waiting(self Self, others []Record, unresolved string) Decision {
	if unresolved != "" {
		return Decision{Action: Wait, Reason: fmt.Sprintf(
			"%s promised to found a group with this node and with others that this node does not see yet", unresolved)}
	}
	var candidates, bound []string
	for _, r := range others {
		switch {
		case r.Promised:
			bound = append(bound, r.ID)
		case r.Alive && r.Voter && r.Expect == self.Expect:
			candidates = append(candidates, r.ID)
		}
	}
	if len(bound) > 0 {
		return Decision{Action: Wait, Reason: fmt.Sprintf(
			"%s promised to found a group without this node, which joins it then; if they wait for it under another "+
				"Raft address or with data that it has lost, start it with those, or start all nodes in new directories",
			strings.Join(bound, ", "))}
	}
	seen := "none"
	if len(candidates) > 0 {
		slices.Sort(candidates)
		seen = strings.Join(candidates, ", ")
	}
	return Decision{Action: Wait, Reason: fmt.Sprintf(
		"waiting for founders: %d of %d are here; others seen: %s", len(candidates)+1, self.Expect, seen)}
}

// withdraw takes back self's proposal before it waits.
func withdraw(self Self, d Decision) Decision {
	if self.Proposal == nil {
		return d
	}
	return Decision{Action: Propose}
}

func names(members []core.Member) string {
	ids := make([]string, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, ", ")
}

// Set stands for a configuration: the sorted fingerprints of its members.
type Set []uint64

// Fingerprint returns what a member is called in a [Set].
func Fingerprint(m core.Member) uint64 {
	b := make([]byte, 0, 96)
	for _, s := range []string{m.ID, m.Incarnation} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	h := fnv.New64a()
	h.Write(append(b, m.Address...))
	return h.Sum64()
}

// SetOf returns the set of members.
func SetOf(members []core.Member) Set {
	if len(members) == 0 {
		return nil
	}
	s := make(Set, 0, len(members))
	for _, m := range members {
		s = append(s, Fingerprint(m))
	}
	slices.Sort(s)
	return s
}

// Equal says whether both stand for the same configuration.
func (s Set) Equal(other Set) bool { return slices.Equal(s, other) }

func (s Set) has(fingerprint uint64) bool {
	_, found := slices.BinarySearch(s, fingerprint)
	return found
}

// before says whether configuration a comes before b: by ids, then incarnations,
// then addresses.
func before(a, b []core.Member) bool {
	return slices.CompareFunc(a, b, compareMembers) < 0
}

func compareMembers(a, b core.Member) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Address, b.Address))
}
