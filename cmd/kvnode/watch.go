package main

import (
	"context"
	"time"

	"github.com/themilchenko/raftlab/core"
)

const (
	watchInterval = 100 * time.Millisecond
	// stopGrace is how long a replica that is stopping may take to say so.
	stopGrace = 2 * time.Second
)

// watch logs changes of the role and the leader, and notices an engine that has
// ended without its replica. It returns when ctx ends or the replica has stopped.
func (n *node) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last core.Status
	for {
		now := n.replica.Status()
		if now.Role == core.Stopped {
			break
		}
		n.logChange(last, now)
		last = now
		select {
		case <-tick.C:
		case <-n.replica.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-n.replica.Done():
	case <-ctx.Done():
	case <-time.After(stopGrace):
		close(n.expelled)
	}
}

func (n *node) logChange(last, now core.Status) {
	if now.Role != last.Role {
		n.logger.Info("role is "+string(now.Role), "term", now.Term)
	}
	if now.LeaderID == last.LeaderID {
		return
	}
	if now.LeaderID == "" {
		n.logger.Info("no leader known", "was", last.LeaderID, "term", now.Term)
		return
	}
	n.logger.Info("leader is "+now.LeaderID, "address", now.LeaderAddress, "term", now.Term)
}
