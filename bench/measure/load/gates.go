package load

import (
	"context"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
)

// Limits of the validity gates. They are written into every trial beside the
// figure that was compared with them.
const (
	minLoadPercent     = 95  // of the scheduled operations, completed in the window (open loop)
	minOperations      = 100 // completed in the window (closed loop): fewer say nothing about a tail
	maxErrorPercent    = 0.1 // of the operations
	maxClientPercent   = 20  // of the machine's CPU, spent by the load generator itself
	convergenceTimeout = 15 * time.Second

	// maxClientsPercent is for clients in a process of their own, with all that their protocol
	// takes: beyond, they have more of the machine than what is measured. Up to 34 % was seen of
	// 256 clients on two processors, over HTTP to three members.
	maxClientsPercent = 50
	// maxOpenedPercent is how many connections may be opened within the window, of its
	// operations: opening one is part of an operation's latency, and p99 is that of the slowest
	// hundredth.
	maxOpenedPercent = 0.5
	// maxLatePercent is by how much later than scheduled an open loop may start operations, of
	// their latency, both at p99: beyond, the tail is the generator's more than the group's.
	// Up to 30 % was seen on two processors that others used too.
	maxLatePercent = 50
	// maxQueuedPercent is how many operations of an open loop may find as many under way as
	// there may be: beyond, p99 is of those that had to wait in line, and the loop is closed.
	maxQueuedPercent = 1
	// maxUnsteady is the factor of a closed loop's throughput between the first third of the
	// window and the last: beyond, no one figure is that of the trial. It failed one of 163
	// trials of a second or longer on two shared processors: one whose throughput fell to a
	// quarter halfway.
	maxUnsteady = 2
	// maxRising is that of an open loop's p50. A queue that grows all along makes it 5; below
	// that, near what a group can take, a little more work makes much latency.
	maxRising = 4
	// minSteadySteps is how many steps a window needs to be judged so: of 59 trials with eight
	// steps, eight would have failed.
	minSteadySteps = 10
)

// gatesSince is the form of data from which a trial has all gates of Data.gates, and what
// they are computed from.
const gatesSince = 3

// kindsSince is the form from which a trial has Data.Kinds.
const kindsSince = 4

// gates judges what can be judged by the data alone. What does not apply is not there.
func (d *Data) gates(cell *record.CellInfo, v measure.Values) []record.Gate {
	out := d.courseGates(cell, v)
	if cell.WarmAfter > 0 {
		out = append(out, ColdGate(cell, d.before()))
	}
	if d.proves(cell) {
		out = append(out, d.flushGate(cell))
	}
	return out
}

// before is how many operations the group had served when the window opened: those before the
// load, and those of its warm-up.
func (d *Data) before() int64 {
	n := d.Served
	if d.Timeline != nil {
		for _, completed := range d.Timeline.Completed[:d.Timeline.Warmup] {
			n += completed
		}
	}
	return n
}

// ColdGate: had an engine that says after how many operations it is as fast as it gets served
// so many before anything was measured? Where the run has none of them, that is as it was meant.
func ColdGate(cell *record.CellInfo, served int64) record.Gate {
	g := measure.AtLeast(measure.ColdGate, "ops", float64(served), float64(cell.WarmAfter), fmt.Sprintf(
		"measured after %d operations, and %s says that it takes %d until it is as fast as it gets: leave load.warmup_operations out, or raise it", served, cell.Cluster.Engine, cell.WarmAfter))
	if g.Verdict == record.Fail && cell.WarmupOperations == 0 {
		g.Verdict, g.Reason = record.Skip, "the run has no operations before the warm-up"
	}
	return g
}

// courseGates judges how the load went.
func (d *Data) courseGates(cell *record.CellInfo, v measure.Values) []record.Gate {
	if d.Ramp != nil {
		return d.rampGates(cell, v)
	}
	out := []record.Gate{d.loadGate(), d.errorGate(), d.clientGate(apart(cell)), steadyGate(cell.Load.Open(), v)}
	if d.Opened != nil {
		out = append(out, connectionsGate(float64(*d.Opened), float64(d.Writes.Completed+d.Reads.Completed)))
	}
	if cell.Load.Open() {
		out = append(out, latenessGate(v), d.queueGate())
	}
	return out
}

// apart: the clients have a process of their own.
func apart(cell *record.CellInfo) bool { return cell.Cluster.Mode != experiment.ModeInProcess }

// judge waits for the group to come to rest and passes the gates' verdicts.
func judge(ctx context.Context, t *measure.Trial, g system.Group, d *Data, measured *workload.Result, before, after system.Observation) ([]record.Gate, error) {
	convergence, err := convergenceGate(ctx, g)
	if err != nil {
		return nil, err
	}
	rested, err := g.Observe(ctx)
	if err != nil {
		return nil, err
	}
	values, err := d.values(t.Cell)
	if err != nil {
		return nil, err
	}
	return append(d.gates(t.Cell, values),
		measure.PlacedGate(g.Members()[0].ID(), before.Leadership, after.Leadership),
		convergence,
		acknowledgedGate(measured.Acknowledged, rested.Commands-before.Commands),
		measure.ClockGate(measured.ClockDrift),
	), nil
}

