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
	err = Serve(ctx, g, func(ctx context.Context) error {
		data, gates, err := put(ctx, t, g)
		if data != nil {
			err = errors.Join(err, t.Record.Put(Name, version, data))
		}
		t.Record.Gates = gates
		return err
	})
	if err != nil {
		return g.Explain(err)
	}
	return nil
}

// Serve starts a group, has its first member lead, and calls put, whose context ends when a
// member stops on its own. That is the error then, rather than those that follow from it.
func Serve(ctx context.Context, g system.Group, put func(context.Context) error) error {
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
	err := put(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
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
	if err := Preload(ctx, g, spec); err != nil {
		return nil, nil, fmt.Errorf("write the keys before the load: %w", err)
	}
	target := g.Target(settings.ReadLevel)
	served, err := Warm(ctx, spec, t.Cell.WarmupOperations, target)
	if err != nil {
		return nil, nil, err
	}
	peak := 0.0
	if settings.PeakShare > 0 {
		done := int64(0)
		if peak, done, err = reach(ctx, spec, target); err != nil {
			return nil, nil, fmt.Errorf("load.peak_share = %g: %w", settings.PeakShare, err)
		}
		served += done
		spec.Rate = settings.PeakShare * peak
		spec.Seed++ // its keys and values are not those that are just there
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
	stop, told := sample(ctx, g, t.Cell.Planned()), snapshots(ctx, g, time.Duration(settings.SnapshotEvery))
	measured, err := prepared.Run(ctx, target)
	taken, failed := told()
	samples := stop()
	if measured == nil {
		return nil, nil, fmt.Errorf("load: %w", err)
	}
	data, encoding := newData(measured, &settings)
	data.Served, data.Peak, data.Snapshots = served, peak, taken
	if seen := measured.Reads.Done() + measured.Writes.Done(); err == nil && seen < settings.Operations {
		err = fmt.Errorf("%d of load.operations = %d came in %s: lower it, or measure a duration", seen, settings.Operations, measured.Window.Round(time.Second))
	}
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
	generator := measured.ClientCPU
	if after.ClientsCPU > 0 {
		generator = 0 // no part of what the samples saw
	}
	data.during(samples, measured.Opened, generator)
	gates, err := judge(ctx, t, g, data, measured, before, after)
	return data, gates, err
}

// warmClients is how many clients warm a group up at least. What is compiled while it runs
// counts calls, and of one client at a time they are few.
const warmClients = 64

// Warm carries out so many operations of a load, in a closed loop, which are not measured, and
// tells how many did not fail.
func Warm(ctx context.Context, spec workload.Spec, operations int64, target workload.Target) (served int64, err error) {
	if operations == 0 {
		return 0, nil
	}
	spec.Clients = max(spec.Clients, warmClients)
	spec.Rate, spec.RateTo, spec.Warmup, spec.Duration, spec.Operations = 0, 0, 0, 0, operations
	spec.Seed-- // its keys and values are not those that are measured
	prepared, err := workload.Prepare(ctx, spec)
	if err != nil {
		return 0, fmt.Errorf("load.warmup_operations = %d: %w", operations, err)
	}
	r, err := prepared.Run(ctx, target)
	if err != nil {
		return 0, fmt.Errorf("load.warmup_operations = %d: %w", operations, err)
	}
	if r.Operations < operations {
		return 0, fmt.Errorf("load.warmup_operations = %d: %d came in %s: lower it", operations, r.Operations, r.Window.Round(time.Second))
	}
	return r.Reads.Completed + r.Writes.Completed, nil
}

// reach puts a closed loop on the target, and tells its throughput in operations per second,
// and how many completed in it.
func reach(ctx context.Context, spec workload.Spec, target workload.Target) (peak float64, done int64, err error) {
	prepared, err := workload.Prepare(ctx, spec)
	if err != nil {
		return 0, 0, err
	}
	r, err := prepared.Run(ctx, target)
	if err != nil {
		return 0, 0, fmt.Errorf("the closed loop before: %w", err)
	}
	done = r.Reads.Completed + r.Writes.Completed
	if done == 0 {
		return 0, 0, errors.New("no operation completed in the closed loop before: give a longer load.duration")
	}
	return float64(done) / r.Window.Seconds(), done, nil
}

// Preload writes every key once if the load reads any, in batches that stay far below what a
// store or a transport takes as one entry. All members have them then.
func Preload(ctx context.Context, g system.Group, spec workload.Spec) error {
	if spec.Mix.Looks() == 0 {
		return nil
	}
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
	behind, err := converge(ctx, g) // whoever is asked has them
	if err == nil && behind > 0 {
		err = fmt.Errorf("%d members do not have them after %s", behind, convergenceTimeout)
	}
	return err
}
