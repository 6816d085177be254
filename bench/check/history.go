package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
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
	return fmt.Sprintf("%s  %s by %s at %s: %s, index %d", at, what, o.Client, orAny(o.Node), o.Outcome, o.Index)
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

func orAny(node string) string {
	if node == "" {
		return "any node"
	}
	return node
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

// Read reads what Write wrote.
func Read(path string) (ops []Op, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var o Op
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return ops, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the history %s, operation %d: %w", path, len(ops)+1, err)
		}
		ops = append(ops, o)
	}
}
