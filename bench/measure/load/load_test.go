package load

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// encode returns the histogram of values in nanoseconds as a trial holds it.
func encode(t testing.TB, values []int64) string {
	t.Helper()
	h := record.NewHistogram()
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	text, err := record.EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func trialOf(t testing.TB, d Data, failure string) *record.Trial {
	t.Helper()
	trial := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Failure: failure}
	if err := trial.Put(Name, version, d); err != nil {
		t.Fatal(err)
	}
	return trial
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// timeout is longer than all that took part in a trial that is made up.
const timeout = time.Minute

var timed = &record.CellInfo{Cell: experiment.Cell{Load: experiment.Load{OpTimeout: experiment.Duration(timeout)}}}

// TestReadAgainstSortedValues checks every figure of a trial against the samples
// themselves: within the 0.1 % that three digits leave. Of the reads three failed, which
// are slower than all others.
func TestReadAgainstSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []int64 {
		out := make([]int64, n)
		for i := range out {
			out[i] = 1 + random.Int64N(1<<(1+random.IntN(24)))
		}
		return out
	}
	for range 20 { // seeded by hand: a hundred rapid checks take too long under -race
		writes, reads := values(1+random.IntN(200)), values(random.IntN(3)*random.IntN(50))
		v, err := read(timed, trialOf(t, Data{
			WindowNS: 2e9, IntervalNS: 1e9, Intervals: []int64{int64(len(writes)), int64(len(reads))}, Errors: map[string]int64{"x": 3},
			Writes:   Operations{Completed: int64(len(writes)), Hist: encode(t, writes)},
			Reads:    Operations{Completed: int64(len(reads)), Failed: 3, Hist: encode(t, reads)},
			Commands: 20, SyncsPerNode: []uint64{20, 40}, CPUNS: 3e9, LoadNS: 2e9, MembersCPUNS: 2e9, Operations: 1000,
		}, ""))
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(writes, reads)
		checkLatency(t, "latency", v, all, 3)
		checkLatency(t, "write.latency", v, writes, 0)
		checkLatency(t, "read.latency", v, reads, 3)
		near(t, "throughput", v.Scalars["throughput"], float64(len(all))/2, 1e-9)
		near(t, "syncs per command", v.Scalars["syncs"], 1.5, 1e-9)
		near(t, "cores", v.Scalars["cpu"], 1.5, 1e-9)
		near(t, "CPU per operation", v.Scalars["cpu.op"], 0.002, 1e-12)
		near(t, "errors", v.Scalars["errors"], 3, 0)
		near(t, "window", v.Scalars["window"], 2, 0)
	}
}

func checkLatency(t testing.TB, of string, v measure.Values, values []int64, failed int) {
	t.Helper()
	value := func(key string) (float64, bool) {
		k := Kind()
		x, there := v.Of(k.Quantity(of + "." + key))
		return x * 1e9, there
	}
	if len(values) == 0 {
		if got, there := value("p50"); there {
			t.Errorf("%s: %v of no samples", of, got)
		}
		return
	}
	sorted := slices.Sorted(slices.Values(values))
	sum := 0.0
	for _, v := range sorted {
		sum += float64(v)
	}
	answered := len(sorted)
	sorted = append(sorted, slices.Repeat([]int64{int64(timeout)}, failed)...)
	rank := func(perMille int) float64 {
		at := max(1, (len(sorted)*perMille+500)/1000) - 1
		q := measure.Quantity{Of: of, PerMille: perMille}
		if among := v.AmongFailed(q); among != (at >= answered) {
			t.Errorf("%s of %d and %d failed: falls among the failed: %t", of, answered, failed, among)
		}
		return float64(sorted[at])
	}
	for key, want := range map[string]float64{
		"mean": sum / float64(answered), "p50": rank(500), "p90": rank(900), "p99": rank(990), "p999": rank(999), "max": rank(1000),
	} {
		got, there := value(key)
		if !there {
			t.Errorf("%s.%s is not there", of, key)
		}
		near(t, of+"."+key, got, want, 1+want/1000)
	}
	near(t, of+".samples", v.Scalars[of+".samples"], float64(answered), 0)
}

