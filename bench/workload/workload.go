// Package workload generates seeded operations and puts them on a target, as a
// closed loop of clients or as an open loop with a schedule. What is seen of each
// operation goes to recorders: [Prepared.Run] records latencies; a [Loop] takes
// operations and recorders of any kind. It never knows what the target is, and it
// prints and stores nothing.
//
// What [Prepared.Run] measures. The window begins after the warm-up and lasts for the
// duration.
//
//   - Latency is that of every operation that was to start inside the window,
//     also if it ended after it: otherwise the slowest would be missing.
//   - Throughput counts the operations, started whenever, that completed inside
//     the window.
//   - In a closed loop an operation starts when its client is free. In an open
//     loop it starts when the schedule says so, whether or not anything was free
//     to run it: a target that stalls is charged with the operations that had to
//     wait (G. Tene, "How NOT to Measure Latency", on coordinated omission).
//   - A failed operation is counted and never recorded as a latency. It counts as slower
//     than all others in the percentiles of [Steps]; those of the window are for whoever
//     reads the histograms to correct.
package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Kind is the kind of an operation.
type Kind int

// The kinds of operations.
const (
	Write Kind = iota
	Read
	Delete
	WriteBatch    // several keys, all or none
	CompareAndSet // a write on a condition
)

// Op is one operation. The target must not keep the Op itself; keys and values
// are never changed.
type Op struct {
	Kind  Kind
	Key   string
	Value []byte            // of a write; of a read, what the target has read, if it says so
	Batch map[string][]byte // of a WriteBatch, instead of Key and Value

	Lease   bool   // of a read: the leader's lease is enough
	IfIndex uint64 // of a CompareAndSet: the index that the key must have; 0: it must be absent
	Expect  []byte // the value that the key had at IfIndex

	// Index is the log index that the target answers with: of the entry that was
	// written, or of the last change of what was read. 0: it does not say.
	Index uint64
}

// Target carries out operations. Do is called from many goroutines, once at a time
// for each Op, and returns once the operation is acknowledged.
type Target interface {
	Do(ctx context.Context, op *Op) error
}

// Parted is a Target of which each client has a part, such as a connection.
type Parted interface {
	Target
	Part(client int) Target
}

// PartOf returns what a client drives of a target.
func PartOf(t Target, client int) Target {
	if p, ok := t.(Parted); ok {
		return p.Part(client)
	}
	return t
}

// Source makes the operations of one client. It is used by one goroutine.
type Source interface {
	// Next overwrites the last operation of the client, which holds the answer of
	// the target, and whose error last is, with the next one, which is to begin
	// after wait. False: there is none.
	Next(op *Op, last error) (wait time.Duration, ok bool)
}

// Recorder sees the operations of one client. It is used by one goroutine. An error
// means that nothing more can be recorded, and ends the whole load.
type Recorder interface {
	// Begin is called before the operation is handed to the target.
	Begin(op *Op) error
	// End is called when the target has answered, with its error. An operation that
	// was cut off with the load's context, or not handed to the target because the
	// time was over, has no End.
	End(op *Op, at Times, err error) error
}

// Times are those of one operation. Due is when it was to start: in a closed loop
// when it did. One that was never started has no Start and no End.
type Times struct{ Due, Start, End time.Time }

// Arrival processes of an open loop, and key distributions.
const (
	Constant = "constant" // equal gaps
	Poisson  = "poisson"  // exponential gaps, as independent users make

	Uniform    = "uniform"
	Zipf       = "zipf" // exponent 0.99, scattered over the key space
	Sequential = "sequential"
)

// DefaultMaxInFlight bounds the operations of an open loop that are out at once.
const DefaultMaxInFlight = 4096

// maxRate keeps the gap between operations well above a nanosecond, the unit of
// the schedule.
const maxRate = 1e7

// Spec says what load to generate.
type Spec struct {
	Clients int     // closed loop: clients that each wait for their operation; open loop: workers to begin with
	Rate    float64 // operations per second; 0: closed loop
	Arrival string  // open loop: Constant or Poisson; empty: Constant
	// MaxInFlight bounds the workers of an open loop; 0: DefaultMaxInFlight.
	// Operations beyond it wait, and their latency goes on counting.
	MaxInFlight int

	Warmup, Duration time.Duration
	OpTimeout        time.Duration // of one operation, from when it is handed to the target

	ValueBytes      int
	Keys            int
	KeyBytes        int     // size of a key; 0: that of [Key]
	KeyDistribution string  // Uniform, Zipf or Sequential
	ReadRatio       float64 // share of reads, 0 to 1
	Seed            uint64  // same seed and spec: same operations
}

// Validate checks the spec; all that is wrong comes in one error.
func (s Spec) Validate() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("workload: "+format, args...))
		}
	}
	refuse(s.Clients < 1, "clients = %d: must be at least 1", s.Clients)
	refuse(!(s.Rate >= 0 && s.Rate <= maxRate), "rate = %g: must be between 0 and %g", s.Rate, float64(maxRate))
	refuse(s.Arrival != "" && s.Arrival != Constant && s.Arrival != Poisson,
		"arrival = %q: must be %s or %s", s.Arrival, Constant, Poisson)
	refuse(s.MaxInFlight < 0, "max in flight = %d: must not be negative", s.MaxInFlight)
	refuse(s.Warmup < 0, "warmup = %s: must not be negative", s.Warmup)
	refuse(s.Duration <= 0, "duration = %s: must be positive", s.Duration)
	refuse(s.OpTimeout <= 0, "operation timeout = %s: must be positive", s.OpTimeout)
	refuse(s.ValueBytes < 0, "value size = %d: must not be negative", s.ValueBytes)
	refuse(s.Keys < 1, "keys = %d: must be at least 1", s.Keys)
	least := len(keyPrefix) + len(strconv.Itoa(s.Keys-1))
	refuse(s.KeyBytes != 0 && s.KeyBytes < least, "key size = %d: %d keys need at least %d bytes", s.KeyBytes, s.Keys, least)
	refuse(s.KeyDistribution != Uniform && s.KeyDistribution != Zipf && s.KeyDistribution != Sequential,
		"key distribution = %q: must be %s, %s or %s", s.KeyDistribution, Uniform, Zipf, Sequential)
	refuse(!(s.ReadRatio >= 0 && s.ReadRatio <= 1), "read ratio = %g: must be between 0 and 1", s.ReadRatio)
	return errors.Join(errs...)
}

func (s Spec) maxInFlight() int {
	if s.MaxInFlight == 0 {
		return max(DefaultMaxInFlight, s.Clients)
	}
	return max(s.MaxInFlight, 1)
}
