package workload

import (
	"math"
	"math/bits"
	"sync"
	"time"
)

// A load is recorded in steps of this length, or of a multiple where it would take more
// than maxSteps of them.
const (
	shortestStep = 100 * time.Millisecond
	maxSteps     = 600
)

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

// grid says which step a moment lies in.
type grid struct {
	length, window time.Duration
	warmup, count  int
}

func newGrid(warmup, window time.Duration) grid {
	length := shortestStep
	if least := (warmup + window + maxSteps - 1) / maxSteps; least > length {
		length = (least + shortestStep - 1) / shortestStep * shortestStep
	}
	before := int(warmup / length)
	return grid{length, window, before, before + int((window+length-1)/length)}
}

// at returns the step of a moment, told by how long after the window's opening it is; -1:
// of none.
func (g grid) at(since time.Duration) int {
	before := time.Duration(g.warmup) * g.length
	if since < -before || since >= g.window {
		return -1
	}
	return int((since + before) / g.length)
}

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
	mu    sync.Mutex
	steps []sketch
}

// part is a recorder's share in a course.
type part struct {
	grid      grid
	of        *course
	completed []int64 // by step
	at        int     // the step of now; -1: none yet
	now       sketch
}

func (c *course) part(g grid) *part {
	return &part{grid: g, of: c, completed: make([]int64, g.count), at: -1}
}

// saw counts an operation that was due then, after the window's opening.
func (p *part) saw(due, latency time.Duration) {
	i := p.grid.at(due)
	switch {
	case i < 0:
		return
	case i < p.at: // it took so long that others are in a later step
		p.of.mu.Lock()
		p.of.steps[i][bucketOf(latency)]++
		p.of.mu.Unlock()
		return
	case i > p.at:
		p.flush()
		p.at = i
	}
	p.now[bucketOf(latency)]++
}

// ended counts an operation that completed then.
func (p *part) ended(since time.Duration) {
	if i := p.grid.at(since); i >= 0 {
		p.completed[i]++
	}
}

// flush hands over what was counted.
func (p *part) flush() {
	if p.at >= 0 {
		p.of.mu.Lock()
		p.of.steps[p.at].merge(&p.now)
		p.of.mu.Unlock()
		p.now = sketch{}
	}
}

// stepsOf sums up what all recorders saw.
func stepsOf(g grid, c *course, parts []*part) Steps {
	out := Steps{Length: g.length, Warmup: g.warmup, All: make([]Step, g.count)}
	var window sketch
	for i := g.warmup; i < g.count; i++ {
		window.merge(&c.steps[i])
	}
	_, tail := window.percentile(0.99)
	for i := range out.All {
		step, counts := &out.All[i], &c.steps[i]
		for _, p := range parts {
			step.Completed += p.completed[i]
		}
		if step.Due = counts.count(); step.Due > 0 {
			step.P50, _ = counts.percentile(0.5)
			step.P99, _ = counts.percentile(0.99)
			step.Failed, step.Slow = int64(counts[sketchBuckets]), counts.beyond(tail)
		}
	}
	return out
}
