package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newStop(m *manager) *cobra.Command {
	return &cobra.Command{
		Use:   "stop [NODE...]",
		Short: "Stop the cluster nodes",
		Long: `Stop all nodes of the cluster file, or those named, and wait until their processes are
gone. A leader hands over first. A node that does not stop in time is killed. Nodes
that do not run are no error. The data stays; 'clusterctl start' finds it.`,
		Args:              wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return m.each(c, args, func(s *session) action { return s.cluster.StopNode })
			}
			s, err := m.open(c)
			if err != nil {
				return err
			}
			return s.cluster.Stop(c.Context())
		},
	}
}

func newKill(m *manager) *cobra.Command {
	return m.signalling("kill", "End nodes with SIGKILL, as a crash does",
		`End nodes with SIGKILL: they cannot hand over, flush or say goodbye. For
demonstrations: what was acknowledged must survive it.`,
		func(s *session) action { return s.cluster.Kill })
}

func newPause(m *manager) *cobra.Command {
	return m.signalling("pause", "Suspend nodes, as an overloaded machine does",
		`Suspend nodes with SIGSTOP: they keep their connections and answer nothing, as on a
machine that hangs. 'clusterctl resume' lets them go on.`,
		func(s *session) action { return s.cluster.Pause })
}

func newResume(m *manager) *cobra.Command {
	return m.signalling("resume", "Let paused nodes go on", "Let paused nodes go on (SIGCONT).",
		func(s *session) action { return s.cluster.Resume })
}

// action does something to the node called alias.
type action func(ctx context.Context, alias string) error

// signalling returns a command that does the same to every node it is given.
func (m *manager) signalling(name, short, long string, pick func(*session) action) *cobra.Command {
	return &cobra.Command{
		Use:               name + " NODE...",
		Short:             short,
		Long:              long,
		Args:              wants(1, -1, "a node"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE:              func(c *cobra.Command, args []string) error { return m.each(c, args, pick) },
	}
}

// each does one thing to the named nodes in turn, up to the first failure.
func (m *manager) each(c *cobra.Command, args []string, pick func(*session) action) error {
	s, err := m.open(c)
	if err != nil {
		return err
	}
	nodes, err := s.nodes(c.Context(), args)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := pick(s)(c.Context(), n.Alias); err != nil {
			return err
		}
	}
	return nil
}
