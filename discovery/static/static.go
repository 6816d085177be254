// Package static is discovery without asking around: a node founds a group of its own, or
// is told with --join where the group is. Where the others are, it knows from the
// replicated configuration and directory.
//
// It opens no socket and sends nothing: joining is a request to the leader's HTTP
// interface, which is not made here.
package static

import (
	"fmt"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// Bootstrap returns the configuration with which the node id founds a group: itself
// alone, or nil if it has state or joins a group. It never blocks.
func Bootstrap(id string, self discovery.Self, joins bool) ([]core.Member, error) {
	switch {
	case id == "" || self.RaftAddress == "":
		return nil, fmt.Errorf("%w: static discovery needs the node's id and its Raft address", core.ErrInvalid)
	case joins || self.HasState:
		return nil, nil
	case !self.Voter:
		return nil, fmt.Errorf("%w: node %s wants no vote, so it cannot found a group: let it join one", core.ErrInvalid, id)
	}
	return []core.Member{{ID: id, Incarnation: self.Incarnation, Address: self.RaftAddress, Voter: true}}, nil
}
