// Package discovery holds the words in which nodes know each other: what one tells of
// itself, and what is known of the others. discovery/gossip asks around for it, and
// discovery/steward lets a leader act on it.
//
// It opens no socket and changes no configuration.
package discovery

import (
	"net"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Protocol is the version of what kvnodes say to each other beside the messages of Raft.
// Nodes announce it; it grows when an older node could not understand a newer. A group
// then takes no older one in: its log may hold what that one does not know.
//
//	2  a log may hold the commands of a restore
const Protocol = 2

// MaxIDBytes bounds the id of a node, so that all that gossip says of it fits into one
// packet. It holds without gossip too: a group may begin to gossip later.
const MaxIDBytes = 64

// Self is what a node tells of itself, beside its id.
type Self struct {
	// Incarnation is that of the node's data: see core.Identity. Empty: data from
	// before there were any.
	Incarnation string
	// Group is the core.GroupID of the group that the data are of; empty: none.
	Group       string
	RaftAddress string // host:port that the others dial
	HTTPAddress string // host:port; empty: does not serve
	Voter       bool   // false: wants to follow only
	HasState    bool   // its log is not empty
}

// Is says whether p is the member m, as far as p says: not a node that has lost the
// member's data, nor one of another group.
func (p Peer) Is(m core.Member, group string) bool {
	return p.ID == m.ID && p.Incarnation == m.Incarnation && (p.Group == "" || group == "" || p.Group == group)
}

// State is what is known of whether a node runs.
type State string

// The states of a node.
const (
	Unknown State = "unknown" // not watched
	Alive   State = "alive"
	Failed  State = "failed" // went without a word
	Left    State = "left"   // said goodbye
)

// Peer is a node as others see it.
type Peer struct {
	ID string
	// Self has as its Group, while the node has no state, the one that it waits to be
	// added to. Nodes of two groups must never be put into one.
	Self
	State    State
	Since    time.Time // of the state; zero: not known
	Protocol int       // 0: not known
	// Undecided is true while the node may yet found a group: its replica does
	// not run, and it must not be added to another group.
	Undecided bool
	// GossipAddress is where it gossips, as host:port; empty if it does not.
	GossipAddress string
}

// Nowhere returns an address on the host of address that no node can listen at. A
// configuration holds an address once; a member whose own is another's now stands there
// until it has told where it is.
func Nowhere(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return net.JoinHostPort(host, "0")
}
