package coretest

import (
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// reopened closes s and opens its folder again.
func reopened(t *checker, h storeHarness, s core.LogStore, dir string) core.LogStore {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close before reopening: %v", err)
	}
	return h.in(t, dir)
}

func checkReopenKeepsLog(t *checker, h storeHarness) {
	dir := t.TempDir()
	s := h.in(t, dir)
	mustStore(t, s, entries(5, 20))
	s = reopened(t, h, s, dir)
	wantBounds(t, s, 5, 20)
	wantEntries(t, s, 5, 20)
	mustStore(t, s, entries(21, 25))
	s = reopened(t, h, s, dir)
	wantBounds(t, s, 5, 25)
	wantEntries(t, s, 5, 25)
	wantMissing(t, s, 4, 26)
}

func checkReopenKeepsStable(t *checker, h storeHarness) {
	dir := t.TempDir()
	s := h.in(t, dir)
	mustSetUint64(t, s, "CurrentTerm", 8)
	mustSet(t, s, "LastVoteCand", "n2")
	mustSetUint64(t, s, "CurrentTerm", 9)
	s = reopened(t, h, s, dir)
	wantBounds(t, s, 0, 0)
	wantUint64(t, s, "CurrentTerm", 9)
	wantBytes(t, s, "LastVoteCand", "n2")
	wantNoBytes(t, s, "never set")
	wantNoUint64(t, s, "never set")
}

func checkReopenKeepsTruncation(t *checker, h storeHarness) {
	dir := t.TempDir()
	s := h.in(t, dir)
	mustStore(t, s, entries(1, 30))
	mustDelete(t, s, 1, 10)
	mustDelete(t, s, 25, 30)
	s = reopened(t, h, s, dir)
	wantBounds(t, s, 11, 24)
	wantEntries(t, s, 11, 24)
	wantMissing(t, s, 1, 10, 25, 30)
	mustDelete(t, s, 11, 24)
	s = reopened(t, h, s, dir)
	wantBounds(t, s, 0, 0)
	wantMissing(t, s, 11, 24)
	mustStore(t, s, entries(40, 41))
	wantBounds(t, s, 40, 41)
}

// checkConcurrent runs what an engine runs at once: one writer, a snapshot's
// goroutine that deletes prefixes, and readers. A reader sees either the entry
// that was stored at an index or raft.ErrLogNotFound, and the ends of the log
// only move forward.
func checkConcurrent(t *checker, h storeHarness) {
	const (
		last     = 1500 // entries in all
		batch    = 10
		trailing = 50 // entries that a deletion leaves
		readers  = 3
	)
	s := h.fresh(t)
	mustStore(t, s, entries(1, trailing))

	var writers, readersDone sync.WaitGroup
	stop := make(chan struct{})
	written := make(chan uint64, last) // ends of batches, for the deleting goroutine
	writers.Go(func() {
		defer close(written)
		for first := uint64(trailing + 1); first <= last; first += batch {
			if err := s.StoreLogs(entries(first, first+batch-1)); err != nil {
				t.Errorf("StoreLogs from %d: %v", first, err)
				return
			}
			written <- first + batch - 1
		}
	})
	writers.Go(func() {
		for end := range written {
			if err := s.DeleteRange(1, end-trailing); err != nil {
				t.Errorf("DeleteRange(1, %d): %v", end-trailing, err)
			}
		}
	})
	for range readers {
		readersDone.Go(func() { readWhile(t, s, stop) })
	}
	writers.Wait()
	close(stop)
	readersDone.Wait()
	wantBounds(t, s, last-trailing+1, last)
	wantEntries(t, s, last-trailing+1, last)
}

