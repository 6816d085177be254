package workload

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// all is a mix of everything.
func all() Mix {
	return Mix{Read: 0.3, Write: 0.2, Insert: 0.15, Scan: 0.1, ReadModifyWrite: 0.1, CompareAndSet: 0.05, Batch: 0.1}
}

func mixed(m Mix) Spec {
	s := testSpec()
	s.Mix, s.BatchSize, s.ScanLength, s.KeyDistribution = m, 3, sizesOf("1..5"), Latest
	return s
}

func sizesOf(text string) Sizes {
	s, err := ParseSizes(text)
	if err != nil {
		panic(err) // of a test
	}
	return s
}

// TestMixShares: each kind comes up as often as its share says, whatever the shares.
func TestMixShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 5), 7, 7).Draw(t, "weights")
		sum := 0
		for _, w := range weights {
			sum += w
		}
		if sum == 0 {
			weights[0], sum = 1, 1
		}
		share := func(i int) float64 { return float64(weights[i]) / float64(sum) }
		s := mixed(Mix{share(0), share(1), share(2), share(3), share(4), share(5), share(6)})
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		const draws = 1000
		count := map[Kind]int{}
		g := made(s).generator(0, 1)
		var op Op
		for range draws {
			g.Next(&op, nil)
			if op.added > 0 {
				op.Kind = Insert
			}
			count[op.Kind]++
		}
		for i, c := range s.Mix.kinds() {
			p := share(i)
			if off := math.Abs(float64(count[c.kind])/draws - p); off > 6*math.Sqrt(p*(1-p)/draws) {
				t.Errorf("kind %d comes up %d of %d times, want %.3f", c.kind, count[c.kind], draws, p)
			}
		}
	})
}

// table is a target that holds keys, and answers as a store does.
type table struct {
	mu      sync.Mutex
	keys    map[string]string
	index   map[string]uint64
	entries uint64
	clashes int // of these, the first conditions do not hold
	missing atomic.Int64
}

func newTable(s Spec) *table {
	x := &table{keys: map[string]string{}, index: map[string]uint64{}}
	for i := range s.Keys {
		x.keys[s.Key(i)] = "old"
	}
	return x
}

func (x *table) set(key string, value []byte) {
	x.entries++
	x.keys[key], x.index[key] = string(value), x.entries
}

// Do implements Target.
func (x *table) Do(_ context.Context, op *Op) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, there := x.keys[op.Key]
	switch op.Kind {
	case Read, Scan:
		if !there {
			x.missing.Add(1)
		}
		op.Value, op.Index = []byte(x.keys[op.Key]), x.index[op.Key]
	case Write:
		x.set(op.Key, op.Value)
	case WriteBatch:
		x.entries++
	case CompareAndSet:
		if x.clashes > 0 || op.IfIndex != x.index[op.Key] || string(op.Expect) != x.keys[op.Key] {
			x.clashes--
			return fmt.Errorf("%w: %s", ErrCondition, op.Key)
		}
		x.set(op.Key, op.Value)
		op.Index = x.entries
	default:
		return fmt.Errorf("a target was given kind %d", op.Kind)
	}
	return nil
}

// TestMixOfAll: a target gets operations that it can do, new keys are read only once
// they are there, and all that is counted adds up, closed and open.
func TestMixOfAll(t *testing.T) {
	for _, rate := range []float64{0, 5000} {
		s := mixed(all())
		s.Rate, s.Duration, s.Operations, s.Warmup = rate, 0, 2000, 0
		x := newTable(s)
		r, err := run(t.Context(), s, x)
		if err != nil {
			t.Fatal(err)
		}
		delete(r.Errors, errNeverStarted.Error()) // where the machine does not keep up
		if len(r.Errors) > 0 || x.missing.Load() > 0 {
			t.Errorf("rate %g: %v, and %d reads of keys that were not there", rate, r.Errors, x.missing.Load())
		}
		var sum [2]KindResult // writes and reads
		for kind, k := range r.Kinds {
			if (k.Latency != nil) != slices.Contains(s.Mix.Kinds(), Kind(kind)) || k.Latency != nil && k.Latency.TotalCount() == 0 {
				t.Errorf("rate %g: %s: %+v", rate, Kind(kind), k)
			}
			side := 0
			if Kind(kind).Reads() {
				side = 1
			}
			sum[side].add(&k)
		}
		for i, side := range []KindResult{r.Writes, r.Reads} {
			if sum[i].Completed != side.Completed || sum[i].Failed != side.Failed || !sum[i].Latency.Equals(side.Latency) {
				t.Errorf("rate %g: kinds add up to %+v, want %+v", rate, sum[i], side)
			}
		}
		if x.entries != r.Acknowledged || r.Reads.Completed == 0 || len(x.keys) == s.Keys {
			t.Errorf("rate %g: %d entries, %d acknowledged, %d reads, %d keys", rate, x.entries, r.Acknowledged, r.Reads.Completed, len(x.keys))
		}
	}
}

