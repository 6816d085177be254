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
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func newMembers(m *manager) *cobra.Command {
	c := &cobra.Command{
		Use:   "members",
		Short: "List, add and remove members of the cluster",
		Long: `List the members as the leader's configuration has them: also those that do not
run. 'members add' and 'members remove' change the configuration, the processes
and the cluster file together. The file is written anew then; comments in it are
lost.`,
		Args: cli.NoCommand,
	}
	list := &cobra.Command{Use: "list", Short: "List the members", Args: cli.Wants(0, 0, "no argument")}
	var f requestFlags
	var output string
	for _, c := range []*cobra.Command{c, list} {
		c.Flags().StringVarP(&output, "output", "o", "text", "text or json (that of GET /members)")
		f.addTimeout(c, api.DefaultTimeout)
		c.RunE = m.request(&f, func(ctx context.Context, s *session, from *client.Client, _ []string) error {
			return s.listMembers(ctx, from, output)
		})
	}
	c.AddCommand(list, newMembersAdd(m), newMembersRemove(m))
	return c
}

func (s *session) listMembers(ctx context.Context, from *client.Client, output string) error {
	if err := outputFormat(output); err != nil {
		return err
	}
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
	process.Options
}

func newMembersAdd(m *manager) *cobra.Command {
	var f addFlags
	c := &cobra.Command{
		Use:   "add ALIAS",
		Short: "Start a new node that joins the cluster",
		Long: `Write a new node to the cluster file, start it, let it join, and wait until it
has what the leader had committed, and votes. Addresses that are not given are
free ones on the host of the other nodes. It may take as long as it wants to
catch up, as long as it gets on: see --ready-timeout.

If it fails half way, the node stays in the file: 'clusterctl start ALIAS' tries
again, 'clusterctl members remove ALIAS' takes it back.`,
		Args: cli.Wants(1, 1, "the alias of the new node"),
	}
	c.Flags().StringVar(&f.http, "http", "", "host:port for clients")
	c.Flags().StringVar(&f.rpc, "rpc", "", "host:port for Raft")
	c.Flags().StringVar(&f.gossip, "gossip", "", "host:port for gossip, if the nodes of the file gossip")
	c.Flags().BoolVar(&f.nonvoter, "nonvoter", false, "it gets the log, but does not vote nor count for a majority")
	addReadyTimeout(c, &f.Options, 10*time.Minute)
	c.RunE = m.toStart(&f.Options, func(ctx context.Context, s *session, args []string) error {
		if _, known := s.file.Node(args[0]); known {
			return cli.Usagef("there is a node %q in %s already; %s starts it", args[0], s.path, s.command("start "+args[0]))
		}
		node, err := newNode(s.file, args[0], f)
		if err != nil {
			return err
		}
		file, err := s.edit(ctx, func(now *clusterfile.File) { now.Nodes = append(now.Nodes, node) })
		if err != nil {
			return err
		}
		return newSession(c, s.path, file, f.Options).addMember(ctx, node, f)
	})
	return c
}

// edit changes the cluster file as it is now: since this command has read it, another
// may have written it.
func (s *session) edit(ctx context.Context, change func(*clusterfile.File)) (f *clusterfile.File, err error) {
	err = s.cluster.Exclusively(ctx, func() error {
		if f, err = clusterfile.Read(s.path); err != nil {
			return cli.Usage(err)
		}
		change(f)
		if err := f.Save(s.path); err != nil { // it checks the nodes, too
			return cli.Usage(err)
		}
		return nil
	})
	return f, err
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
		return n, cli.Usage(err)
	}
	free, err := file.NewNode(alias, host)
	n.HTTPAddress = cmp.Or(n.HTTPAddress, free.HTTPAddress)
	n.RPCAddress = cmp.Or(n.RPCAddress, free.RPCAddress)
	n.GossipAddress = cmp.Or(n.GossipAddress, free.GossipAddress)
	return n, err
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
	return s.catchUp(ctx, nodes, n, f.ReadyTimeout)
}

