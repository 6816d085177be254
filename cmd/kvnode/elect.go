package main

import (
	"cmp"
	"context"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
)

// A new group need not wait until heartbeats are missed that nobody could send. Who
// stands for election at once changes nothing about who may be elected; if it fails,
// the election comes by itself.

// electSelf makes the only voter of a group stand for election.
func (n *node) electSelf(ctx context.Context) {
	if n.votesAlone() {
		n.campaign(ctx)
	}
}

func (n *node) votesAlone() bool {
	votes := false
	for _, m := range n.replica.Status().Members {
		if m.Voter && m.ID != n.id {
			return false
		}
		votes = votes || m.Voter
	}
	return votes
}

// electFirst makes the first of the founders stand for election once a majority of
// them can vote. There is one first, so votes are not split.
func (n *node) electFirst(ctx context.Context) {
	if len(n.founders) < 2 || n.founders[0].ID != n.id {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(n.settings.tuning.HeartbeatTimeout, defaultHeartbeat))
	defer cancel()
	for n.replica.Status().LeaderID == "" {
		changed := n.agent.Changes()
		if n.mayVote() > len(n.founders)/2 {
			n.campaign(ctx)
			return
		}
		select {
		case <-changed:
		case <-n.replica.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// mayVote counts the founders whose replica runs.
func (n *node) mayVote() int {
	founders := map[string]core.Member{}
	for _, m := range n.founders {
		founders[m.ID] = m
	}
	count := 0
	for _, p := range n.agent.Peers() {
		m, ok := founders[p.ID]
		if ok && p.Is(m, core.GroupID(n.founders)) && p.HasState && p.State == discovery.Alive {
			count++
		}
	}
	return count
}

func (n *node) campaign(ctx context.Context) {
	campaigner, ok := n.replica.(core.Campaigner)
	if !ok {
		return
	}
	if err := campaigner.Campaign(ctx); err != nil && ctx.Err() == nil {
		n.logger.Warn("cannot stand for election at once", "error", err)
	}
}
