// Package static is discovery without asking around: a node founds a group of
// its own, or is told with --join where the group is. It opens no socket and sends
// nothing: joining is a request to the leader's HTTP interface, which is not made here.
package static

import (
	"fmt"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// Founders returns the configuration with which the node called id founds a group: itself
// alone, or nil where it has state or waits to be added to one.
func Founders(id string, self discovery.Self, join bool) ([]core.Member, error) {
	switch {
	case id == "":
		return nil, fmt.Errorf("%w: static discovery needs the node's id", core.ErrInvalid)
	case self.RaftAddress == "":
		return nil, fmt.Errorf("%w: static discovery of %s needs its Raft address", core.ErrInvalid, id)
	case join || self.HasState:
		return nil, nil
	case !self.Voter:
		return nil, fmt.Errorf("%w: node %s wants no vote, so it cannot found a group: let it join one", core.ErrInvalid, id)
	}
	return []core.Member{{ID: id, Incarnation: self.Incarnation, Address: self.RaftAddress, Voter: true}}, nil
}
