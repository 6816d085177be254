package httpapi

import (
	"time"

	"github.com/themilchenko/raftlab/core"
)

// viewAge is how long a view is used. A Status costs about as much as all else
// that a short request needs. An old view does no harm: who is taken for the
// leader wrongly says so.
const viewAge = 10 * time.Millisecond

// view is who leads, as far as this node knew at a moment.
type view struct {
	at     time.Time
	group  string      // that this node is in; empty: none
	leader string      // id; empty: none known
	self   bool        // this node leads
	member core.Member // the leader, if the node has it in its configuration
}

// look returns a view that is at most viewAge old.
func (s *Server) look() view {
	now := time.Now()
	if v := s.view.Load(); v != nil && now.Sub(v.at) < viewAge {
		return *v
	}
	status := s.cfg.Replica.Status()
	v := view{at: now, group: status.Group, leader: status.LeaderID, self: status.Role == core.Leader}
	switch {
	case v.self:
		v.leader = s.id
	case v.leader == s.id: // it has just stepped down
		v.leader = ""
	}
	v.member, _ = find(status.Members, v.leader)
	s.view.Store(&v)
	return v
}

// lookAgain makes the next look a fresh one.
func (s *Server) lookAgain() { s.view.Store(nil) }
