package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a history is.
type Verdict string

// The verdicts.
const (
	IsLinearizable Verdict = "linearizable"
	HasViolation   Verdict = "violation"
	IsUnknown      Verdict = "unknown" // a key took too long to check
)

// What a violation is.
const (
	Stale      = "stale read"             // an answer, while the load ran, that fits no order
	StaleLease = "stale lease read"       // the same, and only reads by lease show it
	Disorder   = "writes in no order"     // two compare-and-sets from one value
	Lost       = "lost write"             // what a node holds at the end fits no order
	Foreign    = "value that nobody set"  // a read's
	Undead     = "refused write seen"     // it was said not to have taken effect
	Shared     = "one index, two writes"  // both acknowledged
	Moved      = "one value, two indices" // of its write, or of reads
)

// Violation is one thing that cannot be.
type Violation struct {
	What string
	Key  string
	Op   Op   // whose answer it shows in; of many violations of a kind only the first are traced to one
	Near []Op // what else was done to the key about then, in the order of calls
}

// String says the violation in a line.
func (v Violation) String() string {
	if v.Op == (Op{}) {
		return fmt.Sprintf("%s: key %s", v.What, v.Key)
	}
	return fmt.Sprintf("%s: %s", v.What, v.Op)
}

// Report is what Check found.
type Report struct {
	Verdict    Verdict
	Violations []Violation
	Keys       int
	Unknown    []string // keys that took too long
}

// DefaultLimit is how long a check may take.
const DefaultLimit = 2 * time.Minute

const (
	// keyShare is the part of the limit that one key may take.
	keyShare = 20
	// traced is for how many violations of a kind the answer is looked for in which it
	// shows, and traceTime how long one step of that may take.
	traced    = 4
	traceTime = time.Second
)

// Check judges a history. limit bounds what it may take; 0: DefaultLimit. Keys that are
// not decided by then are unknown.
func Check(ops []Op, limit time.Duration) Report {
	limit = cmp.Or(limit, DefaultLimit)
	byKey := map[string][]Op{}
	for _, o := range ops {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	r := Report{Verdict: IsLinearizable, Keys: len(byKey), Violations: indices(ops)}
	kinds := map[string]int{}
	end := time.Now().Add(limit)
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		v, part, decided := checkKey(byKey[key], max(min(limit/keyShare, time.Until(end)), time.Millisecond))
		if v == nil {
			if !decided {
				r.Unknown = append(r.Unknown, key)
			}
			continue
		}
		v.Key = key
		if kinds[v.What]++; kinds[v.What] <= traced {
			if part != nil {
				v.Op = culprit(part)
			}
			v.Near = near(byKey[key], v.Op)
		}
		r.Violations = append(r.Violations, *v)
	}
	switch {
	case len(r.Violations) > 0:
		r.Verdict = HasViolation
	case len(r.Unknown) > 0:
		r.Verdict = IsUnknown
	}
	return r
}

// checkKey finds the violation of one key that says most. Where it shows is to be looked
// for in part, if that is not nil.
func checkKey(ops []Op, limit time.Duration) (found *Violation, part []Op, decided bool) {
	if v := invented(ops); v != nil {
		return v, nil, true
	}
	deadline := time.Now().Add(limit)
	decided = true
	for _, stage := range []struct {
		what   string
		levels []Level
	}{
		{Disorder, nil},
		{Lost, []Level{Audit}},
		{Stale, []Level{Linearizable}},
		{StaleLease, []Level{Linearizable, Lease}},
		{Lost, []Level{Linearizable, Audit}}, // a read has decided what became of an unknown write
	} {
		part := slices.DeleteFunc(slices.Clone(ops), func(o Op) bool {
			return o.Kind == Get && !slices.Contains(stage.levels, o.Level)
		})
		switch linearizable(part, max(time.Until(deadline), time.Millisecond)) {
		case porcupine.Illegal:
			return &Violation{What: stage.what}, part, true
		case porcupine.Unknown:
			decided = false
		}
	}
	return nil, nil, decided
}

// culprit returns the operation whose answer nothing explains any more: without
// what returned after it the history is still in order.
func culprit(ops []Op) Op {
	byEnd := slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Outcome != OK && o.Outcome != ConditionFailed })
	slices.SortStableFunc(byEnd, func(a, b Op) int { return int(a.Return - b.Return) })
	at := sort.Search(len(byEnd), func(i int) bool {
		return linearizable(until(ops, byEnd[i].Return), traceTime) == porcupine.Illegal
	})
	return byEnd[min(at, len(byEnd)-1)]
}