func valid(t testing.TB) Data {
	return Data{
		WindowNS: 1e9, LoadNS: 1e9, Errors: map[string]int64{"timeout": 1}, First: &Failure{"timeout", 3e8},
		Timeline:     &Timeline{StepNS: 5e8, Warmup: 1, Completed: []int64{3, 4, 6}, P50US: []float64{2, 3, 4}, P99US: []float64{4, never, 9}, Slow: []int64{0, 1, 1}},
		Acknowledged: 13,
		Writes:       Operations{Completed: 10, Failed: 1, Hist: encode(t, []int64{1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000})},
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := read(&record.CellInfo{}, trialOf(t, valid(t), "")); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Data){
		"steps":            func(d *Data) { d.Timeline.Completed[1]++ },
		"a step less":      func(d *Data) { d.Timeline.Completed, d.Writes.Completed = []int64{3, 10}, 10 },
		"length of a step": func(d *Data) { d.Timeline.StepNS = 0 },
		"long warm-up":     func(d *Data) { d.Timeline.Warmup = 4 },
		"short list":       func(d *Data) { d.Timeline.P99US = d.Timeline.P99US[1:] },
		"negative CPU":     func(d *Data) { d.Timeline.CPUMS = []float64{1, -1, 1} },
		"errors":           func(d *Data) { d.Writes.Failed++ },
		"histogram":        func(d *Data) { d.Writes.Hist = d.Writes.Hist[4:] },
		"no window":        func(d *Data) { d.WindowNS = 0 },
		"negative step":    func(d *Data) { d.Timeline.Completed = []int64{3, -1, 11} },
		"negative count":   func(d *Data) { d.Reads.Completed = -1 },
		"negative error":   func(d *Data) { d.Errors["x"] = -1 },
		"too many":         func(d *Data) { d.Timeline.Completed[1] = math.MaxInt64 },
		"time":             func(d *Data) { d.CPUNS = -1 },
		"a member's time":  func(d *Data) { d.Members = []Member{{CPUNS: -1}} },
		"flushes":          func(d *Data) { d.SyncsPerNode = []uint64{math.MaxUint64} },
	} {
		d := valid(t)
		spoil(&d)
		if _, err := read(&record.CellInfo{}, trialOf(t, d, "")); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := valid(t)
	d.Timeline.Completed[1]++
	if v, err := read(&record.CellInfo{}, trialOf(t, d, "the store is full")); err != nil || v.Scalars["ops"] != 10 {
		t.Errorf("broken off: %+v, %v", v, err)
	}
}

// TestCheck: what a trial and its cell cannot both say, and no trial by itself.
func TestCheck(t *testing.T) {
	fields := func(rate, readRatio float64, d Data, gates ...record.Gate) string {
		cell := &record.CellInfo{Cell: experiment.Cell{
			Cluster: experiment.Cluster{Nodes: 3},
			Load:    experiment.Load{Clients: 1, Duration: experiment.Duration(time.Second), Rate: rate, ReadRatio: readRatio},
		}}
		trial := trialOf(t, d, "")
		if trial.Gates = gates; gates == nil {
			v, err := d.values(cell)
			if err != nil {
				t.Fatal(err)
			}
			trial.Gates = d.gates(cell, v)
		}
		v, err := read(cell, trial)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range check(cell, trial, v) {
			out = append(out, c.Field)
		}
		return strings.Join(out, " ")
	}
	if got := fields(0, 0, valid(t)); got != "" {
		t.Errorf("contradictions in %s", got)
	}
	for want, spoil := range map[string]func(*Data){
		"window_ns":      func(d *Data) { d.WindowNS-- },
		"load_ns":        func(d *Data) { d.LoadNS = 1 },
		"timeline":       func(d *Data) { d.Timeline.Warmup, d.Timeline.Completed = 0, []int64{4, 6, 0} },
		"syncs_per_node": func(d *Data) { d.SyncsPerNode = make([]uint64, 4) },
		"members":        func(d *Data) { d.Members = make([]Member, 2) },
		"acknowledged":   func(d *Data) { d.Acknowledged = 0 },
		"reads":          func(d *Data) { d.Writes, d.Reads = Operations{}, d.Writes },
		"hist":           func(d *Data) { d.Writes.Completed, d.Timeline.Completed[1] = 12, 6 }, // more than samples and clients
		"scheduled":      func(d *Data) { d.Scheduled = 11 },
	} {
		d := valid(t)
		if spoil(&d); fields(0, 0, d) != want {
			t.Errorf("want %s, got %q", want, fields(0, 0, d))
		}
	}
	d := valid(t)
	if got := fields(0, 1, d); got != "writes" {
		t.Errorf("writes where all are reads: %q", got)
	}
	if got := fields(0, 0, d, d.loadGate(), record.Gate{Name: "errors", Verdict: record.Pass}); got != "gates.client gates.steady gates.errors gates.errors.limit" {
		t.Errorf("a gate has another figure and limit, and others are not there: %q", got)
	}
	for scheduled, want := range map[int64]string{5: "scheduled", 11: "", 12: "scheduled"} {
		d := valid(t)
		d.Scheduled = scheduled
		if got := fields(10, 0, d); got != want {
			t.Errorf("%d scheduled, 10 samples and an error: %q", scheduled, got)
		}
	}
}

// TestKeySize: keys have the size that the experiment says, also those that are written
// before the load, and too short ones are refused before anything runs.
func TestKeySize(t *testing.T) {
	cell := experiment.Cell{Load: experiment.Load{
		Clients: 1, Duration: 1e9, OpTimeout: 1e9, ValueSize: 1, Keys: 1000, KeyDistribution: "uniform", KeySize: 64,
	}}
	if err := Kind().Accept(cell); err != nil {
		t.Error(err)
	}
	if spec, err := cell.Load.Spec(1); err != nil || len(spec.Key(7)) != 64 {
		t.Errorf("%q: %v", spec.Key(7), err)
	}
	cell.Load.KeySize = 5
	if err := Kind().Accept(cell); err == nil || !strings.Contains(err.Error(), "at least") {
		t.Errorf("a thousand keys of 5 bytes: %v", err)
	}
}

// TestMembersCPU: clients in a process of their own do not count, and of those in the
// members' process the generator's own cost is taken off.
func TestMembersCPU(t *testing.T) {
	before := system.Observation{CPU: 10 * time.Second, ClientsCPU: 4 * time.Second}
	after := system.Observation{CPU: 20 * time.Second, ClientsCPU: 7 * time.Second}
	var d Data
	d.between(before, after, time.Second)
	near(t, "apart", float64(d.MembersCPUNS), 7e9, 0)
	before.ClientsCPU, after.ClientsCPU = 0, 0
	d.between(before, after, time.Second)
	near(t, "together", float64(d.MembersCPUNS), 9e9, 0)

	before.Syncs, after.Syncs = []uint64{5, 7}, []uint64{9, 7}
	before.Used, after.Used = []system.Used{{CPU: 1}, {CPU: 2}}, []system.Used{{CPU: 4, PeakBytes: 8, Threads: 3}, {CPU: 2}}
	d.between(before, after, 0)
	if !slices.Equal(d.SyncsPerNode, []uint64{4, 0}) || !slices.Equal(d.Members, []Member{{3, 8, 3}, {}}) {
		t.Errorf("flushes %v, members %+v", d.SyncsPerNode, d.Members)
	}
	for _, x := range []system.Observation{{}, {Syncs: []uint64{9, 8, 7}}, {Syncs: []uint64{4, 7}}} { // not counted, or from the beginning
		if d.between(before, x, 0); d.SyncsPerNode != nil || d.Members != nil {
			t.Errorf("%v: flushes %v, members %+v", x.Syncs, d.SyncsPerNode, d.Members)
		}
	}
}
