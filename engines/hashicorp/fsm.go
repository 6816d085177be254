package hashicorp

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

var (
	_ raft.FSM                = (*machine)(nil)
	_ raft.ConfigurationStore = (*machine)(nil)
	_ raft.BatchingFSM        = (*batchMachine)(nil)
)

// machine is a core.FSM as the library wants it. It keeps track of how far the
// state machine has come (the library's own AppliedIndex counts an entry as
// applied once it is queued for it) and hands results to those who proposed.
type machine struct {
	fsm     core.FSM
	replica *replica
	one     [1]core.BatchEntry // reused: the library applies from one goroutine
}

// newMachine returns an FSM for the library, a batching one if fsm is.
func newMachine(fsm core.FSM, r *replica) raft.FSM {
	m := &machine{fsm: fsm, replica: r}
	if batch, ok := fsm.(core.BatchFSM); ok {
		return &batchMachine{machine: m, batch: batch}
	}
	return m
}

// Apply implements raft.FSM.
func (m *machine) Apply(entry *raft.Log) any {
	result := m.fsm.Apply(entry.Index, entry.Data)
	m.one[0] = core.BatchEntry{Index: entry.Index, Command: entry.Data, Result: result}
	m.applied(entry.Index, m.one[:])
	return result
}

func (m *machine) applied(index uint64, entries []core.BatchEntry) {
	m.replica.applied.advance(index)
	m.replica.proposals.applied(entries)
}

// StoreConfiguration implements raft.ConfigurationStore: the state machine has
// no use for configurations, but they count as applied.
func (m *machine) StoreConfiguration(index uint64, _ raft.Configuration) { m.applied(index, nil) }

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	s, err := m.fsm.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("capture snapshot: %w", err)
	}
	return &snapshot{s}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(from io.ReadCloser) error {
	defer from.Close()
	return m.fsm.Restore(from)
}

// batchMachine hands a whole batch of committed entries to a core.BatchFSM.
type batchMachine struct {
	*machine
	batch   core.BatchFSM
	entries []core.BatchEntry // reused: the library applies from one goroutine
}

// ApplyBatch implements raft.BatchingFSM. Configurations come in the batch too
// (the library calls StoreConfiguration on a plain FSM only) and are skipped.
func (m *batchMachine) ApplyBatch(logs []*raft.Log) []any {
	entries := m.entries[:0]
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			entries = append(entries, core.BatchEntry{Index: l.Index, Command: l.Data})
		}
	}
	m.batch.ApplyBatch(entries)
	results := make([]any, len(logs))
	next := 0
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			results[i] = entries[next].Result
			next++
		}
	}
	m.applied(logs[len(logs)-1].Index, entries)
	clear(entries)
	m.entries = entries
	return results
}

type snapshot struct{ core.Snapshot }

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.WriteTo(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish snapshot %s: %w", sink.ID(), err)
	}
	return nil
}
