package core

import "io"

// FSM is the replicated state machine. An engine calls Apply, ApplyBatch and
// Snapshot from one goroutine, in index order; a Snapshot it returned may be
// written while further commands are applied.
type FSM interface {
	// Apply runs the committed command at index and returns its result, which
	// [Replica.Propose] hands to the client on the replica that proposed it.
	//
	// It must be deterministic (same commands in the same order, same state and
	// results on every member) and must not panic: a command that cannot be
	// decoded is refused with a result that says so, the same everywhere.
	// The command's bytes belong to the engine and are valid only during the
	// call: what is kept must be copied.
	Apply(index uint64, command []byte) any

	// Snapshot captures the state as of the last applied command. It must be
	// quick: no command is applied meanwhile.
	Snapshot() (Snapshot, error)

	// Restore replaces the whole state by what an earlier Snapshot wrote. It
	// never runs together with another method. On an error the state must be as
	// it was before. The reader is closed by the engine.
	Restore(from io.Reader) error
}

// BatchFSM is an FSM that takes several committed commands at a time. An engine
// uses it where it can; the results must be those that Apply would have given
// one by one.
type BatchFSM interface {
	FSM

	// ApplyBatch applies entries in order and sets each entry's Result.
	// The slice and the command bytes belong to the engine.
	ApplyBatch(entries []BatchEntry)
}

// BatchEntry is one command of a batch and the place for its result.
type BatchEntry struct {
	Index   uint64
	Command []byte
	Result  any
}

// Snapshot is a state captured by [FSM.Snapshot]. Its methods may run
// concurrently with Apply.
type Snapshot interface {
	// WriteTo streams the captured state. It may be called at most once.
	io.WriterTo

	// Release frees the captured state; it is called once, whether or not the
	// snapshot was written.
	Release()
}