// readWhile reads entries between the ends of the log until stop is closed.
func readWhile(t *checker, s raft.LogStore, stop <-chan struct{}) {
	var lastFirst, lastLast uint64
	for {
		select {
		case <-stop:
			return
		default:
		}
		first, err := s.FirstIndex()
		if err != nil || first < lastFirst {
			t.Errorf("FirstIndex() = %d, %v after %d, while prefixes were deleted", first, err, lastFirst)
			return
		}
		last, err := s.LastIndex()
		if err != nil || last < lastLast {
			t.Errorf("LastIndex() = %d, %v after %d, while entries were appended", last, err, lastLast)
			return
		}
		lastFirst, lastLast = first, last

		index := first + rand.Uint64N(last-first+1)
		var got raft.Log
		switch err := s.GetLog(index, &got); err {
		case nil:
			if diff := diffLog(&got, entry(index)); diff != "" {
				t.Errorf("GetLog(%d) beside a writer: %s", index, diff)
				return
			}
		case raft.ErrLogNotFound: // deleted since
		default:
			t.Errorf("GetLog(%d) beside a writer: %v", index, err)
			return
		}
	}
}

// storeCalls are all methods that must fail after Close.
func storeCalls(s core.LogStore) []struct {
	name string
	call func() error
} {
	return []struct {
		name string
		call func() error
	}{
		{"FirstIndex", func() error { _, err := s.FirstIndex(); return err }},
		{"LastIndex", func() error { _, err := s.LastIndex(); return err }},
		{"GetLog of a stored entry", func() error { return s.GetLog(1, new(raft.Log)) }},
		{"GetLog of a missing entry", func() error { return s.GetLog(1000, new(raft.Log)) }},
		{"StoreLog", func() error { return s.StoreLog(entry(4)) }},
		{"StoreLogs", func() error { return s.StoreLogs(entries(4, 5)) }},
		{"DeleteRange", func() error { return s.DeleteRange(1, 2) }},
		{"Set", func() error { return s.Set([]byte("vote"), []byte("n1")) }},
		{"Get of a set key", func() error { _, err := s.Get([]byte("vote")); return err }},
		{"Get of a missing key", func() error { _, err := s.Get([]byte("missing")); return err }},
		{"SetUint64", func() error { return s.SetUint64([]byte("term"), 1) }},
		{"GetUint64 of a set key", func() error { _, err := s.GetUint64([]byte("term")); return err }},
		{"GetUint64 of a missing key", func() error { _, err := s.GetUint64([]byte("missing")); return err }},
	}
}

func checkUseAfterClose(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 3))
	mustSet(t, s, "vote", "n1")
	mustSetUint64(t, s, "term", 1)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, c := range storeCalls(s) {
		if err := c.call(); !errors.Is(err, core.ErrClosed) {
			t.Errorf("%s after Close: error is %v, want one that is core.ErrClosed", c.name, err)
		}
	}
}

func checkCloseTwice(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 3))
	for i := range 3 {
		if err := s.Close(); err != nil {
			t.Errorf("Close number %d: %v", i+1, err)
		}
	}
	var closers sync.WaitGroup
	s = h.fresh(t)
	for range 4 {
		closers.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("one of several concurrent Close: %v", err)
			}
		})
	}
	closers.Wait()
}

// checkCloseUnderLoad closes the store beside readers and a writer: each call
// either works or fails with core.ErrClosed, and none crashes.
func checkCloseUnderLoad(t *checker, h storeHarness) {
	s := h.fresh(t)
	mustStore(t, s, entries(1, 100))
	mustSetUint64(t, s, "term", 1)

	const callers = 4
	var started, users sync.WaitGroup
	started.Add(callers)
	until := func(what string, call func(i uint64) error) {
		users.Go(func() {
			for i := uint64(0); ; i++ {
				err := call(i)
				if i == 0 {
					started.Done()
				}
				if errors.Is(err, core.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("%s beside Close: %v", what, err)
					return
				}
			}
		})
	}
	until("GetLog", func(i uint64) error { return s.GetLog(1+i%100, new(raft.Log)) })
	until("LastIndex", func(uint64) error { _, err := s.LastIndex(); return err })
	until("GetUint64", func(uint64) error { _, err := s.GetUint64([]byte("term")); return err })
	until("StoreLog", func(i uint64) error { return s.StoreLog(entry(101 + i)) })
	started.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("Close beside calls: %v", err)
	}
	users.Wait()
}
