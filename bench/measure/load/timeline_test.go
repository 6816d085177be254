package load

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
)

// TestUsedAddsUp: whenever the samples were taken, what the steps used is what was used
// between their ends, and none is below zero.
func TestUsedAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const step = 100 * time.Millisecond
		steps := rapid.IntRange(1, 20).Draw(t, "steps")
		opened := time.Now()
		samples := []system.Usage{{At: opened.Add(-time.Millisecond), Syncs: system.Uncounted}}
		for last := samples[0]; last.At.Before(opened.Add(time.Duration(steps) * step)); last = samples[len(samples)-1] {
			last.At = last.At.Add(time.Duration(rapid.Int64Range(1, int64(3*step)).Draw(t, "pause")))
			last.Written += rapid.Int64Range(0, 1<<20).Draw(t, "written")
			samples = append(samples, last)
		}
		line := Timeline{StepNS: int64(step), Completed: make([]int64, steps)}
		line.used(samples, opened, 0)
		sum := 0.0
		for _, kib := range line.DiskKiB {
			if kib < 0 {
				t.Fatalf("%v", line.DiskKiB)
			}
			sum += kib * 1024
		}
		want, known := between(samples, opened, opened.Add(time.Duration(steps)*step), func(u system.Usage) int64 { return u.Written })
		if !known || len(line.DiskKiB) != steps || math.Abs(sum-want) > 1+want/1000 { // four digits are kept
			t.Fatalf("the steps add up to %v, want %v (%t)", sum, want, known)
		}
		if line.Syncs != nil {
			t.Fatal("what is not counted has a line")
		}
		line.used(samples[:len(samples)-1], opened, 0)
		if line.DiskKiB != nil {
			t.Fatal("a line reaches beyond the last sample")
		}
	})
}

// TestGeneratorsOwnIsTakenOff the CPU time of a process that clients and members share.
func TestGeneratorsOwnIsTakenOff(t *testing.T) {
	opened := time.Now()
	samples := []system.Usage{
		{At: opened.Add(-time.Second)}, {At: opened}, {At: opened.Add(time.Second), CPU: 500 * time.Millisecond}, {At: opened.Add(2 * time.Second), CPU: time.Second},
	}
	line := Timeline{StepNS: 1e9, Completed: []int64{100, 1000}}
	line.used(samples, opened, time.Millisecond)
	if !slices.Equal(line.CPUMS, []float64{400, 0}) {
		t.Errorf("%v ms", line.CPUMS)
	}
}

// TestLines: what a load saw comes back in base units, with the warm-up before zero.
func TestLines(t *testing.T) {
	d := Data{
		WindowNS: 250e6, LoadNS: 1e9, Writes: Operations{Completed: 30, Failed: 1, Hist: encode(t, slices.Repeat([]int64{2e6}, 30))},
		Errors: map[string]int64{"refused": 1},
		Timeline: newTimeline(workload.Steps{Length: 100 * time.Millisecond, Warmup: 1, All: []workload.Step{
			{Completed: 7, Due: 7, P50: 123456789, P99: 123456789},
			{Completed: 10, Due: 10, P50: time.Millisecond, P99: 2 * time.Millisecond},
			{Completed: 20, Due: 11, Failed: 1, P50: time.Millisecond, P99: workload.Never},
			{},
		}}),
	}
	d.Timeline.CPUMS = []float64{50, 100, 150, 200}
	v, err := read(timed, trialOf(t, d, ""))
	if err != nil {
		t.Fatal(err)
	}
	none := math.NaN()
	for key, want := range map[string][]float64{
		"throughput":  {70, 100, 200, 0},
		"latency.p50": {0.123, 0.001, 0.001, none},
		"latency.p99": {0.123, 0.002, timeout.Seconds(), none},
		"cpu":         {0.5, 1, 1.5, 2},
	} {
		if got := v.Timeline.Lines[key]; !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 || math.IsNaN(a) && math.IsNaN(b) }) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if _, there := v.Timeline.Lines["written"]; there || v.Timeline.Begin != -100*time.Millisecond || v.Timeline.Step != 100*time.Millisecond {
		t.Errorf("%+v", v.Timeline)
	}
	if before, in := v.Timeline.Warmup("throughput"), v.Timeline.Window("throughput"); len(before) != 1 || len(in) != 3 {
		t.Errorf("%v before the window and %v in it", before, in)
	}
	if want := []measure.Failure{{Text: "refused", Times: 1, First: -1}}; !slices.Equal(v.Failures, want) {
		t.Errorf("%+v", v.Failures)
	}
}

// TestShortStep: the rate of a last step that is cut short is by what there is of it, and
// there is none where that is too little.
func TestShortStep(t *testing.T) {
	line := Timeline{StepNS: 100e6, Completed: []int64{10, 10, 4}}
	if got := line.lines(280e6, 0).Window("throughput"); !slices.Equal(got, []float64{100, 100, 50}) {
		t.Errorf("%v", got)
	}
	if got := line.lines(210e6, 0).Window("throughput"); len(got) != 3 || !math.IsNaN(got[2]) {
		t.Errorf("%v", got)
	}
}

