package hashicorp_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/themilchenko/raftlab/backends/faulty"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
)

// witness keeps all spans of one member.
type witness struct {
	mu    sync.Mutex
	spans []core.Span
}

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

// TestTrace: with and without a pipeline each member records what it does with an entry,
// and in the order in which that must happen.
func TestTrace(t *testing.T) {
	for name, inFlight := range map[string]int{"pipeline": 2, "one by one": 1} {
		t.Run(name, func(t *testing.T) {
			all := map[string]*witness{}
			members := group(t, options{nodes: 3, tuning: core.Tuning{MaxInFlight: inFlight}, trace: func(id string) core.Trace {
				all[id] = &witness{}
				return all[id]
			}})
			put(t, members[0], "a", "1")
			index := put(t, members[0], "b", "2").Index
			leader := all["n1"]
			eventually(t, "both followers have answered and applied", func() bool {
				return len(leader.of(core.SpanSend, index)) == 2 && len(all["n2"].of(core.SpanApply, index)) == 1 && len(all["n3"].of(core.SpanApply, index)) == 1
			})
			one := func(w *witness, kind core.SpanKind) core.Span {
				t.Helper()
				found := w.of(kind, index)
				if len(found) != 1 {
					t.Fatalf("%d spans of kind %d: %+v", len(found), kind, found)
				}
				return found[0]
			}
			propose, appended := one(leader, core.SpanPropose), one(leader, core.SpanAppend)
			if string(propose.Command) != string(kv.EncodeSet("b", []byte("2"))) || appended.Commit >= index || appended.Term == 0 {
				t.Errorf("%+v, %+v", propose, appended)
			}
			if appended.Begin.Before(propose.Begin) || appended.End.After(propose.End) {
				t.Errorf("appended %v to %v, proposed %v to %v", appended.Begin, appended.End, propose.Begin, propose.End)
			}
			var answered bool
			applied := one(leader, core.SpanApply)
			for _, sent := range leader.of(core.SpanSend, index) {
				received, write := one(all[sent.Peer], core.SpanReceive), one(all[sent.Peer], core.SpanAppend)
				if sent.Begin.Before(appended.End) || received.Begin.Before(sent.Begin) || write.Begin.Before(received.Begin) || sent.End.Before(write.End) {
					t.Errorf("to %s: sent %v, received %v, wrote %v to %v, answered %v", sent.Peer, sent.Begin, received.Begin, write.Begin, write.End, sent.End)
				}
				answered = answered || !sent.End.After(applied.Begin)
			}
			if !answered || applied.End.After(propose.End) {
				t.Errorf("applied from %v to %v: before any answer, or after the result", applied.Begin, applied.End)
			}
		})
	}
}

// TestTraceOfBegin: what was begun is recorded once, before its completion is told of it;
// what failed is not.
func TestTraceOfBegin(t *testing.T) {
	w := &witness{}
	m := group(t, options{nodes: 1, tuning: fast, trace: func(string) core.Trace { return w }})[0]
	o := newOutcomes()
	command := kv.EncodeSet("a", []byte("1"))
	m.Replica.(core.Proposer).Begin(command, numbered{0, o})
	eventually(t, "it is told", func() bool { return o.told() == 1 })
	spans := w.of(core.SpanPropose, o.index[0])
	if len(spans) != 1 || string(spans[0].Command) != string(command) || !spans[0].End.After(spans[0].Begin) {
		t.Fatalf("%v: %+v", o.of[0], spans)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Replica.(core.Proposer).Begin(command, numbered{1, o})
	eventually(t, "it is told", func() bool { return o.told() == 2 })
	if n := len(w.of(core.SpanPropose, 0)); n != 0 {
		t.Errorf("%d failures recorded", n)
	}
}

// TestTraceKeepsAbilities: a traced replica and store can do what others can.
func TestTraceKeepsAbilities(t *testing.T) {
	m := group(t, options{nodes: 1, tuning: fast, trace: func(string) core.Trace { return &witness{} }})[0]
	if _, ok := m.Replica.(core.Campaigner); !ok {
		t.Error("no Campaigner")
	}
	if _, ok := m.Replica.(core.Prober); !ok {
		t.Error("no Prober")
	}
	if _, ok := m.Replica.(core.Acquainted); !ok {
		t.Error("no Acquainted")
	}
	if err := m.Snapshot(deadline(t)); err != nil {
		t.Error(err)
	}
}

// TestTraceOfFailures: what did not succeed is not recorded, and still stops the replica.
func TestTraceOfFailures(t *testing.T) {
	w := &witness{}
	broken := errors.New("broken")
	var fails atomic.Bool
	m := group(t, options{nodes: 1, tuning: fast, trace: func(string) core.Trace { return w }, store: func(int) core.LogStore {
		return faulty.Wrap(inmem.New(), func(faulty.Write) error {
			if fails.Load() {
				return broken
			}
			return nil
		})
	}})[0]
	index := put(t, m, "a", "1").Index
	fails.Store(true)
	if _, err := m.Propose(deadline(t), kv.EncodeSet("a", nil)); err == nil {
		t.Fatal("a store that fails has written")
	}
	<-m.Done()
	for _, kind := range []core.SpanKind{core.SpanPropose, core.SpanAppend, core.SpanApply} {
		if len(w.of(kind, index)) != 1 || len(w.of(kind, index+1)) != 0 {
			t.Errorf("kind %d: %+v, %+v", kind, w.of(kind, index), w.of(kind, index+1))
		}
	}
	if !errors.Is(m.Err(), broken) {
		t.Error(m.Err())
	}
}

// TestWithoutTrace: a replica that is not traced has none of the decorators.
func TestWithoutTrace(t *testing.T) {
	m := group(t, options{nodes: 1, tuning: fast})[0]
	if hashicorp.Traced(m.Replica, m.cfg) {
		t.Error("decorated")
	}
	if n := hashicorp.ReceiveAllocates(m.Replica); n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
}
