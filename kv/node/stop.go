package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// Limits of an orderly end.
const (
	handOverTimeout = 2 * time.Second
	finishTimeout   = 10 * time.Second // for requests under way
)

// Stop ends the node in order: a leader hands over while it still serves, so that
// requests that come meanwhile find the next one; those under way are finished.
func (n *Node) Stop() error {
	err := n.endTogether()
	n.handOver()
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	var both sync.WaitGroup
	for _, shutdown := range []func(context.Context) error{n.server.Shutdown, n.shutdownRESP} {
		both.Go(func() {
			if err := shutdown(ctx); err != nil {
				n.cfg.Logger.Warn("requests were cut off", "after", finishTimeout, "error", err)
			}
		})
	}
	both.Wait()
	return errors.Join(err, n.release())
}

// shutdownRESP ends the Redis protocol, which may not be served. Idempotent.
func (n *Node) shutdownRESP(ctx context.Context) error {
	if n.resp == nil {
		return nil
	}
	return n.resp.Shutdown(ctx)
}

// endTogether ends what looks after the node's place among the others. Idempotent.
func (n *Node) endTogether() error {
	n.endTasks()
	n.tasks.Wait()
	var errs []error
	if n.steward != nil {
		errs = append(errs, n.steward.Close())
	}
	if n.agent != nil {
		errs = append(errs, n.agent.Close())
	}
	return errors.Join(errs...)
}

