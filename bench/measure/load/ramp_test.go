package load

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
)

// TestTrialOfARamp: the load rises as its schedule says, and nothing of it is told as of one rate.
func TestTrialOfARamp(t *testing.T) {
	defer goleak.VerifyNone(t)
	x := newTrial(t, func(e *experiment.Experiment) {
		e.Load.Rate, e.Load.RateTo, e.Load.Duration = 100, 900, experiment.Duration(time.Second)
	})
	v := carryOut(t, x)
	if v.Scalars["scheduled"] < 499 || v.Scalars["scheduled"] > 501 || v.Scalars["held"] <= 100 || v.Scalars["held"] > 900 {
		t.Errorf("%v", v.Scalars)
	}
	offered := v.Ramp.Window("offered")
	if len(offered) != 10 || offered[0] != 140 || offered[9] != 860 {
		t.Errorf("offered %v", offered)
	}
	if line := v.Timeline.Window("offered"); !slices.Equal(line, offered) {
		t.Errorf("offered over time %v", line)
	}
	for name := range v.Distributions {
		if name != "lag" {
			t.Errorf("%s is of a mix of rates", name)
		}
	}
	if _, there := v.Scalars["throughput"]; there {
		t.Error("throughput of a mix of rates")
	}
	for _, g := range x.Record.Gates {
		if slices.Contains([]string{"steady", "queue"}, g.Name) && g.Verdict != record.Skip {
			t.Errorf("%+v", g)
		}
	}
}

// TestHeld: p99 takes off where it does for good, up or down, wherever blips are before that.
func TestHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.IntRange(2, 20).Draw(t, "steps")
		slow := (steps + 4) / 5
		holds := rapid.IntRange(slow, steps).Draw(t, "holds")
		p99 := make([]float64, steps)
		for i := range p99 {
			p99[i] = rapid.Float64Range(0.7, 1.3).Draw(t, "p99") // twice the least is above the most
			if i >= holds || i >= slow && i < holds-1 && rapid.Bool().Draw(t, "a blip") {
				p99[i] *= 4
			}
		}
		l := experiment.Load{Rate: 100, RateTo: 1100, Duration: experiment.Duration(time.Duration(steps) * time.Second)}
		for range 2 {
			ramp := &measure.Timeline{Step: time.Second, Lines: map[string][]float64{"latency.p99": p99, "throughput": p99}}
			offered(ramp, &l)
			got, atLeast, there := held(ramp, &l)
			middle := func(step int) float64 { return 100 + 1000*(float64(step)+0.5)/float64(steps) }
			if !there || atLeast != (holds == steps) || atLeast && got != 1100 || !atLeast && !(got >= middle(holds-1) && got <= middle(holds)) {
				t.Fatalf("from %g to %g, %v: %v, at least: %t", l.Rate, l.RateTo, p99, got, atLeast)
			}
			l.Rate, l.RateTo = l.RateTo, l.Rate // and down
			slices.Reverse(p99)
		}
	})
	none := &measure.Timeline{Step: time.Second, Lines: map[string][]float64{"latency.p99": {math.NaN(), 1}}}
	if got, _, there := held(none, &experiment.Load{Rate: 1, RateTo: 2}); there {
		t.Errorf("%v of a ramp that had no operation at its beginning", got)
	}
}

// ramped is a trial of a ramp from 10 to 110 operations per second, five steps of a second; beyond
// the third the group takes no more.
func ramped(t *testing.T) (*record.CellInfo, Data) {
	cell := &record.CellInfo{Cell: experiment.Cell{
		Cluster: experiment.Cluster{Nodes: 3},
		Load:    experiment.Load{Rate: 10, RateTo: 110, Clients: 1, Duration: experiment.Duration(5 * time.Second), OpTimeout: experiment.Duration(timeout)},
	}}
	latencies := slices.Repeat([]int64{2e6}, 295)
	return cell, Data{
		WindowNS: 5e9, LoadNS: 5e9, Processors: 1, Scheduled: 300, Queued: 30, Acknowledged: 180, Errors: map[string]int64{"late": 5},
		Writes:   Operations{Completed: 180, Failed: 5, Hist: encode(t, latencies)},
		LagHist:  encode(t, []int64{1000}),
		Timeline: &Timeline{StepNS: 1e9, Completed: []int64{20, 40, 60, 30, 30}},
		Ramp: &Timeline{
			StepNS: 1e9, Completed: []int64{20, 40, 60, 30, 30}, Due: []int64{20, 40, 60, 80, 100}, Failed: []int64{0, 0, 0, 1, 4},
			P50US: []float64{900, 900, 900, 1e4, 1e5}, P99US: []float64{1000, 1100, 1200, 1e5, never}, Slow: []int64{0, 0, 0, 0, 3},
			LagP99US: []float64{100, 700, 100, 9e4, 1e7},
		},
	}
}

