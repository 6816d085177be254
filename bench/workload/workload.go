// Package workload generates seeded operations and puts them on a target, as a
// closed loop of clients or as an open loop with a schedule. What is seen of each
// operation goes to recorders: [Prepared.Run] records latencies; a [Loop] takes
// operations and recorders of any kind. It never knows what the target is, and it
// prints and stores nothing.
//
// What [Prepared.Run] measures. The window begins after the warm-up and lasts for the
// duration, or until a number of operations that start in it have ended.
//
//   - Latency is that of every operation that was to start inside the window,
//     also if it ended after it: otherwise the slowest would be missing.
//   - Throughput counts the operations, started whenever, that completed inside
//     the window; where their number is given, just those.
//   - In a closed loop an operation starts when its client is free. In an open
//     loop it starts when the schedule says so, whether or not anything was free
//     to run it: a target that stalls is charged with the operations that had to
//     wait (G. Tene, "How NOT to Measure Latency", on coordinated omission).
//   - A failed operation is counted and never recorded as a latency. It counts as slower
//     than all others in the percentiles of [Steps]; those of the window are for whoever
//     reads the histograms to correct.
package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the kind of an operation.
type Kind int

// The kinds of operations.
const (
	Write Kind = iota
	Read
	Delete
	WriteBatch      // several keys, all or none
	CompareAndSet   // a write on a condition
	Scan            // a read of up to Limit keys after Key, in order, with their values
	ReadModifyWrite // a read, then a write; no target sees one
	Insert          // a write of a new key; a target sees a Write

	kindCount = int(Insert) + 1
)

// kindNames are those of the shares of a [Mix].
func kindNames() [kindCount]string {
	return [kindCount]string{Write: "write", Read: "read", Delete: "delete", WriteBatch: "batch", CompareAndSet: "compare_and_set",
		Scan: "scan", ReadModifyWrite: "read_modify_write", Insert: "insert"}
}

// String returns the name of the kind.
func (k Kind) String() string { return kindNames()[k] }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	names := kindNames()
	i := slices.Index(names[:], string(text))
	if i < 0 {
		return fmt.Errorf("workload: there is no kind of operation %q", text)
	}
	*k = Kind(i)
	return nil
}

// Reads reports whether an operation of the kind changes nothing.
func (k Kind) Reads() bool { return k == Read || k == Scan }

// Op is one operation. The target must not keep the Op itself; keys and values
// are never changed.
type Op struct {
	Kind  Kind
	Key   string
	Value []byte            // of a write; of a read, what the target has read, if it says so
	Batch map[string][]byte // of a WriteBatch, instead of Key and Value
	Limit int               // of a Scan

	Lease   bool   // of a read: the leader's lease is enough
	IfIndex uint64 // of a CompareAndSet: the index that the key must have; 0: it must be absent
	Expect  []byte // the value that the key had at IfIndex

	// Index is the log index that the target answers with: of the entry that was
	// written, or of the last change of what was read. 0: it does not say.
	Index uint64

	added  int64 // the number of a key that is written for the first time, or 0
	warmUp bool  // it is before the window, where the clock does not tell
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
	Zipf       = "zipf"     // scattered over the key space
	Latest     = "latest"   // zipf, the last key that was added being the most popular
	HotSpot    = "hot-spot" // a part of the keys gets a part of the operations
	Sequential = "sequential"
)

// DefaultMaxInFlight bounds the operations of an open loop that are out at once.
const DefaultMaxInFlight = 4096

// maxRate keeps the gap between operations well above a nanosecond, the unit of
// the schedule.
const maxRate = 1e7

// maxOpen is after how long a window ends that has not seen the number of operations that
// it is to have: it is recorded in steps, and each takes 3 kB.
const maxOpen = time.Hour

// maxExponent is beyond what leaves a second key anything.
const maxExponent = 10

// Spec says what load to generate.
type Spec struct {
	Clients int     // closed loop: clients that each wait for their operation; open loop: workers to begin with
	Rate    float64 // operations per second; 0: closed loop
	RateTo  float64 // where the rate has come to at the window's end, in a straight line; 0: it stays
	Arrival string  // open loop: Constant or Poisson; empty: Constant
	// MaxInFlight bounds the workers of an open loop; 0: DefaultMaxInFlight.
	// Operations beyond it wait, and their latency goes on counting.
	MaxInFlight int

	Warmup, Duration time.Duration
	Operations       int64         // instead of a duration: the window lasts until so many have ended
	OpTimeout        time.Duration // of one operation, from when it is handed to the target

	Mix        Mix
	ScanLength Sizes // of scans
	BatchSize  int   // keys of a batch
	ValueBytes int   // of each value, unless there are
	ValueSizes Sizes // bytes of values; the zero value: all have ValueBytes

	Keys            int
	KeyBytes        int           // size of a key; 0: that of [Key]
	KeyDistribution string        // Uniform, Zipf, …
	ZipfExponent    float64       // of Zipf and Latest; 0: DefaultZipfExponent
	HotKeys         float64       // of HotSpot: share of the keys
	HotOperations   float64       // and of the operations
	HotMoves        time.Duration // how long a part of the keys is hot; 0: for ever
	Seed            uint64        // same seed and spec: same operations, but where HotMoves has the clock decide
}

