// Package check judges histories: what clients asked of a map of registers, what
// they were told, and when. [Check] says whether that is linearizable, and if not,
// which answer could not have been given.
//
// # The model
//
// Each key is a register of its own. It holds a value or is absent. Every write
// sets a value that no other write sets, so a compare-and-set by the log index of
// a value that was read is one by the value.
//
// The outcome of an operation is one of four. An acknowledged one took effect
// between its call and its return. One whose condition failed saw that in between.
// A refused one never took effect: it is no part of the history, but its value must
// not be seen. One whose outcome is unknown may take effect at any time after its
// call, or never: its return is infinitely late, where it harms nobody.
//
// Checking is by porcupine, one key after another, which is exponential in the
// number of operations under way at once, so a key that takes too long is unknown.
// Unknown writes that nobody has seen are left out where that changes nothing.
//
// Raft gives more to check than a register: one log index belongs to one write, and
// a value keeps its index.
package check

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/kv/client"
)

// Kind is what an operation asks for.
type Kind string

// The kinds.
const (
	Get    Kind = "get"
	Set    Kind = "set"
	Delete Kind = "delete"
	// CAS sets Value if the key holds Expect. With an empty Expect the key must be
	// absent.
	CAS Kind = "cas"
)

// Outcome is what became of an operation, as its client was told.
type Outcome string

// The outcomes.
const (
	OK              Outcome = "ok"
	ConditionFailed Outcome = "condition failed" // of a CAS: the key held something else
	Refused         Outcome = "refused"          // it did not take effect; a read: no answer
	Unknown         Outcome = "unknown"          // it may have taken effect, or may yet
)

// Level is what a read promises.
type Level string

// The levels. A read is Linearizable unless it says otherwise.
const (
	Linearizable Level = ""
	Lease        Level = "lease" // by the leader's lease: linearizable where clocks are sane
	Audit        Level = "audit" // after the last write, of what one node holds
)

// Op is one operation. Times count from the beginning of the history.
type Op struct {
	Client  string        `json:"client"`
	Node    string        `json:"node,omitempty"` // who was asked; empty: any
	Kind    Kind          `json:"kind"`
	Key     string        `json:"key"`
	Expect  string        `json:"expect,omitempty"`
	Value   string        `json:"value,omitempty"` // written, or read; a read of an absent key: empty
	Level   Level         `json:"level,omitempty"`
	Call    time.Duration `json:"call_ns"`
	Return  time.Duration `json:"return_ns"`
	Outcome Outcome       `json:"outcome"`
	Index   uint64        `json:"index,omitempty"` // of the log, where the answer says it
}

// String says the operation in a line.
func (o Op) String() string {
	what := fmt.Sprintf("%s %s", o.Kind, o.Key)
	switch o.Kind {
	case Get:
		what += fmt.Sprintf(" = %s", orAbsent(o.Value))
	case Set:
		what += " to " + brief(o.Value)
	case CAS:
		what += fmt.Sprintf(" from %s to %s", orAbsent(o.Expect), brief(o.Value))
	}
	if o.Level != Linearizable {
		what += fmt.Sprintf(" (%s)", o.Level)
	}
	at := fmt.Sprintf("%.6f–%.6f s", o.Call.Seconds(), o.Return.Seconds())
	return fmt.Sprintf("%s  %s by %s at %s: %s, index %d", at, what, o.Client, cmp.Or(o.Node, "any node"), o.Outcome, o.Index)
}

func brief(value string) string {
	if len(value) > 24 {
		return fmt.Sprintf("%.24q…", value)
	}
	return fmt.Sprintf("%q", value)
}

func orAbsent(value string) string {
	if value == "" {
		return "absent"
	}
	return brief(value)
}

// History collects operations. Its methods may be called concurrently.
type History struct {
	begin time.Time
	mu    sync.Mutex
	ops   []Op
}

// NewHistory returns an empty history that begins now.
func NewHistory() *History { return &History{begin: time.Now()} }

// Now returns the time since the beginning, by the monotonic clock.
func (h *History) Now() time.Duration { return time.Since(h.begin) }

// Recorder returns a recorder that adds what a client asks of a node; empty: of any.
func (h *History) Recorder(client, node string) workload.Recorder { return recorder{h, client, node} }

type recorder struct {
	history      *History
	client, node string
}

// Begin implements workload.Recorder.
func (recorder) Begin(*workload.Op) error { return nil }

// End implements workload.Recorder.
func (r recorder) End(op *workload.Op, at workload.Times, err error) error {
	o := Op{
		Client: r.client, Node: r.node, Key: op.Key, Expect: string(op.Expect), Value: string(op.Value),
		Call: at.Start.Sub(r.history.begin), Return: at.End.Sub(r.history.begin), Outcome: OK, Index: op.Index,
	}
	switch op.Kind {
	case workload.Read:
		o.Kind = Get
		if op.Lease {
			o.Level = Lease
		}
	case workload.Write:
		o.Kind = Set
	case workload.Delete:
		o.Kind = Delete
	case workload.CompareAndSet:
		o.Kind = CAS
	default:
		return fmt.Errorf("a history has no operations of kind %d", op.Kind)
	}
	switch {
	case err == nil:
	case errors.Is(err, client.ErrCondition):
		o.Outcome = ConditionFailed
	case errors.Is(err, client.ErrOutcomeUnknown) && op.Kind != workload.Read:
		o.Outcome = Unknown
	default:
		o.Outcome = Refused
	}
	r.history.Add(o)
	return nil
}

// Add adds an operation that has ended.
func (h *History) Add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// Ops returns a copy of the operations in the order of their ends.
func (h *History) Ops() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ops)
}

// Write writes operations to a file that must not exist, one JSON object a line.
func Write(path string, ops []Op) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	e := json.NewEncoder(f)
	for _, o := range ops {
		if err = e.Encode(o); err != nil {
			break
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the history %s: %w", path, err)
	}
	return nil
}
