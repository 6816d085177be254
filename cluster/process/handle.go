package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/internal/poll"
)

// errGone says that there is no such process, or only its remains: a zombie.
var errGone = errors.New("no such process")

// pollInterval is how often a process is looked at while something is awaited.
const pollInterval = 10 * time.Millisecond

// isPaused is errGone after the end of the process.
func isPaused(pid int) (bool, error) { return pausedNow(&process.Process{Pid: int32(pid)}) }

// visible is what can be seen of a process; each look is a new one.
type visible interface {
	Status() ([]string, error)
	NumThreads() (int32, error)
}

func pausedNow(p visible) (bool, error) {
	states, err := p.Status()
	if err == nil && isOver(states) {
		// A process that was killed while a thread waits for a disk that hangs is there
		// until the disk answers, ports and all, though its first thread has ended.
		if threads, err := p.NumThreads(); err == nil && threads > 1 {
			return false, nil
		}
		// Nor has one ended that another thread has made another program, as kvnode does
		// for lmdb: the first thread ends then, and the other takes its id.
		states, err = p.Status()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH), err == nil && isOver(states):
		return false, errGone
	case err != nil:
		return false, err
	}
	return slices.Contains(states, process.Stop), nil
}

func isOver(states []string) bool {
	return slices.Contains(states, process.Zombie) || slices.Contains(states, process.UnknownState)
}

// commandLine returns what a process was started with, program first; nil if that
// cannot be seen.
func commandLine(pid int) []string {
	args, err := (&process.Process{Pid: int32(pid)}).CmdlineSlice()
	if err != nil {
		return nil
	}
	return args
}

// handle holds on to one process. On Linux it has a descriptor: after the end of the
// process it reaches no other, though its id be given to one.
type handle struct {
	pid     int
	start   time.Time
	process *os.Process
}

// open returns a handle of the process that has the id now, nil if there is none.
func open(pid int) (*handle, error) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	h := &handle{pid: pid, process: p}
	created, startErr := (&process.Process{Pid: int32(pid)}).CreateTime()
	h.start = time.UnixMilli(created)
	_, err = h.paused() // if it is there, then that is the start of the process that is held
	if err == nil && startErr == nil {
		return h, nil
	}
	h.close()
	if errors.Is(err, errGone) {
		return nil, nil
	}
	return nil, fmt.Errorf("process %d: %w", pid, cmp.Or(err, startErr))
}

func (h *handle) close() { _ = h.process.Release() }

// paused is errGone after the end of the process.
func (h *handle) paused() (bool, error) {
	if errors.Is(h.process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return false, errGone
	}
	return isPaused(h.pid)
}

// ended reports whether the process has ended. Its parent still has to reap it.
func (h *handle) ended() (bool, error) {
	_, err := h.paused()
	if errors.Is(err, errGone) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("process %d: %w", h.pid, err)
	}
	return false, nil
}

// signal sends a signal. One that comes after the end has no effect, and no error.
func (h *handle) signal(sig syscall.Signal) error {
	if err := h.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process %d: %w", h.pid, os.NewSyscallError("signal", err))
	}
	return nil
}

// awaitEnd returns once the process has ended or ctx has.
func (h *handle) awaitEnd(ctx context.Context) error { return poll.Until(ctx, pollInterval, h.ended) }

// awaitPaused returns once the process stands still, or runs again.
func (h *handle) awaitPaused(ctx context.Context, paused bool) error {
	return poll.Until(ctx, pollInterval, func() (bool, error) {
		now, err := h.paused()
		if errors.Is(err, errGone) {
			err = ErrNotRunning
		}
		return now == paused, err
	})
}

// child is a process that this one has started. Until it is reaped no other process
// gets its id.
type child struct {
	*exec.Cmd
	reaped chan struct{}
}

// children are kept from their start until they are reaped.
type children struct {
	mu      sync.Mutex
	byAlias map[string]*child
	threads sync.WaitGroup // of the children of a Foreground cluster
}

// start runs cmd as the process of the node called alias.
func (c *children) start(alias string, cmd *exec.Cmd, foreground bool) error {
	ch := &child{cmd, make(chan struct{})}
	start := ch.Start
	if foreground {
		start = func() error { return c.startTied(ch) }
	}
	if err := start(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAlias == nil {
		c.byAlias = make(map[string]*child)
	}
	c.byAlias[alias] = ch
	return nil
}

// startTied starts a child from a thread that lives as long as the child: Linux sends
// the parent-death signal when the thread that started it ends.
func (c *children) startTied(ch *child) error {
	started := make(chan error)
	c.threads.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := ch.Start()
		started <- err
		if err == nil {
			<-ch.reaped
		}
	})
	return <-started
}

func (c *children) of(alias string) *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byAlias[alias]
}

// reap takes in the remains of a process that has ended, if it was a child, and
// returns what it ended with.
func (c *children) reap(alias string, pid int) error {
	c.mu.Lock()
	ch := c.byAlias[alias]
	if ch == nil || ch.Process.Pid != pid {
		c.mu.Unlock()
		return nil
	}
	delete(c.byAlias, alias)
	c.mu.Unlock()
	defer close(ch.reaped)
	return ch.Wait()
}

// sweep reaps the process last started for the node called alias, if it has
// ended.
func (c *children) sweep(alias string) {
	if ch := c.of(alias); ch != nil {
		if _, err := isPaused(ch.Process.Pid); errors.Is(err, errGone) {
			_ = c.reap(alias, ch.Process.Pid)
		}
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
	ch := c.of(alias)
	if ch == nil {
		return 0, nil
	}
	if err := ch.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("kill %s: %w", alias, err)
	}
	_ = c.reap(alias, ch.Process.Pid) // how it ended is known
	return ch.Process.Pid, nil
}
