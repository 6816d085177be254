package coretest

import (
	"bytes"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

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
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if after := s.Describe(); after != info {
		t.Errorf("Describe() changed with Close: %+v, before %+v", after, info)
	}
}

func checkEmpty(t *checker, h storeHarness) {
	s := h.fresh(t)
	wantBounds(t, s, 0, 0)
	wantMissing(t, s, 0, 1, 2)
	if err := s.StoreLogs(nil); err != nil {
		t.Errorf("StoreLogs of no entries: %v", err)
	}
	wantBounds(t, s, 0, 0)
}

func checkMissing(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(5, 9))
	wantMissing(t, s, 0, 1, 4, 10, 1<<40)
}

func checkStoreOne(t *checker, h storeHarness) {
	s := h.fresh(t)
	for i := uint64(1); i <= 3; i++ {
		if err := s.StoreLog(entry(i)); err != nil {
			t.Fatalf("StoreLog(%d): %v", i, err)
		}
		wantBounds(t, s, 1, i)
	}
	wantEntries(t, s, 1, 3)
}

func checkStoreBatch(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(7, 20)) // the first index need not be 1: a snapshot may precede the log
	wantBounds(t, s, 7, 20)
	mustStore(t, s, entries(21, 21))
	mustStore(t, s, entries(22, 40))
	wantBounds(t, s, 7, 40)
	wantEntries(t, s, 7, 40)
	wantMissing(t, s, 6, 41)
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
		if err := s.GetLog(want.Index, &got); err != nil {
			t.Fatalf("GetLog(%d): %v", want.Index, err)
		}
		if diff := diffLog(&got, want); diff != "" {
			t.Errorf("GetLog(%d) into a used raft.Log: %s", want.Index, diff)
		}
	}
}

// checkReadBytesStay holds on to what GetLog returned while the same index is
// deleted and written again, and while the same raft.Log is read into again.
func checkReadBytesStay(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 64))
	var l raft.Log
	if err := s.GetLog(60, &l); err != nil {
		t.Fatalf("GetLog(60): %v", err)
	}
	held := l
	if err := s.GetLog(61, &l); err != nil {
		t.Fatalf("GetLog(61): %v", err)
	}
	if diff := diffLog(&held, entry(60)); diff != "" {
		t.Fatalf("entry 60 changed when the same raft.Log was read into again: %s", diff)
	}

	mustDelete(t, s, 50, 64)
	again := entries(50, 400)
	for _, l := range again {
		l.Data, l.Extensions = bytes.Repeat([]byte{'#'}, 200), bytes.Repeat([]byte{'#'}, 50)
	}
	mustStore(t, s, again)
	mustDelete(t, s, 1, 390)
	if diff := diffLog(&held, entry(60)); diff != "" {
		t.Errorf("entry 60, as read, changed after later writes and deletes: %s", diff)
	}
}

// checkCopiesInput changes everything that was handed to a write after it.
func checkCopiesInput(t *checker, h storeHarness) {
	s := h.fresh(t)
	one := entry(1)
	if err := s.StoreLog(one); err != nil {
		t.Fatalf("StoreLog(1): %v", err)
	}
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
	s := h.fresh(t)
	mustStore(t, s, entries(1, 5))
	shorter := &raft.Log{Index: 3, Term: 9, Type: raft.LogNoop}
	if err := s.StoreLog(shorter); err != nil {
		t.Fatalf("StoreLog over entry 3: %v", err)
	}
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
	s := h.fresh(t)
	mustStore(t, s, entries(1, 3))
	mustStore(t, s, entries(100, 102))
	wantBounds(t, s, 1, 102)
	wantEntries(t, s, 1, 3)
	wantEntries(t, s, 100, 102)
	wantMissing(t, s, 4, 50, 99)
	mustDelete(t, s, 1, 50)
	wantBounds(t, s, 100, 102)
	wantEntries(t, s, 100, 102)
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

func checkLargeBatches(t *checker, h storeHarness) {
	const batch, batches = 1000, 3
	s := h.fresh(t)
	for i := range uint64(batches) {
		mustStore(t, s, entries(i*batch+1, (i+1)*batch))
	}
	wantBounds(t, s, 1, batches*batch)
	wantEntries(t, s, 1, batches*batch)
}

func checkDeletePrefix(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 30))
	mustDelete(t, s, 1, 1)
	wantBounds(t, s, 2, 30)
	mustDelete(t, s, 2, 20)
	wantBounds(t, s, 21, 30)
	wantEntries(t, s, 21, 30)
	wantMissing(t, s, 1, 2, 10, 20)
	mustStore(t, s, entries(31, 35))
	wantBounds(t, s, 21, 35)
	wantEntries(t, s, 21, 35)
}