// TestKindNames: kinds are named as the shares of a mix are, and read back.
func TestKindNames(t *testing.T) {
	fields := reflect.TypeFor[Mix]()
	for i, c := range (&Mix{}).kinds() {
		name := strings.TrimSuffix(fields.Field(i).Tag.Get("json"), ",omitempty")
		var back Kind
		if err := back.UnmarshalText([]byte(name)); err != nil || back != c.kind || c.kind.String() != name {
			t.Errorf("%s: %s, %v", name, back, err)
		}
	}
	if new(Kind).UnmarshalText([]byte("x")) == nil {
		t.Error("a kind that there is not")
	}
}

// TestCompareAndSetTriesAgain until its condition holds, as one operation.
func TestCompareAndSetTriesAgain(t *testing.T) {
	s := testSpec()
	x := newTable(s)
	x.clashes = 3
	op := Op{Kind: CompareAndSet, Key: s.Key(1), Value: []byte("new")}
	if err := (compound{x}).Do(t.Context(), &op); err != nil || x.keys[op.Key] != "new" || x.entries != 1 || op.Index != 1 {
		t.Errorf("%v, %q, %d entries, index %d", err, x.keys[op.Key], x.entries, op.Index)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	x.clashes = 1 << 30
	if err := (compound{x}).Do(ended, &op); err == nil {
		t.Error("it goes on after its time")
	}
}

// TestOperationsInsteadOfDuration: the window has as many as were asked for, and lasts
// until they have ended; those of the warm-up are no part of it.
func TestOperationsInsteadOfDuration(t *testing.T) {
	for _, rate := range []float64{0, 4000} {
		s := testSpec()
		s.Duration, s.Operations, s.Rate = 0, 1000, rate
		var n atomic.Int64
		r, err := run(t.Context(), s, targetFunc(func(context.Context, *Op) error { n.Add(1); time.Sleep(200 * time.Microsecond); return nil }))
		if err != nil {
			t.Fatal(err)
		}
		done := int64(0)
		for _, x := range r.Steps.All[r.Steps.Warmup:] {
			done += x.Completed
		}
		samples := r.Reads.Latency.TotalCount() + r.Writes.Latency.TotalCount()
		failed := r.Reads.Failed + r.Writes.Failed // where the machine does not keep up with the schedule
		if got := r.Reads.Completed + r.Writes.Completed; got+failed != 1000 || samples != got || done != got || rate == 0 && failed > 0 {
			t.Errorf("rate %g: %d operations, %d samples, %d in steps", rate, got, samples, done)
		}
		if r.Operations != n.Load()+failed || r.Operations < 1000 || r.Window <= 0 || r.Window > r.Elapsed || len(r.Steps.All)-r.Steps.Warmup != stepsIn(r.Window, r.Steps.Length) {
			t.Errorf("rate %g: %d of %d operations, a window of %v in %v, %d steps", rate, r.Operations, n.Load(), r.Window, r.Elapsed, len(r.Steps.All))
		}
		if rate > 0 && r.Scheduled != 1000 {
			t.Errorf("%d scheduled", r.Scheduled)
		}
	}
}

// BenchmarkNext is the generator's own work for an operation.
func BenchmarkNext(b *testing.B) {
	for name, change := range map[string]func(*Spec){
		"writes":  func(s *Spec) { s.Mix = Mix{} },
		"mixed":   func(*Spec) {},
		"zipf":    func(s *Spec) { s.KeyDistribution = Zipf },
		"latest":  func(s *Spec) { s.KeyDistribution = Latest },
		"inserts": func(s *Spec) { s.Mix = Mix{Insert: 1} },
	} {
		b.Run(name, func(b *testing.B) {
			s := testSpec()
			change(&s)
			g := made(s).generator(0, 1)
			b.ReportAllocs()
			var op Op
			for b.Loop() {
				g.Next(&op, nil)
			}
		})
	}
}
