package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/core"
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
		addTimeout(c.Flags(), &f.timeout)
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
		role := roleNonvoter
		switch {
		case m.Leader:
			role = "leader"
		case m.Voter:
			role = "voter"
		}
		rows = append(rows, []string{m.ID, role, m.Address, cmp.Or(m.HTTPAddress, unknown)})
	}
	writeTable(s.stdout, rows, len(rows[0]))
	return nil
}

type addFlags struct {
	http     string
	rpc      string
	nonvoter bool
	timeout  time.Duration
}

func newMembersAdd(m *manager) *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add ALIAS",
		Short: "Start a new node that joins the cluster",
		Long: `Write a new node to the cluster file, start it, let it join, and wait until it has what
the leader had committed. Addresses that are not given are free ones on the host of the
other nodes.

If it fails half way, the node stays in the file: 'clusterctl start ALIAS' tries again,
'clusterctl members remove ALIAS' takes it back.`,
		Args:              wants(1, 1, "the alias of the new node"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&f.http, "http", "", "host:port for clients")
	c.Flags().StringVar(&f.rpc, "rpc", "", "host:port for Raft")
	c.Flags().BoolVar(&f.nonvoter, "nonvoter", false, "it gets the log, but does not vote nor count for a majority")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "for it to catch up, once it runs")
	c.RunE = func(c *cobra.Command, args []string) error {
		file, err := m.read()
		if err != nil {
			return err
		}
		if _, known := file.Node(args[0]); known {
			return usage(fmt.Errorf("there is a node %q in %s already; 'clusterctl start %[1]s' starts it", args[0], m.config))
		}
		node, err := newNode(file, args[0], f)
		if err != nil {
			return err
		}
		file.Nodes = append(file.Nodes, node)
		return newSession(c, m.config, file).addMember(c.Context(), node, f)
	}
	return c
}

// newNode describes a node that is not in the file yet.
func newNode(file *clusterfile.File, alias string, f addFlags) (clusterfile.Node, error) {
	n := clusterfile.Node{Alias: alias, HTTPAddress: f.http, RPCAddress: f.rpc}
	if f.nonvoter {
		n.Kvnode = map[string]any{"nonvoter": true}
	}
	if n.HTTPAddress != "" && n.RPCAddress != "" {
		return n, nil
	}
	host, _, err := net.SplitHostPort(file.Nodes[0].RPCAddress)
	if err != nil {
		return n, usage(err)
	}
	free, err := clusterfile.Generate(1, host)
	if err != nil {
		return n, err
	}
	n.HTTPAddress = cmp.Or(n.HTTPAddress, free.Nodes[0].HTTPAddress)
	n.RPCAddress = cmp.Or(n.RPCAddress, free.Nodes[0].RPCAddress)
	return n, nil
}

func (s *session) addMember(ctx context.Context, n clusterfile.Node, f addFlags) error {
	if err := s.file.Save(s.path); err != nil { // it checks the new node, too
		return usage(err)
	}
	nodes, err := s.client(ctx, "", 0)
	if err != nil {
		return err
	}
	defer nodes.Close()
	if err := s.startNode(ctx, n.Alias); err != nil {
		return err
	}
	return s.catchUp(ctx, nodes, n, f.timeout)
}

// catchUp waits until the node has applied what the leader has committed now.
func (s *session) catchUp(ctx context.Context, nodes *client.Client, n clusterfile.Node, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
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
		return err == nil && me.AppliedIndex >= leader.Me.CommitIndex
	})
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("%s joined, but has applied only %d of %d entries within %v", n.Alias, me.AppliedIndex, leader.Me.CommitIndex, timeout)
	}
	if err != nil {
		return err
	}
	role := "voter"
	if !me.Voter {
		role = roleNonvoter
	}
	s.log.Printf("%q is a %s and has caught up (index %d)", n.Alias, role, me.AppliedIndex)
	return nil
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

func newMembersRemove(m *manager) *cobra.Command {
	var keepData bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a node from the cluster, stop it and delete its data",
		Long: `Remove a node from the configuration, stop its process, take it out of the cluster file
and delete its folder. It does not ask. A leader hands over first.`,
		Args:              wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().BoolVar(&keepData, "keep-data", false, "keep the node's folder")
	addTimeout(c.Flags(), &timeout)
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
	status, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	if status.Leader != nil && status.Leader.ID == n.Alias {
		if err := s.transfer(ctx, nodes, "", timeout); err != nil {
			return err
		}
	}
	// A node that has never joined is no member, but still in the file.
	if err := nodes.Remove(ctx, n.Alias); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	if err := s.cluster.StopNode(ctx, n.Alias); err != nil {
		return err
	}
	left := without(s.file, n.Alias, newReport(s.cluster.Status(ctx)).Leader)
	if err := left.Save(s.path); err != nil {
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

// without returns the file without a node. Where that was the file's leader, the
// one that leads now takes its place.
func without(f *clusterfile.File, alias string, leads *string) *clusterfile.File {
	left := *f
	left.Nodes = slices.DeleteFunc(slices.Clone(f.Nodes), func(n clusterfile.Node) bool { return n.Alias == alias })
	if left.Leader != alias {
		return &left
	}
	left.Leader = ""
	if leads != nil {
		if _, ok := left.Node(*leads); ok {
			left.Leader = *leads
		}
	}
	return &left
}
