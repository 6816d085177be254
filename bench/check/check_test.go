package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/kv/client"
)

// at makes an operation on the key k between two milliseconds.
func at(call, ret int, kind Kind, value string, change ...func(*Op)) Op {
	o := Op{
		Client: "c", Kind: kind, Key: "k", Value: value, Outcome: OK,
		Call: time.Duration(call) * time.Millisecond, Return: time.Duration(ret) * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

func with(outcome Outcome) func(*Op) { return func(o *Op) { o.Outcome = outcome } }
func level(l Level) func(*Op)        { return func(o *Op) { o.Level = l } }
func expect(value string) func(*Op)  { return func(o *Op) { o.Expect = value } }
func index(i uint64) func(*Op)       { return func(o *Op) { o.Index = i } }
func otherKey(key string) func(*Op)  { return func(o *Op) { o.Key = key } }
func history(ops ...Op) (list []Op)  { return ops }
func what(r Report) (kinds []string) { return kindsOf(r.Violations) }
func kindsOf(v []Violation) (k []string) {
	for _, v := range v {
		k = append(k, v.What)
	}
	return k
}

func TestVerdicts(t *testing.T) {
	for name, tt := range map[string]struct {
		ops  []Op
		want string // of the only violation; empty: linearizable
	}{
		"nothing":  {},
		"in order": {history(at(1, 2, Get, ""), at(3, 4, Set, "a"), at(5, 6, Get, "a"), at(7, 8, Delete, ""), at(9, 10, Get, "")), ""},
		"a read beside a write may see it or not": {history(at(1, 9, Set, "a"), at(2, 3, Get, ""), at(4, 5, Get, "a")), ""},
		"new, then old":                {history(at(1, 9, Set, "a"), at(2, 3, Get, "a"), at(4, 5, Get, "")), Stale},
		"an acknowledged write missed": {history(at(1, 2, Set, "a"), at(3, 4, Set, "b"), at(5, 6, Get, "a")), Stale},
		"a delete missed":              {history(at(1, 2, Set, "a"), at(3, 4, Delete, ""), at(5, 6, Get, "a")), Stale},
		"only the lease is stale":      {history(at(1, 2, Set, "a"), at(3, 4, Set, "b"), at(5, 6, Get, "a", level(Lease)), at(7, 8, Get, "b")), StaleLease},
		"a lease in order":             {history(at(1, 2, Set, "a"), at(5, 6, Get, "a", level(Lease))), ""},
		"lost at the end":              {history(at(1, 2, Set, "a"), at(3, 4, Set, "b"), at(9, 10, Get, "a", level(Audit))), Lost},
		"gone at the end":              {history(at(1, 2, Set, "a"), at(9, 10, Get, "", level(Audit))), Lost},
		"a flipped bit":                {history(at(1, 2, Set, "a"), at(3, 4, Get, "c")), Foreign},
		"a refused write seen":         {history(at(1, 2, Set, "a", with(Refused)), at(3, 4, Get, "a")), Undead},
		"a refused write not seen":     {history(at(1, 2, Set, "a", with(Refused)), at(3, 4, Get, "")), ""},
		"a failed condition seen":      {history(at(1, 2, CAS, "a", expect("z"), with(ConditionFailed)), at(3, 4, Get, "a")), Undead},
		"two compare-and-sets from one value": {history(at(1, 2, Set, "a"),
			at(3, 4, CAS, "b", expect("a")), at(5, 6, CAS, "c", expect("a"))), Disorder},
		"compare-and-set in a chain": {history(at(1, 2, Set, "a"),
			at(3, 4, CAS, "b", expect("a")), at(5, 6, CAS, "c", expect("b")), at(7, 8, Get, "c")), ""},
		"a condition that held and failed": {history(at(1, 2, Set, "a"),
			at(3, 4, CAS, "b", expect("a"), with(ConditionFailed))), Disorder},
		"one index, two writes":  {history(at(1, 2, Set, "a", index(7)), at(3, 4, Set, "b", index(7), otherKey("l"))), Shared},
		"a value that has moved": {history(at(1, 2, Set, "a", index(7)), at(3, 4, Get, "a", index(8))), Moved},
		"an index read":          {history(at(1, 2, Set, "a", index(7)), at(3, 4, Get, "a", index(7))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(tt.ops, 0)
			got := what(r)
			if tt.want == "" && (r.Verdict != IsLinearizable || len(got) > 0) ||
				tt.want != "" && (r.Verdict != HasViolation || len(got) != 1 || got[0] != tt.want) {
				t.Errorf("%s, %q; want %q", r.Verdict, r.Violations, tt.want)
			}
		})
	}
}

// TestUnknownOutcome: such a write may take effect, now or later, or never, but
// not in between.
func TestUnknownOutcome(t *testing.T) {
	lost := at(1, 2, Set, "u", with(Unknown))
	for name, tt := range map[string]struct {
		ops []Op
		ok  bool
	}{
		"never":                   {history(lost, at(3, 4, Get, "")), true},
		"at once":                 {history(lost, at(3, 4, Get, "u")), true},
		"later":                   {history(lost, at(3, 4, Get, ""), at(5, 6, Get, "u")), true},
		"over a later write":      {history(lost, at(3, 4, Set, "a"), at(5, 6, Get, "a"), at(7, 8, Get, "u")), true},
		"not before it was sent":  {history(at(0, 0, Get, "u"), lost), false},
		"once only":               {history(lost, at(3, 4, Get, "u"), at(5, 6, Set, "a"), at(7, 8, Get, "u")), false},
		"seen, then gone":         {history(lost, at(3, 4, Get, "u"), at(5, 6, Get, "")), false},
		"a delete":                {history(at(1, 2, Set, "a"), at(3, 4, Delete, "", with(Unknown)), at(5, 6, Get, "a"), at(7, 8, Get, "")), true},
		"a compare-and-set":       {history(at(1, 2, Set, "a"), at(3, 4, CAS, "u", expect("a"), with(Unknown)), at(5, 6, Get, "u")), true},
		"whose condition is gone": {history(at(1, 2, Set, "a"), at(3, 4, Set, "b"), at(5, 6, CAS, "u", expect("a"), with(Unknown)), at(7, 8, Get, "u")), false},
		"seen by a failed condition only": {history(at(0, 0, Set, "a"), lost,
			at(3, 4, CAS, "b", expect("a"), with(ConditionFailed))), true},
	} {
		t.Run(name, func(t *testing.T) {
			if r := Check(tt.ops, 0); (r.Verdict == IsLinearizable) != tt.ok {
				t.Errorf("%s: %v", r.Verdict, r.Violations)
			}
		})
	}
}

// TestCulprit: the violation names the answer that went wrong.
func TestCulprit(t *testing.T) {
	bad := at(50, 51, Get, "v20", func(o *Op) { o.Node = "n2" })
	var ops []Op
	for i := 10; i < 100; i += 2 {
		ops = append(ops, at(i, i+1, Set, fmt.Sprintf("v%d", i)))
	}
	for i, o := range ops {
		if o.Call == bad.Call {
			ops[i] = bad
		}
	}
	r := Check(ops, 0)
	if len(r.Violations) != 1 || r.Violations[0].Op != bad {
		t.Fatalf("found %v", r.Violations)
	}
	if n := len(r.Violations[0].Near); n < 10 {
		t.Errorf("%d operations about it are told", n)
	}
}

// real runs clients on a register that is right, and spoils it as the function says.
func real(seed uint64, spoil func(n int, held *string)) []Op {
	h := NewHistory()
	var mu sync.Mutex
	var held string
	n := 0
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(c)))
			for i := range 100 {
				o := Op{Client: fmt.Sprint(c), Key: "k", Kind: Get, Outcome: OK, Call: h.Now()}
				if random.IntN(2) == 0 {
					o.Kind, o.Value = Set, fmt.Sprintf("%d-%d", c, i)
				}
				mu.Lock()
				n++
				before := held
				if o.Kind == Set {
					held = o.Value
				}
				if o.Kind == Get {
					o.Value = held
				}
				if o.Kind == Set && random.IntN(20) == 0 { // it is not told, and may not have happened
					o.Outcome = Unknown
					if random.IntN(2) == 0 {
						held = before
					}
				}
				spoil(n, &held)
				mu.Unlock()
				time.Sleep(time.Duration(random.IntN(100)) * time.Microsecond)
				o.Return = h.Now()
				h.Add(o)
			}
		})
	}
	clients.Wait()
	return h.Ops()
}