// sizes are those of values.
func (s *Spec) sizes() Sizes {
	if len(s.ValueSizes.parts) > 0 {
		return s.ValueSizes
	}
	return Sizes{parts: []sizeRange{{share: 1, upTo: 1, low: s.ValueBytes, high: s.ValueBytes}}}
}

func (s *Spec) zipfExponent() float64 { return cmp.Or(s.ZipfExponent, DefaultZipfExponent) }

// length is how long the window of an open loop is to last.
func (s *Spec) length() time.Duration {
	if s.Operations > 0 {
		return time.Duration(float64(s.Operations) / s.Rate * float64(time.Second))
	}
	return s.Duration
}

// RateAt is the rate of an open loop at a time after the window has opened.
func (s *Spec) RateAt(since time.Duration) float64 { return s.Rate + s.slope()*since.Seconds() }

// slope is by how much the rate changes in a second of the window.
func (s *Spec) slope() float64 {
	if s.RateTo == 0 {
		return 0
	}
	return (s.RateTo - s.Rate) / s.Duration.Seconds()
}

// grows: keys are added, or asked for by when they were.
func (s *Spec) grows() bool { return s.Mix.Insert > 0 || s.KeyDistribution == Latest }

// maxAdded bounds the keys that a load adds, for the length of their names.
const maxAdded = 1_000_000_000

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
	refuse(!(s.RateTo >= 0 && s.RateTo <= maxRate), "rate to = %g: must be between 0 and %g", s.RateTo, float64(maxRate))
	refuse(s.RateTo > 0 && (s.Rate == 0 || s.Operations > 0), "rate to = %g: needs a rate to begin with, and a duration", s.RateTo)
	refuse(s.Arrival != "" && s.Arrival != Constant && s.Arrival != Poisson,
		"arrival = %q: must be %s or %s", s.Arrival, Constant, Poisson)
	refuse(s.MaxInFlight < 0, "max in flight = %d: must not be negative", s.MaxInFlight)
	refuse(s.Warmup < 0, "warmup = %s: must not be negative", s.Warmup)
	refuse(s.Operations < 0, "operations = %d: must not be negative", s.Operations)
	refuse(s.Duration <= 0 && s.Operations == 0, "duration = %s: must be positive", s.Duration)
	refuse(s.Duration != 0 && s.Operations > 0, "duration = %s and operations = %d: the one or the other", s.Duration, s.Operations)
	refuse(s.OpTimeout <= 0, "operation timeout = %s: must be positive", s.OpTimeout)
	refuse(s.ValueBytes < 0, "value size = %d: must not be negative", s.ValueBytes)
	refuse(s.Keys < 1, "keys = %d: must be at least 1", s.Keys)
	refuse(s.Operations > 0 && s.Rate > 0 && s.length() > maxOpen, "operations = %d: at rate = %g they take longer than %s", s.Operations, s.Rate, maxOpen)
	last := s.Keys - 1
	if s.Mix.Insert > 0 {
		last += maxAdded
	}
	least := len(keyPrefix) + len(strconv.Itoa(last))
	refuse(s.KeyBytes != 0 && s.KeyBytes < least, "key size = %d: %d keys need at least %d bytes", s.KeyBytes, last+1, least)
	distributions := []string{Uniform, Zipf, Latest, HotSpot, Sequential}
	refuse(!slices.Contains(distributions, s.KeyDistribution), "key distribution = %q: must be one of %s", s.KeyDistribution, strings.Join(distributions, ", "))
	refuse(!(s.ZipfExponent >= 0 && s.ZipfExponent <= maxExponent), "zipf exponent = %g: must be between 0 and %d", s.ZipfExponent, maxExponent)
	hot := s.KeyDistribution == HotSpot
	refuse(hot && !(s.HotKeys > 0 && s.HotKeys <= 1), "hot keys = %g: must be a share above 0, at most 1", s.HotKeys)
	refuse(hot && !(s.HotOperations >= 0 && s.HotOperations <= 1), "hot operations = %g: must be a share from 0 to 1", s.HotOperations)
	refuse(s.HotMoves < 0, "hot moves = %s: must not be negative", s.HotMoves)
	if err := s.Mix.Check(); err != nil {
		errs = append(errs, fmt.Errorf("workload: mix: %w", err))
	}
	refuse(s.Mix.Scan > 0 && len(s.ScanLength.parts) == 0, "scan length: there are scans, and none is given")
	refuse(s.Mix.Batch > 0 && (s.BatchSize < 1 || s.BatchSize > s.Keys), "batch size = %d: must be between 1 and the %d keys that there are", s.BatchSize, s.Keys)
	return errors.Join(errs...)
}

func (s Spec) maxInFlight() int {
	if s.MaxInFlight == 0 {
		return max(DefaultMaxInFlight, s.Clients)
	}
	return max(s.MaxInFlight, 1)
}
