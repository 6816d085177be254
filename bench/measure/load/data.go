package load

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// Name is what experiments and records call the kind, and version the form of its data.
const (
	Name    = "load"
	version = 2 // 1 had no MembersCPUNS
)

// Data is what one trial measured.
type Data struct {
	WindowNS   int64            `json:"window_ns"` // length of the measured window
	Writes     Operations       `json:"writes"`
	Reads      Operations       `json:"reads"`
	Errors     map[string]int64 `json:"errors,omitempty"` // text → how often, in the window
	IntervalNS int64            `json:"interval_ns"`
	Intervals  []int64          `json:"intervals"` // operations completed in each interval of the window

	Scheduled int64  `json:"scheduled,omitempty"` // open loop: operations intended to start in the window
	LagHist   string `json:"lag_hist,omitempty"`  // open loop: actual minus intended start, as Operations.Hist

	// Over the whole load, warm-up included:
	Commands     uint64   `json:"commands"`                 // commands that the leader applied
	SyncsPerNode []uint64 `json:"syncs_per_node,omitempty"` // flushes of each member's log store, where it counts them
	CPUNS        int64    `json:"cpu_ns"`                   // CPU time of all members and clients
	LoadNS       int64    `json:"load_ns"`                  // length of the load
	MembersCPUNS int64    `json:"members_cpu_ns,omitempty"` // CPU time of all members
	Operations   int64    `json:"operations,omitempty"`     // that ended

	Snapshots []Snapshot `json:"snapshots,omitempty"` // that members were told to write
}

// Operations are those of one kind. Completed counts those that finished inside
// the window and makes the throughput; Hist holds the latency of those that
// started inside it.
type Operations struct {
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	Hist      string `json:"hist,omitempty"` // as record.EncodeHistogram; nanoseconds
}

// newData takes what the load saw.
func newData(m *workload.Result) (*Data, error) {
	d := &Data{
		Operations: m.Operations,
		WindowNS:   int64(m.Window), Errors: m.Errors, IntervalNS: int64(m.Interval), Intervals: m.Intervals, Scheduled: m.Scheduled,
		Writes: Operations{Completed: m.Writes.Completed, Failed: m.Writes.Failed},
		Reads:  Operations{Completed: m.Reads.Completed, Failed: m.Reads.Failed},
	}
	for _, x := range []struct {
		text *string
		h    *hdrhistogram.Histogram
	}{{&d.Writes.Hist, m.Writes.Latency}, {&d.Reads.Hist, m.Reads.Latency}, {&d.LagHist, m.Lag}} {
		var err error
		if *x.text, err = record.EncodeHistogram(x.h); err != nil {
			return d, err
		}
	}
	return d, nil
}

// between records what happened between two observations. Of clients that share the
// members' process only the generator's own cost is known, measured alone.
func (d *Data) between(before, after system.Observation, generator time.Duration) {
	d.Commands = after.Commands - before.Commands
	d.CPUNS = int64(after.CPU - before.CPU)
	clients := after.ClientsCPU - before.ClientsCPU
	if after.ClientsCPU == 0 {
		clients = generator
	}
	d.MembersCPUNS = max(0, d.CPUNS-int64(clients))
	d.LoadNS = int64(after.At.Sub(before.At))
	d.SyncsPerNode = slices.Clone(after.Syncs)
	for i := range before.Syncs {
		d.SyncsPerNode[i] -= before.Syncs[i]
	}
}

