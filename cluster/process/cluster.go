// Package process starts, watches and stops the kvnode processes of a cluster
// file on this machine. It prints nothing: progress goes through a callback. It
// needs Unix.
//
// What it keeps of a node is in data_dir/alias, beside the node's own state:
//
//	node.pid      id of the process that runs the node, as in kill $(cat node.pid)
//	node.process  the same process for good: id, start, program, a line each
//	node.log      log, standard output and error of its processes, appended; kvnode makes
//	              it node.log.1 and so on before it is too large
//	kvnode.toml   the settings it was last started with, if there are any
//
// While its data are being replaced, that is noted in data_dir/alias.replacing, and what it
// had before stays in data_dir/alias.replaced-TIME.
//
// Of kvnode's own files it looks only whether node.json and nodes.json are there,
// how large the snapshots are, and which process has written its id to LOCK.
//
// A process is the node if it has the id and the start that were written down, or if
// it has the id and is a kvnode with that data path: a process that got the id of a
// dead node is never signalled. On Linux it is held by a descriptor, so that nothing
// comes between the check and the signal.
//
// An operation that starts or ends nodes locks data_dir/clusterctl.lock meanwhile, and a
// replacement, which is several of them, data_dir/replace.lock as well. A start notes in
// data_dir/clusterctl.json which cluster that is: another one's nodes may have the same
// aliases.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/internal/lockfile"
	"github.com/themilchenko/raftlab/internal/poll"
)

// Options says how a Cluster runs its nodes. The zero value is usable.
type Options struct {
	Binary       string        // path of kvnode [BinPath/kvnode]
	Events       func(Event)   // told of progress, one call at a time; may be nil
	ReadyTimeout time.Duration // how long a node that is not ready may make no progress [30s]
	StopTimeout  time.Duration // from SIGTERM to SIGKILL [15s]
	TakeOver     bool          // start on the nodes' data also where another cluster owns the data directory
	// Foreground ties the nodes to this process: Close kills those still running,
	// a failed Start leaves none running, and on Linux they are killed too when
	// this process ends, however it does. Otherwise they live on.
	Foreground bool
}

// lockTimeout is how long an operation waits for one of another process.
const lockTimeout = 5 * time.Second

// Cluster is the processes of one cluster file. Its methods may be called from
// several goroutines; those that start or end nodes wait for each other.
type Cluster struct {
	file        *clusterfile.File
	opts        Options
	lockTimeout time.Duration

	telling  sync.Mutex    // held during a call of opts.Events
	turn     chan struct{} // holds a token while no operation is under way
	children children
}

// New returns the cluster of f. It starts nothing and looks at nothing. f must
// not change any more.
func New(f *clusterfile.File, o Options) *Cluster {
	o.Binary = cmp.Or(o.Binary, filepath.Join(f.Resolve(f.BinPath), "kvnode"))
	if !strings.ContainsRune(o.Binary, filepath.Separator) {
		o.Binary = "." + string(filepath.Separator) + o.Binary // never one from $PATH
	}
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, 30*time.Second)
	o.StopTimeout = cmp.Or(o.StopTimeout, 15*time.Second)
	c := &Cluster{file: f, opts: o, lockTimeout: lockTimeout, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Dir returns the folder of a node: its state, its log, its pid file.
func (c *Cluster) Dir(alias string) string { return filepath.Join(c.dataDir(), alias) }

func (c *Cluster) dataDir() string { return c.file.Resolve(c.file.DataDir) }

// LogPath returns where the node's output goes; older output is in LogPath.1 and so on.
func (c *Cluster) LogPath(alias string) string { return filepath.Join(c.Dir(alias), "node.log") }

// PIDPath returns where the id of the node's process is written down.
func (c *Cluster) PIDPath(alias string) string { return filepath.Join(c.Dir(alias), pidName) }

// Command returns the line to type for a command of clusterctl on this cluster, in
// quotes: errors end with the one that mends them.
func (c *Cluster) Command(args string) string {
	if path := c.file.Path; path != "" && path != clusterfile.DefaultPath {
		args = "-c " + path + " " + args
	}
	return "'clusterctl " + args + "'"
}

func (c *Cluster) node(alias string) (clusterfile.Node, error) {
	if n, ok := c.file.Node(alias); ok {
		return n, nil
	}
	return clusterfile.Node{}, fmt.Errorf("%w: %q", ErrUnknownNode, alias)
}

// Exclusively calls f while no other operation that starts or ends nodes is under
// way, of this Cluster or of another process on the same data directory. f must not
// call one.
func (c *Cluster) Exclusively(ctx context.Context, f func() error) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	defer func() { c.turn <- struct{}{} }()
	lock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Close() // and with it the lock
	}
	return f()
}

