package coretest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// TestLogStore checks a log store against the contract of core.LogStore. open opens the
// store that lives in dir, making it where it is missing; it is called again with the
// same dir, after Close and in other processes, to see what was kept. It ends the test
// itself when it cannot open.
func TestLogStore(t *testing.T, open func(t *testing.T, dir string) core.LogStore, opts ...Option) {
	t.Helper()
	h, cfg := storeHarness{open: open}, configOf(opts)
	within(t, cfg.deadline, h.probe)
	if t.Failed() {
		t.FailNow()
	}

	properties := []property[storeHarness]{
		{"Describe", checkDescribe},
		{"Empty", script(holds(0, 0), storeNothing, holds(0, 0))},
		{"Missing", script(store(5, 9), holds(5, 9))},
		{"StoreOne", script(store(1, 1), holds(1, 1), store(2, 2), holds(1, 2), store(3, 3), holds(1, 3))},
		{"StoreBatch", script(store(7, 20), holds(7, 20), store(21, 21), store(22, 40), holds(7, 40))},
		{"Fields", checkFields},
		{"DirtyEntry", checkDirtyEntry},
		{"ReadBytesStay", checkReadBytesStay},
		{"CopiesInput", checkCopiesInput},
		{"LargeEntries", checkLargeEntries},
		{"LargeBatches", script(store(1, 1000), store(1001, 2000), store(2001, 3000), holds(1, 3000))},
		{"DeletePrefix", script(
			store(1, 30), remove(1, 1), holds(2, 30), remove(2, 20), holds(21, 30), store(31, 35), holds(21, 35))},
		{"DeleteSuffix", checkDeleteSuffix},
		{"DeleteEverything", script(
			store(1, 10), remove(1, 10), holds(0, 0),
			store(101, 105), holds(101, 105), // as after a snapshot from the leader
			remove(1, 1000), holds(0, 0))},
		{"DeleteOutside", script(
			remove(1, 5), holds(0, 0), store(10, 20), remove(1, 9), remove(21, 40), holds(10, 20),
			remove(1, 11), holds(12, 20), remove(19, 40), holds(12, 18))},
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
			property[storeHarness]{"ReopenKeepsLog", script(store(5, 20), reopen, holds(5, 20), store(21, 25), reopen, holds(5, 25))},
			property[storeHarness]{"ReopenKeepsStable", checkReopenKeepsStable},
			property[storeHarness]{"ReopenKeepsTruncation", script(
				store(1, 30), remove(1, 10), remove(25, 30), reopen, holds(11, 24),
				remove(11, 24), reopen, holds(0, 0), store(40, 41), holds(40, 41))},
			property[storeHarness]{"KilledWriter", checkKilledWriter})
	}
	if h.flushes {
		properties = append(properties, property[storeHarness]{"FailingFlush", checkFailingFlush})
	}
	if h.flushes && h.countsSyncs {
		properties = append(properties, property[storeHarness]{"SyncCount", checkSyncCount})
	}
	runAll(t, cfg, h, properties)
}

// storeHarness opens stores for the properties and knows which optional promises
// the store makes.
type storeHarness struct {
	open        func(t *testing.T, dir string) core.LogStore
	monotonic   bool // gaps and overwriting are not allowed
	durable     bool // data survives Close, and the process
	flushes     bool // data survives the machine
	countsSyncs bool
}

// probe opens a store once to learn what it promises.
func (h *storeHarness) probe(t *checker) {
	t.Helper()
	s := h.open(t.T, t.TempDir())
	h.monotonic = core.IsMonotonic(s)
	h.durable = s.Describe().Durability != core.DurableNothing
	h.flushes = s.Describe().Durability == core.DurableDisk
	_, h.countsSyncs = core.As[core.SyncCounter](s)
	t.must("closing an empty store", s.Close())
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

// filled is fresh with entry(first) to entry(last) stored.
func (h storeHarness) filled(t *checker, first, last uint64) core.LogStore {
	t.Helper()
	s := h.fresh(t)
	mustStore(t, s, entries(first, last))
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

// difference says how got differs from want, or returns "". A nil and an empty slice are
// the same, and so are two times that are the same instant.
func difference(got, want any) string {
	// Bytes are compared whole: cmp's own way is slow for large entries.
	whole := cmp.FilterValues(func(x, y []byte) bool { return len(x)+len(y) > 0 }, cmp.Comparer(bytes.Equal))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), whole); diff != "" {
		return "(-want +got):\n" + diff
	}
	return ""
}

