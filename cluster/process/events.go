package process

import (
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// EventKind says what happened to a node.
type EventKind int

// The kinds of events.
const (
	Starting       EventKind = iota + 1 // about to start
	Started                             // the process runs
	Ready                               // it answers that it is ready
	AlreadyRunning                      // it ran before; left alone
	Stopping                            // SIGTERM sent
	Stopped                             // the process is gone
	Killing                             // it did not stop in time: SIGKILL follows
	Killed                              // gone by SIGKILL
	AlreadyStopped                      // it did not run
	Paused                              // SIGSTOP took effect
	Resumed                             // SIGCONT took effect
)

// String returns the name of the kind.
func (k EventKind) String() string {
	names := [...]string{"starting", "started", "ready", "already running", "stopping", "stopped",
		"killing", "killed", "already stopped", "paused", "resumed"}
	if k < 1 || int(k) > len(names) {
		return fmt.Sprintf("event %d", int(k))
	}
	return names[k-1]
}

// Event is one step of an operation.
type Event struct {
	Kind EventKind
	Node clusterfile.Node
	// Leader: when starting, the node is the file's leader; when stopping, it led
	// the cluster as far as its nodes could tell, or is the file's leader if not.
	Leader bool
	PID    int    // 0 where there is no process
	Text   string // more about it; often empty
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
	// ErrElsewhere is the error for a stop of a node that runs, but was not started
	// here.
	ErrElsewhere = errors.New("it was started from another folder, or by other means: stop it there")
	// ErrNoLeader is the error where a cluster must be founded and its file names
	// no leader.
	ErrNoLeader = errors.New("leader: missing")
	// ErrBusy is the error while another process starts or stops nodes of the
	// same data directory.
	ErrBusy = errors.New("another start or stop of these nodes is under way")
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
