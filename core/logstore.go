package core

import (
	"io"

	"github.com/hashicorp/raft"
)

// LogStore keeps one member's log entries and its few stable values (current
// term, last vote).
//
// Beyond what hashicorp/raft writes down for the embedded interfaces:
//
//   - Durability: when StoreLog, StoreLogs, DeleteRange, Set or SetUint64
//     returns nil, the change is durable to the degree that Describe declares.
//   - Atomicity: a StoreLogs call is all or nothing, also across a crash.
//   - Concurrency: one writer at a time (the engine); readers may run
//     concurrently with it. Snapshots delete prefixes from another goroutine,
//     so DeleteRange may overlap with StoreLogs.
//   - Ownership: the store copies what it keeps; GetLog fills the caller's
//     entry with bytes that the store never changes afterwards. Extensions and
//     AppendedAt are kept.
//   - Errors: GetLog of a missing index returns raft.ErrLogNotFound itself. A
//     missing stable key is reported as hashicorp/raft expects: GetUint64
//     returns 0 and Get an empty value, with either a nil error or one whose
//     text is exactly "not found". An empty value may be refused, as
//     [ErrInvalid]: the engine sets none. After Close every method but Close returns
//     an error that is [ErrClosed].
//   - Damage: bytes that are not those written are an error that is [ErrDamaged]
//     where the store can tell, and never a panic. Package backends/checked makes
//     every store tell.
//   - Close is idempotent and waits for calls under way.
type LogStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer

	// Describe says what the store is and what a returned write guarantees.
	Describe() StoreInfo
}

// As returns the first of part and the parts below it that is a T, such as
// [SyncCounter] of a LogStore or [Interceptor] of a Transport, as errors.As does for
// errors. A decorator makes what is below it known with a method Unwrap that returns
// a LogStore or a Transport. One that does not know whether an ability still holds
// has no Unwrap, or answers for itself: false means that the answer is unknown.
func As[T any](part any) (T, bool) {
	for {
		if t, ok := part.(T); ok {
			return t, true
		}
		switch u := part.(type) {
		case interface{ Unwrap() LogStore }:
			part = u.Unwrap()
		case interface{ Unwrap() Transport }:
			part = u.Unwrap()
		default:
			var none T
			return none, false
		}
	}
}

// IsMonotonic says whether store, or one below it, is a raft.MonotonicLogStore that
// takes neither gaps nor entries that it has.
func IsMonotonic(store LogStore) bool {
	m, ok := As[raft.MonotonicLogStore](store)
	return ok && m.IsMonotonic()
}

// Located is a LogStore that is kept in one file.
type Located interface {
	// Path returns the file's path.
	Path() string
}

// SyncCounter is a LogStore that knows how often it asked the operating system
// to make writes durable.
type SyncCounter interface {
	// SyncCount returns the number of synchronous flushes (fsync, fdatasync, or
	// a write through a descriptor opened with O_DSYNC) since the store was
	// opened. Safe for concurrent use.
	SyncCount() uint64
}

// Durability says what survives once a write has returned.
type Durability string

// The degrees of durability, weakest first.
const (
	// DurableNothing: the data is in the memory of the process only.
	DurableNothing Durability = "nothing"
	// DurableOSBuffer: the data was handed to the operating system and survives
	// a crash of the process, not one of the machine.
	DurableOSBuffer Durability = "os-buffer"
	// DurableDisk: the data was flushed to the disk (fsync or equivalent).
	DurableDisk Durability = "disk"
)

// StoreInfo describes a log store.
type StoreInfo struct {
	Name       string     // as in the catalogue, e.g. "bolt"
	Library    string     // module path of the library that stores the bytes; empty for our own code
	Version    string     // its version as linked into this program
	Durability Durability // what survives once a write has returned
	MaxBytes   uint64     // the most that it can hold by its settings; 0: as much as the disk, or memory
}
