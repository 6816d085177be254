package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// requestFlags say how a request reaches the cluster.
type requestFlags struct {
	node        string
	timeout     time.Duration
	consistency string // of reads
}

func (f *requestFlags) addTo(m *manager, c *cobra.Command, what string) {
	c.Flags().StringVar(&f.node, "node", "", what)
	_ = c.RegisterFlagCompletionFunc("node", m.completeNodes(-1)) // the flag is there
	addTimeout(c.Flags(), &f.timeout, api.DefaultTimeout)
}

func (f *requestFlags) addRead(m *manager, c *cobra.Command) {
	f.addTo(m, c, "read on this node and no other (default: any)")
	c.Flags().StringVar(&f.consistency, "consistency", api.Linearizable, "linearizable, leader or stale")
	levels := cobra.FixedCompletions([]string{api.Linearizable, api.Leader, api.Stale}, cobra.ShellCompDirectiveNoFileComp)
	_ = c.RegisterFlagCompletionFunc("consistency", levels) // the flag is there
}

const toAnyNode = "send it to this node, which hands it on to the leader (default: any)"

func addTimeout(flags *pflag.FlagSet, timeout *time.Duration, byDefault time.Duration) {
	flags.DurationVar(timeout, "timeout", byDefault, "give up after this time, waiting for a leader included")
}

func checkTimeout(timeout time.Duration) error {
	if timeout <= 0 || timeout > api.MaxTimeout {
		return usage(fmt.Errorf("--timeout %v: must be above 0 and at most %v", timeout, api.MaxTimeout))
	}
	return nil
}

// request calls do with a client that the flags describe.
func (m *manager) request(c *cobra.Command, f requestFlags, do func(context.Context, *session, *client.Client) error) error {
	if err := checkTimeout(f.timeout); err != nil {
		return err
	}
	s, err := m.open(c)
	if err != nil {
		return err
	}
	nodes, err := s.client(c.Context(), f.node, f.timeout)
	if err != nil {
		return err
	}
	return errors.Join(do(c.Context(), s, nodes), nodes.Close())
}

// reader is a client or one of its nodes.
type reader interface {
	Get(ctx context.Context, key string, level client.Consistency) (client.Value, error)
	Scan(ctx context.Context, prefix, after string, limit int, level client.Consistency) (client.Page, error)
}

// query calls do with what the flags want to be read from.
func (m *manager) query(c *cobra.Command, f requestFlags, do func(context.Context, *session, reader, client.Consistency) error) error {
	level := client.Consistency(f.consistency)
	switch level {
	case client.Linearizable, client.Leader, client.Stale:
	default:
		return usage(fmt.Errorf("--consistency %q: must be linearizable, leader or stale", f.consistency))
	}
	return m.request(c, f, func(ctx context.Context, s *session, nodes *client.Client) error {
		var from reader = nodes
		if f.node != "" {
			from = nodes.Nodes()[0] // the only one
		}
		return do(ctx, s, from, level)
	})
}

func newGet(m *manager) *cobra.Command {
	var f requestFlags
	var raw, index bool
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key and a newline. The exit code is 1 if there is no such key.

Reads are linearizable on every node, unless --consistency says otherwise: "leader"
trusts the leader's lease, "stale" takes what the asked node holds.

  clusterctl get fruit --node node3 --consistency stale
  clusterctl set fruit plum --if-match $(clusterctl get fruit --index)`,
		Args:              wants(1, 1, "a key"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addRead(m, c)
	c.Flags().BoolVar(&raw, "raw", false, "print the bytes of the value as they are, without a newline")
	c.Flags().BoolVar(&index, "index", false, "print the log index of the key's last change instead")
	c.RunE = func(c *cobra.Command, args []string) error {
		return m.query(c, f, func(ctx context.Context, s *session, from reader, level client.Consistency) error {
			v, err := from.Get(ctx, args[0], level)
			switch {
			case errors.Is(err, core.ErrNotFound):
				return fmt.Errorf("key %q not found", args[0])
			case err != nil:
				return err
			case index:
				_, err = fmt.Fprintln(s.stdout, v.Index)
			case raw:
				_, err = s.stdout.Write(v.Data)
			default:
				_, err = fmt.Fprintf(s.stdout, "%s\n", v.Data)
			}
			return err
		})
	}
	return c
}

func newKeys(m *manager) *cobra.Command {
	var f requestFlags
	var prefix string
	var limit int
	c := &cobra.Command{
		Use:   "keys",
		Short: "List the keys, sorted",
		Long: `List the keys, sorted by their bytes, one on a line. They are read page by page: a
key that is written meanwhile may or may not be listed.`,
		Args:              wants(0, 0, "no argument"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addRead(m, c)
	c.Flags().StringVar(&prefix, "prefix", "", "only keys that begin with this")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many (default: all)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if limit < 0 {
			return usage(fmt.Errorf("--limit %d: must not be negative", limit))
		}
		return m.query(c, f, func(ctx context.Context, s *session, from reader, level client.Consistency) error {
			return s.listKeys(ctx, from, level, prefix, limit)
		})
	}
	return c
}

// listKeys prints the keys; limit 0 stands for all.
func (s *session) listKeys(ctx context.Context, from reader, level client.Consistency, prefix string, limit int) error {
	out := bufio.NewWriter(s.stdout)
	left, after := limit, ""
	for {
		size := api.MaxPageLimit
		if limit > 0 {
			size = min(size, left)
		}
		page, err := from.Scan(ctx, prefix, after, size, level)
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		for _, p := range page.Pairs {
			fmt.Fprintln(out, p.Key)
		}
		left -= len(page.Pairs)
		after = page.Next
		if after == "" || (limit > 0 && left <= 0) {
			return out.Flush()
		}
	}
}
