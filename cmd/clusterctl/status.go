package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

type statusFlags struct {
	wide     bool
	output   string
	watch    bool
	interval time.Duration
}

func newStatus(m *manager) *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show status of the cluster",
		Long: `Show who leads and who follows. Nodes that do not run are left out, unless --wide
or --output json asks for everything. LAG is how many log entries a node is behind
the leader.

With --watch the table is drawn again and again until Ctrl-C.

  --output json prints one object: "leader", the id of the leader or null, and "nodes",
  for each node of the cluster file in its order:
    alias, http_address, rpc_address, gossip_address
                                       as in the file
    state                              running, paused, unreachable or stopped
    pid, role, group, term, last_index, commit_index, applied_index,
    snapshot_index, lag (entries), uptime_s (seconds)
                                       null where not known; of role, nonvoter is a
                                       follower without a vote, nonmember a node that
                                       was removed, has not joined, or is of another
                                       group: their ids, in group, tell those apart
    gossip                             alive, failed or left: what the other nodes hear
                                       of it, by the leader if there is one; absent if
                                       not known, and without gossip
    error                              why the node does not answer; absent if it does
  With --watch it is one line each time.

Exit codes: 0 if there is a leader, 1 if there is none or no node answers, 2 wrong usage
or cluster file. With --watch: 0 on Ctrl-C.`,
		Args:              wants(0, 0, "no argument"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVarP(&f.wide, "wide", "w", false, "a table of all nodes")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&f.watch, "watch", false, "go on until Ctrl-C, with the wide table")
	c.Flags().DurationVar(&f.interval, "interval", time.Second, "of --watch")
	c.RunE = func(c *cobra.Command, _ []string) error { return status(c, m, f) }
	return c
}

func status(c *cobra.Command, m *manager, f statusFlags) error {
	if err := outputFormat(f.output); err != nil {
		return err
	}
	if f.interval <= 0 {
		return usage(fmt.Errorf("--interval %v: must be above 0", f.interval))
	}
	s, err := m.open(c)
	if err != nil {
		return err
	}
	if f.watch {
		return s.watchStatus(c.Context(), f)
	}
	r := newReport(s.cluster.Status(c.Context()))
	if c.Context().Err() != nil {
		return c.Context().Err()
	}
	switch {
	case f.output == "json":
		err = writeJSON(s.stdout, r, "  ")
	case f.wide:
		r.writeWide(s.stdout)
	case !r.alive():
		return fmt.Errorf("no node runs; start them with %s", s.command("start"))
	default:
		r.writePlain(s.stdout)
	}
	if f.output != "json" {
		s.sayNonmembers(r)
	}
	if err == nil && r.Leader == nil {
		return said(exitFailed)
	}
	return err
}

// watchStatus prints the state until the context ends, which is no failure.
func (s *session) watchStatus(ctx context.Context, f statusFlags) error {
	ticks := time.NewTicker(f.interval)
	defer ticks.Stop()
	redraw := isTerminal(s.stdout)
	for first := true; ; first = false {
		r := newReport(s.cluster.Status(ctx))
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case f.output == "json":
			if err := writeJSON(s.stdout, r, ""); err != nil {
				return err
			}
		case redraw:
			fmt.Fprintf(s.stdout, "\x1b[H\x1b[J%s  %s  (Ctrl-C ends)\n\n", time.Now().Format(time.TimeOnly), s.path)
			r.writeWide(s.stdout)
		default:
			if !first {
				fmt.Fprintln(s.stdout)
			}
			r.writeWide(s.stdout)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

func outputFormat(name string) error {
	if name != "text" && name != "json" {
		return usage(fmt.Errorf("--output %q: must be text or json", name))
	}
	return nil
}

func writeJSON(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetIndent("", indent)
	return e.Encode(v)
}
