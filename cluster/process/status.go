package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/process"

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
	now, err := look(p.id.pid)
	if errors.Is(err, errGone) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("inspect %s: %w", alias, err)
	}
	s := State{Running: true, Paused: now.paused, PID: p.id.pid}
	if about, err := process.NewProcess(int32(s.PID)); err == nil {
		if ms, err := about.CreateTime(); err == nil {
			s.Started = time.UnixMilli(ms)
		}
	}
	return s, nil
}

// Status asks all nodes at once and returns them in the order of the file. One
// that does not answer within 2 s has no Status; a paused one is not asked.
func (c *Cluster) Status(ctx context.Context) []NodeStatus {
	all := make([]NodeStatus, len(c.file.Nodes))
	nodes, err := client.New(addresses(c.file.Nodes), client.Options{})
	if err != nil {
		for i, n := range c.file.Nodes {
			all[i] = NodeStatus{Node: n, Err: err}
		}
		return all
	}
	defer nodes.Close()
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var group sync.WaitGroup
	for i, n := range c.file.Nodes {
		group.Go(func() { all[i] = c.status(ctx, nodes, n) })
	}
	group.Wait()
	return all
}

func (c *Cluster) status(ctx context.Context, nodes *client.Client, n clusterfile.Node) NodeStatus {
	s := NodeStatus{Node: n}
	s.State, s.Err = c.Inspect(n.Alias) // it may answer all the same
	if s.State.Paused {
		s.Err = errors.New("paused")
		return s
	}
	status, err := nodes.Node(n.HTTPAddress).Status(ctx)
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
	}
	return s
}
