package runner

import (
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// Limits of the validity gates. They are written into every trial beside the
// figure that was compared with them.
const (
	minLoadPercent     = 95   // of the scheduled operations, completed in the window (open loop)
	minOperations      = 100  // completed in the window (closed loop): fewer say nothing about a tail
	maxErrorPercent    = 0.1  // of the operations
	maxClientPercent   = 20   // of the machine's CPU, spent by the load generator itself
	maxClockDriftMS    = 20.0 // between the wall clock and the monotonic clock over the load
	convergenceTimeout = 15 * time.Second
)

// atMost and atLeast make a gate that compares figure with limit. The reason is
// told where it fails.
func atMost(name, unit string, figure, limit float64, reason string) record.Gate {
	return decided(record.Gate{Name: name, Unit: unit, Figure: figure, Limit: limit}, reason)
}

func atLeast(name, unit string, figure, limit float64, reason string) record.Gate {
	return decided(record.Gate{Name: name, Unit: unit, Figure: figure, Limit: limit, AtLeast: true}, reason)
}

func decided(g record.Gate, reason string) record.Gate {
	if g.Verdict = g.Decide(); g.Verdict == record.Fail {
		g.Reason = reason
	}
	return g
}

// loadGate: was the load there that the experiment asked for?
func loadGate(t record.Trial) record.Gate {
	completed := t.Writes.Completed + t.Reads.Completed
	if t.Scheduled == 0 {
		return atLeast("load", "ops", float64(completed), minOperations,
			fmt.Sprintf("only %d operations in the window; use a longer duration", completed))
	}
	reached := 100 * float64(completed) / float64(t.Scheduled)
	return atLeast("load", "%", reached, minLoadPercent,
		fmt.Sprintf("%.1f %% of the scheduled rate was reached", reached))
}

func errorGate(t record.Trial) record.Gate {
	failed := t.Writes.Failed + t.Reads.Failed
	all := failed + t.Writes.Completed + t.Reads.Completed
	percent := 0.0
	if all > 0 {
		percent = 100 * float64(failed) / float64(all)
	}
	return atMost("errors", "%", percent, maxErrorPercent, fmt.Sprintf("%d of %d operations failed", failed, all))
}

// clientGate: did the load generator get in the way? cpu is what it used itself,
// of what the machine had during the load.
func clientGate(cpu, load time.Duration, cores int) record.Gate {
	percent := 100 * float64(cpu) / (float64(load) * float64(cores))
	return atMost("client", "%", percent, maxClientPercent,
		fmt.Sprintf("the load generator took %.1f %% of the CPU", percent))
}

// leaderGate: was the same replica leader, in the same term, all the time?
func leaderGate(before, after leadership) record.Gate {
	changes := float64(after.term) - float64(before.term)
	if before.id != after.id {
		changes = max(changes, 1)
	}
	return atMost("leader", "changes", changes, 0,
		fmt.Sprintf("%s led in term %d at the start, %s in term %d at the end", before, before.term, after, after.term))
}

// oneLeaderGate: does the leader that the group came into being with lead alone
// and in the same term?
func oneLeaderGate(before leadership, now []leadership) record.Gate {
	if len(now) != 1 {
		return atMost("leader", "changes", 1, 0, fmt.Sprintf("%s led at the start, %d members lead at the end", before, len(now)))
	}
	return leaderGate(before, now[0])
}

// aliveGate: do all processes still run? stopped says which does not.
func aliveGate(stopped error) record.Gate {
	if stopped == nil {
		return atMost("alive", "processes", 0, 0, "")
	}
	return atMost("alive", "processes", 1, 0, stopped.Error())
}

// votersGate: does the leader have all nodes as voters?
func votersGate(voters, nodes int) record.Gate {
	return atLeast("voters", "nodes", float64(voters), float64(nodes), fmt.Sprintf("%d of %d nodes are voters", voters, nodes))
}

// acknowledgedGate: is every acknowledged write there? It counts: a lost write
// goes unseen if one whose outcome the client never learned was applied instead.
func acknowledgedGate(acknowledged, applied uint64) record.Gate {
	missing := max(0, float64(acknowledged)-float64(applied))
	return atMost("acknowledged", "lost", missing, 0,
		fmt.Sprintf("%d writes were acknowledged but only %d applied", acknowledged, applied))
}

// clockGate: did the wall clock jump, or the machine sleep?
func clockGate(drift time.Duration) record.Gate {
	ms := float64(drift.Abs()) / float64(time.Millisecond)
	return atMost("clock", "ms", ms, maxClockDriftMS,
		fmt.Sprintf("wall clock and monotonic clock parted by %.1f ms", ms))
}
