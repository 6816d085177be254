package etcd

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	hraft "github.com/hashicorp/raft"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// The library knows members by numbers, and nothing of their addresses. A member's number
// is a hash of its name; names and addresses travel in the context of the library's
// configuration changes, and each replica keeps the configuration that they make.

// numberOf returns the number of a name, as of package identity.
func numberOf(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	n := binary.BigEndian.Uint64(sum[:])
	if n == raft.None || raft.IsLocalMsgTarget(n) {
		return 1
	}
	return n
}

func number(m core.Member) uint64 { return numberOf(identity.Name(m.ID, m.Incarnation)) }

// configuration is the members of the group as of one entry. It is never changed.
type configuration struct {
	index   uint64 // of that entry; 0: there is none
	members []core.Member
}

// find returns the member id.
func (c *configuration) find(id string) (core.Member, bool) {
	i := slices.IndexFunc(c.members, func(m core.Member) bool { return m.ID == id })
	if i < 0 {
		return core.Member{}, false
	}
	return c.members[i], true
}

// numbered returns the member of a number.
func (c *configuration) numbered(n uint64) (core.Member, bool) {
	i := slices.IndexFunc(c.members, func(m core.Member) bool { return number(m) == n })
	if i < 0 {
		return core.Member{}, false
	}
	return c.members[i], true
}

// sorted puts the members of a configuration that nobody has yet into their order.
func (c *configuration) sorted() *configuration {
	slices.SortFunc(c.members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	return c
}

func (c *configuration) voters() (voters []uint64) {
	for _, m := range c.members {
		if m.Voter {
			voters = append(voters, number(m))
		}
	}
	return voters
}

// state returns the configuration as the library knows it.
func (c *configuration) state() *pb.ConfState {
	s := &pb.ConfState{AutoLeave: proto.Bool(false)}
	for _, m := range c.members {
		if m.Voter {
			s.Voters = append(s.Voters, number(m))
		} else {
			s.Learners = append(s.Learners, number(m))
		}
	}
	return s
}

// servers returns the configuration as snapshots keep it.
func (c *configuration) servers() hraft.Configuration { return identity.Servers(c.members) }

// configurationOf returns the configuration that a snapshot keeps.
func configurationOf(meta *hraft.SnapshotMeta) *configuration {
	return &configuration{meta.ConfigurationIndex, identity.Members(meta.Configuration)}
}

// The kinds of changes.
const (
	changeFound  = "found" // the first configuration: all members
	changeSet    = "set"   // one member is added, gets a vote or moves
	changeRemove = "remove"
)

// change is what the context of a configuration change holds.
type change struct {
	Kind    string   `json:"kind"`
	Members []record `json:"members"`
}

// record is a core.Member as it is stored.
type record struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation,omitempty"`
	Address     string `json:"address"`
	Voter       bool   `json:"voter,omitempty"`
}

// recordsOf returns members as they are stored.
func recordsOf(members []core.Member) (records []record) {
	for _, m := range members {
		records = append(records, record(m))
	}
	return records
}

// membersOf is the way back.
func membersOf(records []record) (members []core.Member) {
	for _, r := range records {
		members = append(members, core.Member(r))
	}
	return members
}

// encode returns the change as the library takes it. The change of a configuration that
// does not allow it is an error.
func (c *configuration) encode(kind string, members ...core.Member) ([]byte, error) {
	cc := &pb.ConfChangeV2{Transition: pb.ConfChangeTransitionAuto.Enum()}
	for _, m := range members {
		if err := c.distinct(m, number); err != nil {
			return nil, err
		}
		t := pb.ConfChangeAddLearnerNode
		old, known := c.find(m.ID)
		switch {
		case kind == changeRemove:
			t = pb.ConfChangeRemoveNode
		case known && old.Voter == m.Voter:
			t = pb.ConfChangeUpdateNode
		case m.Voter:
			t = pb.ConfChangeAddNode
		}
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: t.Enum(), NodeId: proto.Uint64(number(m))})
	}
	var err error
	if cc.Context, err = json.Marshal(change{kind, recordsOf(members)}); err != nil {
		return nil, err
	}
	return proto.Marshal(cc)
}

// distinct refuses a member whose number is another's.
func (c *configuration) distinct(m core.Member, number func(core.Member) uint64) error {
	for _, other := range c.members {
		if number(other) == number(m) && (other.ID != m.ID || other.Incarnation != m.Incarnation) {
			return fmt.Errorf("%w: the library cannot tell %s from %s: give one of them another id", core.ErrInvalid, m.ID, other.ID)
		}
	}
	return nil
}

// next reads the change in an entry, and returns the configuration that it makes and what
// the library is to be told, one by one.
func (c *configuration) next(entry *pb.Entry) (*configuration, []*pb.ConfChangeV2, error) {
	var cc pb.ConfChangeV2
	var what change
	err := proto.Unmarshal(entry.GetData(), &cc)
	if err == nil {
		err = json.Unmarshal(cc.GetContext(), &what)
	}
	if err == nil && (len(what.Members) == 0 || len(what.Members) != len(cc.GetChanges())) {
		err = fmt.Errorf("%d members, %d changes", len(what.Members), len(cc.GetChanges()))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: entry %d is no change of the configuration: %w", core.ErrDamaged, entry.GetIndex(), err)
	}
	n := &configuration{index: entry.GetIndex(), members: slices.Clone(c.members)}
	for _, m := range membersOf(what.Members) {
		n.members = slices.DeleteFunc(n.members, func(old core.Member) bool { return old.ID == m.ID })
		if what.Kind != changeRemove {
			n.members = append(n.members, m)
		}
	}
	n = n.sorted()
	var steps []*pb.ConfChangeV2
	for _, s := range cc.GetChanges() {
		steps = append(steps, &pb.ConfChangeV2{Transition: pb.ConfChangeTransitionAuto.Enum(), Changes: []*pb.ConfChangeSingle{s}})
	}
	return n, steps, nil
}
