// Package calibrate measures what the machine itself costs (a flush to the
// disk, a round trip over the loopback, a timer) and describes where a run
// happened, so that a figure of a cluster can be read against the floor it
// stands on. It never starts a cluster, judges a figure or writes to a run
// folder.
//
// The measurements share the machine with nothing of ours: run them before the
// first trial and between trials, not during one. Each is one goroutine calling
// in a loop (two for the loopback), so they show latency, not throughput.
package calibrate

import (
	"context"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// All measures everything in [record.Calibration], one after the other, in at
// most about 3 s; dir is the data directory. A disk that needs longer than a
// second for one flush takes the time of two flushes more.
func All(ctx context.Context, dir string) (record.Calibration, error) {
	var c record.Calibration
	var err error
	if c.FsyncUS, c.FdatasyncUS, err = Disk(ctx, dir, DiskOptions{}); err != nil {
		return record.Calibration{}, err
	}
	if c.LoopbackUS, err = Loopback(ctx); err != nil {
		return record.Calibration{}, err
	}
	c.TimerUS = Timer(ctx)
	c.ClockResolution = ClockResolution()
	if err := ctx.Err(); err != nil {
		return record.Calibration{}, err
	}
	return c, nil
}

// quantiles sums up samples in microseconds. A quantile is one of the samples,
// by the nearest-rank definition: P90 of n sorted samples is number ⌈0.9·n⌉,
// counted from 1. Nothing is interpolated or averaged. It sorts samples in
// place; without any, all is 0.
func quantiles(samples []time.Duration) record.Quantiles {
	n := len(samples)
	if n == 0 {
		return record.Quantiles{}
	}
	slices.Sort(samples)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	rank := func(percent int) float64 { return us(samples[(percent*n+99)/100-1]) }
	return record.Quantiles{
		N:   n,
		Min: us(samples[0]),
		P50: rank(50),
		P90: rank(90),
		P99: rank(99),
		Max: us(samples[n-1]),
	}
}