func checkDeleteSuffix(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 30))
	mustDelete(t, s, 30, 30)
	wantBounds(t, s, 1, 29)
	mustDelete(t, s, 11, 29)
	wantBounds(t, s, 1, 10)
	wantEntries(t, s, 1, 10)
	wantMissing(t, s, 11, 20, 29, 30)

	// As a follower does that drops entries in conflict with its leader's.
	other := &raft.Log{Index: 11, Term: 50, Data: []byte("from the new leader")}
	mustStore(t, s, []*raft.Log{other})
	wantBounds(t, s, 1, 11)
	wantEntry(t, s, other)
	wantMissing(t, s, 12)
}

func checkDeleteEverything(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 10))
	mustDelete(t, s, 1, 10)
	wantBounds(t, s, 0, 0)
	wantMissing(t, s, 1, 5, 10)

	// As after a snapshot from the leader: the log goes on somewhere else.
	mustStore(t, s, entries(101, 105))
	wantBounds(t, s, 101, 105)
	wantEntries(t, s, 101, 105)
	mustDelete(t, s, 1, 1000)
	wantBounds(t, s, 0, 0)
	wantMissing(t, s, 101, 105)
}

func checkDeleteOutside(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustDelete(t, s, 1, 5)
	wantBounds(t, s, 0, 0)
	mustStore(t, s, entries(10, 20))
	mustDelete(t, s, 1, 9)
	mustDelete(t, s, 21, 40)
	wantBounds(t, s, 10, 20)
	wantEntries(t, s, 10, 20)
	mustDelete(t, s, 1, 11) // partly outside
	wantBounds(t, s, 12, 20)
	mustDelete(t, s, 19, 40)
	wantBounds(t, s, 12, 18)
	wantEntries(t, s, 12, 18)
	wantMissing(t, s, 9, 10, 11, 19, 20, 21)
}

// checkIndependent: two stores of one process share nothing.
func checkIndependent(t *checker, h storeHarness) {
	a, b := h.fresh(t), h.fresh(t)
	mustStore(t, a, entries(1, 3))
	mustStore(t, b, entries(7, 8))
	if err := a.SetUint64([]byte("term"), 4); err != nil {
		t.Fatalf("SetUint64: %v", err)
	}
	wantBounds(t, a, 1, 3)
	wantBounds(t, b, 7, 8)
	wantNoUint64(t, b, "term")
	if err := a.Close(); err != nil {
		t.Fatalf("closing the first store: %v", err)
	}
	wantEntries(t, b, 7, 8)
}

// checkSyncCount: a store that flushes before a write returns counts at least
// one flush for each.
func checkSyncCount(t *checker, h storeHarness) {
	s := h.fresh(t)
	counter, _ := core.As[core.SyncCounter](s)
	before := counter.SyncCount()
	step := func(what string, err error) {
		t.Helper()
		after := counter.SyncCount()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if after <= before {
			t.Errorf("%s returned, but SyncCount() went from %d to %d", what, before, after)
		}
		before = after
	}
	step("StoreLog", s.StoreLog(entry(1)))
	step("StoreLogs", s.StoreLogs(entries(2, 10)))
	step("DeleteRange", s.DeleteRange(1, 5))
	step("SetUint64", s.SetUint64([]byte("term"), 1))
	step("Set", s.Set([]byte("vote"), []byte("n1")))
}