func mustStore(t reporter, s raft.LogStore, logs []*raft.Log) {
	t.Helper()
	must(t, fmt.Sprintf("StoreLogs of %d entries", len(logs)), s.StoreLogs(logs))
}

func mustDelete(t reporter, s raft.LogStore, low, high uint64) {
	t.Helper()
	must(t, fmt.Sprintf("DeleteRange(%d, %d)", low, high), s.DeleteRange(low, high))
}

// wantBounds checks FirstIndex and LastIndex.
func wantBounds(t reporter, s raft.LogStore, first, last uint64) {
	t.Helper()
	if got, err := s.FirstIndex(); err != nil || got != first {
		t.Errorf("FirstIndex() = %d, %v, want %d", got, err, first)
	}
	if got, err := s.LastIndex(); err != nil || got != last {
		t.Errorf("LastIndex() = %d, %v, want %d", got, err, last)
	}
}

// wantEntry checks that the store holds want.
func wantEntry(t reporter, s raft.LogStore, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := s.GetLog(want.Index, &got); err != nil {
		t.Errorf("GetLog(%d): %v", want.Index, err)
		return
	}
	if diff := difference(&got, want); diff != "" {
		t.Errorf("GetLog(%d): %s", want.Index, diff)
	}
}

// wantEntries checks that the store holds entry(first) to entry(last).
func wantEntries(t reporter, s raft.LogStore, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		wantEntry(t, s, entry(i))
	}
}

// wantMissing checks that the store holds no entry at any of the indexes, and
// says so with the error that hashicorp/raft compares with ==. It reports the first.
func wantMissing(t reporter, s raft.LogStore, indexes ...uint64) {
	t.Helper()
	for _, i := range indexes {
		if err := s.GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Errorf("GetLog(%d) of a missing entry: error is %v, want raft.ErrLogNotFound itself", i, err)
			return
		}
	}
}

// wantLog checks that the log is entry(first) to entry(last), or empty where both are
// 0, and that there is nothing around it.
func wantLog(t *checker, s raft.LogStore, first, last uint64) {
	t.Helper()
	const around = 50
	wantBounds(t, s, first, last)
	if first > 0 {
		wantEntries(t, s, first, last)
	}
	outside := []uint64{1 << 40, 0}
	for i := uint64(1); i <= around; i++ {
		if i < first {
			outside = append(outside, first-i)
		}
		outside = append(outside, last+i)
	}
	wantMissing(t, s, outside...)
}

// step is a part of what a script does to a store, or looks at.
type step func(t *checker, o *opened)

// opened is a store with its folder.
type opened struct {
	core.LogStore
	h   storeHarness
	dir string
}

// script is a property that takes steps on a store in a new folder.
func script(steps ...step) func(*checker, storeHarness) {
	return func(t *checker, h storeHarness) {
		dir := t.TempDir()
		o := &opened{h.in(t, dir), h, dir}
		for i, do := range steps {
			if do(t, o); t.Failed() {
				t.Fatalf("that was step %d of the script of this property", i+1)
			}
		}
	}
}

// store has entries stored, one by StoreLog; the first index of a log need not be 1, as
// a snapshot may precede it.
func store(first, last uint64) step {
	return func(t *checker, o *opened) {
		if first == last {
			t.must(fmt.Sprintf("StoreLog(%d)", first), o.StoreLog(entry(first)))
		} else {
			mustStore(t, o, entries(first, last))
		}
	}
}

