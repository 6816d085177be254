package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
)

// addReadyTimeout adds the flag for what [process.Options] calls ReadyTimeout.
func addReadyTimeout(c *cobra.Command, o *process.Options, byDefault time.Duration) {
	c.Flags().DurationVar(&o.ReadyTimeout, "ready-timeout", byDefault,
		"give up on a node that is not ready and for this time has applied and received nothing more")
}

const readyTimeout = 30 * time.Second // by default

func newStart(m *manager) *cobra.Command {
	var o process.Options
	c := &cobra.Command{
		Use:   "start [NODE...]",
		Short: "Start the cluster nodes",
		Long: `Start the nodes of the cluster file, or those named, and wait until they are
ready. On the first start they found the cluster together; or, where the file
names a leader, that one founds it, and the others join. Later starts find the
state where it was left. Nodes that run already are left alone.

If a node does not start, the end of its log is printed and the exit code is 1;
the others go on running.`,
		Args:              cli.Wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE:              m.toStart(&o, start),
	}
	addReadyTimeout(c, &o, readyTimeout)
	c.Flags().BoolVar(&o.TakeOver, "take-over", false, "the data in data_dir are this cluster's, though another cluster file has made them")
	return c
}

func start(ctx context.Context, s *session, args []string) error {
	nodes, err := s.nodes(ctx, args)
	if err != nil {
		return err
	}
	if err := s.startNodes(ctx, nodes...); err != nil {
		return err
	}
	s.sayReady(ctx)
	return nil
}

// startNodes starts the nodes, all of them if none is named.
func (s *session) startNodes(ctx context.Context, nodes ...clusterfile.Node) (err error) {
	defer s.watch(s.report(ctx).Leader != nil)()
	if len(nodes) == 0 {
		err = s.cluster.Start(ctx)
	} else {
		err = s.cluster.StartNodes(ctx, aliases(nodes)...)
	}
	var stranger *process.NotMemberError
	if errors.As(err, &stranger) {
		return fmt.Errorf("%w; %s", err, s.asNewMember(stranger.Alias))
	}
	return err
}

// sayReady prints the line that closes a start.
func (s *session) sayReady(ctx context.Context) {
	r := s.report(ctx)
	nodes := cli.Count(r.running(), "node")
	defer s.sayNonmembers(r)
	if r.Leader == nil {
		s.log.Printf("Started: %s, but none leads at the moment", nodes)
		if text := s.leaderless(r); text != "" {
			fmt.Fprintln(s.stderr, text)
		}
		return
	}
	s.log.Printf("Cluster is ready: leader %s, %s", *r.Leader, nodes)
}

func newRestart(m *manager) *cobra.Command {
	var all bool
	var o process.Options
	c := &cobra.Command{
		Use:   "restart NODE... | --all",
		Short: "Stop nodes and start them again, one at a time",
		Long: `Stop nodes and start them again, one at a time: the next one is stopped once the
one before is ready. With --all, the leader comes last, so that leadership moves
once and clients can go on writing meanwhile.`,
		Args:              cli.Wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
	}
	c.Flags().BoolVar(&all, "all", false, "restart every node, the leader last")
	addReadyTimeout(c, &o, readyTimeout)
	c.RunE = m.toStart(&o, func(ctx context.Context, s *session, args []string) error {
		if all == (len(args) > 0) {
			return cli.Usagef("restart wants either nodes or --all")
		}
		return s.restart(ctx, args)
	})
	return c
}

// restart restarts the named nodes, or all if none is named.
func (s *session) restart(ctx context.Context, args []string) error {
	nodes, err := s.nodes(ctx, args)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		nodes = s.leaderLast(ctx)
	}
	for _, n := range nodes {
		if err := s.cluster.StopNode(ctx, n.Alias); err != nil {
			return err
		}
		if err := s.startNodes(ctx, n); err != nil {
			return err
		}
	}
	s.sayReady(ctx)
	return nil
}

