package load

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/internal/poll"
)

// Timeline is how a load went on, in steps: those of the warm-up and those of the window. Each
// list has a number for each step; one that was not measured is empty.
type Timeline struct {
	StepNS    int64   `json:"step_ns"`
	Warmup    int     `json:"warmup"` // steps before the window
	Completed []int64 `json:"completed"`

	// Of the operations that were to start in the step, to three digits; a failed one is slower
	// than all others. 0: there was none; -1: the percentile falls among the failed.
	P50US []float64 `json:"p50_us"`
	P99US []float64 `json:"p99_us"`
	Slow  []int64   `json:"slow"` // of those, slower than the p99 of the window

	// Of a ramp: operations that were to start in the step, of those, that failed, how late they
	// started, and connections that were opened.
	Due      []int64   `json:"due,omitempty"`
	Failed   []int64   `json:"failed,omitempty"`
	LagP99US []float64 `json:"lag_p99_us,omitempty"`
	Opened   []float64 `json:"opened,omitempty"`

	CPUMS   []float64 `json:"cpu_ms,omitempty"`   // CPU time of the members
	DiskKiB []float64 `json:"disk_kib,omitempty"` // by the members to disks
	Syncs   []float64 `json:"syncs,omitempty"`    // flushes of the members' log stores
}

// never is the percentile of a step that falls among the failed operations.
const never = -1

func newTimeline(s workload.Steps) *Timeline {
	t := &Timeline{StepNS: int64(s.Length), Warmup: s.Warmup}
	us := func(d time.Duration) float64 {
		if d == workload.Never {
			return never
		}
		return digits(float64(d)/float64(time.Microsecond), 3)
	}
	for _, x := range s.All {
		t.Completed, t.Slow = append(t.Completed, x.Completed), append(t.Slow, x.Slow)
		t.P50US, t.P99US = append(t.P50US, us(x.P50)), append(t.P99US, us(x.P99))
	}
	return t
}

