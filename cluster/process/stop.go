package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
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
	all := c.Status(ctx)
	leader := c.leaderOf(all)
	var followers, leaders []NodeStatus
	for _, s := range all {
		if s.Node.Alias == leader {
			leaders = append(leaders, s)
		} else {
			followers = append(followers, s)
		}
	}
	return c.Exclusively(ctx, func() error {
		return errors.Join(c.stop(ctx, followers, leader), c.stop(ctx, leaders, leader))
	})
}

// StopNode stops one node: SIGTERM, and after StopTimeout SIGKILL. It returns
// when the process is gone, or ctx ends; then it may still be stopping. A node
// that does not run is no error.
func (c *Cluster) StopNode(ctx context.Context, alias string) error {
	if _, err := c.node(alias); err != nil {
		return err
	}
	all := c.Status(ctx)
	one := slices.DeleteFunc(slices.Clone(all), func(s NodeStatus) bool { return s.Node.Alias != alias })
	return c.Exclusively(ctx, func() error { return c.stop(ctx, one, c.leaderOf(all)) })
}

// leaderOf returns the alias of the node that the others follow, or of the file's
// leader if none of them knows.
func (c *Cluster) leaderOf(all []NodeStatus) string {
	if leader := Follows(all); leader != nil {
		return leader.ID
	}
	return c.file.Leader
}

// stop stops nodes together: each has until StopTimeout after its SIGTERM.
func (c *Cluster) stop(ctx context.Context, nodes []NodeStatus, leader string) error {
	type stopping struct {
		*handle
		node     clusterfile.Node
		deadline time.Time
	}
	var all []stopping
	var errs []error
	for _, n := range nodes {
		p, err := c.terminate(n, leader)
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", n.Node.Alias, err))
		}
		if p != nil {
			defer p.close()
			all = append(all, stopping{p, n.Node, time.Now().Add(c.opts.StopTimeout)})
		}
	}
	for _, s := range all {
		e := Event{Kind: Stopped, Node: s.node, Leader: s.node.Alias == leader, PID: s.pid}
		patience, cancel := context.WithDeadline(ctx, s.deadline)
		err := s.awaitEnd(patience)
		if patience.Err() != nil && ctx.Err() == nil && err != nil {
			e.Kind, e.Text = Killing, fmt.Sprintf("it still ran %v after SIGTERM", c.opts.StopTimeout)
			c.tell(e)
			e.Kind, e.Text = Killed, ""
			err = c.kill(ctx, s.handle, s.node.Alias)
		} else if err == nil {
			err = c.forget(s.handle, s.node.Alias)
		}
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.node.Alias, err))
			continue
		}
		c.tell(e)
	}
	return errors.Join(errs...)
}

// terminate asks a node to stop. Without a process there is no handle; a node that
// answered all the same runs elsewhere.
func (c *Cluster) terminate(n NodeStatus, leader string) (*handle, error) {
	p, err := c.running(n.Node.Alias)
	if err != nil {
		return nil, err
	}
	e := Event{Kind: AlreadyStopped, Node: n.Node, Leader: n.Node.Alias == leader}
	if p == nil {
		if n.Status != nil && !n.State.Running {
			return nil, fmt.Errorf("%w: process %d answers at %s, and is none of %s", ErrElsewhere, n.Status.Me.PID, n.Node.HTTPAddress, c.Dir(n.Node.Alias))
		}
		c.tell(e)
		return nil, c.unrecord(n.Node.Alias)
	}
	// A paused process takes a signal only when it runs again.
	if err = errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT)); err != nil {
		p.close()
		return nil, err
	}
	e.Kind, e.PID = Stopping, p.pid
	c.tell(e)
	return p, nil
}

// Kill ends a node with SIGKILL and returns when it is gone. It is
// [ErrNotRunning] if it was not there.
func (c *Cluster) Kill(ctx context.Context, alias string) error {
	n, err := c.node(alias)
	if err != nil {
		return err
	}
	return c.Exclusively(ctx, func() error {
		p, err := c.running(alias)
		if err == nil && p == nil {
			err = errors.Join(ErrNotRunning, c.unrecord(alias))
		}
		if err != nil {
			return fmt.Errorf("kill %s: %w", alias, err)
		}
		defer p.close()
		if err := c.kill(ctx, p, alias); err != nil {
			return err
		}
		c.tell(Event{Kind: Killed, Node: n, PID: p.pid})
		return nil
	})
}

// kill ends a process and waits for its end.
func (c *Cluster) kill(ctx context.Context, p *handle, alias string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, killTimeout, fmt.Errorf("process %d is still there %v after SIGKILL", p.pid, killTimeout))
	defer cancel()
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		err = p.awaitEnd(ctx)
	}
	if err != nil {
		return fmt.Errorf("kill %s: %w", alias, err)
	}
	return c.forget(p, alias)
}

// forget cleans up after a process that has ended.
func (c *Cluster) forget(p *handle, alias string) error {
	_ = c.children.reap(alias, p.pid) // a signal ended it: how is known
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
	c.tell(Event{Kind: done, Node: n, PID: p.pid})
	return nil
}
