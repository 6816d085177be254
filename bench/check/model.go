package check

import (
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

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