func (n *Node) handOver() {
	status := n.replica.Status()
	another := slices.ContainsFunc(status.Members, func(m core.Member) bool { return m.Voter && m.ID != n.id })
	if status.Role != core.Leader || !another {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	if err := n.replica.TransferLeadership(ctx, ""); err != nil {
		n.cfg.Logger.Warn("leadership was not handed over; the others will elect a leader", "error", err)
		return
	}
	n.cfg.Logger.Info("leadership handed over")
}

// release closes what there is, in reverse order.
func (n *Node) release() error {
	errs := []error{n.endTogether()}
	cutOff, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.shutdownRESP(cutOff); err != nil && !errors.Is(err, context.Canceled) {
		errs = append(errs, err)
	}
	if n.resp == nil && n.respLinks != nil {
		errs = append(errs, n.respLinks.Close())
	}
	if n.server != nil {
		errs = append(errs, n.server.Close())
		<-n.serving
	} else if n.listener != nil {
		errs = append(errs, n.listener.Close())
	}
	if n.api != nil {
		errs = append(errs, n.api.Close())
	}
	switch {
	case n.replica != nil:
		errs = append(errs, n.replica.Close())
	default:
		errs = append(errs, n.closeParts())
	}
	if n.spans != nil { // their memory goes with the process: a store that has stalled may still record
		path := filepath.Join(n.dir.path, trace.FileName)
		errs = append(errs, atomicfile.WriteUnflushed(path, n.spans.Log(n.id).Append(nil)))
	}
	if n.dir != nil {
		errs = append(errs, n.dir.Close())
	}
	return errors.Join(errs...)
}

// closeParts closes what a replica would have owned.
func (n *Node) closeParts() error {
	var errs []error
	if n.logs != nil {
		errs = append(errs, n.logs.Close())
	}
	if n.raft != "" {
		// The engine may have closed it before it failed.
		if err := n.link.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const (
	leaveTimeout = 10 * time.Second // of --leave-on-stop
	leavePoll    = 20 * time.Millisecond
)

// leave takes the node out of its group for good: it hands leadership over, says
// goodbye by gossip, so that the leader's steward removes it, and waits for that.
// Then it ends the node, also if ctx, which needs a deadline, has ended before: the
// steward goes on without it. A core.ErrInvalid or core.ErrUnavailable says that
// it has not left and does not end.
func (n *Node) leave(ctx context.Context) error {
	var refused error
	_ = poll.Until(ctx, leavePoll, func() (bool, error) {
		refused = n.mayLeave()
		return !errors.Is(refused, errNoLeader), nil // there will be one soon
	})
	if refused != nil {
		return refused
	}
	n.handOver()
	if n.replica.Status().Role == core.Leader {
		return fmt.Errorf("not leaving: %w: leadership was not handed over", core.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	defer n.end()
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	n.cfg.Logger.Info("leaving the group for good")
	if err := n.agent.Leave(ctx); err != nil {
		return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	}
	return n.awaitRemoval(ctx)
}

var errNoLeader = fmt.Errorf("not leaving: %w: the group has no leader just now", core.ErrUnavailable)

// mayLeave refuses what would leave the group without a quorum: the removal has to
// be committed by those that stay.
func (n *Node) mayLeave() error {
	status := n.replica.Status()
	me, member := status.Member(n.id)
	if !member || !me.Voter {
		return nil
	}
	alive := map[string]bool{}
	for _, p := range n.agent.Peers() {
		alive[p.ID] = p.State == discovery.Alive
	}
	others, answering := 0, 0
	for _, m := range status.Members {
		if !m.Voter || m.ID == n.id {
			continue
		}
		others++
		if alive[m.ID] {
			answering++
		}
	}
	switch {
	case others == 0:
		return fmt.Errorf("not leaving: %w: node %s is the last voter: without it there is no group", core.ErrInvalid, n.id)
	case answering <= others/2:
		return fmt.Errorf("not leaving: %w: of the %d other voters %d are alive, so the group would stop", core.ErrUnavailable, others, answering)
	case status.LeaderID == "":
		return errNoLeader
	}
	return nil
}

// end has the node stop in order. Idempotent.
func (n *Node) end() { n.endOnce.Do(func() { close(n.ending) }) }

// awaitRemoval waits until the node is no member any more. Its own log need not
// tell: a leader sends nothing more to a member that it has removed. A node that is
// elected meanwhile hands over again: no leader removes itself.
func (n *Node) awaitRemoval(ctx context.Context) error {
	var others []string
	for _, p := range n.agent.Peers() {
		if p.ID != n.id && p.State == discovery.Alive && p.HTTPAddress != "" {
			others = append(others, p.HTTPAddress)
		}
	}
	isSelf := func(m api.Member) bool { return m.ID == n.id }
	var last error
	for {
		n.handOver()
		if _, member := n.replica.Status().Member(n.id); !member {
			return nil
		}
		if members, err := membersOf(ctx, others); err != nil {
			last = err
		} else if len(members) > 0 && !slices.ContainsFunc(members, isSelf) {
			return nil
		}
		select {
		case <-time.After(leavePoll):
		case <-n.replica.Done():
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: node %s has left and ends, but was not removed yet: the leader does it once it is safe; last answer: %w",
				core.ErrOutcomeUnknown, n.id, errors.Join(last, ctx.Err()))
		}
	}
}

// membersOf asks the leader for its configuration.
func membersOf(ctx context.Context, at []string) ([]api.Member, error) {
	group, err := client.New(at, client.Options{})
	if err != nil {
		return nil, err
	}
	defer group.Close()
	return askMembers(ctx, group)
}

// leaveAtLast is the leave of --leave-on-stop, after which the node stops, come what may.
func (n *Node) leaveAtLast() {
	select {
	case <-n.ending:
		return // it has left already
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := n.leave(ctx); err != nil {
		n.cfg.Logger.Warn("stopping without having left the group in order", "error", err)
	}
}

// byManager is for a node that was not started by hand.
func byManager(id string) string {
	return fmt.Sprintf("(in a cluster of clusterctl: 'clusterctl replace %s' does all of that)", cmp.Or(id, "NODE"))
}

// asNew says how a node that was removed becomes a member.
func asNew(id string) string {
	return "to add it again, start it in a new directory with --join, or --gossip " + byManager(id)
}

// wayBack adds to the error of a node that cannot go on with its disk how it gets
// back into its group.
func wayBack(err error, cfg Config) error {
	switch data := filepath.Clean(cfg.Data); {
	case errors.Is(err, core.ErrDamaged):
		again := "with the same flags and --join HOST:PORT, the HTTP address of another member"
		if cfg.Gossip != nil {
			again = "with the same flags"
		}
		return fmt.Errorf("%w\nNothing of this log is served any more. If the other members are well, begin anew with what they hold:"+
			"\n  mv %s %s.damaged\nand start this node again %s: the group takes its vote away, and gives it anew once it has caught up\n%s"+
			"\nIf most of the others are lost, too, what is left can be had: kvnode recover --help, kvnode dump --help",
			err, data, data, again, byManager(cfg.ID))
	case errors.Is(err, core.ErrLogLost):
		return fmt.Errorf("%w\n%s", err, byManager(cfg.ID))
	case errors.Is(err, core.ErrStalled):
		return fmt.Errorf("%w\nThe disk of %s does not answer; what was acknowledged is on it. See what is wrong with it:"+
			"\n  df %s; dmesg | tail\nand start this node again with the same flags", err, data, data)
	}
	return err
}
