package etcd

import (
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
)

// tracer is a core.Trace with a clock; nil: nothing is taken down, and nothing costs time.
type tracer struct {
	to    core.Trace
	begun time.Time
}

func newTracer(to core.Trace) *tracer {
	if to == nil {
		return nil
	}
	return &tracer{to, time.Now()}
}

// now is time.Now at half the price: it reads the monotonic clock only.
func (t *tracer) now() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.begun.Add(time.Since(t.begun))
}

func (t *tracer) record(s core.Span) {
	if t != nil {
		t.to.Record(s)
	}
}

// proposed returns a completion that records how long the proposal took.
func (t *tracer) proposed(command []byte, c core.Completion) core.Completion {
	if t == nil {
		return c
	}
	return &tracedCompletion{c, t, t.now(), command}
}

type tracedCompletion struct {
	core.Completion
	trace   *tracer
	begun   time.Time
	command []byte
}

// Complete implements core.Completion.
func (c *tracedCompletion) Complete(applied core.Applied, err error) {
	if err == nil {
		c.trace.record(core.Span{Kind: core.SpanPropose, First: applied.Index, Last: applied.Index, Begin: c.begun, End: c.trace.now(), Command: c.command})
	}
	c.Completion.Complete(applied, err)
}

// received records that entries have come, those left out up to last, which were there.
func (t *tracer) received(m *pb.Message, last uint64) {
	if t == nil || m.GetType() != pb.MsgApp || len(m.GetEntries()) == 0 {
		return
	}
	s := t.span(core.SpanReceive, m.GetEntries(), t.now())
	if s.First, s.End = max(s.First, last+1), s.Begin; s.First <= s.Last {
		t.record(s)
	}
}

// handed notes what the driver has done with a write since begun.
func (t *tracer) handed(w *write, begun time.Time, committed uint64, ahead bool) {
	if t == nil {
		return
	}
	if entries := w.append.GetEntries(); ahead && len(entries) > 0 {
		w.handed = t.span(core.SpanAppend, entries, begun)
	}
	w.handed.Commit = committed
}

// written records a write that has begun at begun and is durable: one that nobody waited for
// is a SpanWrite beside the SpanAppend.
func (t *tracer) written(w *write, begun time.Time) {
	entries := w.append.GetEntries()
	if t == nil || len(entries) == 0 {
		return
	}
	if w.handed.Kind == core.SpanAppend {
		t.record(w.handed)
		t.record(t.span(core.SpanWrite, entries, begun))
		return
	}
	s := t.span(core.SpanAppend, entries, begun)
	s.Commit = w.handed.Commit
	t.record(s)
}

// span returns the span of entries that has begun at begun and ends now.
func (t *tracer) span(kind core.SpanKind, entries []*pb.Entry, begun time.Time) core.Span {
	first, last := entries[0], entries[len(entries)-1]
	return core.Span{Kind: kind, Term: last.GetTerm(), First: first.GetIndex(), Last: last.GetIndex(), Begin: begun, End: t.now()}
}

// sendings are the messages with entries that members have not answered yet, by member: the
// driver's own.
type sendings map[uint64][]core.Span

// sent notes a message with entries, of which those are left out that were sent before and are
// not answered: they are sent once more.
func (s sendings) sent(t *tracer, m *pb.Message) {
	if t == nil || m.GetType() != pb.MsgApp || len(m.GetEntries()) == 0 {
		return
	}
	span, open := t.span(core.SpanSend, m.GetEntries(), t.now()), s[m.GetTo()]
	if n := len(open); n > 0 {
		span.First = max(span.First, open[n-1].Last+1)
	}
	if span.First <= span.Last {
		s[m.GetTo()] = append(open, span)
	}
}

// answered records those that an answer is for.
func (s sendings) answered(t *tracer, m *pb.Message, peer string) {
	if t == nil || m.GetType() != pb.MsgAppResp || m.GetReject() {
		return
	}
	open := s[m.GetFrom()]
	for len(open) > 0 && open[0].Last <= m.GetIndex() {
		if span := open[0]; span.Term <= m.GetTerm() {
			span.Peer, span.End = peer, t.now()
			t.record(span)
		}
		open = open[1:]
	}
	s[m.GetFrom()] = open
}