// convergenceGate waits until all members hold the same state.
func convergenceGate(ctx context.Context, g system.Group) (record.Gate, error) {
	behind, err := converge(ctx, g)
	if err != nil {
		return record.Gate{}, err
	}
	return measure.AtMost("convergence", "replicas", float64(behind), 0,
		fmt.Sprintf("%d replicas differ from the leader %s after the load", behind, convergenceTimeout)), nil
}

// converge waits until all members hold the same state, and tells how many do not in time.
func converge(ctx context.Context, g system.Group) (behind int, err error) {
	within, cancel := context.WithTimeout(ctx, convergenceTimeout)
	defer cancel()
	_ = poll.Until(within, 5*time.Millisecond, func() (bool, error) { // behind and err say how it ended
		behind, err = g.Disagreeing(ctx)
		return behind == 0, err
	})
	if err != nil {
		return behind, fmt.Errorf("compare the members: %w", err)
	}
	return behind, nil
}

// loadGate: was the load there that the experiment asked for?
func (d *Data) loadGate() record.Gate {
	completed := d.Writes.Completed + d.Reads.Completed
	if d.Scheduled == 0 {
		return measure.AtLeast("load", "ops", float64(completed), minOperations,
			fmt.Sprintf("only %d operations in the window; use a longer duration", completed))
	}
	reached := 100 * float64(completed) / float64(d.Scheduled)
	return measure.AtLeast("load", "%", reached, minLoadPercent, fmt.Sprintf("%.1f %% of the scheduled rate was reached", reached))
}

func (d *Data) errorGate() record.Gate {
	failed := d.Writes.Failed + d.Reads.Failed
	all := failed + d.Writes.Completed + d.Reads.Completed
	percent := 0.0
	if all > 0 {
		percent = 100 * float64(failed) / float64(all)
	}
	return measure.AtMost("errors", "%", percent, maxErrorPercent, fmt.Sprintf("%d of %d operations failed", failed, all))
}

// clientGate: did the clients get in the way? Of those in the members' process only the load
// generator's own cost is known, measured alone.
func (d *Data) clientGate(apart bool) record.Gate {
	percent := 0.0
	if d.LoadNS > 0 && d.Processors > 0 {
		percent = 100 * float64(d.ClientsCPUNS) / (float64(d.LoadNS) * float64(d.Processors))
	}
	if apart {
		return measure.AtMost("client", "%", percent, maxClientsPercent, fmt.Sprintf(
			"the clients took %.1f %% of the CPU, with their protocol: what is measured had the rest; use fewer clients, or a machine with more processors", percent))
	}
	return measure.AtMost("client", "%", percent, maxClientPercent, fmt.Sprintf("the load generator took %.1f %% of the CPU", percent))
}

// connectionsGate: were the connections there before the window opened?
func connectionsGate(opened, completed float64) record.Gate {
	percent := 100 * opened / max(1, completed)
	return measure.AtMost("connections", "%", percent, maxOpenedPercent, fmt.Sprintf(
		"%.0f connections were opened within the window, and what that takes is in the latencies; use a longer warm-up", opened))
}

// latenessGate: did the open loop keep its schedule?
func latenessGate(v measure.Values) record.Gate {
	lag, late := v.Of(measure.Quantity{Of: "lag", PerMille: 990})
	latency, measured := v.Of(measure.Quantity{Of: "latency", PerMille: 990})
	percent := 0.0
	if late && measured && latency > 0 {
		percent = 100 * lag / latency
	}
	return measure.AtMost("lateness", "%", percent, maxLatePercent, fmt.Sprintf(
		"operations were started late: by %.0f µs at p99, where p99 of their latency is %.0f µs; the load generator could not keep its schedule", lag*1e6, latency*1e6))
}

// queueGate: were there as many operations under way as the schedule asks for?
func (d *Data) queueGate() record.Gate {
	percent := 100 * float64(d.Queued) / float64(max(1, d.Scheduled))
	return measure.AtMost("queue", "%", percent, maxQueuedPercent, fmt.Sprintf(
		"%d operations found %d others under way and waited in line: the rate is more than the group takes", d.Queued, workload.DefaultMaxInFlight))
}

// steadyGate: was the one end of the window like the other?
func steadyGate(open bool, v measure.Values) record.Gate {
	key, what, limit := "throughput", "throughput", float64(maxUnsteady)
	if open {
		key, what, limit = "latency.p50", "p50", maxRising
	}
	window := v.Timeline.Window(key)
	if len(window) < minSteadySteps {
		return record.Gate{Name: "steady", Verdict: record.Skip, Limit: limit, Unit: "×", Reason: "the window is too short to tell"}
	}
	factor := stats.TrendOf(window).Factor
	return measure.AtMost("steady", "×", max(factor, 1/factor), limit, fmt.Sprintf(
		"%s in the last third of the window was %.2f times that in the first; use a longer warm-up, a lower rate, or see what else the machine did", what, factor))
}

// acknowledgedGate: is every acknowledged write there? It counts: a lost write
// goes unseen if one whose outcome the client never learned was applied instead.
func acknowledgedGate(acknowledged, applied uint64) record.Gate {
	missing := max(0, float64(acknowledged)-float64(applied))
	return measure.AtMost("acknowledged", "lost", missing, 0,
		fmt.Sprintf("%d writes were acknowledged but only %d applied", acknowledged, applied))
}
