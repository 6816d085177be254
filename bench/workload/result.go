package workload

import (
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and resolution of the histograms, those of a run folder: 3 significant
// digits, from a nanosecond to an hour. A latency outside is recorded as the
// nearest that is inside.
const (
	lowestNS          = int64(1)
	highestNS         = int64(time.Hour)
	significantDigits = 3
)

// interval is the length of the steps that completions are counted in, to see
// whether the load ran steadily.
const interval = 100 * time.Millisecond

// maxErrorTexts bounds how many different error texts are kept.
const maxErrorTexts = 20

// Result is what a load saw.
type Result struct {
	Window    time.Duration // length of the measured window
	Elapsed   time.Duration // of the whole load: warm-up, window and the wait for what was out
	Writes    KindResult
	Reads     KindResult
	Errors    map[string]int64 // error text → how often, in the window
	Interval  time.Duration
	Intervals []int64 // operations completed in each interval of the window

	// ClientCPU is the CPU time of the load generator itself: its cost of an
	// operation, measured alone before the load, times the operations.
	ClientCPU time.Duration
	// ClockDrift is how far the wall clock moved against the monotonic clock.
	ClockDrift time.Duration

	// Open loop only:
	Scheduled int64                   // operations that were to start in the window
	Lag       *hdrhistogram.Histogram // actual minus intended start, of those

	acknowledged uint64
	operations   int64
}

// KindResult is what the load saw of one kind of operation.
type KindResult struct {
	Completed int64 // finished well inside the window, whenever started
	Failed    int64 // to start inside the window, and failed
	// Latency of those that were to start inside the window, in nanoseconds.
	Latency *hdrhistogram.Histogram
}

// Acknowledged returns how many writes were acknowledged over the whole load,
// warm-up included.
func (r *Result) Acknowledged() uint64 { return r.acknowledged }

// recorder collects what one goroutine sees. Recorders are merged at the end, so
// that recording needs no lock.
type recorder struct {
	opens, closes time.Time // the window
	kinds         [2]KindResult
	lag           *hdrhistogram.Histogram // nil: closed loop
	errors        map[string]int64
	intervals     []int64
	operations    int64 // warm-up included, failed ones too
	acknowledged  uint64
	scheduled     int64
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestNS, highestNS, significantDigits)
}

func newRecorder(opens time.Time, s Spec) *recorder {
	r := &recorder{
		opens:     opens,
		closes:    opens.Add(s.Duration),
		errors:    map[string]int64{},
		intervals: make([]int64, (s.Duration+interval-1)/interval),
	}
	if s.ReadRatio < 1 {
		r.kinds[Write].Latency = newHistogram()
	}
	if s.ReadRatio > 0 {
		r.kinds[Read].Latency = newHistogram()
	}
	if s.Rate > 0 {
		r.lag = newHistogram()
	}
	return r
}

// inWindow: the window is closed at its start and open at its end.
func (r *recorder) inWindow(t time.Time) bool { return !t.Before(r.opens) && t.Before(r.closes) }

// done records one operation that was to start at start and ended at end.
func (r *recorder) done(kind Kind, start, end time.Time, err error) {
	r.operations++
	k := &r.kinds[kind]
	if err != nil {
		if r.inWindow(start) {
			k.Failed++
			r.failed(err.Error())
		}
		return
	}
	if kind == Write {
		r.acknowledged++
	}
	if r.inWindow(end) {
		k.Completed++
		r.intervals[end.Sub(r.opens)/interval]++
	}
	if r.inWindow(start) {
		record(k.Latency, end.Sub(start))
	}
}

func (r *recorder) failed(text string) {
	if _, known := r.errors[text]; !known && len(r.errors) >= maxErrorTexts {
		text = "other errors"
	}
	r.errors[text]++
}

// started records when an operation of an open loop, due at intended, was handed
// to the target.
func (r *recorder) started(intended, actual time.Time) {
	if r.inWindow(intended) {
		r.scheduled++
		record(r.lag, actual.Sub(intended))
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	ns := min(max(int64(d), lowestNS), highestNS)
	_ = h.RecordValue(ns) // cannot fail inside the bounds
}

// merge adds up what the recorders saw.
func merge(s Spec, recorders []*recorder) *Result {
	total := newRecorder(time.Time{}, s)
	for _, r := range recorders {
		for kind := range total.kinds {
			into, from := &total.kinds[kind], &r.kinds[kind]
			into.Completed += from.Completed
			into.Failed += from.Failed
			if from.Latency != nil {
				into.Latency.Merge(from.Latency)
			}
		}
		for i, n := range r.intervals {
			total.intervals[i] += n
		}
		for _, text := range slices.Sorted(maps.Keys(r.errors)) {
			n := r.errors[text]
			if _, known := total.errors[text]; !known && len(total.errors) >= maxErrorTexts {
				text = "other errors"
			}
			total.errors[text] += n
		}
		if r.lag != nil {
			total.lag.Merge(r.lag)
		}
		total.operations += r.operations
		total.acknowledged += r.acknowledged
		total.scheduled += r.scheduled
	}
	return &Result{
		Window:       s.Duration,
		Writes:       total.kinds[Write],
		Reads:        total.kinds[Read],
		Errors:       total.errors,
		Interval:     interval,
		Intervals:    total.intervals,
		Scheduled:    total.scheduled,
		Lag:          total.lag,
		acknowledged: total.acknowledged,
		operations:   total.operations,
	}
}
