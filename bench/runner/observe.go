package runner

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
)

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

// observation is the state of the group and the process just before or after
// the load.
type observation struct {
	leadership leadership
	commands   uint64   // applied by the leader so far
	syncs      []uint64 // per member; nil where the store does not count
	cpu        time.Duration
	at         time.Time
}

func (t *trial) observe(group *cluster.InProcess) observation {
	o := observation{at: time.Now(), cpu: processCPU(), commands: group.Nodes[0].Map.Applied()}
	if n := group.Leader(); n != nil {
		o.leadership = leadership{n.ID, n.Replica.Status().Term}
	}
	for _, n := range group.Nodes {
		if c, ok := n.Logs.(core.SyncCounter); ok {
			o.syncs = append(o.syncs, c.SyncCount())
		}
	}
	return o
}

// difference records what happened between two observations.
func difference(result *record.Trial, before, after observation) {
	result.Commands = after.commands - before.commands
	result.CPUNS = int64(after.cpu - before.cpu)
	result.LoadNS = int64(after.at.Sub(before.at))
	result.SyncsPerNode = slices.Clone(after.syncs)
	for i := range before.syncs {
		result.SyncsPerNode[i] -= before.syncs[i]
	}
}

// processCPU returns the CPU time that the process has used: members, clients
// and the runtime alike.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// convergenceGate waits until all members hold the same state.
func convergenceGate(ctx context.Context, group *cluster.InProcess) record.Gate {
	ctx, cancel := context.WithTimeout(ctx, convergenceTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		behind := disagreeing(group)
		if behind == 0 {
			return atMost("convergence", "replicas", 0, 0, "")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return atMost("convergence", "replicas", float64(behind), 0,
				fmt.Sprintf("%d replicas differ from the leader %s after the load", behind, convergenceTimeout))
		}
	}
}

// disagreeing counts the members whose state is not that of the first one.
func disagreeing(group *cluster.InProcess) (behind int) {
	first := group.Nodes[0].Map
	for _, n := range group.Nodes[1:] {
		if n.Map.Applied() != first.Applied() {
			behind++ // cheap to see: nothing is hashed while they catch up
		}
	}
	if behind > 0 {
		return behind
	}
	index, sum := first.Digest()
	for _, n := range group.Nodes[1:] {
		if i, s := n.Map.Digest(); i != index || s != sum {
			behind++
		}
	}
	return behind
}

// fill copies what the load saw into the record.
func fill(result *record.Trial, m *workload.Result) error {
	result.WindowNS = int64(m.Window)
	result.Errors = m.Errors
	result.IntervalNS = int64(m.Interval)
	result.Intervals = m.Intervals
	result.Scheduled = m.Scheduled
	var err error
	if result.Writes, err = kind(m.Writes); err != nil {
		return err
	}
	if result.Reads, err = kind(m.Reads); err != nil {
		return err
	}
	if m.Lag != nil {
		result.LagHist, err = record.EncodeHistogram(m.Lag)
	}
	return err
}

func kind(k workload.KindResult) (record.Kind, error) {
	out := record.Kind{Completed: k.Completed, Failed: k.Failed}
	if k.Latency == nil || k.Latency.TotalCount() == 0 {
		return out, nil
	}
	var err error
	out.Hist, err = record.EncodeHistogram(k.Latency)
	return out, err
}
