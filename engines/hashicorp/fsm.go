package hashicorp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
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
	m.replica.seen.Advance(index)
	m.replica.applied.Advance(index)
	for range m.replica.proposals.applied(entries) {
		m.replica.callDone()
	}
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
	return &snapshot{s, headed{m.replica.seen.Load(), s}}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(from io.ReadCloser) error {
	defer from.Close()
	index, err := readSnapshotHeader(from)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if seen := m.replica.seen.Load(); index < seen {
		return fmt.Errorf("restore: the snapshot is of index %d, and %d is applied: reads would go back", index, seen)
	}
	if err := m.fsm.Restore(from); err != nil {
		return err
	}
	m.applied(index, nil)
	return nil
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

// snapshot is one of the state machine's, as the library wants it.
type snapshot struct {
	core.Snapshot
	state headed
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error { return snapshots.Finish(sink, s.state) }

// headed is the state behind a header with the last index that it saw: the library keeps an
// index too, but does not tell it to Restore.
type headed struct {
	seen  uint64
	state io.WriterTo
}

// snapshotMagic begins the header; the index follows, 8 bytes, big endian.
const snapshotMagic = "raftlab1"

// WriteTo implements io.WriterTo.
func (h headed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64([]byte(snapshotMagic), h.seen))
	if err != nil {
		return int64(n), err
	}
	written, err := h.state.WriteTo(w)
	return int64(n) + written, err
}

func readSnapshotHeader(from io.Reader) (seen uint64, err error) {
	header := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(from, header); err != nil {
		return 0, fmt.Errorf("header of the snapshot: %w", err)
	}
	if string(header[:len(snapshotMagic)]) != snapshotMagic {
		return 0, errors.New("this is no snapshot of raftlab")
	}
	return binary.BigEndian.Uint64(header[len(snapshotMagic):]), nil
}
