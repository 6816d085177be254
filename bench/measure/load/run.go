// Package load measures how a group serves clients: throughput and latency under a
// closed or an open loop, and what the members spend on it.
package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
)

// watchInterval is how often the members are looked after. A write to a dead member
// fails by itself; this tells why.
const watchInterval = 250 * time.Millisecond

// run puts the load of the cell on a group. With an error, the record holds what was
// measured until then.
func run(ctx context.Context, t *measure.Trial) (err error) {
	g, err := t.New(system.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := serve(ctx, t, g); err != nil {
		return g.Explain(err)
	}
	return nil
}

// serve starts the group and has it serve the load.
func serve(ctx context.Context, t *measure.Trial, g system.Group) error {
	if err := g.Start(ctx); err != nil {
		return err
	}
	if err := g.Lead(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := watch(ctx, g, cancel)
	defer stop()
	defer cancel(nil)
	data, gates, err := put(ctx, t, g)
	if data != nil {
		err = errors.Join(err, t.Record.Put(Name, version, data))
	}
	t.Record.Gates = gates
	if cause := context.Cause(ctx); cause != nil {
		return cause // a member that stopped, rather than the errors that followed from it
	}
	return err
}

// watch calls failed when a member stops on its own. The returned func waits for its
// end, which that of ctx brings.
func watch(ctx context.Context, g system.Group, failed func(error)) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := poll.Until(ctx, watchInterval, func() (bool, error) { return false, g.Check() })
		if ctx.Err() == nil {
			failed(err)
		}
	}()
	return func() { <-done }
}

