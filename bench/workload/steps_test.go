package workload

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSketch sets percentiles against those of the sorted latencies: a bucket is a sixteenth
// wide at most, and failed operations are slower than all others.
func TestSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var latencies []time.Duration
		for _, exponent := range rapid.SliceOfN(rapid.Float64Range(0, 41.9), 1, 60).Draw(t, "exponents") {
			latencies = append(latencies, time.Duration(math.Exp2(exponent)))
		}
		latencies = append(latencies, slices.Repeat([]time.Duration{Never}, rapid.IntRange(0, 5).Draw(t, "failed"))...)
		var s, half sketch
		for i, d := range latencies {
			if i%2 == 0 {
				half[bucketOf(d)]++
			} else {
				s[bucketOf(d)]++
			}
		}
		s.merge(&half)
		slices.Sort(latencies)
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		want := latencies[max(1, int(math.Ceil(share*float64(len(latencies)))))-1]
		got, bucket := s.percentile(share)
		if (got == Never) != (want == Never) || want != Never && math.Abs(float64(got-want)) > 1+float64(want)/16 {
			t.Fatalf("percentile %v of %v: %v, want %v", share, latencies, got, want)
		}
		beyond := int64(0)
		for _, d := range latencies {
			if bucketOf(d) > bucket {
				beyond++
			}
		}
		if s.beyond(bucket) != beyond || s.count() != int64(len(latencies)) {
			t.Fatalf("%d beyond and %d in all, want %d and %d", s.beyond(bucket), s.count(), beyond, len(latencies))
		}
	})
}

// TestBuckets: each latency lies within the ends of its bucket, and buckets follow each other.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<42-1).Draw(t, "ns"))
		low, beyond := endsOf(bucketOf(d))
		if d < low || d >= beyond || bucketOf(low) != bucketOf(d) || bucketOf(beyond) != min(bucketOf(d)+1, sketchBuckets-1) {
			t.Fatalf("%d is in bucket %d of %d to %d", d, bucketOf(d), low, beyond)
		}
	})
	if bucketOf(math.MaxInt64-1) != sketchBuckets-1 || bucketOf(-1) != 0 || bucketOf(Never) != sketchBuckets {
		t.Error("what lies outside is not in the nearest bucket")
	}
}

// TestSumUp: steps begin with the window's opening, backwards too; what is not in a whole step of
// the warm-up is in none, and a long load is told in longer steps. Nothing of the window is lost.
func TestSumUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		warmup := time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "warm-up"))
		window := time.Duration(rapid.Int64Range(1, int64(90*time.Second)).Draw(t, "window"))
		planned := window
		if rapid.Bool().Draw(t, "of unknown length") {
			planned = 0
		}
		c := newCourse(Spec{Warmup: warmup, Duration: planned})
		strands := []*strand{c.strand(), c.strand()}
		type ops struct{ due, completed int64 }
		want := map[int]ops{}
		since := rapid.SliceOfN(rapid.Int64Range(-int64(warmup), int64(window)-1), 1, 30).Draw(t, "since")
		for i, at := range since {
			strands[i%2].saw(time.Duration(at), time.Millisecond)
			strands[i%2].ended(time.Duration(at))
		}
		steps := c.sumUp(strands, window, perStep(c.warmup+stepsIn(window, shortestStep), maxSteps))
		if len(steps.All) > maxSteps+1 || steps.Length%shortestStep != 0 || time.Duration(steps.Warmup)*steps.Length > warmup ||
			time.Duration(len(steps.All)-steps.Warmup)*steps.Length < window || time.Duration(len(steps.All)-steps.Warmup-1)*steps.Length >= window {
			t.Fatalf("%s and %s: %d steps of %s, %d before", warmup, window, len(steps.All), steps.Length, steps.Warmup)
		}
		for _, at := range since {
			from := int64(time.Duration(steps.Warmup) * steps.Length)
			if at+from < 0 {
				continue // in no whole step
			}
			i := int((at + from) / int64(steps.Length))
			want[i] = ops{want[i].due + 1, want[i].completed + 1}
		}
		for i, x := range steps.All {
			if got := (ops{x.Due, x.Completed}); got != want[i] {
				t.Fatalf("step %d of %d: %+v, want %+v", i, len(steps.All), got, want[i])
			}
		}
	})
}

