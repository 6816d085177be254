package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
)

// addReadyTimeout adds the flag for what [process.Options] calls ReadyTimeout.
func addReadyTimeout(c *cobra.Command, timeout *time.Duration, byDefault time.Duration) {
	c.Flags().DurationVar(timeout, "ready-timeout", byDefault,
		"give up on a node that is not ready and for this time has applied and received nothing more")
}

const readyTimeout = 30 * time.Second // by default

func newStart(m *manager) *cobra.Command {
	var o process.Options
	c := &cobra.Command{
		Use:   "start [NODE...]",
		Short: "Start the cluster nodes",
		Long: `Start the nodes of the cluster file, or those named, and wait until they are ready.
On the first start they found the cluster together; or, where the file names a leader,
that one founds it, and the others join. Later starts find the state where it was left.
Nodes that run already are left alone.

If a node does not start, the end of its log is printed and the exit code is 1; the
others go on running.`,
		Args:              wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := m.openToStart(c, o)
			if err != nil {
				return err
			}
			return s.start(c.Context(), args)
		},
	}
	addReadyTimeout(c, &o.ReadyTimeout, readyTimeout)
	c.Flags().BoolVar(&o.TakeOver, "take-over", false, "the data in data_dir are this cluster's, though another cluster file has made them")
	return c
}

func (s *session) start(ctx context.Context, args []string) error {
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
	defer s.watch(newReport(s.cluster.Status(ctx)).Leader != nil)()
	if len(nodes) == 0 {
		err = s.cluster.Start(ctx)
	} else {
		err = s.cluster.StartNodes(ctx, aliases(nodes)...)
	}
	var stranger *process.NotMemberError
	if errors.As(err, &stranger) {
		return fmt.Errorf("%w; %s", err, s.addAgain(stranger.Alias))
	}
	return err
}

// sayReady prints the line that closes a start.
func (s *session) sayReady(ctx context.Context) {
	r := newReport(s.cluster.Status(ctx))
	nodes := count(r.running(), "node")
	defer s.sayNonmembers(r)
	if r.Leader == nil {
		s.log.Printf("Started: %s, but none leads at the moment", nodes)
		return
	}
	s.log.Printf("Cluster is ready: leader %s, %s", *r.Leader, nodes)
}

func newRestart(m *manager) *cobra.Command {
	var all bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "restart NODE... | --all",
		Short: "Stop nodes and start them again, one at a time",
		Long: `Stop nodes and start them again, one at a time: the next one is stopped once the one
before is ready. With --all, the leader comes last, so that leadership moves once and
clients can go on writing meanwhile.`,
		Args:              wants(0, -1, "nodes"),
		ValidArgsFunction: m.completeNodes(-1),
	}
	c.Flags().BoolVar(&all, "all", false, "restart every node, the leader last")
	addReadyTimeout(c, &timeout, readyTimeout)
	c.RunE = func(c *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage(errors.New("restart wants either nodes or --all"))
		}
		s, err := m.openToStart(c, process.Options{ReadyTimeout: timeout})
		if err != nil {
			return err
		}
		return s.restart(c.Context(), args)
	}
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
	nodes := slices.Clone(s.file.Nodes)
	r := newReport(s.cluster.Status(ctx))
	leads := func(n clusterfile.Node) bool { return r.Leader != nil && *r.Leader == n.Alias }
	if i := slices.IndexFunc(nodes, leads); i >= 0 {
		leader := nodes[i]
		nodes = append(slices.Delete(nodes, i, i+1), leader)
	}
	return nodes
}

const (
	lookEvery = 100 * time.Millisecond
	settleFor = 500 * time.Millisecond
)

func newWait(m *manager) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the nodes that run follow one leader",
		Long: `Wait until every node that runs answers, all follow the same leader, and that has been
so for half a second. Prints nothing; the exit code is 1 if it does not come about in
time. For scripts, after a leader was stopped.`,
		Args:              wants(0, 0, "no argument"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "give up after this time")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if timeout <= 0 {
			return usage(fmt.Errorf("--timeout %v: must be above 0", timeout))
		}
		s, err := m.open(c)
		if err != nil {
			return err
		}
		return s.settle(c.Context(), timeout)
	}
	return c
}

// settle returns once the nodes that run agree on a leader and stay so.
func (s *session) settle(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var since time.Time
	last, missing := "", ""
	for {
		picture, lack := newReport(s.cluster.Status(ctx)).agreement()
		if ctx.Err() == nil { // otherwise nobody was asked any more
			missing = lack
		}
		switch now := time.Now(); {
		case lack != "" || picture != last:
			last, since = picture, now
		case now.Sub(since) >= settleFor:
			return nil
		}
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, errTimeout) {
				return err
			}
			if missing == "" {
				missing = "the leader keeps changing"
			}
			return fmt.Errorf("wait: not settled within %v: %s", timeout, missing)
		case <-ticks.C:
		}
	}
}

var errTimeout = errors.New("timeout")

// agreement returns who leads whom, or what is missing for all to follow one
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
