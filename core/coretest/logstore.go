package coretest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// OpenStore opens the log store that lives in dir, making it where it is
// missing. A suite calls it again with the same dir, after Close, to see what
// was kept. It ends the test itself when it cannot open.
type OpenStore func(t *testing.T, dir string) core.LogStore

// TestLogStore checks a log store against the contract of core.LogStore.
func TestLogStore(t *testing.T, open func(t *testing.T, dir string) core.LogStore, opts ...Option) {
	t.Helper()
	h, cfg := storeHarness{open: open}, configOf(opts)
	within(t, cfg.deadline, func() { h.probe(t) })
	if t.Failed() {
		t.FailNow()
	}

	properties := []property[storeHarness]{
		{"Describe", checkDescribe},
		{"Empty", checkEmpty},
		{"Missing", checkMissing},
		{"StoreOne", checkStoreOne},
		{"StoreBatch", checkStoreBatch},
		{"Fields", checkFields},
		{"DirtyEntry", checkDirtyEntry},
		{"ReadBytesStay", checkReadBytesStay},
		{"CopiesInput", checkCopiesInput},
		{"LargeEntries", checkLargeEntries},
		{"LargeBatches", checkLargeBatches},
		{"DeletePrefix", checkDeletePrefix},
		{"DeleteSuffix", checkDeleteSuffix},
		{"DeleteEverything", checkDeleteEverything},
		{"DeleteOutside", checkDeleteOutside},
		{"Independent", checkIndependent},
		{"StableUint64", checkStableUint64},
		{"StableBytes", checkStableBytes},
		{"StableMissing", checkStableMissing},
		{"StableEmptyValue", checkStableEmptyValue},
		{"StableCopiesInput", checkStableCopiesInput},
		{"StableApartFromLog", checkStableApartFromLog},
		{"Concurrent", checkConcurrent},
		{"UseAfterClose", checkUseAfterClose},
		{"CloseTwice", checkCloseTwice},
		{"CloseUnderLoad", checkCloseUnderLoad},
		{"Model", checkModel},
	}
	if !h.monotonic {
		properties = append(properties,
			property[storeHarness]{"Overwrite", checkOverwrite},
			property[storeHarness]{"Gaps", checkGaps})
	}
	if h.durable {
		properties = append(properties,
			property[storeHarness]{"ReopenKeepsLog", checkReopenKeepsLog},
			property[storeHarness]{"ReopenKeepsStable", checkReopenKeepsStable},
			property[storeHarness]{"ReopenKeepsTruncation", checkReopenKeepsTruncation})
	}
	if h.countsSyncs {
		properties = append(properties, property[storeHarness]{"SyncCount", checkSyncCount})
	}
	runAll(t, cfg, h, properties)
}

// storeHarness opens stores for the properties and knows which optional promises
// the store makes.
type storeHarness struct {
	open        OpenStore
	monotonic   bool // gaps and overwriting are not allowed
	durable     bool // data survives Close
	countsSyncs bool // every write is flushed and counted
}

// probe opens a store once to learn what it promises.
func (h *storeHarness) probe(t *testing.T) {
	t.Helper()
	s := h.open(t, t.TempDir())
	h.monotonic = core.IsMonotonic(s)
	h.durable = s.Describe().Durability != core.DurableNothing
	_, counts := core.As[core.SyncCounter](s)
	h.countsSyncs = counts && s.Describe().Durability == core.DurableDisk
	if err := s.Close(); err != nil {
		t.Fatalf("closing an empty store: %v", err)
	}
}

// fresh opens a store in a new folder and closes it when the subtest ends.
func (h storeHarness) fresh(t *checker) core.LogStore {
	t.Helper()
	return h.in(t, t.TempDir())
}

// in opens the store of dir and closes it when the subtest ends.
func (h storeHarness) in(t *checker, dir string) core.LogStore {
	t.Helper()
	s := h.open(t.T, dir)
	closeAtEnd(t, "the store", s)
	return s
}