func storeNothing(t *checker, o *opened) { t.should("StoreLogs of no entries", o.StoreLogs(nil)) }

func remove(low, high uint64) step {
	return func(t *checker, o *opened) { mustDelete(t, o, low, high) }
}

func holds(first, last uint64) step {
	return func(t *checker, o *opened) { wantLog(t, o, first, last) }
}

func reopen(t *checker, o *opened) {
	t.must("Close before reopening", o.Close())
	o.LogStore = o.h.in(t, o.dir)
}

func checkDescribe(t *checker, h storeHarness) {
	s := h.fresh(t)
	info := s.Describe()
	if info.Name == "" {
		t.Error("Describe().Name is empty")
	}
	switch info.Durability {
	case core.DurableNothing, core.DurableOSBuffer, core.DurableDisk:
	default:
		t.Errorf("Describe().Durability is %q, want one of the degrees of package core", info.Durability)
	}
	if info.Library != "" && info.Version == "" {
		t.Errorf("Describe() names the library %s without a version", info.Library)
	}
	t.must("Close", s.Close())
	if after := s.Describe(); after != info {
		t.Errorf("Describe() changed with Close: %+v, before %+v", after, info)
	}
}

// checkFields stores entries that differ from each other in one field at a time.
func checkFields(t *checker, h storeHarness) {
	s := h.fresh(t)
	kept := []*raft.Log{
		{Index: 1},
		{Index: 2, Term: 1},
		{Index: 3, Term: 1<<63 + 5},
		{Index: 4, Term: 2, Type: raft.LogNoop},
		{Index: 5, Term: 2, Type: raft.LogBarrier},
		{Index: 6, Term: 2, Type: raft.LogConfiguration, Data: []byte("configuration")},
		{Index: 7, Term: 2, Data: []byte{0, 255, 0, 13, 10}},
		{Index: 8, Term: 2, Extensions: []byte{0, 1, 2}},
		{Index: 9, Term: 2, Data: []byte{}, Extensions: []byte{}},
		{Index: 10, Term: 2, AppendedAt: time.Date(2026, 2, 28, 23, 59, 59, 999_999_999, time.UTC)},
		{Index: 11, Term: 2, AppendedAt: time.Unix(0, 1)},
		{Index: 12, Term: 2, AppendedAt: time.Now()},
		{Index: 13, Term: 2, AppendedAt: time.Date(2026, 7, 1, 12, 0, 0, 0, time.FixedZone("", 3*60*60))},
	}
	for _, l := range kept {
		mustStore(t, s, []*raft.Log{l})
	}
	for _, l := range kept {
		wantEntry(t, s, l)
	}
}

// checkDirtyEntry reads into an entry that already holds something: no old field
// may shine through where the stored one is empty.
func checkDirtyEntry(t *checker, h storeHarness) {
	s := h.fresh(t)
	bare := []*raft.Log{{Index: 1}, {Index: 2, Term: 3, Data: []byte("d")}, {Index: 3, Term: 3, Extensions: []byte("e")}}
	mustStore(t, s, bare)
	for _, want := range bare {
		got := raft.Log{
			Index: 99, Term: 99, Type: raft.LogBarrier, AppendedAt: time.Unix(99, 0),
			Data: []byte("dirty data"), Extensions: []byte("dirty extensions"),
		}
		t.must(fmt.Sprintf("GetLog(%d)", want.Index), s.GetLog(want.Index, &got))
		if diff := difference(&got, want); diff != "" {
			t.Errorf("GetLog(%d) into a used raft.Log: %s", want.Index, diff)
		}
	}
}

