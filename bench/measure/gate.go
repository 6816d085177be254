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

// FlushGate is the gate that says whether what is acknowledged as being on the disk can have
// been flushed. Where it is skipped, that is not proved.
const FlushGate = "flushes"

// ColdGate is the gate that says whether a program which is compiled while it runs was as fast
// as it gets. Where it is skipped, the figures are of one that may not have been.
const ColdGate = "cold"

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

// Limit is what a gate that several kinds have is held against, and whether it is such a one.
// Those of a kind's own are for its Check.
func Limit(gate string) (limit float64, shared bool) {
	switch gate {
	case "clock":
		return maxClockDriftMS, true
	case "leader", "convergence", "acknowledged", "keys", "alive":
		return 0, true
	}
	return 0, false
}

// Rejudge compares the gates of a trial with the same ones judged again from its data. A
// gate that a trial should have and has not is for others to find.
func Rejudge(t *record.Trial, again ...record.Gate) (out []Contradiction) {
	for _, want := range again {
		for _, g := range t.Gates {
			for _, x := range []struct {
				field    string
				is, want any
			}{
				{"", g.Figure, want.Figure}, {".skipped", g.Verdict == record.Skip, want.Verdict == record.Skip}, {".limit", g.Limit, want.Limit}, {".at_least", g.AtLeast, want.AtLeast},
			} {
				if g.Name == want.Name && x.is != x.want {
					out = append(out, Contradiction{"gates." + g.Name + x.field, fmt.Sprint(x.is), fmt.Sprint(x.want)})
				}
			}
		}
	}
	return out
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

// PlacedGate is LeaderGate of a group whose first member was made the leader: it still is.
func PlacedGate(first string, before, after system.Leadership) record.Gate {
	if before.ID == first {
		return LeaderGate(before, after)
	}
	return AtMost("leader", "changes", 1, 0, fmt.Sprintf("%s led in term %d at the start, and %s was to", before, before.Term, first))
}