// TestStepsAgreeWithTheWindow: what is counted step by step is what is counted of the window,
// of both loops, also where a step is cut short and operations outlast several.
func TestStepsAgreeWithTheWindow(t *testing.T) {
	refused := errors.New("refused")
	for _, rate := range []float64{0, 400} {
		s := testSpec()
		s.Rate, s.Warmup, s.Duration, s.Clients = rate, 150*time.Millisecond, 370*time.Millisecond, 70 // more than recorders
		r, err := run(t.Context(), s, targetFunc(func(ctx context.Context, op *Op) error {
			wait := time.Duration(op.Key[len(op.Key)-1]-'0') * 30 * time.Millisecond
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			if op.Key[len(op.Key)-2] == '7' {
				return refused
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		if r.Steps.Length != shortestStep || r.Steps.Warmup != 1 || len(r.Steps.All) != 5 {
			t.Fatalf("rate %g: %d steps of %s, %d before the window", rate, len(r.Steps.All), r.Steps.Length, r.Steps.Warmup)
		}
		var completed, due, failed, slow int64
		for i, x := range r.Steps.All[1:] {
			completed, due, failed, slow = completed+x.Completed, due+x.Due, failed+x.Failed, slow+x.Slow
			if x.P50 > x.P99 || x.Due > 0 && x.P50 == 0 {
				t.Errorf("rate %g, step %d: %+v", rate, i, x)
			}
		}
		latencies := r.Writes.Latency.TotalCount() + r.Reads.Latency.TotalCount()
		if completed != r.Writes.Completed+r.Reads.Completed || failed != r.Writes.Failed+r.Reads.Failed || due != latencies+failed {
			t.Errorf("rate %g: steps have %d completed, %d failed and %d due; the window %d, %d and %d", rate, completed, failed, due,
				r.Writes.Completed+r.Reads.Completed, r.Writes.Failed+r.Reads.Failed, latencies+failed)
		}
		if failed == 0 || r.First == nil || r.First.Text != refused.Error() || r.First.After < 0 || r.First.After > time.Second {
			t.Errorf("rate %g: %d failed, first %+v", rate, failed, r.First)
		}
		if slow > due/50 {
			t.Errorf("rate %g: %d of %d are slower than p99", rate, slow, due)
		}
	}
}

// TestRampIsTold in few steps, in which all of the window is, each at the rate that it was to
// have; what a slow target holds up is charged to when it was due.
func TestRampIsTold(t *testing.T) {
	s := testSpec()
	s.Rate, s.RateTo, s.Warmup, s.Duration = 200, 1800, 150*time.Millisecond, 2200*time.Millisecond
	r, err := run(t.Context(), s, targetFunc(func(context.Context, *Op) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if r.Ramp.Length != 2*shortestStep || r.Ramp.Warmup != 0 || len(r.Ramp.All) != 11 || len(r.Steps.All) != 23 {
		t.Fatalf("%d steps of %s, %d before the window, and %d short ones", len(r.Ramp.All), r.Ramp.Length, r.Ramp.Warmup, len(r.Steps.All))
	}
	var due, completed int64
	for i, x := range r.Ramp.All {
		if late := r.RampLag.All[i]; late.Due != x.Due || late.P99 <= 0 || late.P99 > x.P99+x.P99/8 {
			t.Errorf("step %d: %d started late by %s at p99, of %d that took %s", i, late.Due, late.P99, x.Due, x.P99)
		}
		due, completed = due+x.Due, completed+x.Completed
		middle := time.Duration(i)*r.Ramp.Length + r.Ramp.Length/2
		if want := s.RateAt(middle) * r.Ramp.Length.Seconds(); math.Abs(float64(x.Due)-want) > 1.5 {
			t.Errorf("step %d: %d were due, want %.1f", i, x.Due, want)
		}
	}
	if due != r.Scheduled || completed != r.Writes.Completed+r.Reads.Completed || math.Abs(float64(due)-2200) > 1 {
		t.Errorf("%d due and %d completed in all, want %d and %d", due, completed, r.Scheduled, r.Writes.Completed+r.Reads.Completed)
	}
}

// TestFirst: whichever is told first, the first failure is the one that came first.
func TestFirst(t *testing.T) {
	early, late := Failure{"early", 3}, Failure{"late", 5}
	for _, told := range [][2]Failure{{early, late}, {late, early}} {
		var r Result
		r.first(told[0])
		if r.first(told[1]); *r.First != early {
			t.Errorf("%v: %v", told, *r.First)
		}
	}
}

// TestTextOf: failures of one cause have one text, fit to be printed.
func TestTextOf(t *testing.T) {
	long := "key-" + string(slices.Repeat([]byte("0"), 60))
	for _, c := range []struct{ text, key, want string }{
		{`set "key-000000000007": timeout`, "key-000000000007", `set "…": timeout`},
		{`set "` + long[:40] + `": timeout`, long, `set "…": timeout`},
		{"broken \x1b[31mpipe\n\x00", "k", "bro…en  [31mpipe  "},
		{"", "", ""},
	} {
		if got := textOf(errors.New(c.text), c.key); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if got := textOf(errors.New(string(slices.Repeat([]byte("x"), 5000))), "k"); len([]rune(got)) != maxErrorRunes+1 {
		t.Errorf("%d characters", len(got))
	}
}