// TestConcurrent: a right register passes, and one that goes back once does not.
func TestConcurrent(t *testing.T) {
	for seed := range uint64(5) {
		if r := Check(real(seed, func(int, *string) {}), 0); r.Verdict != IsLinearizable {
			t.Errorf("seed %d: a right register: %s %v", seed, r.Verdict, r.Violations)
		}
		var old string
		r := Check(real(seed, func(n int, held *string) {
			if n == 100 {
				old = *held
			}
			if n >= 200 && n < 220 {
				*held = old
			}
		}), 0)
		if r.Verdict != HasViolation {
			t.Errorf("seed %d: a register that went back 100 steps: %s", seed, r.Verdict)
		}
	}
}

// TestFile: a history that was kept is the same.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	ops := history(at(1, 2, Set, "a", index(7)), at(3, 4, CAS, "b", expect("a"), with(Unknown)), at(5, 6, Get, "", level(Lease)))
	if err := Write(path, ops); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, ops); err == nil {
		t.Error("a history was overwritten")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []Op
	for lines := json.NewDecoder(f); lines.More(); {
		var o Op
		if err := lines.Decode(&o); err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	if !slices.Equal(got, ops) {
		t.Errorf("%v", got)
	}
}

// TestRecorder: each operation of a load is in the history as what it was, with its
// outcome.
func TestRecorder(t *testing.T) {
	h := NewHistory()
	r := h.Recorder("c", "n1")
	begin := h.begin
	times := workload.Times{Start: begin.Add(time.Second), End: begin.Add(2 * time.Second)}
	unknown := fmt.Errorf("cut: %w", client.ErrOutcomeUnknown)
	for _, o := range []struct {
		op  workload.Op
		err error
	}{
		{workload.Op{Kind: workload.Write, Key: "k", Value: []byte("a"), Index: 7}, nil},
		{workload.Op{Kind: workload.Write, Key: "k", Value: []byte("b")}, unknown},
		{workload.Op{Kind: workload.Delete, Key: "k"}, client.ErrNotLeader},
		{workload.Op{Kind: workload.CompareAndSet, Key: "k", Value: []byte("c"), Expect: []byte("a"), IfIndex: 7}, &client.ConditionError{}},
		{workload.Op{Kind: workload.Read, Key: "k", Value: []byte("a"), Lease: true}, nil},
		{workload.Op{Kind: workload.Read, Key: "k"}, unknown},
	} {
		if err := errors.Join(r.Begin(&o.op), r.End(&o.op, times, o.err)); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(o *Op) { o.Node = "n1" }
	want := history(at(1000, 2000, Set, "a", asked, index(7)), at(1000, 2000, Set, "b", asked, with(Unknown)),
		at(1000, 2000, Delete, "", asked, with(Refused)), at(1000, 2000, CAS, "c", asked, expect("a"), with(ConditionFailed)),
		at(1000, 2000, Get, "a", asked, level(Lease)), at(1000, 2000, Get, "", asked, with(Refused)))
	if got := h.Ops(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := r.End(&workload.Op{Kind: workload.WriteBatch}, times, nil); err == nil {
		t.Error("a batch was taken for an operation on one key")
	}
}

// TestManyViolations: all are counted, and the first are traced, in a bounded time.
func TestManyViolations(t *testing.T) {
	var ops []Op
	for i := range 50 {
		key := otherKey(fmt.Sprintf("k%d", i))
		ops = append(ops, at(1, 2, Set, "a", key), at(3, 4, Set, "b", key), at(5, 6, Get, "a", key))
		for u := range 200 { // of unknown outcome, and each is seen once at about the same time
			value := fmt.Sprint(u)
			ops = append(ops, at(7, 8, Set, value, key, with(Unknown)), at(9, 5000-u, Get, value, key))
		}
	}
	begin := time.Now()
	r := Check(ops, 2*time.Second)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	if len(r.Violations)+len(r.Unknown) != 50 || r.Verdict == IsLinearizable {
		t.Errorf("%s: %d violations and %d unknown of 50", r.Verdict, len(r.Violations), len(r.Unknown))
	}
}

// TestTooHard: a key that cannot be decided in time is unknown, not fine.
func TestTooHard(t *testing.T) {
	var ops []Op
	for i := range 400 {
		ops = append(ops, at(1, 100000, Set, fmt.Sprint(i)))
	}
	for i := range 200 { // each at once, so in any order but the one that is read
		ops = append(ops, at(2+i, 99000-i, Get, fmt.Sprint((i*7919)%400)))
	}
	ops = append(ops, at(100001, 100002, Get, "never"), at(99999, 100000, Set, "never", with(Unknown)), at(100003, 100004, Get, "1"))
	if r := Check(ops, 50*time.Millisecond); r.Verdict == IsLinearizable {
		t.Errorf("%s", r.Verdict)
	}
}