// checkReadBytesStay holds on to what GetLog returned while the same index is
// deleted and written again, and while the same raft.Log is read into again.
func checkReadBytesStay(t *checker, h storeHarness) {
	s := h.filled(t, 1, 64)
	var l raft.Log
	t.must("GetLog(60)", s.GetLog(60, &l))
	held := l
	t.must("GetLog(61)", s.GetLog(61, &l))
	if diff := difference(&held, entry(60)); diff != "" {
		t.Fatalf("entry 60 changed when the same raft.Log was read into again: %s", diff)
	}

	mustDelete(t, s, 50, 64)
	later := entries(50, 400)
	for _, l := range later {
		l.Data, l.Extensions = bytes.Repeat([]byte{'#'}, 200), bytes.Repeat([]byte{'#'}, 50)
	}
	mustStore(t, s, later)
	mustDelete(t, s, 1, 390)
	if diff := difference(&held, entry(60)); diff != "" {
		t.Errorf("entry 60, as read, changed after later writes and deletes: %s", diff)
	}
}

// checkCopiesInput changes everything that was handed to a write after it.
func checkCopiesInput(t *checker, h storeHarness) {
	s := h.fresh(t)
	one := entry(1)
	t.must("StoreLog(1)", s.StoreLog(one))
	batch := entries(2, 5)
	given := append([]*raft.Log(nil), batch...)
	mustStore(t, s, given)
	for _, l := range append(batch, one) {
		scribble(l.Data)
		scribble(l.Extensions)
		l.Index, l.Term, l.Type = 77, 77, raft.LogBarrier
	}
	clear(given)
	wantEntries(t, s, 1, 5)
}

func scribble(b []byte) {
	for i := range b {
		b[i] = '!'
	}
}

func checkOverwrite(t *checker, h storeHarness) {
	s := h.filled(t, 1, 5)
	shorter := &raft.Log{Index: 3, Term: 9, Type: raft.LogNoop}
	t.must("StoreLog over entry 3", s.StoreLog(shorter))
	longer := &raft.Log{Index: 5, Term: 9, Data: bytes.Repeat([]byte("x"), 5000)}
	mustStore(t, s, []*raft.Log{longer, entry(6)})
	wantBounds(t, s, 1, 6)
	wantEntry(t, s, shorter)
	wantEntry(t, s, longer)
	for _, i := range []uint64{1, 2, 4, 6} {
		wantEntry(t, s, entry(i))
	}
}

// checkGaps: hashicorp/raft leaves a gap in front of the first entry after a
// snapshot was restored, unless the store says that it is monotonic.
func checkGaps(t *checker, h storeHarness) {
	s := h.filled(t, 1, 3)
	mustStore(t, s, entries(100, 102))
	wantBounds(t, s, 1, 102)
	wantEntries(t, s, 1, 3)
	wantEntries(t, s, 100, 102)
	wantMissing(t, s, 4, 50, 99)
	mustDelete(t, s, 1, 50)
	wantLog(t, s, 100, 102)
}

func checkLargeEntries(t *checker, h storeHarness) {
	const size = 1 << 20
	s := h.fresh(t)
	large := entries(1, 4)
	for i, l := range large {
		l.Data = bytes.Repeat([]byte{byte('a' + i), byte(i), 0}, size/3+1)[:size]
	}
	mustStore(t, s, large[:1])
	mustStore(t, s, large[1:])
	for _, l := range large {
		wantEntry(t, s, l)
	}
}

func checkDeleteSuffix(t *checker, h storeHarness) {
	s := h.filled(t, 1, 30)
	mustDelete(t, s, 30, 30)
	wantLog(t, s, 1, 29)
	mustDelete(t, s, 11, 29)
	wantLog(t, s, 1, 10)

	// As a follower does that drops entries in conflict with its leader's.
	other := &raft.Log{Index: 11, Term: 50, Data: []byte("from the new leader")}
	mustStore(t, s, []*raft.Log{other})
	wantBounds(t, s, 1, 11)
	wantEntry(t, s, other)
	wantMissing(t, s, 12)
}

// checkIndependent: two stores of one process share nothing.
func checkIndependent(t *checker, h storeHarness) {
	a, b := h.fresh(t), h.fresh(t)
	mustStore(t, a, entries(1, 3))
	mustStore(t, b, entries(7, 8))
	t.must("SetUint64", a.SetUint64([]byte("term"), 4))
	wantBounds(t, a, 1, 3)
	wantBounds(t, b, 7, 8)
	wantNoUint64(t, b, "term")
	t.must("closing the first store", a.Close())
	wantEntries(t, b, 7, 8)
}

