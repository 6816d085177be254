// Package anatomy measures where each microsecond of a write goes: the load of package
// load, with members that trace their entries, and each write's latency parted into
// stages that add up to it. A cell with trace = false runs the same load untraced, so
// that what tracing costs can be seen.
package anatomy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/trace"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
	spans "github.com/themilchenko/raftlab/core/trace"
	"github.com/themilchenko/raftlab/kv"
)

// Settings are the [anatomy] table of an experiment.
type Settings struct {
	Trace bool `key:"trace" doc:"take down where the time of each write goes; false: the same load without it, to see what that costs"`
}

// accept refuses what has no anatomy.
func accept(cell experiment.Cell) error {
	switch {
	case cell.Load.Open():
		return fmt.Errorf("measure = %q follows the writes of a closed loop, and load.rate = %g is an open one: leave load.rate out, or load.peak_share", Name, cell.Load.Rate)
	case cell.Load.WarmupOperations != nil && *cell.Load.WarmupOperations > 0:
		return fmt.Errorf("measure = %q takes down the writes of a load from its first on, and load.warmup_operations = %d is before that: leave it out, and give a longer load.warmup", Name, *cell.Load.WarmupOperations)
	case cell.Load.Shares().Reads() == 1:
		return fmt.Errorf("measure = %q follows writes, and load.read_ratio = 1 leaves none: lower it", Name)
	case !cell.Load.Shares().Plain():
		return fmt.Errorf("measure = %q follows operations of one step: leave all but read, write and insert out of load.mix", Name)
	}
	return nil
}

// run carries out a trial of the load, and follows its writes. With an error, the record
// holds what the load measured until then.
func (k kind) run(ctx context.Context, t *measure.Trial) error {
	var s Settings
	if err := t.Cell.ReadSettings(&s); err != nil {
		return err
	}
	inner, own := *t, *t.Record
	inner.Record = &own
	var d Data
	var err error
	if s.Trace {
		d.Writes, err = k.traced(ctx, &inner)
	} else {
		err = k.load.Run(ctx, &inner)
	}
	t.Record.Leader, t.Record.Gates = own.Leader, own.Gates
	measured, there := own.Data[load.Name]
	if !there {
		return err
	}
	d.Load = measured
	if err := errors.Join(err, t.Record.Put(Name, version, d)); err != nil {
		return err
	}
	v, err := k.read(t.Cell, t.Record)
	t.Record.Gates = append(t.Record.Gates, gates(v)...)
	return err
}

// traced carries out a trial whose members trace their entries.
func (k kind) traced(ctx context.Context, t *measure.Trial) (_ *Writes, err error) {
	calls, err := spans.NewBuffer(spans.DefaultCapacity)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, calls.Close()) }()
	w := &witness{calls: calls}
	under := *t
	under.New = func(o system.Options) (system.Group, error) {
		o.Trace = true
		g, err := t.New(o)
		if err != nil {
			return nil, err
		}
		w.Traced = g.(system.Traced) // the kind needs that ability
		return w, nil
	}
	if err := k.load.Run(ctx, &under); err != nil {
		return nil, err
	}
	logs, err := w.Traces()
	if err != nil {
		return nil, err
	}
	seen := w.window(time.Duration(t.Cell.Load.Warmup), time.Duration(t.Cell.Load.Duration))
	return newWrites(trace.Join(seen, logs, t.Record.Leader, t.Cell.Cluster.Nodes))
}

// witness is a group whose writes are taken down as the clients see them.
type witness struct {
	system.Traced
	calls *spans.Buffer
	first sync.Once
	began time.Time // the load
}

// Target implements system.Group.
func (w *witness) Target(level string) workload.Target { return &target{w.Traced.Target(level), w} }

// window returns the writes that began in it and were acknowledged.
func (w *witness) window(warmup, duration time.Duration) []trace.Call {
	clock := spans.NewClock()
	opens, closes := clock.At(w.began.Add(warmup)), clock.At(w.began.Add(warmup+duration))
	var out []trace.Call
	for _, e := range w.calls.Log("").Events {
		if e.Begin >= opens && e.Begin < closes {
			out = append(out, trace.Call{Begin: e.Begin, End: e.End, Checksum: e.Note})
		}
	}
	return out
}

// target takes down writes that succeed, as the clients of the load time them.
type target struct {
	workload.Target
	of *witness
}

var (
	_ workload.Recorder = (*target)(nil)
	_ workload.Parted   = (*target)(nil)
)

// Part implements workload.Parted.
func (t *target) Part(client int) workload.Target {
	return &target{workload.PartOf(t.Target, client), t.of}
}

// Begin implements workload.Recorder. The load begins with the first operation.
func (t *target) Begin(*workload.Op) error {
	t.of.first.Do(func() { t.of.began = time.Now() })
	return nil
}

// End implements workload.Recorder.
func (t *target) End(op *workload.Op, at workload.Times, err error) error {
	if op.Kind == workload.Write && err == nil {
		t.of.calls.Record(core.Span{Kind: core.SpanPropose, Begin: at.Start, End: at.End, Command: kv.EncodeSet(op.Key, op.Value)})
	}
	return nil
}
