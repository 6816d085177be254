package hashicorp

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// A replica with a core.Trace has decorators around its log and state machine, and around
// itself; one without has none of them, so they cost nothing then. The library
// tells nobody when it notices that an entry is committed: its main goroutine does, the
// one that also writes the log. So tracedLog records what was committed each time that
// goroutine begins to write.

// tracer is a core.Trace with a clock.
type tracer struct {
	core.Trace
	begun time.Time
}

// newTracer returns nil for nil.
func newTracer(to core.Trace) *tracer {
	if to == nil {
		return nil
	}
	return &tracer{to, time.Now()}
}

// now is time.Now at half the price: it reads the monotonic clock only.
func (t *tracer) now() time.Time { return t.begun.Add(time.Since(t.begun)) }

// tracedFSM puts a decorator around a state machine.
func tracedFSM(fsm core.FSM, trace *tracer) core.FSM {
	if trace == nil {
		return fsm
	}
	machine := tracedMachine{fsm, trace}
	if batch, ok := fsm.(core.BatchFSM); ok {
		return tracedBatchMachine{machine, batch}
	}
	return machine
}

// traceReplica puts one around the replica itself.
func traceReplica(r *replica) core.Replica {
	if r.trace == nil {
		return r
	}
	return tracedReplica{r}
}

// tracedReplica records how long proposals take.
type tracedReplica struct{ *replica }

// Propose implements core.Replica.
func (r tracedReplica) Propose(ctx context.Context, command []byte) (core.Applied, error) {
	begun := r.trace.now()
	applied, err := r.replica.Propose(ctx, command)
	if err == nil {
		r.trace.Record(core.Span{Kind: core.SpanPropose, First: applied.Index, Last: applied.Index, Begin: begun, End: r.trace.now(), Command: command})
	}
	return applied, err
}

// Begin implements core.Proposer.
func (r tracedReplica) Begin(command []byte, c core.Completion) {
	r.replica.Begin(command, tracedCompletion{c, r.trace, r.trace.now(), command})
}

// tracedCompletion records a proposal when it is complete.
type tracedCompletion struct {
	core.Completion
	trace   *tracer
	begun   time.Time
	command []byte
}

// Complete implements core.Completion.
func (c tracedCompletion) Complete(applied core.Applied, err error) {
	if err == nil {
		c.trace.Record(core.Span{Kind: core.SpanPropose, First: applied.Index, Last: applied.Index, Begin: c.begun, End: c.trace.now(), Command: c.command})
	}
	c.Completion.Complete(applied, err)
}

// tracedLog is the log as the library sees it: while it stores, the library's main
// goroutine waits.
type tracedLog struct {
	*tail
	replica *replica
}

// StoreLog implements raft.LogStore.
func (l tracedLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l tracedLog) StoreLogs(entries []*raft.Log) error {
	var commit uint64
	select {
	case <-l.replica.gate.ready: // from here on there is a replica to ask
		commit = l.replica.raft.CommitIndex()
	default:
	}
	return l.replica.trace.stored(core.SpanAppend, commit, entries, l.tail.StoreLogs)
}

// span begins a span of entries, of which there may be none.
func (t *tracer) span(kind core.SpanKind, entries []*raft.Log) core.Span {
	s := core.Span{Kind: kind, Begin: t.now()}
	if n := len(entries); n > 0 {
		s.First, s.Last, s.Term = entries[0].Index, entries[n-1].Index, entries[n-1].Term
	}
	return s
}

// stored has entries stored, and records it.
func (t *tracer) stored(kind core.SpanKind, commit uint64, entries []*raft.Log, store func([]*raft.Log) error) error {
	if t == nil {
		return store(entries)
	}
	span := t.span(kind, entries)
	span.Commit = commit
	if err := store(entries); err != nil {
		return err
	}
	span.End = t.now()
	t.Record(span)
	return nil
}

// tracedMachine records what the state machine takes in.
type tracedMachine struct {
	core.FSM
	trace *tracer
}

// Apply implements core.FSM.
func (m tracedMachine) Apply(index uint64, command []byte) any {
	begun := m.trace.now()
	result := m.FSM.Apply(index, command)
	m.trace.Record(core.Span{Kind: core.SpanApply, First: index, Last: index, Begin: begun, End: m.trace.now()})
	return result
}

// tracedBatchMachine is a tracedMachine that takes several commands at a time.
type tracedBatchMachine struct {
	tracedMachine
	batch core.BatchFSM
}

// ApplyBatch implements core.BatchFSM.
func (m tracedBatchMachine) ApplyBatch(entries []core.BatchEntry) {
	begun := m.trace.now()
	m.batch.ApplyBatch(entries)
	if n := len(entries); n > 0 {
		m.trace.Record(core.Span{Kind: core.SpanApply, First: entries[0].Index, Last: entries[n-1].Index, Begin: begun, End: m.trace.now()})
	}
}

// received records that entries have come.
func (r *replica) received(rpc *raft.RPC) {
	if r.trace == nil {
		return
	}
	if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && len(request.Entries) > 0 {
		span := r.trace.span(core.SpanReceive, request.Entries)
		span.End = span.Begin
		r.trace.Record(span)
	}
}

// answered records entries that a member has taken in.
func (t *tracer) answered(from raft.ServerID, answer raft.AppendFuture) {
	if t == nil {
		return
	}
	req, resp := answer.Request(), answer.Response()
	if len(req.Entries) == 0 || !resp.Success || resp.Term != req.Term {
		return
	}
	span := t.span(core.SpanSend, req.Entries)
	span.Begin, span.End = answer.Start(), span.Begin
	span.Peer, _ = memberID(from)
	t.Record(span)
}
