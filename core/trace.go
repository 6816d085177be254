package core

import "time"

// Trace takes down what a replica does with log entries, and when, so that the time of
// a write can be told apart by stages. An engine that is given one ([ReplicaConfig])
// records a span for each of the kinds below; without one it takes no time at all.
type Trace interface {
	// Record takes one span. It is called from many goroutines, on the way of every
	// write: it must be quick and must not block. The command is the caller's again
	// once it has returned.
	Record(Span)
}

// Span is one thing that a replica did with the log entries First to Last, from Begin to
// End. Both have a reading of the monotonic clock.
type Span struct {
	Kind        SpanKind
	Term        uint64 // of the last entry; 0 where the kind does not know it
	First, Last uint64
	Begin, End  time.Time

	Peer    string // of SpanSend: the id of the member that was sent to
	Commit  uint64 // of SpanAppend: newest entry that the replica knew to be committed at Begin
	Command []byte // of SpanPropose
}

// SpanKind says what was done.
type SpanKind uint8

// The kinds of spans.
const (
	// SpanPropose: a caller of Propose or Begin handed a command over, until it had the result.
	// Proposals that failed have none.
	SpanPropose SpanKind = 1 + iota
	// SpanAppend: the engine's own goroutine put entries into the log, and did nothing
	// else meanwhile. They are as durable then as the log store declares, unless there
	// is a SpanWrite of them.
	SpanAppend
	// SpanWrite: the log store wrote entries for which SpanAppend had not waited, until
	// they were as durable as it declares.
	SpanWrite
	// SpanSend: on a leader, from when entries are sent to a member until its answer that
	// it has them has come. How long the leader then lets it wait is not in it.
	SpanSend
	// SpanReceive: entries of the leader have come; it has no length.
	SpanReceive
	// SpanApply: the state machine took the entries in.
	SpanApply
)
