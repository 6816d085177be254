package load

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// Name is what experiments and records call the kind, and version the form of its data; a limit
// of a gate that changes makes a new form too.
const (
	Name    = "load"
	version = 6 // 1 had no MembersCPUNS; 2 had Intervals for a Timeline, and no gates but those of Kind; 3 had no Kinds and no Ramp; 4 had no Acknowledged and no Members; 5 had no Served
)

// Data is what one trial measured.
type Data struct {
	WindowNS int64      `json:"window_ns"` // length of the measured window
	Writes   Operations `json:"writes"`
	Reads    Operations `json:"reads"`

	// Kinds is what Writes and Reads are made up of, where one of them is of several kinds.
	Kinds map[workload.Kind]Operations `json:"kinds,omitempty"`

	Errors   map[string]int64 `json:"errors,omitempty"`      // text → how often, in the window
	First    *Failure         `json:"first_error,omitempty"` // in the window
	Timeline *Timeline        `json:"timeline,omitempty"`
	Ramp     *Timeline        `json:"ramp,omitempty"` // the window in few steps, where the rate changes

	Scheduled int64  `json:"scheduled,omitempty"` // open loop: operations intended to start in the window
	LagHist   string `json:"lag_hist,omitempty"`  // open loop: actual minus intended start, as Operations.Hist
	Queued    int64  `json:"queued,omitempty"`    // open loop: of Scheduled, that found as many others under way as there may be

	// Opened is how many connections the clients opened within the window; nil: not counted.
	Opened *int64 `json:"opened,omitempty"`

	// Over the whole load, warm-up included:
	Commands     uint64   `json:"commands"`                 // commands that the leader applied
	Acknowledged uint64   `json:"acknowledged,omitempty"`   // writes
	SyncsPerNode []uint64 `json:"syncs_per_node,omitempty"` // flushes of each member, where they are counted; the leader is the first
	CPUNS        int64    `json:"cpu_ns"`                   // CPU time of all members and clients
	LoadNS       int64    `json:"load_ns"`                  // length of the load
	MembersCPUNS int64    `json:"members_cpu_ns,omitempty"` // CPU time of all members
	ClientsCPUNS int64    `json:"clients_cpu_ns,omitempty"` // of the clients: of their process, or of the load generator alone where members share it
	Processors   int      `json:"processors,omitempty"`     // that both had
	Operations   int64    `json:"operations,omitempty"`     // that ended
	Members      []Member `json:"members,omitempty"`        // where they are processes; the leader is the first

	// Forms 1 and 2: operations completed in each interval of the window.
	IntervalNS int64   `json:"interval_ns,omitempty"`
	Intervals  []int64 `json:"intervals,omitempty"`

	Served    int64      `json:"served,omitempty"`    // operations before the load that did not fail
	Peak      float64    `json:"peak,omitempty"`      // operations per second of the closed loop before, where the rate is a share of it
	Snapshots []Snapshot `json:"snapshots,omitempty"` // that members were told to write
}

// Failure is an operation that failed.
type Failure struct {
	Text    string `json:"text"`
	AfterNS int64  `json:"after_ns"` // the window had opened
}

// Operations are those of one kind. Completed counts those that finished inside
// the window and makes the throughput; Hist holds the latency of those that
// started inside it.
type Operations struct {
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	Hist      string `json:"hist,omitempty"` // as record.EncodeHistogram; nanoseconds
}

// sane: the counts can be added up.
func (o *Operations) sane() bool {
	return min(o.Completed, o.Failed) >= 0 && max(o.Completed, o.Failed) <= math.MaxInt64/16
}

