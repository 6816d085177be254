package workload

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is the kind of an operation.
type Kind int

// The kinds of operations.
const (
	Write Kind = iota
	Read
)

// Op is one operation. The target must not keep the Op itself; Key and Value
// are never changed.
type Op struct {
	Kind  Kind
	Key   string
	Value []byte // of a write
}

// Target carries out operations. Do is called from many goroutines and returns
// once the operation is acknowledged.
type Target interface {
	Do(ctx context.Context, op *Op) error
}

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