// invented looks for a read of a value that no write can have set.
func invented(ops []Op) *Violation {
	set := map[string]Outcome{"": OK}
	for _, o := range ops {
		if o.Kind == Set || o.Kind == CAS {
			set[o.Value] = o.Outcome
		}
	}
	for _, o := range ops {
		if o.Kind != Get || o.Outcome != OK {
			continue
		}
		switch outcome, known := set[o.Value]; {
		case !known:
			return &Violation{What: Foreign, Op: o}
		case outcome == Refused || outcome == ConditionFailed:
			return &Violation{What: Undead, Op: o}
		}
	}
	return nil
}

// indices looks for a log index of two writes, and for a value of two indices.
func indices(ops []Op) []Violation {
	var found []Violation
	writes := map[uint64]Op{}
	values := map[string]Op{}
	for _, o := range ops {
		if o.Index == 0 || o.Outcome != OK {
			continue
		}
		if o.Kind != Get {
			if other, taken := writes[o.Index]; taken {
				found = append(found, Violation{What: Shared, Key: o.Key, Op: o, Near: []Op{other}})
			}
			writes[o.Index] = o
		}
		if o.Value == "" {
			continue
		}
		value := o.Key + "\x00" + o.Value
		if other, seen := values[value]; seen && other.Index != o.Index {
			found = append(found, Violation{What: Moved, Key: o.Key, Op: o, Near: []Op{other}})
		}
		values[value] = o
	}
	return found
}

// nearby is how many operations before and after a violation are told.
const nearby = 10

func near(ops []Op, o Op) []Op {
	sorted := slices.DeleteFunc(slices.Clone(ops), func(p Op) bool { return p.Outcome == Refused && p != o || p.Level == Audit && p != o })
	slices.SortStableFunc(sorted, func(a, b Op) int { return int(a.Call - b.Call) })
	at := max(0, slices.Index(sorted, o))
	return sorted[max(0, at-nearby):min(len(sorted), at+nearby/2)]
}

// register is one key. Its state is what the key holds; empty: nothing.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			return step(state.(string), input.(Op))
		},
		DescribeOperation: func(input, _ any) string { return input.(Op).String() },
		DescribeState:     func(state any) string { return orAbsent(state.(string)) },
	}
}

// step says whether the operation may come next, and what the key holds then.
func step(state string, o Op) (bool, string) {
	switch o.Kind {
	case Get:
		return state == o.Value, state
	case Set:
		return true, o.Value
	case Delete:
		return true, ""
	case CAS:
		holds := state == o.Expect
		switch {
		case o.Outcome == ConditionFailed:
			return !holds, state
		case holds:
			return true, o.Value
		default:
			return o.Outcome == Unknown, state
		}
	}
	return false, state
}

// relevant leaves out what says nothing: refused operations, reads without an
// answer, and writes of unknown outcome that nobody has seen. The last may go
// because none but a failed condition can tell that such a write was there.
func relevant(ops []Op) []Op {
	seen := map[string]bool{}
	conditions := false
	for _, o := range ops {
		switch {
		case o.Kind == Get && o.Outcome == OK:
			seen[o.Value] = true
		case o.Kind == CAS && o.Outcome != Refused:
			conditions = conditions || o.Outcome == ConditionFailed
			seen[o.Expect] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool {
		if o.Outcome == Refused || o.Kind == Get && o.Outcome != OK {
			return true
		}
		unseen := o.Outcome == Unknown && (o.Kind == Set || o.Kind == CAS) && !seen[o.Value]
		return unseen && !conditions
	})
}

// linearizable asks porcupine about the operations of one key.
func linearizable(ops []Op, limit time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(register(), forPorcupine(relevant(ops)), limit)
}

func forPorcupine(ops []Op) []porcupine.Operation {
	list := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		list[i] = porcupine.Operation{Input: o, Output: o, Call: int64(o.Call), Return: int64(o.Return)}
		if o.Outcome == Unknown {
			list[i].Return = math.MaxInt64
		}
	}
	return list
}

// until is the history as it was known at a time: what had not returned by then
// has an unknown outcome.
func until(ops []Op, end time.Duration) []Op {
	var known []Op
	for _, o := range ops {
		switch {
		case o.Return <= end:
			known = append(known, o)
		case o.Call <= end && o.Kind != Get && o.Outcome != Refused && o.Outcome != ConditionFailed:
			o.Outcome = Unknown
			known = append(known, o)
		}
	}
	return known
}
