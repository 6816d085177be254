package coretest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

func checkReopenKeepsStable(t *checker, h storeHarness) {
	dir := t.TempDir()
	s := h.in(t, dir)
	mustSetUint64(t, s, "CurrentTerm", 8)
	mustSet(t, s, "LastVoteCand", "n2")
	mustSetUint64(t, s, "CurrentTerm", 9)
	t.must("Close before reopening", s.Close())
	s = h.in(t, dir)
	wantLog(t, s, 0, 0)
	wantUint64(t, s, "CurrentTerm", 9)
	wantBytes(t, s, "LastVoteCand", "n2")
	wantNoBytes(t, s, "never set")
	wantNoUint64(t, s, "never set")
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
	s := h.filled(t, 1, trailing)
	writers, reading := group{t: t}, group{t: t}
	stop := make(chan struct{})
	written := make(chan uint64, last) // ends of batches, for the deleting goroutine
	writers.do(func() {
		defer close(written)
		for first := uint64(trailing + 1); first <= last; first += batch {
			mustStore(t, s, entries(first, first+batch-1))
			written <- first + batch - 1
		}
	})
	writers.do(func() {
		for end := range written {
			mustDelete(t, s, 1, end-trailing)
		}
	})
	for range readers {
		reading.do(func() { readWhile(t, s, stop) })
	}
	writers.Wait()
	close(stop)
	reading.Wait()
	wantLog(t, s, last-trailing+1, last)
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
			if diff := difference(&got, entry(index)); diff != "" {
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

func checkUseAfterClose(t *checker, h storeHarness) {
	s := h.inUse(t, t.TempDir())
	t.must("Close", s.Close())
	for _, c := range storeCalls() {
		if err := c.do(s); !errors.Is(err, core.ErrClosed) {
			t.Errorf("%s after Close: error is %v, want one that is core.ErrClosed", c.name, err)
		}
	}
}

func checkCloseTwice(t *checker, h storeHarness) {
	s := h.filled(t, 1, 3)
	for i := range 3 {
		t.should(fmt.Sprintf("Close number %d", i+1), s.Close())
	}
	s = h.fresh(t)
	closers := group{t: t}
	for range 4 {
		closers.do(func() { t.should("one of several concurrent Close", s.Close()) })
	}
	closers.Wait()
}

// checkCloseUnderLoad closes the store beside readers and a writer: each call
// either works or fails with core.ErrClosed, the first one after Close fails so, and
// none crashes. How much is written is bounded, however long Close takes.
func checkCloseUnderLoad(t *checker, h storeHarness) {
	const mostWrites = 5000
	s := h.filled(t, 1, 100)
	mustSetUint64(t, s, "term", 1)
	var started sync.WaitGroup
	closed := make(chan struct{})
	users := group{t: t}
	until := func(what string, most uint64, call func(i uint64) error) {
		started.Add(1)
		users.do(func() {
			begun := sync.OnceFunc(started.Done)
			defer begun()
			for i := uint64(0); ; i++ {
				if i == most {
					<-closed
				}
				late := isClosed(closed)
				err := call(i)
				begun()
				switch {
				case errors.Is(err, core.ErrClosed):
					return
				case err != nil:
					t.Errorf("%s beside Close: %v", what, err)
					return
				case late:
					t.Errorf("%s after Close beside it: no error", what)
					return
				}
			}
		})
	}
	until("GetLog", math.MaxUint64, func(i uint64) error { return s.GetLog(1+i%100, new(raft.Log)) })
	until("LastIndex", math.MaxUint64, func(uint64) error { _, err := s.LastIndex(); return err })
	until("GetUint64", math.MaxUint64, func(uint64) error { _, err := s.GetUint64([]byte("term")); return err })
	until("StoreLog", mostWrites, func(i uint64) error { return s.StoreLog(entry(101 + i)) })
	started.Wait()
	t.should("Close beside calls", s.Close())
	close(closed)
	users.Wait()
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
