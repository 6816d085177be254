package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Limits of an orderly end.
const (
	handOverTimeout = 2 * time.Second
	finishTimeout   = 10 * time.Second       // for requests under way
	unusedTimeout   = 500 * time.Millisecond // for a request on a connection that has had none
)

// stop ends the node in order: a leader hands over while it still serves, so that
// requests that come meanwhile find the next one; those under way are finished.
func (n *node) stop() error {
	err := n.endTogether()
	n.handOver()
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		n.logger.Warn("requests were cut off", "after", finishTimeout, "error", err)
	}
	return errors.Join(err, n.release())
}

// endTogether ends what looks after the node's place among the others. Idempotent.
func (n *node) endTogether() error {
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

func (n *node) handOver() {
	status := n.replica.Status()
	another := slices.ContainsFunc(status.Members, func(m core.Member) bool { return m.Voter && m.ID != n.id })
	if status.Role != core.Leader || !another {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	if err := n.replica.TransferLeadership(ctx, ""); err != nil {
		n.logger.Warn("leadership was not handed over; the others will elect a leader", "error", err)
		return
	}
	n.logger.Info("leadership handed over")
}

// release closes what there is, in reverse order.
func (n *node) release() error {
	errs := []error{n.endTogether()}
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
	if n.dir != nil {
		errs = append(errs, n.dir.Close())
	}
	return errors.Join(errs...)
}

// closeParts closes what a replica would have owned.
func (n *node) closeParts() error {
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
