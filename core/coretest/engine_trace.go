package coretest

import (
	"slices"
	"sync"
	"syscall"

	"github.com/themilchenko/raftlab/core"
)

// witness keeps all spans of one member.
type witness struct {
	mu    sync.Mutex
	spans []core.Span
}

// Record implements core.Trace.
func (w *witness) Record(s core.Span) {
	s.Command = slices.Clone(s.Command)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spans = append(w.spans, s)
}

// of returns the spans of a kind that cover an index.
func (w *witness) of(kind core.SpanKind, index uint64) (found []core.Span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.spans {
		if s.Kind == kind && s.First <= index && index <= s.Last {
			found = append(found, s)
		}
	}
	return found
}

// one returns the only span of a kind that covers an index.
func (w *witness) one(t *checker, kind core.SpanKind, index uint64) core.Span {
	t.Helper()
	found := w.of(kind, index)
	if len(found) != 1 {
		t.Fatalf("%d spans of kind %d cover index %d, want 1: %+v", len(found), kind, index, found)
	}
	return found[0]
}

// checkTrace: each member records what it does with an entry, once, and in the order in
// which that must happen; with pipelines and without.
func checkTrace(t *checker, h engineHarness) {
	beside(t, []int{1, 2}, func(inFlight int) {
		all := map[string]*witness{}
		c := newCluster(t, h, 3)
		c.tuning.MaxInFlight = inFlight
		c.tuning.Persistence = core.Serial // or the order is another
		for _, m := range c.members {
			all[m.id] = &witness{}
			m.start(c.configuration(), func(cfg *core.ReplicaConfig) { cfg.Trace = all[m.id] })
		}
		c.lead(c.members[0])
		c.put("k", "first")
		applied := c.put("k", "v")
		index, leader := applied.Index, all[c.leader().id]
		t.until("all have done with the entry", func() bool {
			return len(leader.of(core.SpanSend, index)) >= 2 && !slices.ContainsFunc(c.members, func(m *member) bool { return len(all[m.id].of(core.SpanApply, index)) == 0 })
		})
		propose, appended, apply := leader.one(t, core.SpanPropose, index), leader.one(t, core.SpanAppend, index), leader.one(t, core.SpanApply, index)
		if string(propose.Command) != "k=v" || appended.Commit >= index || appended.Term == 0 {
			t.Errorf("proposed: %+v; appended: %+v", propose, appended)
		}
		if appended.Begin.Before(propose.Begin) || appended.End.After(propose.End) || apply.End.After(propose.End) || apply.Begin.Before(appended.End) {
			t.Errorf("proposed %v to %v, appended %v to %v, applied %v to %v", propose.Begin, propose.End, appended.Begin, appended.End, apply.Begin, apply.End)
		}
		answered := false
		for _, sent := range leader.of(core.SpanSend, index) {
			received, wrote := all[sent.Peer].one(t, core.SpanReceive, index), all[sent.Peer].one(t, core.SpanAppend, index)
			if received.Begin.Before(sent.Begin) || wrote.Begin.Before(received.Begin) || sent.End.Before(wrote.End) {
				t.Errorf("to %s: sent %v, received %v, wrote %v to %v, answered %v", sent.Peer, sent.Begin, received.Begin, wrote.Begin, wrote.End, sent.End)
			}
			answered = answered || !sent.End.After(apply.Begin)
		}
		if !answered {
			t.Error("the leader applied the entry before any member had answered that it has it")
		}
	})
	c := newCluster(t, h, 1)
	m, w := c.members[0], &witness{}
	m.start(c.configuration(), func(cfg *core.ReplicaConfig) { cfg.Trace = w })
	last := c.put("k", "v").Index
	m.fails(syscall.EIO)
	if _, err := m.Propose(t.context(), command("k", "lost")); err == nil {
		t.Error("Propose where the disk fails: no error")
	}
	m.stopped(syscall.EIO)
	for _, kind := range []core.SpanKind{core.SpanPropose, core.SpanAppend, core.SpanApply} {
		if found := w.of(kind, last+1); len(found) > 0 {
			t.Errorf("what has failed is recorded: %+v", found)
		}
	}
}
