package load

import (
	"math"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// judged is what the gates of a trial without a fault are computed from: an open loop over
// connections, twelve steps of ten operations.
func judged(t *testing.T) (*Data, measure.Values) {
	t.Helper()
	opened := int64(0)
	d := &Data{
		WindowNS: 12e8, LoadNS: 12e8, Writes: Operations{Completed: 120}, Scheduled: 120, Opened: &opened,
		CPUNS: 12e8, MembersCPUNS: 11e8, ClientsCPUNS: 1e8, Processors: 2,
	}
	histogram := func(values ...int64) *hdrhistogram.Histogram {
		h := record.NewHistogram()
		for _, v := range values {
			if err := h.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	course := func(v float64) []float64 { return slices.Repeat([]float64{v}, 12) }
	return d, measure.Values{
		Distributions: map[string]*hdrhistogram.Histogram{"latency": histogram(1e6, 2e6), "lag": histogram(1e4, 1e5)},
		Timeline:      &measure.Timeline{Step: 1e8, Lines: map[string][]float64{"throughput": course(100), "latency.p50": course(1e-3)}},
	}
}

// TestGates: a trial without a fault passes all gates, and each fault fails the gate that is
// there for it, and no other.
func TestGates(t *testing.T) {
	rise := func(line []float64, by float64) {
		for i := range line[:6] {
			line[i] /= by
		}
	}
	for name, x := range map[string]struct {
		fault   func(*Data, *measure.Values)
		mode    string
		rate    float64
		fails   string
		figure  float64
		skipped string
	}{
		"nothing":     {mode: experiment.ModeProcess, rate: 100},
		"closed loop": {mode: experiment.ModeInProcess},
		"overload":    {fault: func(d *Data, _ *measure.Values) { d.Scheduled = 200 }, rate: 100, fails: "load", figure: 60},
		"idle":        {fault: func(d *Data, _ *measure.Values) { d.Scheduled, d.Writes.Completed = 0, 99 }, fails: "load", figure: 99},
		"errors":      {fault: func(d *Data, _ *measure.Values) { d.Reads.Failed = 30 }, rate: 100, fails: "errors", figure: 20},
		"generator": {
			fault: func(d *Data, _ *measure.Values) { d.ClientsCPUNS = 5e8 }, mode: experiment.ModeInProcess, fails: "client", figure: 100 * 5. / 24,
		},
		"clients apart may take more": {fault: func(d *Data, _ *measure.Values) { d.ClientsCPUNS = 5e8 }, mode: experiment.ModeProcess},
		"clients apart": {
			fault: func(d *Data, _ *measure.Values) { d.ClientsCPUNS = 13e8 }, mode: experiment.ModeProcess, fails: "client", figure: 100 * 13. / 24,
		},
		"connections": {fault: func(d *Data, _ *measure.Values) { *d.Opened = 3 }, mode: experiment.ModeProcess, fails: "connections", figure: 2.5},
		"lateness": {
			fault: func(_ *Data, v *measure.Values) { v.Distributions["lag"] = v.Distributions["latency"] }, rate: 100, fails: "lateness", figure: 100,
		},
		"a late start in a closed loop": {fault: func(_ *Data, v *measure.Values) { v.Distributions["lag"] = v.Distributions["latency"] }},
		"queue":                         {fault: func(d *Data, _ *measure.Values) { d.Queued = 6 }, rate: 100, fails: "queue", figure: 5},
		"faster at the end":             {fault: func(_ *Data, v *measure.Values) { rise(v.Timeline.Lines["throughput"], 3) }, fails: "steady", figure: 3},
		"slower at the end":             {fault: func(_ *Data, v *measure.Values) { rise(v.Timeline.Lines["throughput"], 0.2) }, fails: "steady", figure: 5},
		"a queue that grows":            {fault: func(_ *Data, v *measure.Values) { rise(v.Timeline.Lines["latency.p50"], 5) }, rate: 100, fails: "steady", figure: 5},
		"more latency of an open loop":  {fault: func(_ *Data, v *measure.Values) { rise(v.Timeline.Lines["latency.p50"], 3) }, rate: 100},
		"rising latency of a closed loop": {
			fault: func(_ *Data, v *measure.Values) { rise(v.Timeline.Lines["latency.p50"], 5) },
		},
		"short window": {
			fault: func(_ *Data, v *measure.Values) {
				rise(v.Timeline.Lines["throughput"], 3)
				v.Timeline.Lines["throughput"] = v.Timeline.Lines["throughput"][3:]
			}, skipped: "steady",
		},
	} {
		d, v := judged(t)
		if x.fault != nil {
			x.fault(d, &v)
		}
		var failed, skipped string
		var names []string
		for _, g := range d.gates(&record.CellInfo{Cell: experiment.Cell{Cluster: experiment.Cluster{Mode: x.mode}, Load: experiment.Load{Rate: x.rate}}}, v) {
			names = append(names, g.Name)
			switch g.Verdict {
			case record.Fail:
				failed += g.Name
				if math.Abs(g.Figure-x.figure) > 1e-3*x.figure || g.Reason == "" {
					t.Errorf("%s: %s is %v, want %v; %s", name, g.Name, g.Figure, x.figure, g.Reason)
				}
			case record.Skip:
				skipped += g.Name
			}
		}
		if failed != x.fails || skipped != x.skipped {
			t.Errorf("%s: %s failed and %s was skipped, want %s and %s", name, failed, skipped, x.fails, x.skipped)
		}
		want := []string{"load", "errors", "client", "steady", "connections"}
		if x.rate > 0 {
			want = append(want, "lateness", "queue")
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: gates %v, want %v", name, names, want)
		}
	}
}

// TestColdGate: what was served before the window counts, in the load's warm-up too; where none
// was to be, the gate has no verdict.
func TestColdGate(t *testing.T) {
	for _, x := range []struct {
		served, warmup, settled int64
		figure                  float64
		verdict                 record.Verdict
	}{
		{100, 0, 100, 100, record.Pass},
		{60, 20, 60, 100, record.Pass},
		{60, 19, 60, 98, record.Fail},
		{0, 49, 0, 98, record.Skip},
		{0, 50, 0, 100, record.Pass},
	} {
		cell := &record.CellInfo{WarmAfter: 100, WarmupOperations: x.settled}
		d := &Data{Served: x.served, Timeline: &Timeline{Warmup: 2, Completed: []int64{x.warmup, x.warmup, 1000}}}
		g := d.gates(cell, measure.Values{})[4]
		if g.Name != measure.ColdGate || g.Figure != x.figure || g.Verdict != x.verdict || (g.Reason == "") != (x.verdict == record.Pass) {
			t.Errorf("%+v: %+v", x, g)
		}
	}
	for _, g := range (&Data{}).gates(&record.CellInfo{}, measure.Values{}) {
		if g.Name == measure.ColdGate {
			t.Error("asked of an engine that asks for nothing")
		}
	}
}

// TestFlushGate: what is said to be on the disks of a majority takes so many flushes, whoever
// shares them; those of one member stand in for no other.
func TestFlushGate(t *testing.T) {
	for _, x := range []struct {
		name    string
		nodes   int
		load    experiment.Load
		writes  uint64
		syncs   []uint64
		figure  float64
		verdict record.Verdict
	}{
		{"one for each write on all", 3, experiment.Load{Clients: 1}, 10, []uint64{10, 10, 10}, 3, record.Pass},
		{"just a majority", 3, experiment.Load{Clients: 1}, 10, []uint64{10, 10, 0}, 2, record.Pass},
		{"a majority that changes", 3, experiment.Load{Clients: 1}, 9, []uint64{9, 2, 7}, 2, record.Pass},
		{"one too few", 3, experiment.Load{Clients: 1}, 10, []uint64{10, 9, 0}, 1.9, record.Fail},
		{"many of one member", 3, experiment.Load{Clients: 1}, 10, []uint64{1000, 3, 3}, 1.6, record.Fail},
		{"none", 3, experiment.Load{Clients: 1}, 10, []uint64{0, 0, 0}, 0, record.Fail},
		{"shared by four", 3, experiment.Load{Clients: 4}, 10, []uint64{3, 2, 1}, (10 + 8 + 4) / 10., record.Pass},
		{"too few to be shared by four", 3, experiment.Load{Clients: 4}, 12, []uint64{3, 2, 0}, 20 / 12., record.Fail},
		{"five members", 5, experiment.Load{Clients: 1}, 4, []uint64{4, 4, 3, 0, 0}, 11 / 4., record.Fail},
		{"one member", 1, experiment.Load{Clients: 1}, 4, []uint64{4}, 1, record.Pass},
		{"an open loop", 3, experiment.Load{Clients: 1, Rate: 1}, 4097, []uint64{2, 2, 1}, (2*4097 + 4096) / 4097., record.Pass},
		{"not at all, in an open loop", 3, experiment.Load{Clients: 1, PeakShare: 0.5}, 100, []uint64{0, 0, 0}, 0, record.Fail},
		{"not counted", 3, experiment.Load{Clients: 1}, 10, nil, 0, record.Skip},
	} {
		cell := &record.CellInfo{Cell: experiment.Cell{Cluster: experiment.Cluster{Nodes: x.nodes}, Load: x.load}, Durability: "disk"}
		d := &Data{Acknowledged: x.writes, SyncsPerNode: x.syncs, Commands: x.writes}
		g := d.flushGate(cell)
		if math.Abs(g.Figure-x.figure) > 1e-9 || g.Verdict != x.verdict || g.Verdict != g.Decide() || (g.Reason == "") != (g.Verdict == record.Pass) {
			t.Errorf("%s: %+v, want %v, %s", x.name, g, x.figure, x.verdict)
		}
		named := func() bool {
			return slices.ContainsFunc(d.gates(cell, measure.Values{}), func(g record.Gate) bool { return g.Name == "flushes" })
		}
		if !named() {
			t.Errorf("%s: it is not among the gates", x.name)
		}
		if cell.Cluster.Durability = "disk"; x.syncs == nil && d.flushGate(cell).Verdict != record.Fail {
			t.Errorf("%s, and asked for: %+v", x.name, d.flushGate(cell))
		}
		if cell.Durability = "os-buffer"; named() {
			t.Errorf("%s: it is asked for where nobody speaks of a disk", x.name)
		}
	}
}
