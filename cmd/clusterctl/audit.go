package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/client"
)

func newAudit(m *manager) *cobra.Command {
	var only []string
	var patience time.Duration
	c := &cobra.Command{
		Use:   "audit JOURNAL",
		Short: "Check that every acknowledged write of a load is on every node",
		Long: `Read back from every node what the journal of 'clusterctl load' says was written, and
compare. What was acknowledged must be there, what was refused must not; of a write
whose outcome is unknown both is right. Exit code 1 with a line per finding if anything
is not as it has to be. Nobody else may write to the same keys.

All nodes have to run, or those named by --node.`,
		Args: wants(1, 1, "the journal of a load"),
	}
	c.Flags().StringArrayVar(&only, "node", nil, "read from this node only (may be repeated; default: every node)")
	_ = c.RegisterFlagCompletionFunc("node", m.completeNodes(-1)) // the flag is there
	c.Flags().DurationVar(&patience, "timeout", 30*time.Second, "for each node to catch up")
	c.RunE = func(c *cobra.Command, args []string) error {
		if patience <= 0 {
			return usage(fmt.Errorf("--timeout %v: must be above 0", patience))
		}
		s, err := m.open(c)
		if err != nil {
			return err
		}
		return s.audit(c.Context(), args[0], only, patience)
	}
	return c
}

func (s *session) audit(ctx context.Context, path string, only []string, patience time.Duration) error {
	journal, err := audit.ReadJournal(path)
	if err != nil {
		return usage(err)
	}
	chosen := s.file.Nodes
	if len(only) > 0 {
		if chosen, err = s.nodes(ctx, only); err != nil {
			return err
		}
	}
	if err := s.allRun(chosen); err != nil {
		return err
	}
	group, err := s.client(ctx, "", 0)
	if err != nil {
		return err
	}
	defer group.Close()
	var nodes []*client.Node
	names := make(map[string]string) // of what stands for a node in a finding, the alias
	for _, n := range chosen {
		nodes = append(nodes, group.Node(n.HTTPAddress))
		names[n.HTTPAddress] = n.Alias
	}
	found, err := audit.Check(ctx, group, journal, nodes, audit.CheckOptions{Patience: patience})
	if err != nil {
		return err
	}
	for _, f := range found.List {
		f.Node = cmp.Or(names[f.Node], f.Node)
		fmt.Fprintln(s.stdout, f)
	}
	fmt.Fprintf(s.stdout, "Checked %s on %s: ", count(found.Keys, "key"), count(len(chosen), "node"))
	if !found.OK() {
		fmt.Fprintln(s.stdout, count(found.Total, "finding"))
		return said(exitFailed)
	}
	fmt.Fprintln(s.stdout, "every acknowledged write is there")
	if found.Unknown > 0 {
		fmt.Fprintf(s.stdout, "Of %s of unknown outcome, %d took effect\n", count(found.Unknown, "write"), found.UnknownTaken)
	}
	return nil
}

// allRun wants every one of the nodes to run.
func (s *session) allRun(nodes []clusterfile.Node) error {
	for _, n := range nodes {
		state, err := s.cluster.Inspect(n.Alias)
		if err != nil {
			return err
		}
		if !state.Running {
			return fmt.Errorf("%s does not run: start it, or name the nodes to read with --node", n.Alias)
		}
	}
	return nil
}