// storeCall is a call of a store that inUse has made.
type storeCall struct {
	name  string
	write bool
	do    func(core.LogStore) error
}

func storeCalls() []storeCall {
	vote, term, missing := []byte("vote"), []byte("term"), []byte("missing")
	return []storeCall{
		{"FirstIndex", false, func(s core.LogStore) error { _, err := s.FirstIndex(); return err }},
		{"LastIndex", false, func(s core.LogStore) error { _, err := s.LastIndex(); return err }},
		{"GetLog of a stored entry", false, func(s core.LogStore) error { return s.GetLog(1, new(raft.Log)) }},
		{"GetLog of a missing entry", false, func(s core.LogStore) error { return s.GetLog(1000, new(raft.Log)) }},
		{"Get of a set key", false, func(s core.LogStore) error { _, err := s.Get(vote); return err }},
		{"Get of a missing key", false, func(s core.LogStore) error { _, err := s.Get(missing); return err }},
		{"GetUint64 of a set key", false, func(s core.LogStore) error { _, err := s.GetUint64(term); return err }},
		{"GetUint64 of a missing key", false, func(s core.LogStore) error { _, err := s.GetUint64(missing); return err }},
		{"StoreLog", true, func(s core.LogStore) error { return s.StoreLog(entry(4)) }},
		{"StoreLogs", true, func(s core.LogStore) error { return s.StoreLogs(entries(4, 5)) }},
		{"DeleteRange", true, func(s core.LogStore) error { return s.DeleteRange(1, 2) }},
		{"Set", true, func(s core.LogStore) error { return s.Set(vote, []byte("n2")) }},
		{"SetUint64", true, func(s core.LogStore) error { return s.SetUint64(term, 2) }},
	}
}

// inUse opens a store in dir with three entries and a stable value of each kind.
func (h storeHarness) inUse(t *checker, dir string) core.LogStore {
	t.Helper()
	s := h.in(t, dir)
	mustStore(t, s, entries(1, 3))
	mustSet(t, s, "vote", "n1")
	mustSetUint64(t, s, "term", 1)
	return s
}

// checkSyncCount: a store that flushes before a write returns counts at least
// one flush for each.
func checkSyncCount(t *checker, h storeHarness) {
	for _, c := range storeCalls() {
		if !c.write {
			continue
		}
		s := h.inUse(t, t.TempDir())
		counter, _ := core.As[core.SyncCounter](s)
		before := counter.SyncCount()
		t.must(c.name, c.do(s))
		if after := counter.SyncCount(); after <= before {
			t.Errorf("%s returned, but SyncCount() went from %d to %d", c.name, before, after)
		}
	}
}

// stableMissing is the text by which hashicorp/raft v1.7.3 tells a missing key
// from a failure (api.go, raft.go).
const stableMissing = "not found"

func mustSet(t reporter, s raft.StableStore, key, value string) {
	t.Helper()
	must(t, fmt.Sprintf("Set(%q)", key), s.Set([]byte(key), []byte(value)))
}

func mustSetUint64(t reporter, s raft.StableStore, key string, value uint64) {
	t.Helper()
	must(t, fmt.Sprintf("SetUint64(%q, %d)", key, value), s.SetUint64([]byte(key), value))
}

func wantBytes(t reporter, s raft.StableStore, key, want string) {
	t.Helper()
	if got, err := s.Get([]byte(key)); err != nil || string(got) != want {
		t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, want)
	}
}

func wantUint64(t reporter, s raft.StableStore, key string, want uint64) {
	t.Helper()
	if got, err := s.GetUint64([]byte(key)); err != nil || got != want {
		t.Errorf("GetUint64(%q) = %d, %v, want %d", key, got, err, want)
	}
}

