package hashicorp_test

import (
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// inattentive is a trace that keeps nothing. What is traced the conformance suite sees.
type inattentive struct{}

func (inattentive) Record(core.Span) {}

// TestTraceKeepsAbilities: a traced replica and store can do what others can.
func TestTraceKeepsAbilities(t *testing.T) {
	m := group(t, options{nodes: 1, tuning: fast, trace: func(string) core.Trace { return inattentive{} }})[0]
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
