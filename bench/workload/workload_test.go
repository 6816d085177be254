package workload

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/internal/poll"
)

func run(ctx context.Context, spec Spec, target Target) (*Result, error) {
	p, err := Prepare(ctx, spec)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, target)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type targetFunc func(ctx context.Context, op *Op) error

func (f targetFunc) Do(ctx context.Context, op *Op) error { return f(ctx, op) }

func instant(context.Context, *Op) error { return nil }

func testSpec() Spec {
	return Spec{
		Clients: 4, Warmup: 20 * time.Millisecond, Duration: 200 * time.Millisecond, OpTimeout: 5 * time.Second,
		ValueBytes: 16, Keys: 1000, KeyDistribution: Uniform, Mix: Mix{Read: 0.5, Write: 0.5}, Seed: 1,
	}
}

// countFrom returns how many values of h are at least ns, within its resolution.
func countFrom(h *hdrhistogram.Histogram, ns int64) (n int64) {
	for _, b := range h.Distribution() {
		if b.To >= ns {
			n += b.Count
		}
	}
	return n
}

func TestValidateRefuses(t *testing.T) {
	if err := testSpec().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Spec){
		"clients":          func(s *Spec) { s.Clients = 0 },
		"rate":             func(s *Spec) { s.Rate = math.NaN() },
		"arrival":          func(s *Spec) { s.Arrival = "bursty" },
		"max in flight":    func(s *Spec) { s.MaxInFlight = -1 },
		"warmup":           func(s *Spec) { s.Warmup = -1 },
		"duration":         func(s *Spec) { s.Duration = 0 },
		"timeout":          func(s *Spec) { s.OpTimeout = 0 },
		"value size":       func(s *Spec) { s.ValueBytes = -1 },
		"keys":             func(s *Spec) { s.Keys = 0 },
		"key size":         func(s *Spec) { s.Keys, s.KeyBytes = 1001, 7 },
		"key distribution": func(s *Spec) { s.KeyDistribution = "hot" },
		"each share":       func(s *Spec) { s.Mix.Read = math.NaN() },
		"add up to 1.5":    func(s *Spec) { s.Mix.Scan = 0.5 },
		"scan length":      func(s *Spec) { s.Mix = Mix{Scan: 1} },
		"batch size":       func(s *Spec) { s.Mix, s.BatchSize = Mix{Batch: 1}, 1001 },
		"zipf exponent":    func(s *Spec) { s.ZipfExponent = math.Inf(1) },
		"hot keys":         func(s *Spec) { s.KeyDistribution = HotSpot },
		"operations":       func(s *Spec) { s.Operations = 5 },
		"+Inf":             func(s *Spec) { s.Rate = math.Inf(1) },
	} {
		s := testSpec()
		spoil(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stream returns the first operations of one client as text.
func stream(s Spec, client int) (ops []string) {
	g := made(s).generator(client, s.Clients)
	var op Op
	for range 200 {
		g.Next(&op, nil)
		ops = append(ops, fmt.Sprintf("%d %s %x %v %d", op.Kind, op.Key, op.Value, op.Batch, op.Limit))
	}
	return ops
}

func TestSameSeedSameOperations(t *testing.T) {
	for _, distribution := range []string{Uniform, Zipf, Latest, HotSpot, Sequential} {
		s := mixed(all())
		s.HotKeys, s.HotOperations, s.ValueSizes = 0.1, 0.9, sizesOf("90% 1..9, 10% lognormal median 4 sigma 1 max 99")
		s.KeyDistribution = distribution
		other := s
		other.Seed++
		if !slices.Equal(stream(s, 1), stream(s, 1)) {
			t.Errorf("%s: the same seed gave other operations", distribution)
		}
		if slices.Equal(stream(s, 1), stream(s, 2)) || slices.Equal(stream(s, 1), stream(other, 1)) {
			t.Errorf("%s: another client or seed gave the same operations", distribution)
		}
	}
}

func TestReadRatioAndValues(t *testing.T) {
	s := testSpec()
	s.Mix = Mix{Read: 0.25, Write: 0.75}
	g := made(s).generator(0, 1)
	const draws = 20000
	reads := 0
	var op Op
	for range draws {
		g.Next(&op, nil)
		switch {
		case op.Kind == Read && op.Value == nil:
			reads++
		case op.Kind == Read || len(op.Value) != s.ValueBytes:
			t.Fatalf("%+v", op)
		}
	}
	if got := float64(reads) / draws; math.Abs(got-s.Mix.Read) > 0.02 { // over 6 sigma
		t.Errorf("%.3f of the operations are reads, want %.2f", got, s.Mix.Read)
	}
}

func TestClosedLoopCounts(t *testing.T) {
	s := testSpec()
	var acknowledged atomic.Uint64
	r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, op *Op) error {
		if err := poll.Sleep(ctx, 100*time.Microsecond); err != nil {
			return err
		}
		if op.Kind == Write {
			acknowledged.Add(1)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	completed := r.Writes.Completed + r.Reads.Completed
	total := int64(0)
	for _, step := range r.Steps.All[r.Steps.Warmup:] {
		total += step.Completed
	}
	if completed == 0 || total != completed {
		t.Errorf("%d completed, %d in the intervals", completed, total)
	}
	if got := r.Acknowledged; got != acknowledged.Load() {
		t.Errorf("%d writes acknowledged, the target says %d", got, acknowledged.Load())
	}
	// Operations that straddle an edge of the window differ, one per client.
	if d := completed - r.Writes.Latency.TotalCount() - r.Reads.Latency.TotalCount(); d < -4 || d > 4 {
		t.Errorf("%d more completions than latencies", d)
	}
}

func TestFailuresAreCountedAndNeverTimed(t *testing.T) {
	var seen atomic.Int64
	for _, rate := range []float64{0, 2000} {
		s := testSpec()
		s.Rate, s.Warmup = rate, 0
		seen.Store(0)
		r, err := run(t.Context(), s, targetFunc(func(context.Context, *Op) error {
			return fmt.Errorf("refused for reason %d", min(seen.Add(1), 100))
		}))
		if err != nil {
			t.Fatal(err)
		}
		texts := int64(0)
		for _, n := range r.Errors {
			texts += n
		}
		failed := r.Writes.Failed + r.Reads.Failed
		if failed == 0 || failed != seen.Load() || texts != failed {
			t.Errorf("rate %g: %d failed, %d in the texts, the target says %d", rate, failed, texts, seen.Load())
		}
		if n := r.Writes.Latency.TotalCount() + r.Reads.Latency.TotalCount(); n != 0 {
			t.Errorf("rate %g: %d failures were timed", rate, n)
		}
		if len(r.Errors) > maxErrorTexts+1 {
			t.Errorf("rate %g: %d error texts", rate, len(r.Errors))
		}
	}
}

// TestTimeout: a target that answers to nothing but its context ends the run all
// the same, in both kinds of loop.
func TestTimeout(t *testing.T) {
	for _, rate := range []float64{0, 200} {
		s := testSpec()
		s.Rate, s.OpTimeout = rate, 30*time.Millisecond
		r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, _ *Op) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if err != nil || r.Writes.Failed+r.Reads.Failed == 0 || r.Errors[context.DeadlineExceeded.Error()] == 0 {
			t.Errorf("rate %g: %v, %v", rate, r.Errors, err)
		}
	}
}

func TestCancelReturnsWhatWasMeasured(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		s := testSpec()
		s.Rate, s.Warmup, s.Duration = rate, 0, time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int64
		r, err := run(ctx, s, targetFunc(func(ctx context.Context, _ *Op) error {
			if done.Add(1) == 50 {
				cancel()
			}
			return poll.Sleep(ctx, 100*time.Microsecond)
		}))
		cancel()
		if !errors.Is(err, context.Canceled) || r == nil || r.Writes.Completed+r.Reads.Completed == 0 {
			t.Fatalf("rate %g: %+v, %v", rate, r, err)
		}
		if r.Window > r.Elapsed {
			t.Errorf("rate %g: a window of %s in a load of %s", rate, r.Window, r.Elapsed)
		}
		if r.Writes.Failed+r.Reads.Failed != 0 {
			t.Errorf("rate %g: what was cut off counts as failed: %v", rate, r.Errors)
		}
	}
}

// starts records when the target saw each operation.
type starts struct {
	mu sync.Mutex
	at []time.Time
}

func (s *starts) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
}