// entry makes the entry that the properties expect at index: its content follows
// from the index, and every field is set.
func entry(index uint64) *raft.Log {
	return &raft.Log{
		Index:      index,
		Term:       1 + index/10,
		Type:       raft.LogCommand,
		Data:       fmt.Appendf(nil, "data of entry %d", index),
		Extensions: fmt.Appendf(nil, "extensions of entry %d", index),
		AppendedAt: time.Unix(1_700_000_000, 123_456_789).Add(time.Duration(index) * time.Second),
	}
}

// entries makes the entries first to last.
func entries(first, last uint64) []*raft.Log {
	out := make([]*raft.Log, 0, last-first+1)
	for i := first; i <= last; i++ {
		out = append(out, entry(i))
	}
	return out
}

// diffLog says how got differs from want, or returns "". A nil and an empty
// slice are the same, and so are two times that are the same instant.
func diffLog(got, want *raft.Log) string {
	switch {
	case got.Index != want.Index:
		return fmt.Sprintf("Index is %d, want %d", got.Index, want.Index)
	case got.Term != want.Term:
		return fmt.Sprintf("Term is %d, want %d", got.Term, want.Term)
	case got.Type != want.Type:
		return fmt.Sprintf("Type is %v, want %v", got.Type, want.Type)
	case !bytes.Equal(got.Data, want.Data):
		return fmt.Sprintf("Data is %s, want %s", brief(got.Data), brief(want.Data))
	case !bytes.Equal(got.Extensions, want.Extensions):
		return fmt.Sprintf("Extensions is %s, want %s", brief(got.Extensions), brief(want.Extensions))
	case !got.AppendedAt.Equal(want.AppendedAt):
		return fmt.Sprintf("AppendedAt is %v, want %v", got.AppendedAt, want.AppendedAt)
	}
	return ""
}

// brief prints bytes short enough for a failure message.
func brief(b []byte) string {
	const most = 64
	if len(b) > most {
		return fmt.Sprintf("%q… (%d bytes)", b[:most], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func mustStore(t *checker, s raft.LogStore, logs []*raft.Log) {
	t.Helper()
	if err := s.StoreLogs(logs); err != nil {
		t.Fatalf("StoreLogs of %d entries: %v", len(logs), err)
	}
}

func mustDelete(t *checker, s raft.LogStore, low, high uint64) {
	t.Helper()
	if err := s.DeleteRange(low, high); err != nil {
		t.Fatalf("DeleteRange(%d, %d): %v", low, high, err)
	}
}

// wantBounds checks FirstIndex and LastIndex.
func wantBounds(t *checker, s raft.LogStore, first, last uint64) {
	t.Helper()
	if got, err := s.FirstIndex(); err != nil || got != first {
		t.Errorf("FirstIndex() = %d, %v, want %d", got, err, first)
	}
	if got, err := s.LastIndex(); err != nil || got != last {
		t.Errorf("LastIndex() = %d, %v, want %d", got, err, last)
	}
}

// wantEntry checks that the store holds want.
func wantEntry(t *checker, s raft.LogStore, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := s.GetLog(want.Index, &got); err != nil {
		t.Errorf("GetLog(%d): %v", want.Index, err)
		return
	}
	if diff := diffLog(&got, want); diff != "" {
		t.Errorf("GetLog(%d): %s", want.Index, diff)
	}
}

// wantEntries checks that the store holds entry(first) to entry(last).
func wantEntries(t *checker, s raft.LogStore, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		wantEntry(t, s, entry(i))
	}
}

// wantMissing checks that the store holds no entry at any of the indexes, and
// says so with the error that hashicorp/raft compares with ==.
func wantMissing(t *checker, s raft.LogStore, indexes ...uint64) {
	t.Helper()
	for _, i := range indexes {
		if err := s.GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Errorf("GetLog(%d) of a missing entry: error is %v, want raft.ErrLogNotFound itself", i, err)
		}
	}
}
