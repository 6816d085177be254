package measure

import (
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// maxClockDriftMS bounds how far the wall clock and the monotonic clock may part while
// something is measured.
const maxClockDriftMS = 20.0

// AtMost makes a gate that passes with a figure of at most limit. The reason is told
// where it fails.
func AtMost(name, unit string, figure, limit float64, reason string) record.Gate {
	return decided(record.Gate{Name: name, Unit: unit, Figure: figure, Limit: limit}, reason)
}

// AtLeast makes a gate that passes with a figure of at least limit.
func AtLeast(name, unit string, figure, limit float64, reason string) record.Gate {
	return decided(record.Gate{Name: name, Unit: unit, Figure: figure, Limit: limit, AtLeast: true}, reason)
}

func decided(g record.Gate, reason string) record.Gate {
	if g.Verdict = g.Decide(); g.Verdict == record.Fail {
		g.Reason = reason
	}
	return g
}

// ClockDrift is how far the wall clock and the monotonic clock have parted since then.
func ClockDrift(since time.Time) time.Duration {
	now := time.Now()
	return now.Round(0).Sub(since.Round(0)) - now.Sub(since)
}

// ClockGate: did the wall clock jump, or the machine sleep?
func ClockGate(drift time.Duration) record.Gate {
	ms := float64(drift.Abs()) / float64(time.Millisecond)
	return AtMost("clock", "ms", ms, maxClockDriftMS, fmt.Sprintf("wall clock and monotonic clock parted by %.1f ms", ms))
}

// LeaderGate: was the same member leader, in the same term, before and after?
func LeaderGate(before, after system.Leadership) record.Gate {
	changes := float64(after.Term) - float64(before.Term)
	if before.ID != after.ID {
		changes = max(changes, 1)
	}
	return AtMost("leader", "changes", changes, 0,
		fmt.Sprintf("%s led in term %d at the start, %s in term %d at the end", before, before.Term, after, after.Term))
}
