package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func newTransfer(m *manager) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "Hand leadership over",
		Long: `Have the leader hand over to a node, or, without one, to the voter that is most up to
date, and wait until the new leader is known.`,
		Args:              wants(0, 1, "at most one node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	addTimeout(c.Flags(), &timeout, api.DefaultTimeout)
	c.RunE = func(c *cobra.Command, args []string) error {
		return m.request(c, requestFlags{timeout: timeout}, func(ctx context.Context, s *session, nodes *client.Client) error {
			target := ""
			if len(args) > 0 {
				n, err := s.node(ctx, args[0])
				if err != nil {
					return err
				}
				target = n.Alias
			}
			return s.transfer(ctx, nodes, target, timeout)
		})
	}
	return c
}

// transfer hands leadership to a node, "" for any, and waits for it to lead.
func (s *session) transfer(ctx context.Context, nodes *client.Client, target string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	before, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	if before.Leader != nil && before.Leader.ID == target {
		fmt.Fprintf(s.stdout, "%s leads already\n", target)
		return nil
	}
	if err := nodes.Transfer(ctx, target); err != nil {
		return err
	}
	var leader api.Peer
	err = until(ctx, func() bool {
		now, err := nodes.Status(ctx)
		if err != nil || now.Me.Role != "leader" || now.Me.Term <= before.Me.Term {
			return false
		}
		leader = now.Me.Peer
		return true
	})
	if err != nil {
		return fmt.Errorf("transfer leadership: the leader agreed, but no new one is known: %w", err)
	}
	if target != "" && leader.ID != target {
		return fmt.Errorf("transfer leadership: %s was elected, not %s", leader.ID, target)
	}
	fmt.Fprintf(s.stdout, "Leader: %s (%s)\n", leader.ID, leader.Address)
	return nil
}

func newSnapshot(m *manager) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "snapshot NODE",
		Short: "Have a node write a snapshot and cut its log",
		Long: `Have a node write a snapshot of its map and cut its log behind it. Each node does so
by itself from time to time; this is for demonstrations and before a backup.`,
		Args:              wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	addTimeout(c.Flags(), &timeout, api.MaxTimeout) // gigabytes take their time
	c.RunE = func(c *cobra.Command, args []string) error {
		return m.request(c, requestFlags{timeout: timeout}, func(ctx context.Context, s *session, nodes *client.Client) error {
			n, err := s.node(ctx, args[0])
			if err != nil {
				return err
			}
			node := nodes.Node(n.HTTPAddress)
			if err := node.Snapshot(ctx); err != nil {
				return err
			}
			status, err := node.Status(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.stdout, "Snapshot on %s at index %d\n", n.Alias, status.Me.SnapshotIndex)
			return nil
		})
	}
	return c
}
