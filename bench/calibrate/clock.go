package calibrate

import (
	"context"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

const (
	timerRounds = 200
	timerSleep  = 100 * time.Microsecond
	timerLimit  = 500 * time.Millisecond

	clockSteps = 1000
	clockReads = 1_000_000 // at most, should the clock be coarse
)

// Timer measures by how much a sleep of 100 µs is too long, 200 times or as
// often as half a second allows. An open loop that paces itself with timers
// starts operations late by about this much. A cancelled ctx ends it early;
// the result then has the samples taken until then.
func Timer(ctx context.Context) record.Quantiles {
	samples := make([]time.Duration, 0, timerRounds)
	begin := time.Now()
	for range timerRounds {
		if ctx.Err() != nil || time.Since(begin) > timerLimit {
			break
		}
		start := time.Now()
		time.Sleep(timerSleep)
		samples = append(samples, time.Since(start)-timerSleep)
	}
	return quantiles(samples)
}

// ClockResolution returns the smallest step, in nanoseconds, that the monotonic
// clock was seen to make between two readings: what reading it costs, or how
// coarse it is, whichever is more. 0: it was not seen to move at all.
func ClockResolution() float64 {
	var smallest time.Duration
	steps := 0
	last := time.Now()
	for range clockReads {
		now := time.Now()
		step := now.Sub(last)
		last = now
		if step <= 0 {
			continue
		}
		if smallest == 0 || step < smallest {
			smallest = step
		}
		if steps++; steps == clockSteps {
			break
		}
	}
	return float64(smallest.Nanoseconds())
}