// newData takes what the load saw.
func newData(m *workload.Result, l *experiment.Load) (*Data, error) {
	d := &Data{
		Operations: m.Operations, Acknowledged: m.Acknowledged, WindowNS: int64(m.Window), Errors: m.Errors, Timeline: newTimeline(m.Steps),
		Scheduled: m.Scheduled, Queued: m.Queued,
		Writes: Operations{Completed: m.Writes.Completed, Failed: m.Writes.Failed},
		Reads:  Operations{Completed: m.Reads.Completed, Failed: m.Reads.Failed},
	}
	if m.First != nil {
		d.First = &Failure{m.First.Text, int64(m.First.After)}
	}
	if l.Ramps() {
		d.Ramp = newRamp(m)
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
	var err error
	d.Kinds, err = newKinds(m, l.Shares())
	return d, err
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
	d.ClientsCPUNS, d.Processors = int64(clients), runtime.GOMAXPROCS(0)
	d.MembersCPUNS = max(0, d.CPUNS-int64(clients))
	d.LoadNS = int64(after.At.Sub(before.At))
	d.SyncsPerNode, d.Members = syncsOf(before, after), membersOf(before, after)
}

// during records what was used meanwhile. The clients' process has a CPU time of its own where
// generator is 0.
func (d *Data) during(samples []system.Usage, opened time.Time, generator time.Duration) {
	var perOperation time.Duration
	if d.Operations > 0 {
		perOperation = generator / time.Duration(d.Operations)
	}
	d.Timeline.used(samples, opened, perOperation)
	n, known := between(samples, opened, opened.Add(time.Duration(d.WindowNS)), func(u system.Usage) int64 { return u.Opened })
	if known {
		d.Opened = new(int64(math.Round(n)))
	}
	if d.Ramp != nil && known {
		d.Ramp.Opened = d.Ramp.opened(samples, opened, time.Duration(d.WindowNS))
	}
}

// dataOf reads what a trial recorded, in this form or an earlier one.
func dataOf(t *record.Trial) (d Data, there bool, err error) {
	if there, err = t.Get(Name, version, &d); !there || err != nil {
		return d, there, err
	}
	if d.Timeline == nil && len(d.Intervals) > 0 {
		d.Timeline = &Timeline{StepNS: d.IntervalNS, Completed: d.Intervals}
	}
	if err := d.validate(t.Failure != ""); err != nil {
		return d, there, fmt.Errorf("%w: %w", record.ErrDamaged, err)
	}
	return d, there, nil
}

// read computes what a trial gave.
func read(cell *record.CellInfo, t *record.Trial) (measure.Values, error) {
	d, there, err := dataOf(t)
	if !there || err != nil {
		return measure.Values{}, err
	}
	v, err := d.values(cell)
	if cell.Load.Ramps() {
		leaveOutMixed(&v)
	}
	return v, err
}

// values computes what the data say of a cell.
func (d *Data) values(cell *record.CellInfo) (measure.Values, error) {
	v := measure.Values{Scalars: map[string]float64{}, Distributions: map[string]*hdrhistogram.Histogram{}, Failed: map[string]int64{}, Failures: d.failures()}
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
	d.putMembers(&v, cell)
	if d.Peak > 0 {
		put("peak", d.Peak)
		put("rate", d.Peak*cell.Load.PeakShare)
	}
	if n := len(d.Snapshots); n > 0 {
		took := 0.0
		for _, s := range d.Snapshots {
			took += time.Duration(s.TookNS).Seconds()
		}
		put("snapshots", float64(n))
		put("snapshot.time", took/float64(n))
	}
	failed, err := d.distributions(&v, time.Duration(cell.Load.OpTimeout))
	if err == nil {
		err = d.putKinds(&v, &cell.Load)
	}
	if err != nil {
		return v, err
	}
	if d.Timeline != nil {
		v.Timeline = d.Timeline.lines(d.WindowNS, failed.Seconds())
	}
	if d.Ramp != nil {
		d.alongRamp(&v, &cell.Load, failed)
	}
	d.effective(&v)
	return v, nil
}

// effective puts beside each number of samples how many count as independent where the tail is
// concerned. Slow operations come together: in one step, as the index of dispersion of their
// counts tells (Cox & Lewis, The Statistical Analysis of Series of Events, 1966, §6.3; 1 for
// independent ones, more where they come together), and in steps that follow each other, as
// their autocorrelation does.
func (d *Data) effective(v *measure.Values) {
	if d.Timeline == nil || len(d.Timeline.Slow) == 0 {
		return
	}
	slow := make([]float64, d.Timeline.stepsIn(d.WindowNS))
	sum := 0.0
	for i := range slow {
		slow[i] = float64(d.Timeline.Slow[d.Timeline.Warmup+i])
		sum += slow[i]
	}
	mean, squares := sum/float64(len(slow)), 0.0
	for _, n := range slow {
		squares += (n - mean) * (n - mean)
	}
	if sum == 0 || len(slow) < 2 {
		return
	}
	dispersion := max(1, squares/float64(len(slow)-1)/mean)
	for name := range v.Distributions {
		if samples := v.Scalars[name+".samples"]; name != "lag" {
			v.Scalars[name+".effective"] = float64(stats.Effective(int64(samples/dispersion), slow))
		}
	}
}

// failures are those of the trial, the most frequent kind first.
func (d *Data) failures() []measure.Failure {
	var out []measure.Failure
	for text, n := range d.Errors {
		f := measure.Failure{Text: text, Times: n, First: -1}
		if d.First != nil && d.First.Text == text {
			f.First = time.Duration(d.First.AfterNS)
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b measure.Failure) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Text, b.Text))
	})
	return out
}

