package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// removeTimeout leaves time for gossip to notice that a node has failed.
const removeTimeout = 30 * time.Second

func newMembersRemove(m *manager) *cobra.Command {
	var keepData bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a node from the cluster, stop it and delete its data",
		Long: `Remove a node from the configuration, stop its process, take it out of the cluster file
and delete its folder. It does not ask. A leader hands over first. A node that gossips
leaves by itself; if it does not answer, the others have to see that it failed, first.`,
		Args:              wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().BoolVar(&keepData, "keep-data", false, "keep the node's folder")
	addTimeout(c.Flags(), &timeout, removeTimeout)
	c.RunE = func(c *cobra.Command, args []string) error {
		return m.request(c, requestFlags{timeout: timeout}, func(ctx context.Context, s *session, nodes *client.Client) error {
			return s.removeMember(ctx, nodes, args[0], keepData, timeout)
		})
	}
	return c
}

func (s *session) removeMember(ctx context.Context, nodes *client.Client, name string, keepData bool, timeout time.Duration) error {
	n, err := s.node(ctx, name)
	if err != nil {
		return err
	}
	if len(s.file.Nodes) == 1 {
		return usage(fmt.Errorf("%s is the only node in %s: stop it, and delete %s", n.Alias, s.path, s.cluster.Dir(n.Alias)))
	}
	for _, now := range s.cluster.Status(ctx) {
		if now.Node.Alias == n.Alias && now.Status != nil && !now.State.Running { // it could not be stopped
			return fmt.Errorf("remove %s: %w", n.Alias, process.ErrElsewhere)
		}
	}
	status, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	if status.Leader != nil && status.Leader.ID == n.Alias {
		if err := s.transfer(ctx, nodes, "", timeout); err != nil {
			return err
		}
	}
	if err := s.expel(ctx, nodes, n, timeout); err != nil {
		return err
	}
	leads := newReport(s.cluster.Status(ctx)).Leader
	left, err := s.edit(ctx, func(now *clusterfile.File) (*clusterfile.File, error) { return without(now, n.Alias, leads), nil })
	if err != nil {
		return err
	}
	if !keepData {
		if err := os.RemoveAll(s.cluster.Dir(n.Alias)); err != nil {
			return fmt.Errorf("delete the data of %s: %w", n.Alias, err)
		}
	}
	fmt.Fprintf(s.stdout, "Removed %s: %s left\n", n.Alias, count(len(left.Nodes), "node"))
	return nil
}

// expel takes the node out of the configuration and ends its process.
func (s *session) expel(ctx context.Context, nodes *client.Client, n clusterfile.Node, timeout time.Duration) error {
	if s.file.Gossips() {
		return s.expelGossiping(ctx, nodes, n, timeout)
	}
	if err := remove(ctx, nodes, n.Alias); err != nil {
		return err
	}
	return s.cluster.StopNode(ctx, n.Alias)
}

// remove takes a member out of the configuration. A node that has never joined is
// none, but still in the file.
func remove(ctx context.Context, nodes *client.Client, id string) error {
	if err := nodes.Remove(ctx, id); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	return nil
}

// expelGossiping has the node leave, or, if it cannot, ends it and waits until the
// leader hears nothing more of it: a node that gossips would be added again.
func (s *session) expelGossiping(ctx context.Context, nodes *client.Client, n clusterfile.Node, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	answers := func(other process.NodeStatus) bool { return other.Node.Alias == n.Alias && other.Status != nil }
	if slices.ContainsFunc(s.cluster.Status(ctx), answers) {
		if err := nodes.Node(n.HTTPAddress).Leave(ctx); err != nil {
			return err
		}
		err := until(ctx, func() bool {
			state, err := s.cluster.Inspect(n.Alias)
			return err != nil || !state.Running
		})
		if err != nil {
			return fmt.Errorf("%s has left, but its process goes on: %w", n.Alias, err)
		}
		return nil
	}
	if err := s.cluster.StopNode(ctx, n.Alias); err != nil {
		return err
	}
	err := until(ctx, func() bool {
		status, err := nodes.Status(ctx)
		return err == nil && !slices.ContainsFunc(status.Gossip, func(p api.GossipPeer) bool {
			return p.ID == n.Alias && p.State == string(discovery.Alive)
		})
	})
	if err != nil {
		return fmt.Errorf("%s does not run, but the others still hear of it: %w", n.Alias, err)
	}
	return remove(ctx, nodes, n.Alias)
}

// without returns the file without a node. Where that was the file's leader, the
// one that leads now takes its place.
func without(f *clusterfile.File, alias string, leads *string) *clusterfile.File {
	left := *f
	left.Nodes = slices.DeleteFunc(slices.Clone(f.Nodes), func(n clusterfile.Node) bool { return n.Alias == alias })
	if left.Leader != alias {
		return &left
	}
	left.Leader = left.Nodes[0].Alias
	if leads != nil {
		if _, ok := left.Node(*leads); ok {
			left.Leader = *leads
		}
	}
	return &left
}
