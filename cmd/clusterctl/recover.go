package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
)

func newRecover(m *manager) *cobra.Command {
	var yes, dryRun bool
	c := &cobra.Command{
		Use:   "recover [NODE...]",
		Short: "Make a new group of what is left of one that lost its majority",
		Long: `Where most nodes have lost their data for good, those that are left elect no
leader any more. Make a new group of their data: of all nodes whose folders are
there, or of those named, unless with the others they are a majority. None of
them may run. The newest log counts; what may be missing, and what is dropped,
is listed, and then you are asked. The state of before stays in the folders.

'clusterctl start' then starts these nodes, and has those without data join
them.`,
		Args:              cli.Wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what it would do, and write nothing")
	c.RunE = m.on(func(ctx context.Context, s *session, args []string) error {
		r := process.Recovering{Stdin: c.InOrStdin(), Stdout: s.stdout, Stderr: s.stderr}
		if yes {
			r.Args = append(r.Args, "--yes")
		}
		if dryRun {
			r.Args = append(r.Args, "--dry-run")
		}
		return s.recover(ctx, args, r, dryRun)
	})
	return c
}

func (s *session) recover(ctx context.Context, args []string, r process.Recovering, dryRun bool) error {
	if leader := s.report(ctx).Leader; leader != nil {
		return cli.Usagef("%s leads: nothing needs to be recovered", *leader)
	}
	left, err := s.survivors(ctx, args)
	if err != nil {
		return err
	}
	code, err := s.cluster.Recover(ctx, left, r)
	switch {
	case err != nil:
		return err
	case code != 0:
		return cli.Said(code) // kvnode has
	case dryRun:
		return nil
	}
	var others []string
	for _, n := range s.file.Nodes {
		if !slices.Contains(aliases(left), n.Alias) {
			others = append(others, n.Alias)
		}
	}
	what := ""
	if len(others) > 0 {
		what = fmt.Sprintf(", and has %s join them", strings.Join(others, ", "))
	}
	fmt.Fprintf(s.stdout, "Next: %s\nstarts these nodes%s.\n", s.command("start"), what)
	return nil
}

// survivors are the nodes named, or all that have data. Those named must not be a part of a
// majority that is there: the others could go on as the group of before.
func (s *session) survivors(ctx context.Context, args []string) ([]clusterfile.Node, error) {
	all, err := s.cluster.Survivors()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no node of %s has data: there is nothing to recover", s.path)
	}
	named, err := s.nodes(ctx, args)
	if err != nil || len(named) == 0 {
		return all, err
	}
	rest := slices.DeleteFunc(aliases(all), func(alias string) bool { return slices.Contains(aliases(named), alias) })
	switch {
	case len(rest) == 0:
	case len(all) > len(s.file.Nodes)/2:
		return nil, cli.Usagef("not recovering %s alone: with the data of %s a majority of the nodes is there: %s. A folder that is damaged is to be moved away first",
			strings.Join(aliases(named), ", "), strings.Join(rest, ", "), s.command("start"))
	default:
		fmt.Fprintf(s.stderr, "Left out, though their folders hold data: %s\n", strings.Join(rest, ", "))
	}
	return named, nil
}

// leaderless says what to do about a cluster that has no leader because most of its nodes
// are not there; empty: that is not why.
func (s *session) leaderless(r report) string {
	up := 0
	for _, n := range r.Nodes {
		if n.State == stateRunning {
			up++
		}
	}
	if r.Leader != nil || up == 0 || 2*up > len(r.Nodes) {
		return ""
	}
	return fmt.Sprintf("No leader: %d of %d nodes answer, and a majority is needed. Start the others: %s\nIf their data are lost for good: %s, and then %s",
		up, len(r.Nodes), s.command("start"), s.command("stop"), s.command("recover"))
}
