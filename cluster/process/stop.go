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
			e.Kind = Killing
			c.tell(e)
			e.Kind = Killed
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
	if err == nil && p == nil && n.Status != nil {
		p, err = c.answering(n.Node.Alias, n.Status.Me.PID)
	}
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
	return c.Exclusively(ctx, func() error {
		err := c.signal("kill", alias, Killed, func(p *handle) error { return c.kill(ctx, p, alias) })
		if errors.Is(err, ErrNotRunning) {
			err = errors.Join(err, c.unrecord(alias))
		}
		return err
	})
}

// kill ends a process and waits for its end.
func (c *Cluster) kill(ctx context.Context, p *handle, alias string) error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, killTimeout, fmt.Errorf("process %d is still there %v after SIGKILL", p.pid, killTimeout))
	defer cancel()
	if err := p.awaitEnd(ctx); err != nil {
		return err
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
	return c.signal("pause", alias, Paused, func(p *handle) error { return suspend(ctx, p, true) })
}

// Resume lets a paused node run again (SIGCONT), and returns when it does.
func (c *Cluster) Resume(ctx context.Context, alias string) error {
	return c.signal("resume", alias, Resumed, func(p *handle) error { return suspend(ctx, p, false) })
}

func suspend(ctx context.Context, p *handle, pause bool) error {
	sig := syscall.SIGCONT
	if pause {
		sig = syscall.SIGSTOP
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pauseTimeout, fmt.Errorf("no effect within %v", pauseTimeout))
	defer cancel()
	return p.awaitPaused(ctx, pause)
}

// signal has send do something to the process of a node, and tells of it.
func (c *Cluster) signal(verb, alias string, done EventKind, send func(*handle) error) error {
	n, err := c.node(alias)
	if err != nil {
		return err
	}
	p, err := c.running(alias)
	if err == nil && p == nil {
		err = ErrNotRunning
	}
	if err == nil {
		defer p.close()
		err = send(p)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, alias, err)
	}
	c.tell(Event{Kind: done, Node: n, PID: p.pid})
	return nil
}