// failedAfter is how long a failed operation counts as having taken: at least as long as its
// client would have waited, and no less than the slowest that was answered, so that it is
// slower than all of those.
func failedAfter(answered *hdrhistogram.Histogram, timeout time.Duration) time.Duration {
	return max(timeout, time.Duration(answered.Max()))
}

// distributions decodes the histograms and puts what is computed of them beside the
// percentiles. Means and numbers of samples are of the operations that were answered;
// percentiles have the failed ones as the slowest: as having taken so long.
func (d *Data) distributions(v *measure.Values, timeout time.Duration) (failed time.Duration, err error) {
	var latencies []*hdrhistogram.Histogram
	for _, x := range []struct {
		name, text string
		failed     int64
	}{{"write.latency", d.Writes.Hist, d.Writes.Failed}, {"read.latency", d.Reads.Hist, d.Reads.Failed}, {"lag", d.LagHist, 0}} {
		h, err := record.DecodeHistogram(x.text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", x.name, err)
		}
		if x.name != "lag" {
			latencies = append(latencies, h)
		}
		if err := putDistribution(v, x.name, h, x.failed, timeout); err != nil {
			return 0, err
		}
	}
	all, err := record.MergeHistograms(latencies...)
	if err != nil {
		return 0, err
	}
	return failedAfter(all, timeout), putDistribution(v, "latency", all, d.Writes.Failed+d.Reads.Failed, timeout)
}

func putDistribution(v *measure.Values, name string, answered *hdrhistogram.Histogram, failed int64, timeout time.Duration) error {
	v.Distribution(name, answered)
	if failed == 0 || answered.TotalCount() == 0 {
		return nil
	}
	all, err := record.MergeHistograms(answered) // a copy: histograms are shared between distributions
	if err != nil {
		return err
	}
	if failed > math.MaxInt64-all.TotalCount() {
		return fmt.Errorf("%w: %s: more operations than can be counted", record.ErrDamaged, name)
	}
	if err := all.RecordValues(min(int64(failedAfter(answered, timeout)), all.HighestTrackableValue()), failed); err != nil {
		return fmt.Errorf("%w: %s: %w", record.ErrDamaged, name, err)
	}
	v.Distributions[name], v.Failed[name] = all, failed
	return nil
}