// TestEarlierForms: the counts of forms 1 and 2 are a throughput line, and need no gates that
// were not there.
func TestEarlierForms(t *testing.T) {
	d := valid(t)
	d.Timeline, d.IntervalNS, d.Intervals = nil, 5e8, []int64{4, 6}
	trial := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}, Gates: []record.Gate{d.loadGate(), d.errorGate()}}
	if err := trial.Put(Name, 2, d); err != nil {
		t.Fatal(err)
	}
	cell := &record.CellInfo{Cell: experiment.Cell{Load: experiment.Load{Clients: 1, Duration: experiment.Duration(time.Second)}}}
	v, err := read(cell, trial)
	if err != nil || !slices.Equal(v.Timeline.Window("throughput"), []float64{8, 12}) || len(v.Timeline.Lines) != 1 || v.Independent("latency") != 11 {
		t.Errorf("%+v, %v", v, err)
	}
	if c := check(cell, trial, v); len(c) != 0 {
		t.Errorf("contradictions: %v", c)
	}
}

// TestEffective: operations that are slow at random all count, those that are slow together
// do not.
func TestEffective(t *testing.T) {
	const steps, perStep = 120, 50
	random := rand.New(rand.NewPCG(7, 7))
	of := func(slow func(i int) int64) float64 {
		d := Data{WindowNS: steps * 1e8, Timeline: &Timeline{StepNS: 1e8, Slow: make([]int64, steps)}}
		for i := range d.Timeline.Slow {
			d.Timeline.Slow[i] = slow(i)
		}
		v := measure.Values{Scalars: map[string]float64{}}
		h := record.NewHistogram()
		if err := h.RecordValues(1e6, steps*perStep); err != nil {
			t.Fatal(err)
		}
		v.Distributions = map[string]*hdrhistogram.Histogram{"latency": h}
		v.Scalars["latency.samples"] = steps * perStep
		d.effective(&v)
		return float64(v.Independent("latency")) / (steps * perStep)
	}
	alone := of(func(int) (n int64) {
		for range perStep {
			if random.IntN(100) == 0 {
				n++
			}
		}
		return n
	})
	together := of(func(i int) int64 { // twelve stalls, each of five operations
		if i%10 == 0 {
			return 5
		}
		return 0
	})
	inARow := of(func(i int) int64 { // the same, one after the other
		if i < 12 {
			return 5
		}
		return 0
	})
	if alone < 0.7 || alone > 1 {
		t.Errorf("at random: %.2f of them count", alone)
	}
	if together < 0.15 || together > 0.3 { // each stall is about one
		t.Errorf("five at a time: %.2f of them count", together)
	}
	if inARow > together/5 {
		t.Errorf("all in a row: %.2f of them count, five at a time %.2f", inARow, together)
	}
	if of(func(int) int64 { return 0 }) != 1 {
		t.Error("where nothing is slow, not all count")
	}
}

// FuzzRead: whatever a trial says, it is read or refused, and what is read can be reported.
func FuzzRead(f *testing.F) {
	for _, form := range []string{
		`{"window_ns":100,"writes":{"completed":3},"timeline":{"step_ns":60,"warmup":1,"completed":[1,2,1],"p50_us":[1,-1,0],"p99_us":[1,2,3],"slow":[0,0,1],"cpu_ms":[1,2,3]}}`,
		`{"window_ns":100,"writes":{"completed":3},"interval_ns":50,"intervals":[1,2]}`,
		`{"window_ns":9223372036854775807,"timeline":{"step_ns":3600000000000,"warmup":-1}}`,
		`{"window_ns":1,"errors":{"x":9223372036854775807},"writes":{"failed":9223372036854775807},"opened":-1}`,
	} {
		f.Add([]byte(form))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		if !json.Valid(form) {
			return
		}
		trial := &record.Trial{Data: map[string]record.Data{Name: {Version: version, Measured: form}}}
		v, err := read(timed, trial)
		if err != nil {
			if !errors.Is(err, record.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, line := range Kind().Lines {
			if all := len(v.Timeline.Warmup(line.Key)) + len(v.Timeline.Window(line.Key)); v.Timeline != nil && all != len(v.Timeline.Lines[line.Key]) {
				t.Errorf("%s: %d values, %d before and in the window", line.Key, len(v.Timeline.Lines[line.Key]), all)
			}
			for _, x := range v.Timeline.Window(line.Key) {
				if x < 0 || math.IsInf(x, 0) {
					t.Errorf("%s: %v", line.Key, x)
				}
			}
		}
		check(timed, trial, v)
	})
}
