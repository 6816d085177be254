// Package trace keeps the spans of one process in memory (core.Trace) and writes them
// down for another: times are those of the machine's monotonic clock, so that what the
// processes of one machine recorded can be put together. It never looks at what the
// spans mean: bench/trace does.
package trace

import (
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Event is a span in a fixed size.
type Event struct {
	Kind        core.SpanKind
	Peer        uint8 // of SpanSend: index into Log.Peers
	Term        uint64
	First, Last uint64
	Begin, End  int64  // ns of the machine's monotonic clock
	Note        uint64 // SpanPropose: checksum of the command; SpanAppend: core.Span.Commit
}

// Log is what one member recorded, in no particular order.
type Log struct {
	Member  string
	Peers   []string
	Events  []Event
	Dropped uint64 // spans for which there was no room
}

// Checksum is what a command is known by: the CRC-32C of its bytes.
func Checksum(command []byte) uint64 { return uint64(crc32.Checksum(command, castagnoli)) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Clock turns times of this process into those of the machine. Use NewClock.
type Clock struct {
	epoch time.Time
	at    int64 // ns of the machine's monotonic clock then
}

// At returns t, which must have a monotonic reading, in nanoseconds.
func (c Clock) At(t time.Time) int64 { return c.at + int64(t.Sub(c.epoch)) }

// DefaultCapacity is how many spans a buffer has room for: two million writes, and some
// minutes of the heaviest load. The memory is taken as it is filled.
const DefaultCapacity = 1 << 22

// maxPeers bounds the members that a buffer tells apart.
const maxPeers = 255

// Buffer is a core.Trace that keeps the first spans it is given, and counts those that
// come once it is full. Its methods are safe for concurrent use, but for Close.
type Buffer struct {
	clock   Clock
	slots   []slot
	free    func() error
	next    atomic.Uint64 // slots taken, and beyond the last those that were dropped
	adding  sync.Mutex
	peers   atomic.Pointer[[]string]
	strange atomic.Uint64 // dropped, for one peer too many
}

// slot is a place for an event. A reader may see it once it is filled.
type slot struct {
	Event
	filled atomic.Uint32
}

var _ core.Trace = (*Buffer)(nil)

// NewBuffer returns an empty buffer. Its memory is not the collector's, whose rhythm it
// would change; Close gives it back.
func NewBuffer(capacity int) (*Buffer, error) {
	slots, free, err := allocate(capacity)
	if err != nil {
		return nil, err
	}
	b := &Buffer{clock: NewClock(), slots: slots, free: free}
	b.peers.Store(&[]string{})
	return b, nil
}

// Record implements core.Trace.
func (b *Buffer) Record(s core.Span) {
	peer := 0
	if s.Kind == core.SpanSend {
		if peer = b.peer(s.Peer); peer < 0 {
			b.strange.Add(1)
			return
		}
	}
	i := b.next.Add(1) - 1
	if i >= uint64(len(b.slots)) {
		return
	}
	at := &b.slots[i]
	at.Event = Event{Kind: s.Kind, Peer: uint8(peer), Term: s.Term, First: s.First, Last: s.Last,
		Begin: b.clock.At(s.Begin), End: b.clock.At(s.End), Note: s.Commit}
	if s.Kind == core.SpanPropose {
		at.Note = Checksum(s.Command)
	}
	at.filled.Store(1)
}

// peer returns the number of a peer; -1: there are too many.
func (b *Buffer) peer(id string) int {
	for i, p := range *b.peers.Load() {
		if p == id {
			return i
		}
	}
	b.adding.Lock()
	defer b.adding.Unlock()
	known := *b.peers.Load()
	for i, p := range known {
		if p == id {
			return i
		}
	}
	if len(known) == maxPeers {
		return -1
	}
	more := append(append(make([]string, 0, len(known)+1), known...), id)
	b.peers.Store(&more)
	return len(known)
}

// Log returns what has been recorded until now, as that of the member.
func (b *Buffer) Log(member string) Log {
	taken := b.next.Load()
	n := min(taken, uint64(len(b.slots)))
	l := Log{Member: member, Dropped: taken - n + b.strange.Load(), Events: make([]Event, 0, n)}
	for i := range b.slots[:n] {
		if b.slots[i].filled.Load() == 1 {
			l.Events = append(l.Events, b.slots[i].Event)
		}
	}
	l.Peers = *b.peers.Load()
	return l
}

// Close gives the memory back. Nobody may use the buffer any more.
func (b *Buffer) Close() error {
	b.slots = nil
	return b.free()
}
