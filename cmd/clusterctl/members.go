package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func newMembers(m *manager) *cobra.Command {
	var f requestFlags
	var output string
	list := func(c *cobra.Command, _ []string) error {
		if err := outputFormat(output); err != nil {
			return err
		}
		return m.request(c, f, func(ctx context.Context, s *session, from *client.Client) error {
			return s.listMembers(ctx, from, output)
		})
	}
	c := &cobra.Command{
		Use:   "members",
		Short: "List, add and remove members of the cluster",
		Long: `List the members as the leader's configuration has them: also those that do not run.
'members add' and 'members remove' change the configuration, the processes and the
cluster file together. The file is written anew then; comments in it are lost.`,
		Args:              noCommand,
		RunE:              list,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	listCommand := &cobra.Command{
		Use:               "list",
		Short:             "List the members",
		Args:              wants(0, 0, "no argument"),
		RunE:              list,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	for _, c := range []*cobra.Command{c, listCommand} {
		c.Flags().StringVarP(&output, "output", "o", "text", "text or json (that of GET /members)")
		addTimeout(c.Flags(), &f.timeout, api.DefaultTimeout)
	}
	c.AddCommand(listCommand, newMembersAdd(m), newMembersRemove(m))
	return c
}

func (s *session) listMembers(ctx context.Context, from *client.Client, output string) error {
	members, err := from.Members(ctx)
	if err != nil {
		return err
	}
	if output == "json" {
		return writeJSON(s.stdout, api.Members{Members: members}, "  ")
	}
	rows := [][]string{{"NODE", "ROLE", "RAFT", "HTTP"}}
	for _, m := range members {
		role := vote(m.Voter)
		if m.Leader {
			role = "leader"
		}
		rows = append(rows, []string{m.ID, role, m.Address, cmp.Or(m.HTTPAddress, unknown)})
	}
	writeTable(s.stdout, rows, len(rows[0]))
	return nil
}

type addFlags struct {
	http     string
	rpc      string
	gossip   string
	nonvoter bool
	timeout  time.Duration
}

func newMembersAdd(m *manager) *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add ALIAS",
		Short: "Start a new node that joins the cluster",
		Long: `Write a new node to the cluster file, start it, let it join, and wait until it has what
the leader had committed, and votes. Addresses that are not given are free ones on the
host of the other nodes. It may take as long as it wants to catch up, as long as it gets
on: see --ready-timeout.

If it fails half way, the node stays in the file: 'clusterctl start ALIAS' tries again,
'clusterctl members remove ALIAS' takes it back.`,
		Args:              wants(1, 1, "the alias of the new node"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&f.http, "http", "", "host:port for clients")
	c.Flags().StringVar(&f.rpc, "rpc", "", "host:port for Raft")
	c.Flags().StringVar(&f.gossip, "gossip", "", "host:port for gossip, if the nodes of the file gossip")
	c.Flags().BoolVar(&f.nonvoter, "nonvoter", false, "it gets the log, but does not vote nor count for a majority")
	addReadyTimeout(c, &f.timeout, 10*time.Minute)
	c.RunE = func(c *cobra.Command, args []string) error {
		o := process.Options{ReadyTimeout: f.timeout}
		s, err := m.openToStart(c, o)
		if err != nil {
			return err
		}
		if _, known := s.file.Node(args[0]); known {
			return usage(fmt.Errorf("there is a node %q in %s already; %s starts it", args[0], m.config, s.command("start "+args[0])))
		}
		node, err := newNode(s.file, args[0], f)
		if err != nil {
			return err
		}
		file, err := s.edit(c.Context(), func(now *clusterfile.File) (*clusterfile.File, error) {
			now.Nodes = append(now.Nodes, node)
			return now, nil
		})
		if err != nil {
			return err
		}
		return newSession(c, m.config, file, o).addMember(c.Context(), node, f)
	}
	return c
}

// edit changes the cluster file as it is now: since this command has read it, another
// may have written it.
func (s *session) edit(ctx context.Context, change func(*clusterfile.File) (*clusterfile.File, error)) (changed *clusterfile.File, err error) {
	err = s.cluster.Exclusively(ctx, func() error {
		now, err := clusterfile.Read(s.path)
		if err != nil {
			return usage(err)
		}
		if changed, err = change(now); err != nil {
			return err
		}
		if err := changed.Save(s.path); err != nil { // it checks the nodes, too
			return usage(err)
		}
		return nil
	})
	return changed, err
}

// newNode describes a node that is not in the file yet.
func newNode(file *clusterfile.File, alias string, f addFlags) (clusterfile.Node, error) {
	n := clusterfile.Node{Alias: alias, HTTPAddress: f.http, RPCAddress: f.rpc, GossipAddress: f.gossip}
	if f.nonvoter {
		n.Kvnode = map[string]any{"nonvoter": true}
	}
	if n.HTTPAddress != "" && n.RPCAddress != "" && (n.GossipAddress != "" || !file.Gossips()) {
		return n, nil
	}
	host, _, err := net.SplitHostPort(file.Nodes[0].RPCAddress)
	if err != nil {
		return n, usage(err)
	}
	free, err := clusterfile.GenerateGossip(1, host)
	if err != nil {
		return n, err
	}
	n.HTTPAddress = cmp.Or(n.HTTPAddress, free.Nodes[0].HTTPAddress)
	n.RPCAddress = cmp.Or(n.RPCAddress, free.Nodes[0].RPCAddress)
	if file.Gossips() {
		n.GossipAddress = cmp.Or(n.GossipAddress, free.Nodes[0].GossipAddress)
	}
	return n, nil
}

func (s *session) addMember(ctx context.Context, n clusterfile.Node, f addFlags) error {
	nodes, err := s.client(ctx, "", 0)
	if err != nil {
		return err
	}
	defer nodes.Close()
	if err := s.startNodes(ctx, n); err != nil {
		return err
	}
	return s.catchUp(ctx, nodes, n, f)
}

// catchUp waits until the node has applied what the leader has committed now, and
// votes if it wants to.
func (s *session) catchUp(ctx context.Context, nodes *client.Client, n clusterfile.Node, f addFlags) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errTimeout)
	defer cancel()
	leader, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	node := nodes.Node(n.HTTPAddress)
	var me api.Node
	err = until(ctx, func() bool {
		status, err := node.Status(ctx)
		if err == nil {
			me = status.Me
		}
		return err == nil && me.AppliedIndex >= leader.Me.CommitIndex && (me.Voter || f.nonvoter)
	})
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("%s joined, but within %v it has applied %d of %d entries and is a %s", n.Alias, f.timeout,
			me.AppliedIndex, leader.Me.CommitIndex, vote(me.Voter))
	}
	if err != nil {
		return err
	}
	s.log.Printf("%q is a %s and has caught up (index %d)", n.Alias, vote(me.Voter), me.AppliedIndex)
	return nil
}

func vote(voter bool) string {
	if voter {
		return "voter"
	}
	return roleNonvoter
}

// until returns once done does, or with the cause of the context's end.
func until(ctx context.Context, done func() bool) error {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
		}
	}
	return nil
}
