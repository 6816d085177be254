package workload

import (
	"math"
	"math/bits"
	"sync"
	"time"
)

// A load is recorded in steps of this length, and told in steps of a multiple where it took
// more than maxSteps of them.
const (
	shortestStep = 100 * time.Millisecond
	maxSteps     = 600
	rampSteps    = 20 // of a window whose rate changes: in each, it is nearly one rate
)

// perStep is how many of so many steps are told as one, for there to be at most that many.
func perStep(steps, most int) int { return max(1, (steps+most-1)/most) }

// Steps is how a load went on, in steps of equal length: those of the warm-up, as many as
// fit into it, and those of the window, of which the last may be cut short.
type Steps struct {
	Length time.Duration
	Warmup int // how many lie before the window
	All    []Step
}

// Step is what a load saw in one step. Operations count where they were to start, as in
// the latencies of the window; those that completed, where they did.
type Step struct {
	Completed int64 // in the step, whenever started
	Due       int64 // to start in it
	Failed    int64 // of those
	// Latencies of those that were due, a failed one as slower than all others; [Never] where
	// the percentile falls among the failed, 0 where none was due.
	P50, P99 time.Duration
	Slow     int64 // of those due, clearly slower than the p99 of the window
}

// Never is the latency of an operation that failed: no answer would have been longer.
const Never = time.Duration(math.MaxInt64)

// sketch counts latencies by their size, in buckets that are at most a sixteenth of their
// lower end wide; failed operations are in the last. A small histogram in place of those of a
// run folder, since there is one for each step.
type sketch [sketchBuckets + 1]uint32

const (
	sketchBits    = 4
	sketchBuckets = (42-sketchBits)<<sketchBits + 1<<sketchBits // up to 2^42 ns, more than an hour
)

// bucketOf returns the bucket of a latency.
func bucketOf(d time.Duration) int {
	if d == Never {
		return sketchBuckets
	}
	ns := uint64(max(d, 0))
	exponent := max(bits.Len64(ns)-sketchBits-1, 0)
	return min(exponent<<sketchBits+int(ns>>exponent), sketchBuckets-1)
}

// endsOf returns the least latency of a bucket and the least that is beyond it.
func endsOf(bucket int) (low, beyond time.Duration) {
	exponent := max(bucket>>sketchBits-1, 0)
	from := int64(bucket - exponent<<sketchBits)
	return time.Duration(from << exponent), time.Duration((from + 1) << exponent)
}

func (s *sketch) merge(o *sketch) {
	for i, n := range o {
		s[i] += n
	}
}

// count returns how many are counted.
func (s *sketch) count() (all int64) {
	for _, n := range s {
		all += int64(n)
	}
	return all
}

// percentile returns a percentile, given as a share, and its bucket. Within a bucket the
// latencies are taken to lie evenly. There has to be one.
func (s *sketch) percentile(share float64) (value time.Duration, bucket int) {
	rank, seen := max(1, int64(math.Ceil(share*float64(s.count())))), int64(0)
	for bucket < sketchBuckets && seen+int64(s[bucket]) < rank {
		seen += int64(s[bucket])
		bucket++
	}
	if bucket == sketchBuckets {
		return Never, bucket
	}
	low, beyond := endsOf(bucket)
	within := (float64(rank-seen) - 0.5) / float64(s[bucket])
	return low + time.Duration(within*float64(beyond-low)), bucket
}

// beyond counts what is in later buckets than that.
func (s *sketch) beyond(bucket int) (sum int64) {
	for _, n := range s[bucket+1:] {
		sum += int64(n)
	}
	return sum
}

// course gathers the latencies of all recorders by step. Each recorder has a sketch of the
// step that its clients are in, so that they meet here with each step and not with each
// operation, and a long load needs no sketches for each of them.
type course struct {
	warmup int // whole steps before the window

	mu    sync.Mutex
	steps []sketch // as many as were needed so far
}

// newCourse makes room for the steps of a load, if its length is known.
func newCourse(s Spec) *course {
	c := &course{warmup: int(s.Warmup / shortestStep)}
	c.steps = make([]sketch, c.warmup+stepsIn(s.Duration, shortestStep))
	return c
}

// stepsIn is how many steps a window has, of which the last may be cut short.
func stepsIn(window, step time.Duration) int { return int((window + step - 1) / step) }

// add counts what a sketch has in a step, and grows to have it.
func (c *course) add(step int, of *sketch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if more := step + 1 - len(c.steps); more > 0 {
		c.steps = append(c.steps, make([]sketch, more)...)
	}
	c.steps[step].merge(of)
}

// at returns the step of a moment, told by how long after the window's opening it is; below
// zero: of none.
func (c *course) at(since time.Duration) int {
	since += time.Duration(c.warmup) * shortestStep
	if since < 0 {
		return -1
	}
	return int(since / shortestStep)
}

// strand is a recorder's share in a course.
type strand struct {
	of        *course
	completed []int64 // by step
	at        int     // the step of now; -1: none yet
	now       sketch
}

func (c *course) strand() *strand {
	return &strand{of: c, completed: make([]int64, len(c.steps)), at: -1}
}

// saw counts an operation that was due then, after the window's opening.
func (s *strand) saw(due, latency time.Duration) {
	i := s.of.at(due)
	switch {
	case i < 0:
		return
	case i < s.at: // it took so long that others are in a later step
		var alone sketch
		alone[bucketOf(latency)]++
		s.of.add(i, &alone)
		return
	case i > s.at:
		s.flush()
		s.at = i
	}
	s.now[bucketOf(latency)]++
}

// ended counts an operation that completed then.
func (s *strand) ended(since time.Duration) {
	i := s.of.at(since)
	if i < 0 {
		return
	}
	for i >= len(s.completed) { // a window without a length goes on
		s.completed = append(s.completed, 0)
	}
	s.completed[i]++
}

// flush hands over what was counted.
func (s *strand) flush() {
	if s.at >= 0 {
		s.of.add(s.at, &s.now)
		s.now = sketch{}
	}
}

// sumUp tells what all recorders saw of a load whose window was so long, so many steps
// together. They have ended.
func (c *course) sumUp(strands []*strand, window time.Duration, together int) Steps {
	for _, s := range strands {
		s.flush()
	}
	count := c.warmup + stepsIn(window, shortestStep)
	skipped := c.warmup % together // of the warm-up, at its beginning
	out := Steps{Length: shortestStep * time.Duration(together), Warmup: c.warmup / together}
	out.All = make([]Step, out.Warmup+stepsIn(window, out.Length))
	latencies := make([]sketch, len(out.All))
	var all sketch // of the window
	for i := skipped; i < count; i++ {
		at := (i - skipped) / together
		if i < len(c.steps) {
			latencies[at].merge(&c.steps[i])
			if i >= c.warmup {
				all.merge(&c.steps[i])
			}
		}
		for _, s := range strands {
			if i < len(s.completed) {
				out.All[at].Completed += s.completed[i]
			}
		}
	}
	_, tail := all.percentile(0.99)
	for i := range out.All {
		step, counts := &out.All[i], &latencies[i]
		if step.Due = counts.count(); step.Due > 0 {
			step.P50, _ = counts.percentile(0.5)
			step.P99, _ = counts.percentile(0.99)
			step.Failed, step.Slow = int64(counts[sketchBuckets]), counts.beyond(tail)
		}
	}
	return out
}
