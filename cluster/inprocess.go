// Package cluster puts parts together into running groups: an engine, a log
// store, a network and the replicated map make one member; several make a
// group. It never generates load and never measures.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// Spec says what an in-process group is made of.
type Spec struct {
	Nodes   int // voters, at least 1
	Engine  core.Engine
	Network core.Network
	// OpenStore opens the log store of one member in dir, which is its own.
	OpenStore func(dir string) (core.LogStore, error)
	// Dir is the folder that the members' folders are made in; it must exist.
	// With SnapshotsInMemory and a log store in memory nothing is written there.
	Dir               string
	SnapshotsInMemory bool
	Tuning            core.Tuning
	Logger            *slog.Logger // engine's log lines; nil: none
	// Trace returns where a member takes down the time of each entry, or nil; nil: none does.
	Trace func(id string) core.Trace
}

// InProcess is a group whose members all run in this process.
type InProcess struct {
	Nodes []*Node
}

// Node is one member of an in-process group.
type Node struct {
	ID      string
	Replica core.Replica
	Map     *kv.Store     // its state machine
	Logs    core.LogStore // owned by Replica
}

// StartInProcess starts a new group of spec.Nodes voters and returns once node 1
// is its leader and can serve. The members are called node1, node2, …
// On an error nothing is left running.
func StartInProcess(ctx context.Context, spec Spec) (*InProcess, error) {
	if spec.Nodes < 1 {
		return nil, fmt.Errorf("%w: a group needs at least one node, not %d", core.ErrInvalid, spec.Nodes)
	}
	links, members, err := listen(spec)
	if err != nil {
		return nil, err
	}
	c := &InProcess{}
	for i, m := range members {
		n, err := startNode(spec, m, links[i], members)
		if err != nil {
			return nil, errors.Join(err, c.Close(), closeAll(links[i:]))
		}
		c.Nodes = append(c.Nodes, n)
	}
	if err := c.elect(ctx, c.Nodes[0]); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// listen makes all links first: the configuration needs their addresses.
func listen(spec Spec) ([]core.Link, []core.Member, error) {
	var links []core.Link
	var members []core.Member
	for i := range spec.Nodes {
		l, err := spec.Network.Listen("")
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("node%d: listen: %w", i+1, err), closeAll(links))
		}
		links = append(links, l)
		members = append(members, core.Member{
			ID: fmt.Sprintf("node%d", i+1), Incarnation: core.NewIncarnation(), Address: l.Address(), Voter: true,
		})
	}
	return links, members, nil
}

func closeAll(links []core.Link) error {
	var errs []error
	for _, l := range links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func startNode(spec Spec, self core.Member, link core.Link, members []core.Member) (*Node, error) {
	id := self.ID
	dir := filepath.Join(spec.Dir, id)
	logs, err := spec.OpenStore(filepath.Join(dir, "log"))
	if err != nil {
		return nil, fmt.Errorf("%s: open log store: %w", id, err)
	}
	n := &Node{ID: id, Map: kv.New(), Logs: logs}
	cfg := core.ReplicaConfig{
		ID:          id,
		Incarnation: self.Incarnation,
		FSM:         n.Map,
		Logs:        logs,
		Link:        link,
		Bootstrap:   members,
		Tuning:      spec.Tuning,
	}
	if spec.Trace != nil {
		cfg.Trace = spec.Trace(id)
	}
	if spec.Logger != nil {
		cfg.Logger = spec.Logger.With("node", id)
	}
	if !spec.SnapshotsInMemory {
		cfg.SnapshotDir = dir
	}
	n.Replica, err = spec.Engine.Start(cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", id, err), logs.Close())
	}
	return n, nil
}

// elect makes n the leader and waits until it serves. Which member leads is part
// of what is compared, so it is not left to chance; an engine that cannot be
// told gets the time of its election timeout.
func (c *InProcess) elect(ctx context.Context, n *Node) error {
	campaigner, _ := n.Replica.(core.Campaigner)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var lastErr error
	for round := 0; ; round++ {
		if campaigner != nil && round%100 == 0 { // again now and then: a vote can be lost
			if err := campaigner.Campaign(ctx); err != nil {
				lastErr = err
			}
		}
		if n.Replica.Status().Role == core.Leader {
			if lastErr = n.Replica.ReadBarrier(ctx); lastErr == nil {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-n.Replica.Done():
			return fmt.Errorf("elect %s: %w", n.ID, n.Replica.Err())
		case <-ctx.Done():
			return fmt.Errorf("elect %s: %w", n.ID, errors.Join(ctx.Err(), lastErr))
		}
	}
}

// Leader returns the member that leads the group at the moment, or nil.
func (c *InProcess) Leader() *Node {
	for _, n := range c.Nodes {
		if n.Replica.Status().Role == core.Leader {
			return n
		}
	}
	return nil
}

// Close stops all members, each by core.Replica.Close. The data stays.
func (c *InProcess) Close() error {
	errs := make([]error, len(c.Nodes))
	done := make(chan struct{})
	for i, n := range c.Nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			errs[i] = n.Replica.Close()
		}()
	}
	for range c.Nodes {
		<-done
	}
	return errors.Join(errs...)
}
