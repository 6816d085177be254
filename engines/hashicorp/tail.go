package hashicorp

import (
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// tail is a log that knows its last entry that a state machine gets to see: a command
// or a configuration. What follows that one, no-ops and barriers, is applied as soon as
// it is committed, but the library shows it to nobody.
type tail struct {
	raft.LogStore
	visible atomic.Uint64
}

// maxTailScan bounds how far back the last visible entry is looked for at a start.
const maxTailScan = 1024

func newTail(logs raft.LogStore) (*tail, error) {
	t := &tail{LogStore: logs}
	first, err := logs.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := logs.LastIndex()
	if err != nil {
		return nil, err
	}
	t.visible.Store(last)
	for index := last; index >= first && index > 0 && last-index < maxTailScan; index-- {
		var entry raft.Log
		if err := logs.GetLog(index, &entry); err != nil {
			return nil, err
		}
		if isVisible(&entry) {
			t.visible.Store(index)
			break
		}
		if index == first {
			t.visible.Store(index - 1)
		}
	}
	return t, nil
}

func isVisible(entry *raft.Log) bool {
	return entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration
}

// StoreLog implements raft.LogStore.
func (t *tail) StoreLog(entry *raft.Log) error { return t.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (t *tail) StoreLogs(entries []*raft.Log) error {
	if err := t.LogStore.StoreLogs(entries); err != nil {
		return err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if isVisible(entries[i]) {
			t.visible.Store(entries[i].Index)
			break
		}
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (t *tail) DeleteRange(low, high uint64) error {
	if err := t.LogStore.DeleteRange(low, high); err != nil {
		return err
	}
	if visible := t.visible.Load(); low <= visible && visible <= high && low > 0 {
		t.visible.Store(low - 1) // or earlier
	}
	return nil
}

// IsMonotonic forwards raft.MonotonicLogStore, which embedding would hide.
func (t *tail) IsMonotonic() bool {
	m, ok := t.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// appliedIndex returns how far the state machine has come, with the entries that it
// does not get to see.
func (r *replica) appliedIndex(snapshot uint64) uint64 {
	applied := max(r.applied.load(), snapshot)
	queued := r.raft.AppliedIndex() // first: what it counts is in the tail
	if visible := r.tail.visible.Load(); queued > applied && visible <= max(r.seen.load(), snapshot) {
		return queued
	}
	return applied
}
