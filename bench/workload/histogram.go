package workload

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

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

// histogramBytes is what one takes in memory.
const histogramBytes = 270 << 10

// maxErrorTexts bounds how many different error texts are kept, and maxErrorRunes how long
// each may be.
const (
	maxErrorTexts = 20
	maxErrorRunes = 300
)

// Result is what a load saw.
type Result struct {
	Opened  time.Time             // when the window did
	Window  time.Duration         // length of the measured window
	Elapsed time.Duration         // of the whole load: warm-up, window and the wait for what was out
	Writes  KindResult            // all that are no reads
	Reads   KindResult            // and that are, scans too
	Kinds   [kindCount]KindResult // by Kind: what those are made up of
	Errors  map[string]int64      // error text, without the operation's key → how often, in the window
	First   *Failure              // of those that were to start in the window, the first to fail; nil: none has
	Steps   Steps
	Ramp    Steps // the same in few long steps, where the rate changes
	RampLag Steps // and in place of latencies, how late operations started

	// Over the whole load, warm-up included:
	Acknowledged uint64 // writes
	Operations   int64  // that ended, failed ones too

	// ClientCPU is the CPU time of the load generator itself: its cost of an
	// operation, measured alone before the load, times the operations.
	ClientCPU time.Duration
	// ClockDrift is how far the wall clock moved against the monotonic clock.
	ClockDrift time.Duration

	// Open loop only:
	Scheduled int64                   // operations that were to start in the window
	Lag       *hdrhistogram.Histogram // actual minus intended start, of those
	Queued    int64                   // of those, that found MaxInFlight others under way
}

// Failure is an operation that failed.
type Failure struct {
	Text  string        // as in Result.Errors
	After time.Duration // the window had opened
}

// KindResult is what the load saw of one kind of operation.
type KindResult struct {
	Completed int64 // finished well inside the window, whenever started
	Failed    int64 // to start inside the window, and failed
	// Latency of those that were to start inside the window, in nanoseconds.
	Latency *hdrhistogram.Histogram
}

// Done is how many operations have ended, one way or the other.
func (k *KindResult) Done() int64 { return k.Completed + k.Failed }

// add adds up what was seen of the same kind, or of one that counts as the same.
func (k *KindResult) add(o *KindResult) {
	k.Completed += o.Completed
	k.Failed += o.Failed
	if o.Latency != nil {
		if k.Latency == nil {
			k.Latency = NewHistogram()
		}
		k.Latency.Merge(o.Latency)
	}
}

// NewHistogram returns an empty histogram of durations, for [Record].
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestNS, highestNS, significantDigits)
}

// Record adds a duration to a histogram of NewHistogram.
func Record(h *hdrhistogram.Histogram, d time.Duration) {
	ns := min(max(int64(d), lowestNS), highestNS)
	_ = h.RecordValue(ns) // cannot fail inside the bounds
}

// newResult returns the result of a load that has seen nothing yet.
func newResult(s Spec) Result {
	r := Result{
		Window: s.Duration,
		Errors: map[string]int64{},
	}
	for _, kind := range s.Mix.Kinds() {
		r.Kinds[kind].Latency = NewHistogram()
	}
	if s.Rate > 0 {
		r.Lag = NewHistogram()
	}
	return r
}

// latencies records how long operations take. Several clients share one, and what all saw is
// added up at the end. Safe for concurrent use.
type latencies struct {
	opens, closes time.Time // the window
	counts        bool      // it has a number of operations, rather than a length

	mu     sync.Mutex
	seen   Result
	strand *strand
	late   *strand // of the late starts of a ramp
}

func newLatencies(s Spec, own *strand) *latencies {
	return &latencies{counts: s.Operations > 0, seen: newResult(s), strand: own}
}

// opensAt settles when the window opens, before anything is recorded.
func (l *latencies) opensAt(t time.Time) {
	if l.opens, l.closes = t, t.Add(l.seen.Window); l.counts {
		l.closes = t.Add(math.MaxInt64) // the last of the operations closes it
	}
}

