package process

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
)

// child is a process that this one started and so has to reap.
type child struct {
	pid   int
	start string // see identity; empty if it ended at once
	wait  func() error
	kill  func() error // reaches no other process, also after the end
}

// children are kept from their start until their end was seen. Those of a
// Foreground cluster have a goroutine each.
type children struct {
	mu      sync.Mutex
	byAlias map[string]*child
	waiting sync.WaitGroup
}

// start runs cmd as the process of the node called alias.
func (c *children) start(alias string, cmd *exec.Cmd, foreground bool) (*child, error) {
	ch := &child{wait: sync.OnceValue(cmd.Wait)}
	start := func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		ch.pid, ch.kill = cmd.Process.Pid, cmd.Process.Kill
		if now, err := look(ch.pid); err == nil { // before it can be reaped
			ch.start = now.start
		}
		return nil
	}
	if err := c.run(ch, start, foreground); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAlias == nil {
		c.byAlias = make(map[string]*child)
	}
	c.byAlias[alias] = ch
	return ch, nil
}

// run calls start, in the foreground from a thread that lives as long as the
// child: Linux sends the parent-death signal when the thread that started it ends.
func (c *children) run(ch *child, start func() error, foreground bool) error {
	if !foreground {
		return start()
	}
	started := make(chan error)
	c.waiting.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := start()
		started <- err
		if err == nil {
			_ = ch.wait() // reap tells the error to who asks
		}
	})
	return <-started
}

// reap takes in the remains of a process that has ended, if it was a child, and
// returns what it ended with.
func (c *children) reap(alias string, pid int) error {
	c.mu.Lock()
	ch := c.byAlias[alias]
	if ch == nil || ch.pid != pid {
		c.mu.Unlock()
		return nil
	}
	delete(c.byAlias, alias)
	c.mu.Unlock()
	return ch.wait()
}

// sweep reaps the process last started for the node called alias, if it has
// ended.
func (c *children) sweep(alias string) {
	c.mu.Lock()
	ch := c.byAlias[alias]
	c.mu.Unlock()
	if ch == nil {
		return
	}
	if now, err := look(ch.pid); errors.Is(err, errGone) || err == nil && now.start != ch.start {
		_ = c.reap(alias, ch.pid)
	}
}

// all lists the nodes that have a child, running or not.
func (c *children) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.byAlias))
}

// end kills the child of a node and reaps it.
func (c *children) end(alias string) (pid int, err error) {
	c.mu.Lock()
	ch := c.byAlias[alias]
	c.mu.Unlock()
	if ch == nil {
		return 0, nil
	}
	if err := ch.kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("kill %s: %w", alias, err)
	}
	_ = c.reap(alias, ch.pid) // how it ended is known
	return ch.pid, nil
}