// TestOpenLoopSeesAStall: the target stalls once. Every operation that was due
// meanwhile waited for the rest of the stall, and its latency must say so
// (coordinated omission). The stall's length is what the target measured, so the
// check holds however slow the machine is.
func TestOpenLoopSeesAStall(t *testing.T) {
	s := testSpec()
	s.Rate, s.MaxInFlight, s.Clients, s.Mix = 1000, 1, 1, Mix{}
	s.Warmup, s.Duration = 0, 500*time.Millisecond
	var stall time.Duration
	var r *Result
	for attempt := 0; stall == 0 || stall > 400*time.Millisecond; attempt++ {
		if attempt == 5 {
			t.Fatalf("the machine makes it a stall of %s, which outlasts the window", stall)
		}
		count := 0
		var err error
		r, err = run(t.Context(), s, targetFunc(func(ctx context.Context, _ *Op) error {
			if count++; count != 20 { // one at a time: MaxInFlight is 1
				return nil
			}
			from := time.Now()
			err := poll.Sleep(ctx, 200*time.Millisecond)
			stall = time.Since(from)
			return err
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	due := int64(stall/2/time.Millisecond) - 1 // one a millisecond in the first half
	if got := countFrom(r.Writes.Latency, int64(stall/2)); got < due {
		t.Errorf("%d operations took at least half of the stall of %s, want at least %d", got, stall, due)
	}
	if got := countFrom(r.Lag, int64(stall/2)); got < due-1 {
		t.Errorf("%d operations started late by half of the stall, want at least %d", got, due-1)
	}
}

// TestOpenLoopSeesAStallThatFails: the operation that stalls the target fails in the end. It is
// no latency, and yet the slowest of its step; those that had to wait for it are late, whatever
// becomes of them, and where they find no worker free that is counted.
func TestOpenLoopSeesAStallThatFails(t *testing.T) {
	s := testSpec()
	s.Rate, s.MaxInFlight, s.Clients, s.Mix = 500, 1, 1, Mix{}
	s.Warmup, s.Duration = 0, 400*time.Millisecond
	refused := errors.New("refused")
	count := 0
	var begun, ended time.Time
	r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, _ *Op) error {
		if count++; count != 20 { // one at a time: MaxInFlight is 1
			return nil
		}
		begun = time.Now()
		err := poll.Sleep(ctx, 100*time.Millisecond)
		ended = time.Now()
		return errors.Join(refused, err)
	}))
	if err != nil {
		t.Fatal(err)
	}
	i := int(19 * time.Second / 500 / r.Steps.Length) // where the twentieth was due
	if x := r.Steps.All[i]; r.Writes.Failed != 1 || x.Failed != 1 || x.P99 != Never || x.P50 == Never {
		t.Errorf("%d failed; step %d: %+v", r.Writes.Failed, i, x)
	}
	if n := r.Writes.Latency.TotalCount(); n != r.Scheduled-1 {
		t.Errorf("%d latencies of %d scheduled, of which one failed", n, r.Scheduled)
	}
	stalled := int64(min(ended.Sub(begun), s.Duration-begun.Sub(r.Opened)) / (2 * time.Millisecond)) // due meanwhile, one each 2 ms
	if got := countFrom(r.Writes.Latency, int64(2*time.Millisecond)); got < stalled-2 {
		t.Errorf("%d operations had to wait, want at least %d", got, stalled-2)
	}
	if r.Queued < 1 || r.Queued > r.Scheduled {
		t.Errorf("%d of %d found no worker", r.Queued, r.Scheduled)
	}
}

func TestOpenLoopKeepsTheScheduleAndTheCap(t *testing.T) {
	const limit = 7
	s := testSpec()
	s.Rate, s.MaxInFlight, s.Clients, s.Warmup = 5000, limit, 1, 0
	var out, peak atomic.Int64
	r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, _ *Op) error {
		n := out.Add(1)
		defer out.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		return poll.Sleep(ctx, 5*time.Millisecond)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := peak.Load(); got != limit {
		t.Errorf("%d operations were out at once, want %d", got, limit)
	}
	const scheduled = 1000 // 5000 a second for 200 ms
	if r.Scheduled != scheduled {
		t.Errorf("%d operations were scheduled, want %d", r.Scheduled, scheduled)
	}
	accounted := r.Writes.Latency.TotalCount() + r.Reads.Latency.TotalCount() + r.Writes.Failed + r.Reads.Failed
	if accounted != scheduled {
		t.Errorf("%d operations are accounted for, want %d", accounted, scheduled)
	}
}

// TestOpenLoopNeverStartsEarly: an operation before its time would take less
// than nothing, and the rate would not be the one asked for.
func TestOpenLoopNeverStartsEarly(t *testing.T) {
	s := testSpec()
	s.Rate, s.Arrival, s.Warmup, s.Mix = 20000, Poisson, 0, Mix{}
	begin := time.Now()
	var seen starts
	r, err := run(t.Context(), s, targetFunc(func(context.Context, *Op) error {
		seen.add()
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if floor := r.Writes.Latency.TotalCount() - countFrom(r.Writes.Latency, 2*lowestNS); floor > 0 {
		t.Errorf("%d of %d operations took no time at all: they started early", floor, r.Scheduled)
	}
	if early := r.Lag.TotalCount() - countFrom(r.Lag, 2*lowestNS); early > 0 {
		t.Errorf("%d of %d operations started before their time", early, r.Scheduled)
	}
	if len(seen.at) == 0 || seen.at[0].Before(begin) {
		t.Error("nothing was started")
	}
}

// TestOverloadEnds: what was never started is counted, as the kind it was.
func TestOverloadEnds(t *testing.T) {
	s := testSpec()
	s.Rate, s.MaxInFlight, s.Clients, s.Mix, s.OpTimeout = 5000, 1, 1, Mix{Read: 1}, 100*time.Millisecond
	r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, _ *Op) error {
		return poll.Sleep(ctx, 20*time.Millisecond)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors[errNeverStarted.Error()] == 0 || r.Writes.Failed != 0 {
		t.Errorf("%d reads and %d writes failed: %v", r.Reads.Failed, r.Writes.Failed, r.Errors)
	}
}

func TestGapsMatchTheRate(t *testing.T) {
	for _, process := range []string{Constant, Poisson} {
		s := testSpec()
		s.Rate, s.Arrival = 3000, process
		arrival := s.arrivals()
		last := arrival()
		const n = 60000
		var sum, squares float64
		for range n {
			next := arrival()
			x := (next - last).Seconds() * s.Rate
			last = next
			sum += x
			squares += x * x
		}
		mean := sum / n
		variance := squares/n - mean*mean
		if math.Abs(mean-1) > 0.03 {
			t.Errorf("%s: gaps are %.3f of what the rate asks", process, mean)
		}
		want := map[string]float64{Constant: 0, Poisson: 1}[process]
		if math.Abs(variance-want) > 0.1 {
			t.Errorf("%s: variance %.3f, want %.0f", process, variance, want)
		}
	}
}

// TestArrivalsFollowTheRamp: up and down, each operation is due when as many as came before it
// should have started, by the area below the straight line of the rate.
func TestArrivalsFollowTheRamp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := testSpec()
		s.Rate, s.RateTo = rapid.Float64Range(1, 1e5).Draw(t, "rate"), rapid.Float64Range(1, 1e5).Draw(t, "to")
		s.Warmup = time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "warm-up"))
		s.Duration = time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(time.Minute)).Draw(t, "duration"))
		arrival, last, in := s.arrivals(), time.Duration(-1), 0
		for i := range 2000 {
			at := arrival()
			if at < last {
				t.Fatalf("operation %d is due %s before the one before it", i, last-at)
			}
			last = at
			want := s.Rate * at.Seconds()
			if since := at - s.Warmup; since > s.Duration {
				break
			} else if since > 0 {
				in++
				want = s.Rate*s.Warmup.Seconds() + (s.Rate+s.RateAt(since))/2*since.Seconds()
			}
			if math.Abs(want-float64(i)) > 1e-3 {
				t.Fatalf("operation %d is due after %s, when %.6f should have been", i, at, want)
			}
		}
		if all := (s.Rate + s.RateTo) / 2 * s.Duration.Seconds(); last >= s.Warmup+s.Duration && math.Abs(float64(in)-all) > 1.001 {
			t.Fatalf("%d in the window, want %.3f", in, all)
		}
	})
	s := testSpec()
	s.Rate, s.RateTo, s.Arrival, s.Warmup, s.Duration = 1000, 9000, Poisson, time.Second, 10*time.Second
	var halves [2]float64
	for arrival, at := s.arrivals(), time.Duration(0); at < s.Warmup+s.Duration; at = arrival() {
		if at >= s.Warmup {
			halves[(at-s.Warmup)/(s.Duration/2)]++
		}
	}
	if math.Abs(halves[0]-15000) > 6*math.Sqrt(15000) || math.Abs(halves[1]-35000) > 6*math.Sqrt(35000) {
		t.Errorf("Poisson arrivals by halves: %v", halves)
	}
}

