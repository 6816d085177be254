package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	leaveTimeout = 10 * time.Second // of --leave-on-stop
	leavePoll    = 20 * time.Millisecond
)

// leave takes the node out of its group for good: it hands leadership over, says
// goodbye by gossip, so that the leader's steward removes it, and waits for that.
// Then it ends the node, also if ctx, which needs a deadline, has ended before: the
// steward goes on without it. A core.ErrInvalid or core.ErrUnavailable says that
// it has not left and does not end.
func (n *node) leave(ctx context.Context) error {
	if err := n.mayLeave(); err != nil {
		return err
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
	n.logger.Info("leaving the group for good")
	if err := n.agent.Leave(ctx); err != nil {
		return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	}
	return n.awaitRemoval(ctx)
}

// mayLeave refuses what would leave the group without a quorum: the removal has to
// be committed by those who stay.
func (n *node) mayLeave() error {
	status := n.replica.Status()
	me, member := find(status.Members, n.id)
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
		return fmt.Errorf("not leaving: %w: the group has no leader just now", core.ErrUnavailable)
	}
	return nil
}

// end has the node stop in order. Idempotent.
func (n *node) end() { n.endOnce.Do(func() { close(n.ending) }) }

// awaitRemoval waits until the node is no member any more. Its own log need not
// tell: a leader sends nothing more to whom it has removed.
func (n *node) awaitRemoval(ctx context.Context) error {
	var others []string
	for _, p := range n.agent.Peers() {
		if p.ID != n.id && p.State == discovery.Alive && p.HTTPAddress != "" {
			others = append(others, p.HTTPAddress)
		}
	}
	isSelf := func(m api.Member) bool { return m.ID == n.id }
	var last error
	for {
		if _, member := find(n.replica.Status().Members, n.id); !member {
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
func (n *node) leaveAtLast() {
	select {
	case <-n.ending:
		return // it has left already
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := n.leave(ctx); err != nil {
		n.logger.Warn("stopping without having left the group in order", "error", err)
	}
}
