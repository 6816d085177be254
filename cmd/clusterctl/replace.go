package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

type replaceFlags struct {
	force   bool
	timeout time.Duration
	process.Options
}

func newReplace(m *manager) *cobra.Command {
	var f replaceFlags
	c := &cobra.Command{
		Use:   "replace NODE",
		Short: "Give a member whose data are lost or damaged new ones",
		Long: `Replace a member whose folder was wiped or is damaged, while the others go on:
end what is left of it, remove it from the group, move its folder aside, start
it with an empty one under the same name and addresses, and wait until it has
caught up and votes, if it is to. Nothing is deleted: what it had stays in
data_dir/NODE.replaced-TIME.

The others must be a majority without it. If they are not, the group cannot
change its members any more: 'clusterctl recover' makes a new one from what is
left. A member that runs and is well is refused, unless --force is given.

Whenever it is interrupted, by Ctrl-C, a timeout or a crash, the same command
goes on where it was.`,
		Args:              cli.Wants(1, 1, "a node"),
		ValidArgsFunction: m.completeNodes(1),
	}
	c.Flags().BoolVar(&f.force, "force", false, "replace also a member that runs and is well")
	c.Flags().DurationVar(&f.timeout, "timeout", removeTimeout, "how long the removal may take")
	addReadyTimeout(c, &f.Options, 10*time.Minute)
	c.RunE = m.toStart(&f.Options, func(ctx context.Context, s *session, args []string) error {
		if err := above0("--timeout", f.timeout); err != nil {
			return err
		}
		n, err := s.node(ctx, args[0])
		if err != nil {
			return err
		}
		return s.cluster.WhileNoneReplaces(func() error { return s.replace(ctx, n, f) })
	})
	return c
}

// replace gives a node new data. What it is about to do, and has done, is written down, so
// that it can be ended at any point: before the first change, and then once the old folder is
// aside. Until then the member of the group is the old one; nobody starts a new one before.
func (s *session) replace(ctx context.Context, n clusterfile.Node, f replaceFlags) error {
	others, err := s.clientOfOthers(n)
	if err != nil {
		return err
	}
	defer others.Close()
	r, underWay, err := s.cluster.Replacing(n.Alias)
	if err != nil {
		return err
	}
	if !r.Aside { // also where it goes on: the others may have gone meanwhile
		if err := s.mayReplace(ctx, others, n, f.force || underWay); err != nil {
			return fmt.Errorf("not replacing %s: %w", n.Alias, err)
		}
	}
	if underWay {
		s.log.Printf("Going on with the replacement of %q that began at %s", n.Alias, r.Begun.Local().Format(time.DateTime))
	} else {
		s.log.Printf("Replacing %q: a majority answers without it", n.Alias)
		if r, err = s.cluster.BeginReplacing(n.Alias); err != nil {
			return err
		}
	}
	var done []string
	if err := s.renew(ctx, others, n, r, f, &done); err != nil {
		s.sayUnfinished(n, done)
		return fmt.Errorf("replace %s: %w", n.Alias, err)
	}
	return s.cluster.EndReplacing(n.Alias)
}

// clientOfOthers returns a client of all nodes but one. The caller closes it.
func (s *session) clientOfOthers(n clusterfile.Node) (*client.Client, error) {
	others := slices.DeleteFunc(s.awake(), func(o clusterfile.Node) bool { return o.Alias == n.Alias })
	if len(others) == 0 {
		return nil, cli.Usagef("not replacing %s: there is no other node in %s that has its data; if it is damaged: %s", n.Alias, s.path, s.command("recover"))
	}
	return client.New(httpAddresses(others), client.Options{})
}

// mayReplace returns an error that says why a node must not be replaced.
func (s *session) mayReplace(ctx context.Context, others *client.Client, n clusterfile.Node, force bool) error {
	members, err := others.Members(ctx)
	if err == nil && len(members) == 0 {
		err = errors.New("none of those that answer is a member itself")
	}
	if err != nil {
		return fmt.Errorf("no other node tells who the members are: %w\n%s", err, s.waysOut(ctx, n))
	}
	if err := s.majorityWithout(ctx, others, members, n); err != nil || force {
		return err
	}
	i := slices.IndexFunc(members, func(m api.Member) bool { return m.ID == n.Alias })
	for _, now := range s.cluster.Status(ctx) {
		if now.Node.Alias != n.Alias || i < 0 {
			continue
		}
		wiped, err := s.cluster.Wiped(n.Alias)
		switch {
		case err != nil:
			return err
		case now.State.Paused:
			return cli.Usagef("it is paused: %s lets it go on; --force replaces it all the same", s.command("resume "+n.Alias))
		case now.Status != nil && !wiped && now.Status.Me.Role != "stopped" && now.Status.Me.Incarnation == members[i].Incarnation:
			return cli.Usagef("it runs and is a member, with the data that the group counts on: --force replaces it all the same")
		}
	}
	return nil
}