// lock returns nil if there is no data directory: then there is nothing to guard.
func (c *Cluster) lock(ctx context.Context) (lock *lockfile.Lock, err error) {
	path := filepath.Join(c.dataDir(), "clusterctl.lock")
	ctx, cancel := context.WithTimeoutCause(ctx, c.lockTimeout, fmt.Errorf("waited %v", c.lockTimeout))
	defer cancel()
	waitErr := poll.Until(ctx, pollInterval, func() (bool, error) {
		lock, err = lockfile.Take(path)
		return !errors.Is(err, lockfile.ErrLocked), nil
	})
	switch {
	case waitErr != nil:
		return nil, fmt.Errorf("%w (%s is locked; %w): try again when it is done", ErrBusy, path, waitErr)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	}
	return lock, err
}

// Close kills the nodes that a Foreground cluster has started and that still
// run, and waits for their ends; the nodes of others live on. Nothing is to be
// called after it.
func (c *Cluster) Close() error {
	if !c.opts.Foreground {
		return nil
	}
	return c.Exclusively(context.Background(), func() error {
		var errs []error
		for _, alias := range c.children.all() {
			errs = append(errs, c.end(alias))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		c.children.threads.Wait()
		return nil
	})
}

// end kills a child and cleans up after it.
func (c *Cluster) end(alias string) error {
	c.children.sweep(alias)
	pid, err := c.children.end(alias)
	if pid == 0 || err != nil {
		return err
	}
	n, _ := c.file.Node(alias)
	c.tell(Event{Kind: Killed, Node: n, PID: pid})
	return c.unrecord(alias)
}

// EventKind says what happened to a node.
type EventKind string

// The kinds of events.
const (
	Starting       EventKind = "starting"        // about to start
	Started        EventKind = "started"         // the process runs
	Ready          EventKind = "ready"           // it answers that it is ready
	AlreadyRunning EventKind = "already running" // it ran before; left alone
	Stopping       EventKind = "stopping"        // SIGTERM sent
	Stopped        EventKind = "stopped"         // the process is gone
	Killing        EventKind = "killing"         // it did not stop in time: SIGKILL follows
	Killed         EventKind = "killed"          // gone by SIGKILL
	AlreadyStopped EventKind = "already stopped" // it did not run
	Paused         EventKind = "paused"          // SIGSTOP took effect
	Resumed        EventKind = "resumed"         // SIGCONT took effect
)

// Event is one step of an operation.
type Event struct {
	Kind EventKind
	Node clusterfile.Node
	// Leader: when starting, the node is the file's leader; when stopping, it led
	// the cluster as far as its nodes could tell, or is the file's leader if not.
	Leader bool
	PID    int // 0 where there is no process
}

// tell hands an event to the callback.
func (c *Cluster) tell(e Event) {
	if c.opts.Events == nil {
		return
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	c.opts.Events(e)
}

// Kinds of errors, to be compared with [errors.Is].
var (
	// ErrUnknownNode is the error for an alias that is not in the cluster file.
	ErrUnknownNode = errors.New("no such node in the cluster file")
	// ErrNotRunning is the error for a signal to a node that does not run.
	ErrNotRunning = errors.New("not running")
	// ErrRunning is the error for what wants nodes that do not run.
	ErrRunning = errors.New("these nodes still run")
	// ErrElsewhere is the error for a stop of a node that runs, but was not started
	// here.
	ErrElsewhere = errors.New("it was started from another folder, or by other means: stop it there")
	// ErrNoLeader is the error where a cluster must be founded and its file names
	// no leader.
	ErrNoLeader = errors.New("leader: missing")
	// ErrBusy is the error while another process starts or stops nodes of the
	// same data directory.
	ErrBusy = errors.New("another start or stop of these nodes is under way")
	// ErrReplacing is the error while a node of the same data directory is being replaced.
	ErrReplacing = errors.New("another command replaces or removes a node of this cluster: wait until it is done")
	// ErrForeign is the error for a data directory that holds the nodes of another
	// cluster.
	ErrForeign = errors.New("holds the nodes of another cluster")
)

// StartError says why a node did not start.
type StartError struct {
	Alias   string
	LogPath string
	Tail    []string // last lines of the log, oldest first; of a node that this call started, no older ones than that
	Err     error
}

// Error implements error. It leaves the tail to the caller.
func (e *StartError) Error() string {
	return fmt.Sprintf("start %s: %v (log: %s)", e.Alias, e.Err, e.LogPath)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// NotMemberError is the error for a node that runs and that its group does not count.
type NotMemberError struct {
	Alias  string
	Leader string // the node that says so
}

// Error implements error.
func (e *NotMemberError) Error() string {
	return fmt.Sprintf("%s has data of a group, but is no member of the one that %s leads: it was removed from it, or comes from another", e.Alias, e.Leader)
}
