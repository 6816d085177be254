package runner

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/kv"
)

// group is a running group of kv members, wherever they run. Its first member is
// the leader that the load goes to.
type group interface {
	// target drives the leader; stale reads skip the barrier.
	target(stale bool) workload.Target
	// set writes all keys of ops in one entry.
	set(ctx context.Context, ops []kv.Op) error
	// observe looks at the group as it is now.
	observe(ctx context.Context) (observation, error)
	// disagreeing counts the members whose state is not that of the first one.
	disagreeing(ctx context.Context) (int, error)
	// watch calls failed when a member stops on its own. The returned func ends
	// the watching and waits for it.
	watch(failed func(error)) (stop func())
	// Close stops all members. The data stays.
	Close() error
}

// leadership is who led in which term.
type leadership struct {
	id   string
	term uint64
}

// String implements fmt.Stringer.
func (l leadership) String() string {
	if l.id == "" {
		return "nobody"
	}
	return l.id
}

// observation is the state of the group and the machine's use just before or
// after the load.
type observation struct {
	leadership leadership
	commands   uint64        // applied by the first member so far
	syncs      []uint64      // per member; nil where the store does not count
	cpu        time.Duration // of all members and clients
	at         time.Time
}

// processCPU returns the CPU time that this process has used.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func refusal(result any) error {
	r, ok := result.(kv.Result)
	if !ok {
		return fmt.Errorf("unexpected result of the state machine: %T", result)
	}
	return r.Err
}