// TestRampGates: a ramp may go beyond what the group takes, but the group has to take its
// beginning; and what contradicts the schedule or itself is found.
func TestRampGates(t *testing.T) {
	cell, d := ramped(t)
	v, err := read(cell, trialOf(t, d, ""))
	if err != nil {
		t.Fatal(err)
	}
	if !v.Unsure["held"] || v.AtLeast["held"] {
		t.Errorf("twenty operations at the slowest: %v", v.Unsure)
	}
	near(t, "held", v.Scalars["held"], 60+20*math.Log(2000./1200)/math.Log(1e5/1200), 1e-9)
	if p99 := v.Ramp.Window("latency.p99"); p99[4] != timeout.Seconds() || v.Ramp.Window(measure.Samples)[4] != 100 {
		t.Errorf("p99 %v", p99)
	}
	verdicts := func(d Data) string {
		v, err := d.values(cell)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, g := range d.gates(cell, v) {
			if g.Verdict != record.Pass {
				out = append(out, g.Name+" "+string(g.Verdict))
			}
		}
		return strings.Join(out, ", ")
	}
	if got := verdicts(d); got != "steady SKIP, queue SKIP" {
		t.Error(got)
	}
	d.Ramp.Completed[0], d.Ramp.Failed[0] = 18, 1
	if got := verdicts(d); got != "load FAIL, errors FAIL, steady SKIP, queue SKIP" {
		t.Error(got)
	}
	d.Opened, d.Ramp.Opened = new(int64), []float64{0, 0, 0, 50, 50} // where it does not hold
	if got := verdicts(d); got != "load FAIL, errors FAIL, steady SKIP, queue SKIP" {
		t.Error(got)
	}
	d.Ramp.Opened[1] = 1
	if got := verdicts(d); got != "load FAIL, errors FAIL, steady SKIP, connections FAIL, queue SKIP" {
		t.Error(got)
	}
	d.Ramp.LagP99US[0], d.Opened = 600, nil
	if got := verdicts(d); got != "load FAIL, errors FAIL, steady SKIP, lateness FAIL, queue SKIP" {
		t.Error(got)
	}
	down := *cell
	down.Load.Rate, down.Load.RateTo = 110, 10
	if due, completed, failed := d.atSlow(&down.Load); due != 100 || completed != 30 || failed != 4 {
		t.Errorf("down: %d due, %d completed and %d failed at the slowest", due, completed, failed)
	}
}

func TestRampContradictions(t *testing.T) {
	for want, spoil := range map[string]func(*record.CellInfo, *Data){
		"":            func(*record.CellInfo, *Data) {},
		"ramp":        func(_ *record.CellInfo, d *Data) { d.Ramp = nil },
		"ramp.due[2]": func(_ *record.CellInfo, d *Data) { d.Ramp.Due[2], d.Ramp.Due[3] = 63, 77 },
		"ramp.due[0]": func(c *record.CellInfo, _ *Data) { c.Load.Rate = 50 },
	} {
		cell, d := ramped(t)
		spoil(cell, &d)
		x := trialOf(t, d, "")
		v, err := d.values(cell)
		if err != nil {
			t.Fatal(err)
		}
		x.Gates = d.gates(cell, v)
		found := ""
		for _, c := range check(cell, x, v) {
			found += c.Field
		}
		if found != want {
			t.Errorf("want %q, got %q", want, found)
		}
	}
	for name, spoil := range map[string]func(*Data){
		"due":       func(d *Data) { d.Ramp.Due[0]++ },
		"failed":    func(d *Data) { d.Ramp.Failed[0]++ },
		"completed": func(d *Data) { d.Ramp.Completed[0]++ },
		"lists":     func(d *Data) { d.Ramp.P99US = d.Ramp.P99US[1:] },
		"step":      func(d *Data) { d.Ramp.StepNS = 0 },
		"none":      func(d *Data) { d.Ramp.Failed = nil },
		"negative":  func(d *Data) { d.Ramp.Due[0], d.Ramp.Due[1] = -1, 61 },
	} {
		cell, d := ramped(t)
		spoil(&d)
		if _, err := read(cell, trialOf(t, d, "")); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		if _, err := read(cell, trialOf(t, d, "the machine stopped")); err != nil {
			t.Errorf("%s, broken off: %v", name, err)
		}
	}
}

// TestOpenedByStep: the steps add up to the window, of which the last may be cut short.
func TestOpenedByStep(t *testing.T) {
	opened := time.Now()
	var samples []system.Usage
	for i := range 20 {
		samples = append(samples, system.Usage{At: opened.Add(time.Duration(i-5) * 30 * time.Millisecond), Opened: int64(i * i)})
	}
	ramp := Timeline{StepNS: 1e8, Warmup: 1, Completed: make([]int64, 4)}
	const window = 250 * time.Millisecond
	steps, sum := ramp.opened(samples, opened, window), 0.0
	for _, n := range steps {
		sum += n
	}
	want, known := between(samples, opened, opened.Add(window), func(u system.Usage) int64 { return u.Opened })
	if !known || math.Abs(sum-want) > 1e-9 || steps[0] != 0 || len(steps) != 4 || steps[3] <= 0 {
		t.Errorf("%v, want %v in all", steps, want)
	}
}