// read computes what a trial gave.
func read(_ *record.CellInfo, t *record.Trial) (measure.Values, error) {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil {
		return measure.Values{}, err
	}
	if err := d.validate(t.Failure != ""); err != nil {
		return measure.Values{}, fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	v := measure.Values{Scalars: map[string]float64{}, Distributions: map[string]*hdrhistogram.Histogram{}, Timeline: d.timeline()}
	ops, errors := d.Writes.Completed+d.Reads.Completed, d.Writes.Failed+d.Reads.Failed
	put := func(key string, value float64) { v.Scalars[key] = value }
	put("ops", float64(ops))
	put("errors", float64(errors))
	put("window", time.Duration(d.WindowNS).Seconds())
	put("write.ops", float64(d.Writes.Completed))
	put("write.errors", float64(d.Writes.Failed))
	put("read.ops", float64(d.Reads.Completed))
	put("read.errors", float64(d.Reads.Failed))
	if s := time.Duration(d.WindowNS).Seconds(); s > 0 {
		put("throughput", float64(ops)/s)
		put("write.throughput", float64(d.Writes.Completed)/s)
		put("read.throughput", float64(d.Reads.Completed)/s)
	}
	if d.Scheduled > 0 {
		put("scheduled", float64(d.Scheduled))
	}
	if n := len(d.SyncsPerNode); n > 0 && d.Commands > 0 {
		syncs := 0.0
		for _, s := range d.SyncsPerNode {
			syncs += float64(s)
		}
		put("syncs", syncs/float64(n)/float64(d.Commands))
	}
	if d.LoadNS > 0 && d.CPUNS > 0 {
		put("cpu", float64(d.CPUNS)/float64(d.LoadNS))
	}
	if d.Operations > 0 && d.MembersCPUNS > 0 {
		put("cpu.op", time.Duration(d.MembersCPUNS).Seconds()/float64(d.Operations))
	}
	if n := len(d.Snapshots); n > 0 {
		took := 0.0
		for _, s := range d.Snapshots {
			took += time.Duration(s.TookNS).Seconds()
		}
		put("snapshots", float64(n))
		put("snapshot.time", took/float64(n))
	}
	return v, d.distributions(&v)
}

// timeline is what the load saw in each step.
func (d *Data) timeline() *measure.Timeline {
	if d.IntervalNS == 0 || len(d.Intervals) == 0 {
		return nil
	}
	t := &measure.Timeline{Step: time.Duration(d.IntervalNS), Lines: map[string][]float64{}}
	for i, n := range d.Intervals {
		length := min(d.IntervalNS, d.WindowNS-int64(i)*d.IntervalNS) // of the last step, what there is of it
		if length <= 0 {
			break // the window was cut short
		}
		t.Lines["throughput"] = append(t.Lines["throughput"], float64(n)/time.Duration(length).Seconds())
	}
	return t
}

// distributions decodes the histograms and puts what is computed of them beside the
// percentiles.
func (d *Data) distributions(v *measure.Values) error {
	var latencies []*hdrhistogram.Histogram
	for _, x := range []struct{ name, text string }{{"write.latency", d.Writes.Hist}, {"read.latency", d.Reads.Hist}, {"lag", d.LagHist}} {
		h, err := record.DecodeHistogram(x.text)
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		v.Distribution(x.name, h)
		if x.name != "lag" {
			latencies = append(latencies, h)
		}
	}
	all, err := record.MergeHistograms(latencies...)
	v.Distribution("latency", all)
	return err
}

// validate checks that the data agree with each other. The parts of a trial that was
// broken off need not match up.
func (d *Data) validate(brokenOff bool) error {
	if min(d.WindowNS, d.IntervalNS, d.Scheduled, d.CPUNS, d.LoadNS, d.MembersCPUNS, d.Operations) < 0 {
		return fmt.Errorf("load: a length or count below zero")
	}
	if d.WindowNS == 0 && !brokenOff {
		return fmt.Errorf("load: no measured window and no failure")
	}
	for name, o := range map[string]Operations{"writes": d.Writes, "reads": d.Reads} {
		if min(o.Completed, o.Failed) < 0 || max(o.Completed, o.Failed) > math.MaxInt64/4 {
			return fmt.Errorf("load: %s: %d completed and %d failed", name, o.Completed, o.Failed)
		}
	}
	var done, failed int64
	for i, n := range d.Intervals {
		if n < 0 || n > math.MaxInt64-done {
			return fmt.Errorf("load: interval %d counts %d operations", i, n)
		}
		done += n
	}
	for text, n := range d.Errors {
		if n < 0 || n > math.MaxInt64-failed {
			return fmt.Errorf("load: error %q is counted %d times", text, n)
		}
		failed += n
	}
	if want := d.Writes.Completed + d.Reads.Completed; done != want && !brokenOff {
		return fmt.Errorf("load: the intervals add up to %d operations, writes and reads to %d", done, want)
	}
	if want := d.Writes.Failed + d.Reads.Failed; failed != want && !brokenOff {
		return fmt.Errorf("load: the errors add up to %d, failed writes and reads to %d", failed, want)
	}
	return nil
}

// check looks for contradictions between a trial and its cell, and within the trial. Those
// of one that was broken off say nothing.
func check(cell *record.CellInfo, t *record.Trial, v measure.Values) []measure.Contradiction {
	var d Data
	if there, err := t.Get(Name, version, &d); !there || err != nil || t.Failure != "" {
		return nil
	}
	var out []measure.Contradiction
	refuse := func(bad bool, field string, is, want any) {
		if bad {
			out = append(out, measure.Contradiction{Field: field, Printed: fmt.Sprint(is), Computed: fmt.Sprint(want)})
		}
	}
	l, none := cell.Load, Operations{}
	window := experiment.Duration(d.WindowNS)
	shares := l.Shares()
	refuse(l.Operations == 0 && window != l.Duration, "window_ns", window, l.Duration)
	refuse(d.LoadNS < d.WindowNS, "load_ns", d.LoadNS, fmt.Sprintf("at least %d", d.WindowNS))
	steps := int((d.WindowNS + d.IntervalNS - 1) / max(1, d.IntervalNS))
	refuse(len(d.Intervals) != steps, "intervals", len(d.Intervals), steps)
	refuse(len(d.SyncsPerNode) > cell.Cluster.Nodes, "syncs_per_node", len(d.SyncsPerNode), fmt.Sprintf("at most %d", cell.Cluster.Nodes))
	refuse(shares.Reads() == 0 && d.Reads != none, "reads", d.Reads.Completed, "none")
	refuse(shares.Reads() == 1 && d.Writes != none, "writes", d.Writes.Completed, "none")
	ops, failed, samples := d.Writes.Completed+d.Reads.Completed, d.Writes.Failed+d.Reads.Failed, int64(v.Scalars["latency.samples"])
	refuse(l.Operations > 0 && ops+failed != l.Operations, "operations", fmt.Sprintf("%d and %d failed", ops, failed), l.Operations)
	if l.Rate > 0 {
		refuse(samples+failed != d.Scheduled, "scheduled", d.Scheduled, fmt.Sprintf("%d samples and %d errors", samples, failed))
	} else {
		refuse(d.Scheduled > 0 || d.LagHist != "", "scheduled", d.Scheduled, "no schedule")
		// Those that completed in the window and those that started in it differ
		// by what was under way at its two ends: one operation per client.
		clients := int64(l.Clients)
		refuse(samples < ops-clients || samples > ops+clients, "hist",
			fmt.Sprintf("%d samples", samples), fmt.Sprintf("%d operations, give or take %d", ops, clients))
	}
	return append(out, measure.Rejudge(t, loadGate(&d), errorGate(&d))...)
}