func (s *session) leaderLast(ctx context.Context) []clusterfile.Node {
	r := s.report(ctx)
	leads := func(n clusterfile.Node) int {
		if r.Leader != nil && *r.Leader == n.Alias {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(s.file.Nodes), func(a, b clusterfile.Node) int { return leads(a) - leads(b) })
}

func newStop(m *manager) *cobra.Command {
	return &cobra.Command{
		Use:   "stop [NODE...]",
		Short: "Stop the cluster nodes",
		Long: `Stop all nodes of the cluster file, or those named, and wait until their
processes are gone. A leader hands over first. A node that does not stop in time
is killed. Nodes that do not run are no error. The data stays:
'clusterctl start' finds it.`,
		Args:              cli.Wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE: m.on(func(ctx context.Context, s *session, args []string) error {
			if len(args) == 0 {
				return s.cluster.Stop(ctx)
			}
			return s.each(ctx, args, s.cluster.StopNode)
		}),
	}
}

func newKill(m *manager) *cobra.Command {
	return m.signalling("kill", "End nodes with SIGKILL, as a crash does",
		`End nodes with SIGKILL: they cannot hand over, flush or say goodbye. For
demonstrations: what was acknowledged must survive it.`,
		(*process.Cluster).Kill)
}

func newPause(m *manager) *cobra.Command {
	return m.signalling("pause", "Suspend nodes, as an overloaded machine does",
		`Suspend nodes with SIGSTOP: they keep their connections and answer nothing, as
on a machine that hangs. 'clusterctl resume' lets them go on.`,
		(*process.Cluster).Pause)
}

func newResume(m *manager) *cobra.Command {
	return m.signalling("resume", "Let paused nodes go on", "Let paused nodes go on (SIGCONT).",
		(*process.Cluster).Resume)
}

// signalling returns a command that does the same to every node it is given.
func (m *manager) signalling(name, short, long string, send func(*process.Cluster, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               name + " NODE...",
		Short:             short,
		Long:              long,
		Args:              cli.Wants(1, -1, "a node"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE: m.on(func(ctx context.Context, s *session, args []string) error {
			return s.each(ctx, args, func(ctx context.Context, alias string) error { return send(s.cluster, ctx, alias) })
		}),
	}
}

// each does one thing to the named nodes in turn, up to the first failure.
func (s *session) each(ctx context.Context, names []string, do func(ctx context.Context, alias string) error) error {
	nodes, err := s.nodes(ctx, names)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := do(ctx, n.Alias); err != nil {
			return err
		}
	}
	return nil
}

// settleFor is how long the nodes have to agree.
const settleFor = 500 * time.Millisecond

func newWait(m *manager) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the nodes that run follow one leader",
		Long: `Wait until every node that runs answers, all follow the same leader, and that
has been so for half a second. Prints nothing; the exit code is 1 if it does not
come about in time. For scripts, after a leader was stopped.`,
		Args: cli.Wants(0, 0, "no argument"),
	}
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "give up after this time")
	c.RunE = m.on(func(ctx context.Context, s *session, _ []string) error {
		if err := above0("--timeout", timeout); err != nil {
			return err
		}
		return s.settle(ctx, timeout)
	})
	return c
}

// settle returns once the nodes that run agree on a leader and stay so.
func (s *session) settle(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	var since time.Time
	last, missing := "", ""
	err := until(ctx, func() bool {
		picture, lack := s.report(ctx).agreement()
		if ctx.Err() == nil { // otherwise no node was asked any more
			missing = lack
		}
		if lack != "" || picture != last {
			last, since = picture, time.Now()
			return false
		}
		return time.Since(since) >= settleFor
	})
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("wait: not settled within %v: %s", timeout, cmp.Or(missing, "the leader keeps changing"))
	}
	return err
}

// agreement returns the leader and its followers, or what is missing for all to follow one
// leader.
func (r report) agreement() (picture, missing string) {
	if r.Leader == nil {
		return "", "no node leads"
	}
	parts := []string{*r.Leader}
	for _, n := range r.Nodes {
		switch {
		case n.State == stateStopped:
			continue
		case n.State != stateRunning:
			return "", n.Alias + " is " + n.State
		case n.follows != *r.Leader:
			return "", fmt.Sprintf("%s does not follow %s", n.Alias, *r.Leader)
		}
		parts = append(parts, n.Alias)
	}
	return strings.Join(parts, " "), ""
}
