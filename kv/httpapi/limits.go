package httpapi

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

// Limits bound what clients together can make a node hold, and how slowly they may
// send and read. A zero field stands for its default.
type Limits struct {
	// HeldBytes bounds the memory for bodies and answers of all requests under way;
	// 0: [api.MaxHeldBytes]. A request that does not fit is refused.
	HeldBytes int64
	// BytesPerS is how fast a body has to come and an answer has to be taken, on
	// average once Patience is over; 0: [api.MinBytesPerS].
	BytesPerS int64
	// Patience is what a sender or reader may waste beyond that; 0: [api.Patience].
	Patience time.Duration
}

func (l *Limits) setDefaults() error {
	if l.HeldBytes < 0 || l.BytesPerS < 0 || l.Patience < 0 {
		return fmt.Errorf("%w limits %+v: none can be negative", core.ErrInvalid, *l)
	}
	l.HeldBytes = cmp.Or(l.HeldBytes, api.MaxHeldBytes)
	l.BytesPerS = cmp.Or(l.BytesPerS, api.MinBytesPerS)
	l.Patience = cmp.Or(l.Patience, api.Patience)
	return nil
}

// pace returns until when so many bytes have to have moved that began to at begun.
func (l *Limits) pace(begun time.Time, bytes int) time.Time {
	return begun.Add(l.Patience + time.Duration(float64(bytes)/float64(l.BytesPerS)*float64(time.Second)))
}

// How often what came or goes is in memory at the same time, at most.
const (
	valueCopies = 3 // as it came, in the command, and in the engine
	batchCopies = 5 // and as JSON tokens and as operations
	pairBytes   = 160
	jsonCopies  = 3 // the answer, and the encoder's buffer, which grows by doubling
)

// budget is what is left of Limits.HeldBytes. Nobody waits for it: a request that
// waited would hold what it has, and all might.
type budget struct {
	limit int64
	held  atomic.Int64
}

// share is what one request holds of the budget; its goroutine alone uses it.
type share struct {
	of   *budget
	held int64
}

// take makes the share larger by so many bytes, or refuses the request.
func (s *share) take(bytes int) error {
	if held := s.of.held.Add(int64(bytes)); held > s.of.limit {
		s.of.held.Add(-int64(bytes))
		return overloaded("the node holds %d bytes for requests under way, and this one takes %d more: at most %d are allowed",
			held-int64(bytes), bytes, s.of.limit)
	}
	s.held += int64(bytes)
	return nil
}

// shrink makes the share as large as it once was.
func (s *share) shrink(to int64) {
	if to < s.held {
		s.of.held.Add(to - s.held)
		s.held = to
	}
}

// overloaded refuses a request that would take more than the node has.
func overloaded(format string, args ...any) error {
	return unavailable(api.CodeOverloaded, format, args...)
}
