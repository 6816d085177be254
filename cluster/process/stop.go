package process

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	// killTimeout is for the system to end a killed process.
	killTimeout = 10 * time.Second
	// pauseTimeout is for the system to suspend or resume one.
	pauseTimeout = 5 * time.Second
)

// Stop stops all nodes: first those that do not lead, together, then the leader.
// A node that does not run is no error.
func (c *Cluster) Stop(ctx context.Context) error {
	leader := c.currentLeader(ctx)
	return c.exclusively(ctx, func() error {
		var followers, leaders []clusterfile.Node
		for _, n := range c.file.Nodes {
			if n.Alias == leader {
				leaders = append(leaders, n)
			} else {
				followers = append(followers, n)
			}
		}
		return errors.Join(c.stop(ctx, followers, leader), c.stop(ctx, leaders, leader))
	})
}

// StopNode stops one node: SIGTERM, and after StopTimeout SIGKILL. It returns
// when the process is gone, or ctx ends; then it may still be stopping. A node
// that does not run is no error.
func (c *Cluster) StopNode(ctx context.Context, alias string) error {
	n, err := c.node(alias)
	if err != nil {
		return err
	}
	leader := c.currentLeader(ctx)
	return c.exclusively(ctx, func() error { return c.stop(ctx, []clusterfile.Node{n}, leader) })
}

// Kill ends a node with SIGKILL and returns when it is gone. It is
// [ErrNotRunning] if it was not there.
func (c *Cluster) Kill(ctx context.Context, alias string) error {
	n, err := c.node(alias)
	if err != nil {
		return err
	}
	return c.exclusively(ctx, func() error {
		p, err := c.running(alias)
		if err != nil {
			return fmt.Errorf("kill %s: %w", alias, err)
		}
		if p == nil {
			return fmt.Errorf("kill %s: %w", alias, errors.Join(ErrNotRunning, c.unrecord(alias)))
		}
		defer p.close()
		if err := c.kill(ctx, p, alias); err != nil {
			return err
		}
		c.tell(Event{Kind: Killed, Node: n, PID: p.id.pid})
		return nil
	})
}

// currentLeader returns the alias of the node that the others follow, or of the
// file's leader if nobody knows.
func (c *Cluster) currentLeader(ctx context.Context) string {
	var best *NodeStatus
	for _, s := range c.Status(ctx) {
		if s.Status != nil && s.Status.Leader != nil && (best == nil || s.Status.Me.Term > best.Status.Me.Term) {
			best = &s
		}
	}
	if best == nil {
		return c.file.Leader
	}
	return best.Status.Leader.ID
}

// stop stops nodes together: each has until StopTimeout after its SIGTERM.
func (c *Cluster) stop(ctx context.Context, nodes []clusterfile.Node, leader string) error {
	type stopping struct {
		node     clusterfile.Node
		process  *handle
		deadline time.Time
	}
	var all []stopping
	var errs []error
	for _, n := range nodes {
		p, err := c.terminate(ctx, n, leader)
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", n.Alias, err))
		}
		if p != nil {
			defer p.close()
			all = append(all, stopping{n, p, time.Now().Add(c.opts.StopTimeout)})
		}
	}
	for _, s := range all {
		e := Event{Kind: Stopped, Node: s.node, Leader: s.node.Alias == leader, PID: s.process.id.pid}
		err := c.awaitStop(ctx, s.process, s.node.Alias, s.deadline, func() {
			e.Kind = Killing
			e.Text = fmt.Sprintf("it still ran %v after SIGTERM", c.opts.StopTimeout)
			c.tell(e)
			e.Kind, e.Text = Killed, ""
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.node.Alias, err))
			continue
		}
		c.tell(e)
	}
	return errors.Join(errs...)
}

// terminate asks a node to stop. Without a process there is no handle.
func (c *Cluster) terminate(ctx context.Context, n clusterfile.Node, leader string) (*handle, error) {
	p, err := c.running(n.Alias)
	if err != nil {
		return nil, err
	}
	e := Event{Kind: AlreadyStopped, Node: n, Leader: n.Alias == leader}
	if p == nil {
		if err := c.elsewhere(ctx, n); err != nil {
			return nil, err
		}
		c.tell(e)
		return nil, c.unrecord(n.Alias)
	}
	// A paused process takes a signal only when it runs again.
	err = errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT))
	if err != nil {
		p.close()
		return nil, err
	}
	e.Kind, e.PID = Stopping, p.id.pid
	c.tell(e)
	return p, nil
}

// elsewhere returns an error if a node answers that has no process here.
func (c *Cluster) elsewhere(ctx context.Context, n clusterfile.Node) error {
	nodes, err := client.New([]string{n.HTTPAddress}, client.Options{})
	if err != nil {
		return err
	}
	defer nodes.Close()
	if other := occupant(ctx, nodes, n); other != nil && other.ID == n.Alias {
		return fmt.Errorf("%w: process %d answers at %s, and is none of %s", ErrElsewhere, other.PID, n.HTTPAddress, c.Dir(n.Alias))
	}
	return nil
}

// awaitStop returns when the process is gone; at the deadline it kills it, after
// a call of escalate.
func (c *Cluster) awaitStop(ctx context.Context, p *handle, alias string, deadline time.Time, escalate func()) error {
	patience, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := p.awaitEnd(patience)
	switch {
	case err == nil:
		return c.forget(p, alias)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case patience.Err() == nil:
		return err
	}
	escalate()
	return c.kill(ctx, p, alias)
}

// kill ends a process and waits for its end.
func (c *Cluster) kill(ctx context.Context, p *handle, alias string) error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", alias, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, killTimeout, fmt.Errorf("process %d is still there %v after SIGKILL", p.id.pid, killTimeout))
	defer cancel()
	if err := p.awaitEnd(ctx); err != nil {
		return fmt.Errorf("kill %s: %w", alias, err)
	}
	return c.forget(p, alias)
}

// forget cleans up after a process that has ended.
func (c *Cluster) forget(p *handle, alias string) error {
	_ = c.children.reap(alias, p.id.pid) // a signal ended it: how is known
	return c.unrecord(alias)
}

// Pause suspends a node (SIGSTOP) and returns when it stands still. It waits for
// no other operation.
func (c *Cluster) Pause(ctx context.Context, alias string) error {
	return c.suspend(ctx, "pause", alias, syscall.SIGSTOP, Paused)
}

// Resume lets a paused node run again (SIGCONT), and returns when it does.
func (c *Cluster) Resume(ctx context.Context, alias string) error {
	return c.suspend(ctx, "resume", alias, syscall.SIGCONT, Resumed)
}

func (c *Cluster) suspend(ctx context.Context, name, alias string, sig syscall.Signal, done EventKind) error {
	n, err := c.node(alias)
	if err != nil {
		return err
	}
	p, err := c.running(alias)
	if err == nil && p == nil {
		err = ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, alias, err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeoutCause(ctx, pauseTimeout, fmt.Errorf("no effect within %v", pauseTimeout))
	defer cancel()
	err = p.signal(sig)
	if err == nil {
		err = p.awaitPaused(ctx, done == Paused)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, alias, err)
	}
	c.tell(Event{Kind: done, Node: n, PID: p.id.pid})
	return nil
}
