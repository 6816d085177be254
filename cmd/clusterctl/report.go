package main

import (
	"cmp"
	"errors"
	"slices"

	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/kv/api"
)

// States of a node's process.
const (
	stateRunning     = "running"
	statePaused      = "paused"
	stateUnreachable = "unreachable" // runs, but does not answer
	stateStopped     = "stopped"
)

// What status calls a follower without a vote, and a node that the leader's
// configuration does not have, whether it was removed or has not joined.
const (
	roleNonvoter  = "nonvoter"
	roleNonmember = "nonmember"
)

// report is the state of a cluster: what status prints. Its JSON form is
// described in the help of status and stays as it is.
type report struct {
	Leader *string      `json:"leader"` // id; nil: nobody that answers leads
	Nodes  []nodeReport `json:"nodes"`

	leaderAddress string // Raft
	silentLeader  string // whom nodes still name as leader though it does not answer
}

// nodeReport is one node of the cluster file. What is not known is nil.
type nodeReport struct {
	Alias         string   `json:"alias"`
	State         string   `json:"state"`
	PID           *int     `json:"pid"`
	Role          *string  `json:"role"`
	Group         *string  `json:"group"`
	Term          *uint64  `json:"term"`
	LastIndex     *uint64  `json:"last_index"`
	CommitIndex   *uint64  `json:"commit_index"`
	AppliedIndex  *uint64  `json:"applied_index"`
	SnapshotIndex *uint64  `json:"snapshot_index"`
	Lag           *uint64  `json:"lag"`
	UptimeS       *float64 `json:"uptime_s"`
	HTTPAddress   string   `json:"http_address"`
	RPCAddress    string   `json:"rpc_address"`
	GossipAddress string   `json:"gossip_address,omitempty"`
	Gossip        string   `json:"gossip,omitempty"`
	Error         string   `json:"error,omitempty"`

	follows string // id of the leader it names, its own if it leads
}

func newReport(nodes []process.NodeStatus) report {
	r := report{Nodes: make([]nodeReport, 0, len(nodes))}
	leader := process.Leading(nodes)
	switch named := namedLeader(nodes); {
	case leader != nil:
		r.Leader, r.leaderAddress = &leader.Me.ID, leader.Me.Address
	case named == nil:
	case listed(nodes, named.ID):
		r.silentLeader = named.ID
	default: // it is not in the cluster file, so nobody asked it
		r.Leader, r.leaderAddress = &named.ID, named.Address
	}
	heard := heard(nodes, leader)
	for _, n := range nodes {
		report := reportNode(n, leader)
		report.Gossip = heard[n.Node.Alias]
		r.Nodes = append(r.Nodes, report)
	}
	return r
}

// heard returns what gossip tells of each node, by id: what the leader hears, or
// else the first node that hears anything.
func heard(nodes []process.NodeStatus, leader *api.Status) map[string]string {
	from := leader
	for _, n := range nodes {
		if from == nil && n.Status != nil && len(n.Status.Gossip) > 0 {
			from = n.Status
		}
	}
	states := make(map[string]string)
	if from != nil {
		for _, p := range from.Gossip {
			states[p.ID] = p.State
		}
	}
	return states
}

// namedLeader returns whom the node of the highest term follows.
func namedLeader(nodes []process.NodeStatus) *api.Peer {
	var named *api.Peer
	var term uint64
	for _, n := range nodes {
		if n.Status != nil && n.Status.Leader != nil && n.Status.Me.Term >= term {
			named, term = n.Status.Leader, n.Status.Me.Term
		}
	}
	return named
}

func listed(nodes []process.NodeStatus, id string) bool {
	for _, n := range nodes {
		if n.Node.Alias == id {
			return true
		}
	}
	return false
}

func reportNode(n process.NodeStatus, leader *api.Status) nodeReport {
	r := nodeReport{
		Alias:       n.Node.Alias,
		State:       stateOf(n),
		HTTPAddress: n.Node.HTTPAddress,
		RPCAddress:  n.Node.RPCAddress,
		Lag:         lagOf(n, leader),

		GossipAddress: n.Node.GossipAddress,
	}
	if n.State.Running {
		r.PID = &n.State.PID
	}
	if n.Err != nil && n.Status == nil && !errors.Is(n.Err, process.ErrNotRunning) {
		r.Error = n.Err.Error()
	}
	if s := n.Status; s != nil {
		me := s.Me
		r.PID = cmp.Or(r.PID, &me.PID)
		r.Role, r.Term, r.UptimeS = &me.Role, &me.Term, &me.UptimeS
		if me.Group != "" {
			r.Group = &me.Group
		}
		r.LastIndex, r.CommitIndex = &me.LastIndex, &me.CommitIndex
		r.AppliedIndex, r.SnapshotIndex = &me.AppliedIndex, &me.SnapshotIndex
		switch {
		case leader != nil && r.Group != nil && me.Group != leader.Me.Group: // it may lead one of its own
			*r.Role = roleNonmember
		case me.Role != "follower":
		case leader != nil && !process.Counts(leader, me.ID):
			*r.Role = roleNonmember
		case !me.Voter:
			*r.Role = roleNonvoter
		}
		if s.Leader != nil {
			r.follows = s.Leader.ID
		}
	}
	return r
}

func stateOf(n process.NodeStatus) string {
	switch {
	case n.State.Paused:
		return statePaused
	case n.Status != nil:
		return stateRunning
	case n.State.Running:
		return stateUnreachable
	}
	return stateStopped
}

// lagOf returns how many entries a node's log is shorter than the leader's: by what
// both have just answered, or else by what the leader last heard from it.
func lagOf(n process.NodeStatus, leader *api.Status) *uint64 {
	if leader == nil {
		return nil
	}
	if n.Status != nil {
		last := leader.Me.LastIndex
		lag := last - min(last, n.Status.Me.LastIndex)
		return &lag
	}
	for _, f := range leader.Followers {
		if f.ID == n.Node.Alias {
			return f.Lag
		}
	}
	return nil
}

// running counts the members that answer.
func (r report) running() int {
	n := 0
	for _, node := range r.Nodes {
		if node.State == stateRunning && *node.Role != roleNonmember {
			n++
		}
	}
	return n
}

// nonmembers lists the nodes that answer and are none.
func (r report) nonmembers() []nodeReport {
	return slices.DeleteFunc(slices.Clone(r.Nodes), func(n nodeReport) bool { return n.Role == nil || *n.Role != roleNonmember })
}

// alive reports whether the process of any node runs.
func (r report) alive() bool {
	for _, node := range r.Nodes {
		if node.State != stateStopped {
			return true
		}
	}
	return false
}