// waysOut says what to do where the others are no majority.
func (s *session) waysOut(ctx context.Context, without clusterfile.Node) string {
	var silent []string
	for _, now := range s.cluster.Status(ctx) {
		if now.Status == nil && now.Node.Alias != without.Alias {
			silent = append(silent, now.Node.Alias)
		}
	}
	if len(silent) == 0 {
		return fmt.Sprintf("While it runs another member can be added first: %s\nIf it is lost for good, make a new group of what is left: %s",
			s.command("members add NODE"), s.command("recover"))
	}
	return fmt.Sprintf("Start the others first: %s\nIf they are lost for good, make a new group of what is left: %s",
		s.command("start "+strings.Join(silent, " ")), s.command("recover"))
}

// majorityWithout returns an error unless a majority of the voters answers beside the node: it
// is about to end, and they have to commit its removal.
func (s *session) majorityWithout(ctx context.Context, others *client.Client, members []api.Member, n clusterfile.Node) error {
	voters := slices.DeleteFunc(slices.Clone(members), func(m api.Member) bool { return !m.Voter })
	var answering atomic.Int64
	var asked sync.WaitGroup
	for _, m := range voters {
		if m.ID == n.Alias || m.HTTPAddress == "" {
			continue
		}
		asked.Go(func() {
			if status, err := others.Node(m.HTTPAddress).Status(ctx); err == nil && status.Me.ID == m.ID && status.Me.Incarnation == m.Incarnation {
				answering.Add(1)
			}
		})
	}
	asked.Wait()
	if got := int(answering.Load()); got <= len(voters)/2 {
		return fmt.Errorf("besides it %d of %s answer, which is no majority: the group would stop\n%s", got, cli.Count(len(voters), "voter"), s.waysOut(ctx, n))
	}
	return nil
}

// renew does what is not done yet, and tells what it has done.
func (s *session) renew(ctx context.Context, others *client.Client, n clusterfile.Node, r process.Replacement, f replaceFlags, done *[]string) error {
	if !r.Aside {
		if err := s.retire(ctx, others, n, f.timeout, done); err != nil {
			return err
		}
		kept, err := s.cluster.SetAside(ctx, n.Alias, r)
		if err != nil {
			return err
		}
		if kept != "" {
			s.log.Printf("Moved its folder to %s: delete that once nothing in it is missed", kept)
			*done = append(*done, "its folder is "+kept)
		}
	}
	*done = append(*done, "its start with new data was begun")
	if err := s.startNodes(ctx, n); err != nil {
		return err
	}
	return s.catchUp(ctx, others, n, f.ReadyTimeout)
}

// retire ends a node and takes it out of the group, for certain.
func (s *session) retire(ctx context.Context, others *client.Client, n clusterfile.Node, timeout time.Duration, done *[]string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	if err := s.stopForGood(ctx, others, n); err != nil {
		return err
	}
	*done = append(*done, "it was stopped")
	var last error
	err := poll.Until(ctx, lookEvery, func() (bool, error) {
		last = remove(ctx, others, n.Alias)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("remove it from the group: %w", errors.Join(last, err))
	}
	s.log.Printf("Removed %q from the group", n.Alias)
	*done = append(*done, "it was removed from the group")
	return nil
}

// sayUnfinished tells where a replacement stands, and how it goes on.
func (s *session) sayUnfinished(n clusterfile.Node, done []string) {
	state := "it may have been stopped, and no more"
	if len(done) > 0 {
		state = strings.Join(done, ", ")
	}
	fmt.Fprintf(s.stderr, "The replacement of %s is not finished: %s. To go on: %s\n", n.Alias, state, s.command("replace "+n.Alias))
}