// put writes the keys, puts the load on the group and judges it.
func put(ctx context.Context, t *measure.Trial, g system.Group) (*Data, []record.Gate, error) {
	settings := t.Cell.Load
	spec, err := settings.Spec(t.Seed)
	if err != nil {
		return nil, nil, err
	}
	if spec.Mix.Looks() > 0 {
		if err := preload(ctx, g, spec); err != nil {
			return nil, nil, fmt.Errorf("write the keys before the load: %w", err)
		}
	}
	prepared, err := workload.Prepare(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	runtime.GC() // every trial begins with a clean heap, whatever ran before it

	before, err := g.Observe(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the group before the load: %w", err)
	}
	t.Record.Leader = before.Leadership.ID
	told := snapshots(ctx, g, time.Duration(settings.SnapshotEvery))
	measured, err := prepared.Run(ctx, g.Target(settings.ReadLevel))
	taken, failed := told()
	if measured == nil {
		return nil, nil, fmt.Errorf("load: %w", err)
	}
	data, encoding := newData(measured)
	data.Snapshots = taken
	if err := errors.Join(err, failed, encoding); err != nil {
		return data, nil, fmt.Errorf("load: %w", err)
	}
	if err := g.Check(); err != nil {
		return data, nil, err
	}
	after, err := g.Observe(ctx)
	if err != nil {
		return data, nil, fmt.Errorf("look at the group after the load: %w", err)
	}
	data.between(before, after, measured.ClientCPU)
	gates, err := judge(ctx, g, data, measured, before, after)
	return data, gates, err
}

// preload writes every key once, in batches that stay far below what a store or
// a transport takes as one entry, so that reads find them.
func preload(ctx context.Context, g system.Group, spec workload.Spec) error {
	const maxBatchKeys, maxBatchBytes = 128, 1 << 20
	values := spec.Filler()
	var batch []kv.Op
	bytes := 0
	for i := range spec.Keys {
		op := kv.Op{Kind: kv.OpSet, Key: spec.Key(i), Value: values()}
		batch, bytes = append(batch, op), bytes+len(op.Key)+len(op.Value)
		if len(batch) < maxBatchKeys && bytes < maxBatchBytes && i < spec.Keys-1 {
			continue
		}
		if err := g.Set(ctx, batch); err != nil {
			return err
		}
		batch, bytes = batch[:0], 0
	}
	return nil
}

// Limits of the validity gates. They are written into every trial beside the
// figure that was compared with them.
const (
	minLoadPercent     = 95  // of the scheduled operations, completed in the window (open loop)
	minOperations      = 100 // completed in the window (closed loop): fewer say nothing about a tail
	maxErrorPercent    = 0.1 // of the operations
	maxClientPercent   = 20  // of the machine's CPU, spent by the load generator itself
	convergenceTimeout = 15 * time.Second
)

// judge waits for the group to come to rest and passes the gates' verdicts.
func judge(ctx context.Context, g system.Group, d *Data, measured *workload.Result, before, after system.Observation) ([]record.Gate, error) {
	convergence, err := convergenceGate(ctx, g)
	if err != nil {
		return nil, err
	}
	rested, err := g.Observe(ctx)
	if err != nil {
		return nil, err
	}
	return []record.Gate{
		loadGate(d), errorGate(d),
		clientGate(measured.ClientCPU, measured.Elapsed, runtime.GOMAXPROCS(0)),
		measure.LeaderGate(before.Leadership, after.Leadership),
		convergence,
		acknowledgedGate(measured.Acknowledged, rested.Commands-before.Commands),
		measure.ClockGate(measured.ClockDrift),
	}, nil
}

// convergenceGate waits until all members hold the same state.
func convergenceGate(ctx context.Context, g system.Group) (record.Gate, error) {
	within, cancel := context.WithTimeout(ctx, convergenceTimeout)
	defer cancel()
	var behind int
	var err error
	_ = poll.Until(within, 5*time.Millisecond, func() (bool, error) { // behind and err say how it ended
		behind, err = g.Disagreeing(ctx)
		return behind == 0, err
	})
	if err != nil {
		return record.Gate{}, fmt.Errorf("compare the members: %w", err)
	}
	return measure.AtMost("convergence", "replicas", float64(behind), 0,
		fmt.Sprintf("%d replicas differ from the leader %s after the load", behind, convergenceTimeout)), nil
}

// loadGate: was the load there that the experiment asked for?
func loadGate(d *Data) record.Gate {
	completed := d.Writes.Completed + d.Reads.Completed
	if d.Scheduled == 0 {
		return measure.AtLeast("load", "ops", float64(completed), minOperations,
			fmt.Sprintf("only %d operations in the window; use a longer duration", completed))
	}
	reached := 100 * float64(completed) / float64(d.Scheduled)
	return measure.AtLeast("load", "%", reached, minLoadPercent, fmt.Sprintf("%.1f %% of the scheduled rate was reached", reached))
}

func errorGate(d *Data) record.Gate {
	failed := d.Writes.Failed + d.Reads.Failed
	all := failed + d.Writes.Completed + d.Reads.Completed
	percent := 0.0
	if all > 0 {
		percent = 100 * float64(failed) / float64(all)
	}
	return measure.AtMost("errors", "%", percent, maxErrorPercent, fmt.Sprintf("%d of %d operations failed", failed, all))
}

// clientGate: did the load generator get in the way? cpu is what it used itself,
// of what the machine had during the load.
func clientGate(cpu, load time.Duration, cores int) record.Gate {
	percent := 100 * float64(cpu) / (float64(load) * float64(cores))
	return measure.AtMost("client", "%", percent, maxClientPercent, fmt.Sprintf("the load generator took %.1f %% of the CPU", percent))
}

// acknowledgedGate: is every acknowledged write there? It counts: a lost write
// goes unseen if one whose outcome the client never learned was applied instead.
func acknowledgedGate(acknowledged, applied uint64) record.Gate {
	missing := max(0, float64(acknowledged)-float64(applied))
	return measure.AtMost("acknowledged", "lost", missing, 0,
		fmt.Sprintf("%d writes were acknowledged but only %d applied", acknowledged, applied))
}
