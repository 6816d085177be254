package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// statusTimeout is how long Status waits for an answer.
const statusTimeout = 2 * time.Second

// State is what is known of a node's process.
type State struct {
	Running bool // it has a process, perhaps a paused one
	Paused  bool
	PID     int       // 0 where nothing runs
	Started time.Time // zero where nothing runs
}

// NodeStatus is what is known of a node, and what it says itself.
type NodeStatus struct {
	Node   clusterfile.Node
	State  State
	Status *api.Status // nil: it does not answer
	// Err is why Status is missing, or State. A node that was started by other
	// means than this package answers without Running.
	Err error

	answers *api.Node // at its address, whichever node that is
}

// Inspect tells whether the process of a node runs.
func (c *Cluster) Inspect(alias string) (State, error) {
	if _, err := c.node(alias); err != nil {
		return State{}, err
	}
	p, err := c.running(alias)
	if err != nil {
		return State{}, fmt.Errorf("inspect %s: %w", alias, err)
	}
	if p == nil {
		return State{}, nil
	}
	defer p.close()
	paused, err := p.paused()
	if errors.Is(err, errGone) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("inspect %s: %w", alias, err)
	}
	return State{Running: true, Paused: paused, PID: p.pid, Started: p.start}, nil
}

// Status asks all nodes at once and returns them in the order of the file. One
// that does not answer within 2 s has no Status; a paused one is not asked.
func (c *Cluster) Status(ctx context.Context) []NodeStatus {
	nodes, err := client.New(addresses(c.file.Nodes), client.Options{})
	if err != nil {
		all := make([]NodeStatus, len(c.file.Nodes))
		for i, n := range c.file.Nodes {
			all[i] = NodeStatus{Node: n, Err: err}
		}
		return all
	}
	defer nodes.Close()
	return c.status(ctx, nodes)
}

func (c *Cluster) status(ctx context.Context, nodes *client.Client) []NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	all := make([]NodeStatus, len(c.file.Nodes))
	var group sync.WaitGroup
	for i, n := range c.file.Nodes {
		group.Go(func() { all[i] = c.nodeStatus(ctx, nodes, n) })
	}
	group.Wait()
	return all
}

func (c *Cluster) nodeStatus(ctx context.Context, nodes *client.Client, n clusterfile.Node) NodeStatus {
	s := NodeStatus{Node: n}
	s.State, s.Err = c.Inspect(n.Alias) // it may answer all the same
	if s.State.Paused {
		s.Err = errors.New("paused")
		return s
	}
	status, err := nodes.Node(n.HTTPAddress).Status(ctx)
	if err == nil {
		s.answers = &status.Me
	}
	switch {
	case err != nil && s.Err != nil:
	case err != nil && !s.State.Running:
		s.Err = ErrNotRunning
	case err != nil:
		s.Err = err
	case status.Me.ID != n.Alias:
		s.Err = fmt.Errorf("%s is answered by another node, %q", n.HTTPAddress, status.Me.ID)
	default:
		s.Status = &status
		if !s.State.Running {
			s.adopt(c, status.Me.PID)
		}
	}
	return s
}

// adopt notes the process that answers as the node's, if it is, though no file says so.
func (s *NodeStatus) adopt(c *Cluster, pid int) {
	if p, err := c.answering(s.Node.Alias, pid); err == nil && p != nil {
		s.State = State{Running: true, PID: p.pid, Started: p.start}
		p.close()
	}
}

func addresses(nodes []clusterfile.Node) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.HTTPAddress
	}
	return all
}

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

// Follows returns the leader that the node of the highest term names, nil if none of
// them knows one.
func Follows(nodes []NodeStatus) *api.Peer {
	var leader *api.Peer
	var term uint64
	for _, n := range nodes {
		if n.Status != nil && n.Status.Leader != nil && n.Status.Me.Term >= term {
			leader, term = n.Status.Leader, n.Status.Me.Term
		}
	}
	return leader
}

// Counts reports whether the configuration of the node that answers has a member of
// that id.
func Counts(s *api.Status, id string) bool {
	return s.Leader != nil && s.Leader.ID == id ||
		slices.ContainsFunc(s.Followers, func(f api.Follower) bool { return f.ID == id })
}