// validate checks that the data agree with each other. The parts of a trial that was
// broken off need not match up.
func (d *Data) validate(brokenOff bool) error {
	if min(d.WindowNS, d.IntervalNS, d.Scheduled, d.Queued, d.CPUNS, d.LoadNS, d.MembersCPUNS, d.ClientsCPUNS, d.Operations, d.Served, int64(d.Processors)) < 0 || d.Opened != nil && *d.Opened < 0 {
		return fmt.Errorf("load: a length or count below zero")
	}
	if !(d.Peak >= 0 && d.Peak <= 1e12) {
		return fmt.Errorf("load: a peak of %g operations per second", d.Peak)
	}
	if d.WindowNS == 0 && !brokenOff {
		return fmt.Errorf("load: no measured window and no failure")
	}
	for name, o := range map[string]Operations{"writes": d.Writes, "reads": d.Reads} {
		if !o.sane() {
			return fmt.Errorf("load: %s: %d completed and %d failed", name, o.Completed, o.Failed)
		}
	}
	var done, failed int64
	if d.Timeline != nil {
		if err := d.Timeline.validate(d.WindowNS); err != nil && !brokenOff {
			return err
		} else if err != nil {
			d.Timeline = nil
		} else {
			done = d.Timeline.sum(d.Timeline.Completed)
		}
	}
	for text, n := range d.Errors {
		if n < 0 || n > math.MaxInt64-failed {
			return fmt.Errorf("load: error %q is counted %d times", text, n)
		}
		failed += n
	}
	if want := d.Writes.Completed + d.Reads.Completed; done != want && !brokenOff {
		return fmt.Errorf("load: the steps of the window add up to %d operations, writes and reads to %d", done, want)
	}
	if want := d.Writes.Failed + d.Reads.Failed; failed != want && !brokenOff {
		return fmt.Errorf("load: the errors add up to %d, failed writes and reads to %d", failed, want)
	}
	if d.Ramp != nil {
		if err := d.validateRamp(); err != nil && !brokenOff {
			return err
		} else if err != nil {
			d.Ramp = nil
		}
	}
	if d.Kinds != nil && !brokenOff {
		if err := d.validateKinds(); err != nil {
			return err
		}
	}
	return d.validateMembers()
}

// check looks for contradictions between a trial and its cell, and within the trial. Those
// of one that was broken off say nothing.
func check(cell *record.CellInfo, t *record.Trial, _ measure.Values) []measure.Contradiction {
	d, there, err := dataOf(t)
	if !there || err != nil || t.Failure != "" {
		return nil
	}
	v, err := d.values(cell) // a ramp's, too, of the whole window
	if err != nil {
		return nil // which Read has told
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
	if x := d.Timeline; x == nil {
		refuse(true, "timeline", "none", "one")
	} else {
		refuse(len(x.Completed)-x.Warmup != x.stepsIn(d.WindowNS), "timeline", len(x.Completed)-x.Warmup, x.stepsIn(d.WindowNS))
	}
	out = append(out, d.checkMembers(cell, t.Data[Name].Version)...)
	refuse(shares.Reads() == 0 && d.Reads != none, "reads", d.Reads.Completed, "none")
	refuse(shares.Reads() == 1 && d.Writes != none, "writes", d.Writes.Completed, "none")
	ops, failed, samples := d.Writes.Completed+d.Reads.Completed, d.Writes.Failed+d.Reads.Failed, int64(v.Scalars["latency.samples"])
	refuse(l.Operations > 0 && ops+failed != l.Operations, "operations", fmt.Sprintf("%d and %d failed", ops, failed), l.Operations)
	refuse(l.PeakShare == 0 && d.Served > cell.WarmupOperations, "served", d.Served, fmt.Sprintf("at most %d", cell.WarmupOperations))
	refuse((d.Peak > 0) != (l.PeakShare > 0), "peak", d.Peak, fmt.Sprintf("one, where load.peak_share = %g", l.PeakShare))
	if t.Data[Name].Version >= kindsSince {
		out = append(out, d.checkKinds(shares)...)
	}
	out = append(out, d.checkRamp(&l)...)
	if l.Open() {
		refuse(samples+failed != d.Scheduled, "scheduled", d.Scheduled, fmt.Sprintf("%d samples and %d errors", samples, failed))
	} else {
		refuse(d.Scheduled > 0 || d.LagHist != "", "scheduled", d.Scheduled, "no schedule")
		// Those that completed in the window and those that started in it differ
		// by what was under way at its two ends: one operation per client.
		clients := int64(l.Clients)
		refuse(samples < ops-clients || samples > ops+clients, "hist",
			fmt.Sprintf("%d samples", samples), fmt.Sprintf("%d operations, give or take %d", ops, clients))
	}
	again := []record.Gate{d.loadGate(), d.errorGate()} // those of forms 1 and 2
	if t.Data[Name].Version >= gatesSince {
		again = d.gates(cell, v)
	}
	for _, want := range again {
		there := slices.ContainsFunc(t.Gates, func(g record.Gate) bool { return g.Name == want.Name })
		refuse(!there && t.Data[Name].Version >= gatesSince, "gates."+want.Name, "", "a verdict")
	}
	return append(out, measure.Rejudge(t, again...)...)
}
