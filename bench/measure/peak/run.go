// Package peak measures the greatest rate that a group sustains while a percentile of its
// latency stays below a target: an open loop is put to it again and again, at rates between
// one that held the target and one that did not.
package peak

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// settings are the [peak] table of an experiment.
type settings struct {
	P99       time.Duration `key:"p99" min:"1us" doc:"what the p99 of latency may be at most, for a rate to count as sustained"`
	Tolerance float64       `key:"tolerance" min:"0.01" max:"0.5" unit:"share" doc:"how far the rate that held and the next one that did not may be apart"`
	Tries     int           `key:"tries" min:"2" max:"50" doc:"how many rates are tried at most, each for warmup and duration of [load]"`
}

func defaults() settings { return settings{P99: 50 * time.Millisecond, Tolerance: 0.1, Tries: 12} }

func settingsOf(cell experiment.Cell) (settings, error) {
	s := defaults()
	err := cell.ReadSettings(&s)
	return s, err
}

// accept refuses a load that does not leave the rate to the search.
func accept(cell experiment.Cell) error {
	l := cell.Load
	switch {
	case l.Open():
		return fmt.Errorf("load.rate = %g: measure = %q tries rates itself: leave load.rate out, or load.peak_share", l.Rate, Name)
	case l.Operations > 0:
		return fmt.Errorf("load.operations = %d: measure = %q tries each rate for load.duration: give that instead", l.Operations, Name)
	case l.SnapshotEvery > 0:
		return fmt.Errorf("load.snapshot_every = %s: measure = %q tells nobody to write snapshots: leave it out", l.SnapshotEvery, Name)
	}
	spec, err := l.Spec(1)
	return errors.Join(err, spec.Validate())
}

// Try is one rate that was tried. The first try is a closed loop, which has none.
type Try struct {
	Rate       float64 `json:"rate,omitempty"` // operations per second, scheduled
	Throughput float64 `json:"throughput"`     // that completed in the window
	P50NS      int64   `json:"p50_ns"`
	P99NS      int64   `json:"p99_ns"` // of the operations that were answered
	Failed     int64   `json:"failed,omitempty"`
	Operations int64   `json:"operations"` // that were to start in the window
}

// A rate is sustained if so much of it completed in the window, and no more failed than that.
const (
	minReached = 0.95
	maxFailed  = 0.001
)

// holds reports whether the rate was sustained.
func (t *Try) holds(p99 time.Duration) bool {
	return time.Duration(t.P99NS) <= p99 && t.Throughput >= minReached*t.Rate && float64(t.Failed) <= maxFailed*float64(t.Operations)
}

// search is the bisection: it goes up from what the closed loop reached as long as rates
// hold, and from then on halves, on a logarithmic scale, what lies between.
type search struct {
	low, high float64 // the greatest rate that held, 0: none, and the least that did not, +Inf: none
	next      float64
}

func newSearch(closed float64) search { return search{high: math.Inf(1), next: closed} }

// takes takes in how the next rate went.
func (s *search) takes(held bool) {
	if held {
		s.low = s.next
	} else {
		s.high = s.next
	}
	switch {
	case math.IsInf(s.high, 1):
		s.next = 2 * s.low
	case s.low == 0:
		s.next = s.high / 2
	default:
		s.next = math.Sqrt(s.low * s.high)
	}
}

// gap is how far the two bounds are apart, as a share of the upper one.
func (s *search) gap() float64 {
	if math.IsInf(s.high, 1) {
		return 1
	}
	return 1 - s.low/s.high
}

func run(ctx context.Context, t *measure.Trial) (err error) {
	s, err := settingsOf(t.Cell.Cell)
	if err != nil {
		return err
	}
	g, err := t.New(system.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	var d Data
	err = load.Serve(ctx, g, func(ctx context.Context) (err error) {
		d, err = seek(ctx, t, g, s)
		return err
	})
	if len(d.Tries) > 0 {
		err = errors.Join(err, t.Record.Put(Name, version, d))
	}
	if err != nil {
		return g.Explain(err)
	}
	return nil
}

// seek tries rates until the bounds are close, and judges the trial.
func seek(ctx context.Context, t *measure.Trial, g system.Group, s settings) (d Data, err error) {
	spec, err := t.Cell.Load.Spec(t.Seed)
	if err != nil {
		return d, err
	}
	if err := load.Preload(ctx, g, spec); err != nil {
		return d, fmt.Errorf("write the keys before the load: %w", err)
	}
	target := g.Target(t.Cell.Load.ReadLevel)
	if d.Served, err = load.Warm(ctx, spec, t.Cell.WarmupOperations, target); err != nil {
		return d, err
	}
	begun := time.Now()
	before, err := g.Observe(ctx)
	if err != nil {
		return d, err
	}
	t.Record.Leader = before.Leadership.ID
	closed, err := try(ctx, spec, target)
	if err != nil {
		return d, err
	}
	d.Tries = []Try{closed}
	if closed.Throughput == 0 {
		return d, errors.New("no operation completed in the closed loop that the search begins with: see what the members log, or give a longer load.duration")
	}
	bounds := newSearch(closed.Throughput)
	for len(d.Tries) <= s.Tries && bounds.gap() > s.Tolerance {
		// No rate is beyond what the generator schedules, nor below an operation in the window.
		spec.Rate = min(bounds.next, maxRate)
		if spec.Rate*spec.Duration.Seconds() < 1 || bounds.low == maxRate {
			break
		}
		spec.Seed++
		x, err := try(ctx, spec, target)
		if err != nil {
			return d, err
		}
		d.Tries = append(d.Tries, x)
		bounds.takes(x.holds(s.P99))
	}
	after, err := g.Observe(ctx)
	if err != nil {
		return d, err
	}
	t.Record.Gates = append(d.gates(t.Cell, s),
		measure.PlacedGate(g.Members()[0].ID(), before.Leadership, after.Leadership), measure.ClockGate(measure.ClockDrift(begun)))
	return d, nil
}

// maxRate is what load.rate may be.
const maxRate = 1e7

// try puts one load on the target.
func try(ctx context.Context, spec workload.Spec, target workload.Target) (Try, error) {
	prepared, err := workload.Prepare(ctx, spec)
	if err != nil {
		return Try{}, err
	}
	runtime.GC() // every try begins with a clean heap
	r, err := prepared.Run(ctx, target)
	if err != nil {
		return Try{}, err
	}
	all := workload.NewHistogram()
	for _, k := range []*workload.KindResult{&r.Reads, &r.Writes} {
		if k.Latency != nil {
			all.Merge(k.Latency)
		}
	}
	failed := r.Reads.Failed + r.Writes.Failed
	return Try{
		Rate: spec.Rate, Throughput: float64(r.Reads.Completed+r.Writes.Completed) / r.Window.Seconds(),
		P50NS: all.ValueAtPercentile(50), P99NS: all.ValueAtPercentile(99), Failed: failed, Operations: all.TotalCount() + failed,
	}, nil
}
