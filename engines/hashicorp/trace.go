package hashicorp

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// A replica with a core.Trace has decorators around its log, log store, state machine and
// transport, and around itself; one without has none of them, so they cost nothing then.
// The library tells nobody when it notices that an entry is committed: its main
// goroutine does, the one that also writes the log. So tracedLog records what was
// committed each time that goroutine begins to write.

// traceParts puts decorators around what a replica is made of.
func traceParts(cfg *core.ReplicaConfig) {
	if cfg.Trace == nil {
		return
	}
	cfg.Logs = tracedStore{cfg.Logs, cfg.Trace}
	machine := tracedMachine{cfg.FSM, cfg.Trace}
	if batch, ok := cfg.FSM.(core.BatchFSM); ok {
		cfg.FSM = tracedBatchMachine{machine, batch}
	} else {
		cfg.FSM = machine
	}
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
	begun := time.Now()
	applied, err := r.replica.Propose(ctx, command)
	if err == nil {
		r.trace.Record(core.Span{Kind: core.SpanPropose, First: applied.Index, Last: applied.Index, Begin: begun, End: time.Now(), Command: command})
	}
	return applied, err
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
	span := spanOf(core.SpanAppend, entries)
	select {
	case <-l.replica.gate.ready: // from here on there is a replica to ask
		span.Commit = l.replica.raft.CommitIndex()
	default:
	}
	err := l.tail.StoreLogs(entries)
	return recorded(l.replica.trace, span, err)
}

// tracedStore records what the log store writes.
type tracedStore struct {
	core.LogStore
	trace core.Trace
}

// Unwrap has core.As find what the store offers beside.
func (s tracedStore) Unwrap() core.LogStore { return s.LogStore }

// IsMonotonic forwards raft.MonotonicLogStore, which embedding would hide.
func (s tracedStore) IsMonotonic() bool { return core.IsMonotonic(s.LogStore) }

// StoreLog implements raft.LogStore.
func (s tracedStore) StoreLog(entry *raft.Log) error {
	span := spanOf(core.SpanWrite, []*raft.Log{entry})
	return recorded(s.trace, span, s.LogStore.StoreLog(entry))
}

// StoreLogs implements raft.LogStore.
func (s tracedStore) StoreLogs(entries []*raft.Log) error {
	span := spanOf(core.SpanWrite, entries)
	return recorded(s.trace, span, s.LogStore.StoreLogs(entries))
}

// spanOf begins a span of entries, of which there may be none.
func spanOf(kind core.SpanKind, entries []*raft.Log) core.Span {
	s := core.Span{Kind: kind, Begin: time.Now()}
	if n := len(entries); n > 0 {
		s.First, s.Last, s.Term = entries[0].Index, entries[n-1].Index, entries[n-1].Term
	}
	return s
}

// recorded ends a span, which is not recorded if it ended with an error.
func recorded(trace core.Trace, span core.Span, err error) error {
	if err == nil {
		span.End = time.Now()
		trace.Record(span)
	}
	return err
}

// tracedMachine records what the state machine takes in.
type tracedMachine struct {
	core.FSM
	trace core.Trace
}

// Apply implements core.FSM.
func (m tracedMachine) Apply(index uint64, command []byte) any {
	begun := time.Now()
	result := m.FSM.Apply(index, command)
	m.trace.Record(core.Span{Kind: core.SpanApply, First: index, Last: index, Begin: begun, End: time.Now()})
	return result
}

// tracedBatchMachine is a tracedMachine that takes several commands at a time.
type tracedBatchMachine struct {
	tracedMachine
	batch core.BatchFSM
}

// ApplyBatch implements core.BatchFSM.
func (m tracedBatchMachine) ApplyBatch(entries []core.BatchEntry) {
	begun := time.Now()
	m.batch.ApplyBatch(entries)
	if n := len(entries); n > 0 {
		m.trace.Record(core.Span{Kind: core.SpanApply, First: entries[0].Index, Last: entries[n-1].Index, Begin: begun, End: time.Now()})
	}
}

// received records that entries have come.
func (r *replica) received(rpc *raft.RPC) {
	if r.trace == nil {
		return
	}
	if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && len(request.Entries) > 0 {
		span := spanOf(core.SpanReceive, request.Entries)
		span.End = span.Begin
		r.trace.Record(span)
	}
}

// tracedTransport records what is sent to other members and answered.
type tracedTransport struct {
	guardedTransport
	trace core.Trace
}

// AppendEntries implements raft.Transport.
func (t tracedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	begun := time.Now()
	err := t.guardedTransport.AppendEntries(id, target, req, resp)
	if err == nil {
		recordAnswer(t.trace, id, begun, req, resp)
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (t tracedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.guardedTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &tracedPipeline{AppendPipeline: inner, to: id, trace: t.trace,
		answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p.passing.Go(p.pass)
	return p, nil
}

// tracedPipeline records what is answered on a pipeline. The library takes answers from
// a channel, so each passes through a goroutine of its own.
type tracedPipeline struct {
	raft.AppendPipeline
	to      raft.ServerID
	trace   core.Trace
	answers chan raft.AppendFuture
	passing sync.WaitGroup
	once    sync.Once
	closed  chan struct{}
}

// Consumer implements raft.AppendPipeline.
func (p *tracedPipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

func (p *tracedPipeline) pass() {
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			recordAnswer(p.trace, p.to, answer.Start(), answer.Request(), answer.Response())
			select {
			case p.answers <- answer:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Close implements raft.AppendPipeline.
func (p *tracedPipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	p.passing.Wait()
	return p.AppendPipeline.Close()
}

// recordAnswer records entries that a member has taken in.
func recordAnswer(trace core.Trace, from raft.ServerID, sent time.Time, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
	if len(req.Entries) == 0 || !resp.Success || resp.Term != req.Term {
		return
	}
	span := spanOf(core.SpanSend, req.Entries)
	span.Begin, span.End = sent, span.Begin
	span.Peer, _ = memberID(from)
	trace.Record(span)
}