// catchUp waits until the node has applied what the leader has committed now, and votes if it
// is to, as long as it gets on: patience is how long it may apply no more of that, and then
// have no vote.
func (s *session) catchUp(ctx context.Context, nodes *client.Client, n clusterfile.Node, patience time.Duration) error {
	defer s.watch(true)()
	leader, err := nodes.Status(ctx)
	if err != nil {
		return err
	}
	target := leader.Me.CommitIndex
	node := nodes.Node(n.HTTPAddress)
	var me api.Node
	for moved := time.Now(); ; {
		status, err := node.Status(ctx)
		if err == nil && status.Me.AppliedIndex != me.AppliedIndex && me.AppliedIndex < target {
			moved = time.Now()
		}
		if err == nil {
			me = status.Me
		}
		if err == nil && me.AppliedIndex >= target && (me.Voter || !s.cluster.Votes(n)) {
			break
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("%s joined, but has applied %d of %d entries, none within the last %v, and is a %s", n.Alias,
				me.AppliedIndex, target, patience, vote(me.Voter))
		}
		s.await(fmt.Sprintf("%s, which has applied %d of %d entries", n.Alias, min(me.AppliedIndex, target), target))
		if err := poll.Sleep(ctx, lookEvery); err != nil {
			return err
		}
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

// removeTimeout leaves time for gossip to notice that a node has failed.
const removeTimeout = 30 * time.Second

func newMembersRemove(m *manager) *cobra.Command {
	var keepData bool
	var f requestFlags
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a node from the cluster, stop it and delete its data",
		Long: `Remove a node from the configuration, stop its process, take it out of the
cluster file and delete its folder. It does not ask. A leader hands over first.
A node that gossips leaves by itself; if it does not answer, the others have to
see that it failed, first.`,
		Args:              cli.Wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().BoolVar(&keepData, "keep-data", false, "keep the node's folder")
	f.addTimeout(c, removeTimeout)
	c.RunE = m.request(&f, func(ctx context.Context, s *session, nodes *client.Client, args []string) error {
		return s.cluster.WhileNoneReplaces(func() error { return s.removeMember(ctx, nodes, args[0], keepData, f.timeout) })
	})
	return c
}

func (s *session) removeMember(ctx context.Context, nodes *client.Client, name string, keepData bool, timeout time.Duration) error {
	n, err := s.node(ctx, name)
	if err != nil {
		return err
	}
	if len(s.file.Nodes) == 1 {
		return cli.Usagef("%s is the only node in %s: stop it, and delete %s", n.Alias, s.path, s.cluster.Dir(n.Alias))
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
	leads := s.report(ctx).Leader
	left, err := s.edit(ctx, func(now *clusterfile.File) { takeOut(now, n.Alias, leads) })
	if err != nil {
		return err
	}
	if !keepData {
		if err := os.RemoveAll(s.cluster.Dir(n.Alias)); err != nil {
			return fmt.Errorf("delete the data of %s: %w", n.Alias, err)
		}
	}
	if err := s.cluster.EndReplacing(n.Alias); err != nil { // it was given up
		return err
	}
	fmt.Fprintf(s.stdout, "Removed %s: %s left\n", n.Alias, cli.Count(len(left.Nodes), "node"))
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
	if err := s.stopForGood(ctx, nodes, n); err != nil {
		return err
	}
	return remove(ctx, nodes, n.Alias)
}

// stopForGood ends a node's process and, where it gossips, waits until the leader hears nothing
// more of it: it would be added again.
func (s *session) stopForGood(ctx context.Context, nodes *client.Client, n clusterfile.Node) error {
	if err := s.cluster.StopNode(ctx, n.Alias); err != nil || !s.file.Gossips() {
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
	return nil
}

// takeOut takes a node out of the file. Where that was the file's leader, the one that
// leads now takes its place.
func takeOut(f *clusterfile.File, alias string, leads *string) {
	f.Nodes = slices.DeleteFunc(f.Nodes, func(n clusterfile.Node) bool { return n.Alias == alias })
	if f.Leader != alias {
		return
	}
	f.Leader = f.Nodes[0].Alias
	if leads != nil {
		if _, ok := f.Node(*leads); ok {
			f.Leader = *leads
		}
	}
}

func newTransfer(m *manager) *cobra.Command {
	var f requestFlags
	c := &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "Hand leadership over",
		Long: `Have the leader hand over to a node, or, without one, to the voter that is most
up to date, and wait until the new leader is known.`,
		Args:              cli.Wants(0, 1, "at most one node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	f.addTimeout(c, api.DefaultTimeout)
	c.RunE = m.request(&f, func(ctx context.Context, s *session, nodes *client.Client, args []string) error {
		target := ""
		if len(args) > 0 {
			n, err := s.node(ctx, args[0])
			if err != nil {
				return err
			}
			target = n.Alias
		}
		return s.transfer(ctx, nodes, target, f.timeout)
	})
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
	var f requestFlags
	c := &cobra.Command{
		Use:   "snapshot NODE",
		Short: "Have a node write a snapshot and cut its log",
		Long: `Have a node write a snapshot of its map and cut its log behind it. Each node
does so by itself from time to time; this is for demonstrations and before a
backup.`,
		Args:              cli.Wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	f.addTimeout(c, api.MaxTimeout) // gigabytes take their time
	c.RunE = m.request(&f, func(ctx context.Context, s *session, nodes *client.Client, args []string) error {
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
	return c
}