func BenchmarkClosedLoop(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := testSpec()
			s.Clients, s.Warmup = clients, 0
			var ops, overhead float64
			for b.Loop() {
				r, err := run(b.Context(), s, targetFunc(instant))
				if err != nil {
					b.Fatal(err)
				}
				ops += float64(r.Writes.Completed + r.Reads.Completed)
				overhead += float64(r.ClientCPU)
			}
			b.ReportMetric(overhead/ops, "overhead-ns/op")
		})
	}
}

// witness is a target that also takes down what came of it.
type witness struct {
	targetFunc
	begun, ended atomic.Int64
}

func (w *witness) Begin(*Op) error { w.begun.Add(1); return nil }

func (w *witness) End(_ *Op, at Times, err error) error {
	if err != nil || at.End.Before(at.Start) || at.Start.Before(at.Due) {
		return nil // not counted
	}
	w.ended.Add(1)
	return nil
}

// TestTargetRecords: a target that is a recorder sees each operation of both loops.
func TestTargetRecords(t *testing.T) {
	for _, rate := range []float64{0, 500} {
		s, w := testSpec(), &witness{targetFunc: instant}
		s.Rate = rate
		r, err := run(t.Context(), s, w)
		if err != nil {
			t.Fatal(err)
		}
		// A client that finds the time over has begun an operation and not ended it.
		if begun, ended := w.begun.Load(), w.ended.Load(); ended != r.Operations || begun < ended || begun > ended+int64(s.Clients) {
			t.Errorf("at rate %v: %d begun, %d ended, and %d were carried out", rate, begun, ended, r.Operations)
		}
	}
}

// made is a load that nothing interrupts.
func made(s Spec) *shared {
	sh, err := newShared(context.Background(), s)
	if err != nil {
		panic(err)
	}
	return sh
}

// TestPrepareIsInterrupted: the names of a billion keys are not all made first.
func TestPrepareIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec := Spec{Clients: 1, Duration: time.Second, OpTimeout: time.Second, Keys: 1_000_000, KeyDistribution: Uniform, ValueBytes: 1, Mix: Mix{Write: 1}}
	if _, err := Prepare(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