// digits rounds to so many significant digits.
func digits(v float64, n int) float64 {
	if v == 0 {
		return 0
	}
	one := math.Pow10(n - 1 - int(math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*one) / one
}

// used adds what the group used in each step. perOperation is what the load generator itself
// takes off the CPU time of a process that the clients share with the members.
func (t *Timeline) used(samples []system.Usage, opened time.Time, perOperation time.Duration) {
	first := opened.Add(-time.Duration(t.Warmup) * time.Duration(t.StepNS))
	of := func(counter func(system.Usage) int64, unit float64) []float64 {
		var out []float64
		for i := range t.Completed {
			from := first.Add(time.Duration(i) * time.Duration(t.StepNS))
			used, known := between(samples, from, from.Add(time.Duration(t.StepNS)), counter)
			if !known {
				return nil
			}
			out = append(out, digits(used/unit, 4))
		}
		return out
	}
	t.CPUMS = of(func(u system.Usage) int64 { return int64(u.CPU) }, 1e6)
	for i := range t.CPUMS {
		own := float64(perOperation) * float64(t.Completed[i]) / 1e6
		t.CPUMS[i] = digits(max(0, t.CPUMS[i]-own), 4)
	}
	t.DiskKiB = of(func(u system.Usage) int64 { return u.Written }, 1024)
	t.Syncs = of(func(u system.Usage) int64 { return u.Syncs }, 1)
}

// sampleInterval is how often the usage of a group is looked at: twice in a step, so that
// little of a step is taken for its neighbour's.
const sampleInterval = 50 * time.Millisecond

// sample looks at what a group uses. The returned func ends that, waits for its end and
// returns what was seen; what cannot be had is not there.
func sample(ctx context.Context, g system.Group, lasts time.Duration) (stop func() []system.Usage) {
	ctx, cancel := context.WithCancel(ctx)
	seen, done := make([]system.Usage, 0, lasts/sampleInterval+100), make(chan struct{})
	go func() {
		defer close(done)
		_ = poll.Until(ctx, sampleInterval, func() (bool, error) {
			u, err := g.Usage()
			if err == nil {
				seen = append(seen, u)
			}
			return false, err
		})
	}()
	return func() []system.Usage {
		cancel()
		<-done
		if u, err := g.Usage(); err == nil {
			seen = append(seen, u)
		}
		return seen
	}
}

// between tells by how much a counter went up from one moment to another, by the line
// through the samples around each; unknown where there are none, or it was not counted.
func between(samples []system.Usage, from, to time.Time, counter func(system.Usage) int64) (value float64, known bool) {
	at := func(t time.Time) (float64, bool) {
		i, _ := slices.BinarySearchFunc(samples, t, func(u system.Usage, t time.Time) int { return u.At.Compare(t) })
		if i == 0 || i == len(samples) {
			return 0, false
		}
		a, b := samples[i-1], samples[i]
		x, y := counter(a), counter(b)
		if x == system.Uncounted || y == system.Uncounted {
			return 0, false
		}
		share := float64(t.Sub(a.At)) / float64(b.At.Sub(a.At))
		return float64(x) + share*float64(y-x), true
	}
	low, knownLow := at(from)
	high, knownHigh := at(to)
	return max(0, high-low), knownLow && knownHigh
}

// Bounds on what a timeline may claim, so that times in it can be added up.
const (
	maxSteps  = 1 << 20
	maxStepNS = int64(time.Hour)
)

// stepsIn is how many steps a window has, of which the last may be cut short.
func (t *Timeline) stepsIn(window int64) int {
	n := window / t.StepNS
	if window%t.StepNS > 0 {
		n++
	}
	return int(min(n, maxSteps+1))
}

// validate checks that the lists agree with each other, and cover a window of that length.
func (t *Timeline) validate(window int64) error {
	steps := len(t.Completed)
	if t.StepNS <= 0 || t.StepNS > maxStepNS || t.Warmup < 0 || steps > maxSteps || steps-t.Warmup < t.stepsIn(window) {
		return fmt.Errorf("load: timeline: %d steps of %d ns, %d of them before a window of %d ns", steps, t.StepNS, t.Warmup, window)
	}
	counts := func(n int64) bool { return n < 0 || n > math.MaxInt64/4/maxSteps }
	for name, list := range map[string][]int64{"completed": t.Completed, "slow": t.Slow, "due": t.Due, "failed": t.Failed} {
		if len(list) > 0 && len(list) != steps || slices.ContainsFunc(list, counts) {
			return fmt.Errorf("load: timeline: %s: want %d counts", name, steps)
		}
	}
	for name, list := range map[string][]float64{"p50_us": t.P50US, "p99_us": t.P99US, "lag_p99_us": t.LagP99US, "opened": t.Opened, "cpu_ms": t.CPUMS, "disk_kib": t.DiskKiB, "syncs": t.Syncs} {
		latency := strings.HasSuffix(name, "_us")
		bad := func(v float64) bool { return !(v >= 0 && v <= math.MaxInt64) && !(latency && v == never) }
		if len(list) > 0 && len(list) != steps || slices.ContainsFunc(list, bad) {
			return fmt.Errorf("load: timeline: %s: want %d numbers", name, steps)
		}
	}
	return nil
}

// sum adds up one of the lists over the window.
func (t *Timeline) sum(list []int64) (sum int64) {
	for _, n := range list[t.Warmup:] {
		sum += n
	}
	return sum
}

// lines is the timeline in the units of the kind's lines, of a window of that length. A
// failed operation counts as having taken so long.
func (t *Timeline) lines(window int64, failed float64) *measure.Timeline {
	step := time.Duration(t.StepNS).Seconds()
	out := &measure.Timeline{Begin: -time.Duration(t.Warmup) * time.Duration(t.StepNS), Step: time.Duration(t.StepNS), Lines: map[string][]float64{}}
	steps := t.Warmup + t.stepsIn(window) // a load that was cut short saw no more
	for i, n := range t.Completed[:steps] {
		length := min(t.StepNS, window-int64(i-t.Warmup)*t.StepNS) // of the last, what there is of it
		perSecond := float64(n) / time.Duration(length).Seconds()
		if length < t.StepNS/2 { // too little for a rate
			perSecond = math.NaN()
		}
		out.Lines["throughput"] = append(out.Lines["throughput"], perSecond)
	}
	for key, list := range map[string][]float64{"latency.p50": t.P50US, "latency.p99": t.P99US, "lag.p99": t.LagP99US} {
		for _, v := range list[:min(steps, len(list))] {
			switch v {
			case 0:
				v = math.NaN()
			case never:
				v = failed
			default:
				v /= 1e6
			}
			out.Lines[key] = append(out.Lines[key], v)
		}
	}
	for key, x := range map[string]struct {
		list []float64
		one  float64
	}{"cpu": {t.CPUMS, 1e3}, "written": {t.DiskKiB, 1. / 1024}, "syncs": {t.Syncs, 1}} {
		for _, v := range x.list[:min(steps, len(x.list))] {
			out.Lines[key] = append(out.Lines[key], v/x.one/step)
		}
	}
	return out
}