// inWindow: the window is closed at its start and open at its end.
func (l *latencies) inWindow(t time.Time) bool { return !t.Before(l.opens) && t.Before(l.closes) }

// Begin implements Recorder.
func (l *latencies) Begin(*Op) error { return nil }

// End implements Recorder.
func (l *latencies) End(op *Op, at Times, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, measured := &l.seen, l.inWindow(at.Due) && !(l.counts && op.warmUp)
	r.Operations++
	if l.counts && measured {
		r.Window = max(r.Window, at.End.Sub(l.opens)+1) // open at its end
	}
	if r.Lag != nil && measured {
		r.Scheduled++
		if !at.Start.IsZero() {
			Record(r.Lag, at.Start.Sub(at.Due))
			if l.late != nil {
				l.late.saw(at.Due.Sub(l.opens), at.Start.Sub(at.Due))
			}
		}
	}
	k := &r.Kinds[op.Kind]
	if op.added > 0 {
		k = &r.Kinds[Insert]
	}
	if err != nil {
		l.see(at.Due, Never, measured)
		if measured {
			k.Failed++
			text := textOf(err, op.Key)
			r.failed(text, 1)
			r.first(Failure{text, max(at.Due.Sub(l.opens), at.End.Sub(l.opens))})
		}
		return nil
	}
	if !op.Kind.Reads() {
		r.Acknowledged++
	}
	l.see(at.Due, at.End.Sub(at.Due), measured)
	completed := l.inWindow(at.End) && (measured || !l.counts)
	if completed {
		k.Completed++
	}
	if completed || at.End.Before(l.opens) {
		l.strand.ended(at.End.Sub(l.opens))
	}
	if measured {
		Record(k.Latency, at.End.Sub(at.Due))
	}
	return nil
}

// see counts an operation in the step that it was due in: one of the warm-up, or one that is
// measured.
func (l *latencies) see(due time.Time, latency time.Duration, measured bool) {
	if measured || due.Before(l.opens) {
		l.strand.saw(due.Sub(l.opens), latency)
	}
}

// textOf is the text of an error, fit to be kept and alike for all operations that fail of
// the same cause: without the key, which an error may name cut short, and without
// characters that steer a terminal.
func textOf(err error, key string) string {
	text := err.Error()
	const cut = 40 // bytes of a key that the clients' errors name
	for _, name := range []string{key, key[:min(len(key), cut)]} {
		if name != "" {
			text = strings.ReplaceAll(text, name, "…")
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxErrorRunes {
		text = string(runes[:maxErrorRunes]) + "…"
	}
	return text
}

// first keeps the failure that came first.
func (r *Result) first(f Failure) {
	if r.First == nil || f.After < r.First.After {
		r.First = &f
	}
}

func (r *Result) failed(text string, times int64) {
	if _, known := r.Errors[text]; !known && len(r.Errors) >= maxErrorTexts {
		text = "other errors"
	}
	r.Errors[text] += times
}

// add adds up what was seen of the same load.
func (r *Result) add(o *Result) {
	for kind := range r.Kinds {
		r.Kinds[kind].add(&o.Kinds[kind])
	}
	for _, text := range slices.Sorted(maps.Keys(o.Errors)) {
		r.failed(text, o.Errors[text])
	}
	if o.First != nil {
		r.first(*o.First)
	}
	if o.Lag != nil {
		r.Lag.Merge(o.Lag)
	}
	r.Window = max(r.Window, o.Window)
	r.Operations += o.Operations
	r.Acknowledged += o.Acknowledged
	r.Scheduled += o.Scheduled
	r.Queued += o.Queued
}

// sides adds up reads and writes.
func (r *Result) sides() {
	for kind := range r.Kinds {
		side := &r.Writes
		if Kind(kind).Reads() {
			side = &r.Reads
		}
		side.add(&r.Kinds[kind])
	}
}