// wantNoBytes also passes for a key that holds an empty value: hashicorp/raft
// cannot tell the two apart.
func wantNoBytes(t *checker, s raft.StableStore, key string) {
	t.Helper()
	got, err := s.Get([]byte(key))
	if len(got) != 0 || err != nil && err.Error() != stableMissing {
		t.Errorf("Get(%q) = %q, %v, want nothing with a nil error or the text %q", key, got, err, stableMissing)
	}
}

func wantNoUint64(t *checker, s raft.StableStore, key string) {
	t.Helper()
	got, err := s.GetUint64([]byte(key))
	if got != 0 || err != nil && err.Error() != stableMissing {
		t.Errorf("GetUint64(%q) = %d, %v, want 0 with a nil error or the text %q", key, got, err, stableMissing)
	}
}

func checkStableUint64(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, v := range []uint64{1, 0, 256, math.MaxUint64, 7} {
		mustSetUint64(t, s, "CurrentTerm", v)
		wantUint64(t, s, "CurrentTerm", v)
	}
	mustSetUint64(t, s, "LastVoteTerm", 3)
	wantUint64(t, s, "CurrentTerm", 7)
	wantUint64(t, s, "LastVoteTerm", 3)
}

func checkStableBytes(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, v := range []string{"n1", "a longer value than the one before", "n", "\x00\xff\x00"} {
		mustSet(t, s, "LastVoteCand", v)
		wantBytes(t, s, "LastVoteCand", v)
	}
	mustSet(t, s, "other", "value")
	wantBytes(t, s, "LastVoteCand", "\x00\xff\x00")
	wantBytes(t, s, "other", "value")
}

func checkStableMissing(t *checker, h storeHarness) {
	s := h.fresh(t)
	wantNoBytes(t, s, "LastVoteCand")
	wantNoUint64(t, s, "CurrentTerm")
	mustSet(t, s, "here", "value")
	mustSetUint64(t, s, "there", 1)
	wantNoBytes(t, s, "her")
	wantNoUint64(t, s, "theree")
}

// checkStableEmptyValue: an empty value is stored, or refused with
// core.ErrInvalid and no effect. hashicorp/raft never sets one.
func checkStableEmptyValue(t *checker, h storeHarness) {
	s := h.fresh(t)
	for _, empty := range [][]byte{{}, nil} {
		mustSet(t, s, "key", "something")
		switch err := s.Set([]byte("key"), empty); {
		case err == nil:
			wantNoBytes(t, s, "key")
		case errors.Is(err, core.ErrInvalid):
			wantBytes(t, s, "key", "something")
		default:
			t.Errorf("Set of an empty value: error is %v, want none or one that is core.ErrInvalid", err)
		}
	}
	mustSet(t, s, "key", "again")
	wantBytes(t, s, "key", "again")
}

// checkStableCopiesInput changes the key and value handed to Set, and looks
// whether what Get returned outlives a later Set.
func checkStableCopiesInput(t *checker, h storeHarness) {
	s := h.fresh(t)
	key, value := []byte("key"), []byte("value")
	t.must("Set", s.Set(key, value))
	scribble(key)
	scribble(value)
	wantBytes(t, s, "key", "value")

	got, err := s.Get([]byte("key"))
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	mustSet(t, s, "key", "VALUE")
	for range 50 {
		mustSet(t, s, "key", "other")
	}
	if !bytes.Equal(got, []byte("value")) {
		t.Errorf("the value that Get returned became %q after a later Set", got)
	}
}

// checkStableApartFromLog: deleting the log leaves the stable values, and the
// stable values do not show in the log.
func checkStableApartFromLog(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustSet(t, s, "\x00\x00\x00\x00\x00\x00\x00\x05", "not entry 5")
	mustSetUint64(t, s, "CurrentTerm", 8)
	wantLog(t, s, 0, 0)
	mustStore(t, s, entries(1, 9))
	mustDelete(t, s, 1, 9)
	wantBytes(t, s, "\x00\x00\x00\x00\x00\x00\x00\x05", "not entry 5")
	wantUint64(t, s, "CurrentTerm", 8)
}
