package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	askTimeout  = time.Second           // of one request while a node starts
	askInterval = 25 * time.Millisecond // between two
)

// condition says what is still missing for a node to count as started.
type condition func(context.Context, *client.Node, api.Status) error

// ready: it says so itself.
func ready(ctx context.Context, n *client.Node, _ api.Status) error { return n.Ready(ctx) }

// leads: it is ready and led by itself.
func leads(ctx context.Context, n *client.Node, s api.Status) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	if s.Leader == nil || s.Leader.ID != s.Me.ID {
		return errors.New("it does not lead yet")
	}
	return nil
}

// serves: it answers, which is all that it can while most others do not run.
func serves(ctx context.Context, n *client.Node, _ api.Status) error { return n.Health(ctx) }

// awaitAll waits until all attempts meet the condition. If the process of one
// ends, the others are not waited for any longer.
func (c *Cluster) awaitAll(ctx context.Context, nodes *client.Client, attempts []*attempt, met condition) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(attempts))
	var group sync.WaitGroup
	for i, a := range attempts {
		group.Go(func() {
			err := c.await(ctx, nodes, a, met)
			if err != nil && ctx.Err() == nil {
				errs[i] = c.startError(a, err)
				cancel(err)
			}
		})
	}
	group.Wait()
	return errors.Join(append(errs, parentError(ctx, errs))...)
}

// parentError is why ctx ended, if it was not one of errs that ended it.
func parentError(ctx context.Context, errs []error) error {
	if ctx.Err() == nil || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return nil
	}
	return fmt.Errorf("start: %w", context.Cause(ctx))
}

// await waits for one attempt.
func (c *Cluster) await(ctx context.Context, nodes *client.Client, a *attempt, met condition) error {
	looked := time.Now() // whether it is a member at all
	for {
		begun := time.Now()
		missing := c.ask(ctx, nodes, a, met)
		a.received(filepath.Join(c.Dir(a.node.Alias), "snapshots"))
		if missing == nil {
			c.tell(Event{Kind: Ready, Node: a.node, Leader: a.node.Alias == c.file.Leader, PID: a.process.id.pid})
			return nil
		}
		ended, err := a.process.ended(askInterval)
		switch {
		case err != nil:
			return err
		case ended:
			return c.ending(a.node.Alias, a.process.id.pid)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case begun.Sub(a.moved) > c.opts.ReadyTimeout:
			return fmt.Errorf("not ready after %v without progress: %w", c.opts.ReadyTimeout, missing)
		case begun.Sub(a.moved) > strangerPatience && begun.Sub(looked) > strangerPatience:
			if err := c.stranger(ctx, a.node.Alias); err != nil {
				return err
			}
			looked = time.Now()
		}
	}
}

// ask returns nil if the node meets the condition.
func (c *Cluster) ask(ctx context.Context, nodes *client.Client, a *attempt, met condition) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	node := nodes.Node(a.node.HTTPAddress)
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	// Another program may have the port while the node is about to fail for it.
	if status.Me.ID != a.node.Alias || status.Me.PID != a.process.id.pid {
		return fmt.Errorf("%s is answered by another node: id %q, pid %d", a.node.HTTPAddress, status.Me.ID, status.Me.PID)
	}
	a.tells(status.Me)
	return met(ctx, node, status)
}

// awaitAgreement waits until the nodes name one leader and every node of the
// file as a member.
func (c *Cluster) awaitAgreement(ctx context.Context, nodes *client.Client, attempts []*attempt) error {
	begun := time.Now()
	for looked := begun; ; {
		alias, missing := c.disagreement(ctx, nodes)
		if missing == nil {
			return nil
		}
		for _, a := range attempts {
			if ended, err := a.process.ended(0); ended || err != nil {
				return c.startError(a, errors.Join(err, c.ending(a.node.Alias, a.process.id.pid)))
			}
		}
		if time.Since(begun) > c.opts.ReadyTimeout {
			i := slices.IndexFunc(attempts, func(a *attempt) bool { return a.node.Alias == alias })
			return c.startError(attempts[i], fmt.Errorf("the nodes are no cluster after %v: %w", c.opts.ReadyTimeout, missing))
		}
		if time.Since(looked) > strangerPatience {
			for _, a := range attempts {
				if err := c.stranger(ctx, a.node.Alias); err != nil {
					return c.startError(a, err)
				}
			}
			looked = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start: %w", context.Cause(ctx))
		case <-time.After(askInterval):
		}
	}
}

// disagreement returns nil if all nodes tell the same story, or else which node is in
// the way, and how.
func (c *Cluster) disagreement(ctx context.Context, nodes *client.Client) (alias string, missing error) {
	leader := ""
	for _, n := range c.file.Nodes {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		status, err := nodes.Node(n.HTTPAddress).Status(ctx)
		cancel()
		switch {
		case err != nil:
			return n.Alias, err
		case status.Leader == nil:
			return n.Alias, fmt.Errorf("%s knows no leader", n.Alias)
		case leader != "" && status.Leader.ID != leader:
			return n.Alias, fmt.Errorf("%s follows %s, others follow %s", n.Alias, status.Leader.ID, leader)
		}
		leader = status.Leader.ID
		if !status.Me.Voter && votes(c.file, n) {
			return n.Alias, fmt.Errorf("%s has no vote yet", n.Alias)
		}
		if without := c.voteless(status); len(without) > 0 {
			return without[0], fmt.Errorf("%s does not count the votes of %s yet", n.Alias, strings.Join(without, ", "))
		}
		if missing := c.absent(status); len(missing) > 0 {
			return missing[0], fmt.Errorf("%s does not count %s as members", n.Alias, strings.Join(missing, ", "))
		}
	}
	return "", nil
}

// absent lists the nodes of the file that are not in a node's configuration.
func (c *Cluster) absent(s api.Status) []string {
	var absent []string
	for _, n := range c.file.Nodes {
		if !Counts(&s, n.Alias) {
			absent = append(absent, n.Alias)
		}
	}
	return absent
}

// voteless lists the nodes of the file which are to have a vote and have none in a
// node's configuration: they get it once they have caught up. The configuration can be
// ahead of what is committed, so each node is asked.
func (c *Cluster) voteless(s api.Status) []string {
	var voteless []string
	for _, f := range s.Followers {
		i := slices.IndexFunc(c.file.Nodes, func(n clusterfile.Node) bool { return n.Alias == f.ID })
		if i >= 0 && !f.Voter && votes(c.file, c.file.Nodes[i]) {
			voteless = append(voteless, f.ID)
		}
	}
	return voteless
}

func addresses(nodes []clusterfile.Node) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.HTTPAddress
	}
	return all
}
