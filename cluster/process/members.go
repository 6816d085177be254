package process

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// strangerPatience is how long a node may have entries and be in no configuration
// before a start gives up on it. A leader adds a member before it sends it any, so
// such a node was removed, or its data are of another group; what one leader answers
// can be behind, though, for the time of an election.
const strangerPatience = 2 * time.Second

// Leading returns the answer of the leader: of those that believe they lead, the one
// of the highest term is right, or, where they lead several groups, that of the group
// with the most members. It is nil if none of them answers.
func Leading(nodes []NodeStatus) *api.Status {
	var best *api.Status
	for _, n := range nodes {
		s := n.Status
		switch {
		case s == nil || s.Me.Role != "leader":
		case best == nil, s.Me.Group == best.Me.Group && s.Me.Term > best.Me.Term,
			s.Me.Group != best.Me.Group && len(s.Followers) > len(best.Followers):
			best = s
		}
	}
	return best
}

// Counts reports whether the configuration of the node that answers has a member of
// that id.
func Counts(s *api.Status, id string) bool {
	if s.Leader != nil && s.Leader.ID == id {
		return true
	}
	return slices.ContainsFunc(s.Followers, func(f api.Follower) bool { return f.ID == id })
}

// IsMember reports whether the leader counts the node that answers s: one of its id,
// and of its group.
func IsMember(leader, s *api.Status) bool {
	return Counts(leader, s.Me.ID) && s.Me.Group == leader.Me.Group
}

// NotMemberError is the error for a node that runs and that its group does not count.
type NotMemberError struct {
	Alias  string
	Leader string // who says so
}

// Error implements error.
func (e *NotMemberError) Error() string {
	return fmt.Sprintf("%s has data of a group, but is no member of the one that %s leads: it was removed from it, or comes from another", e.Alias, e.Leader)
}

// stranger returns a [*NotMemberError] if the node has entries and the leader does
// not count it.
func (c *Cluster) stranger(ctx context.Context, alias string) error {
	all := c.Status(ctx)
	leader := Leading(all)
	i := slices.IndexFunc(all, func(n NodeStatus) bool { return n.Node.Alias == alias })
	if leader == nil || all[i].Status == nil || all[i].Status.Me.LastIndex == 0 || IsMember(leader, all[i].Status) {
		return nil
	}
	return &NotMemberError{Alias: alias, Leader: leader.Me.ID}
}
