// Package faulty makes a log store fail on purpose: a decorator around any
// core.LogStore that asks a plan, before each write, whether it may happen. It
// never changes what a write does that it lets through, and never loses data on
// its own.
package faulty

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// Op names a kind of write.
type Op string

// The writes that a plan is asked about.
const (
	StoreLogs   Op = "store logs" // StoreLog too
	DeleteRange Op = "delete range"
	Set         Op = "set" // SetUint64 too
)

// Write is one write that is about to happen.
type Write struct {
	Op      Op
	Nth     int // of its kind on this store, from 1
	Entries int // of StoreLogs
}

// String implements fmt.Stringer: what a failing test prints.
func (w Write) String() string { return fmt.Sprintf("%s #%d", w.Op, w.Nth) }

// Plan decides about a write: nil lets it happen, an error is returned in its
// place. It may block, to stall the store. It is called from any goroutine.
type Plan func(Write) error

// From fails every write of the kind op from the nth on.
func From(op Op, nth int, err error) Plan {
	return func(w Write) error {
		if w.Op == op && w.Nth >= nth {
			return fmt.Errorf("%s: %w", w, err)
		}
		return nil
	}
}

// Gate holds writes back, as a disk that hangs does. Its zero value is open. Safe for
// concurrent use.
type Gate struct {
	mu      sync.Mutex
	opened  chan struct{} // nil: open
	waiting atomic.Int64
}

// Shut holds back what comes from now on.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

// Open lets everything go on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// Waiting returns how many writes are held back.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }

// Hold is a plan: while the gate is shut, writes of the kinds ops, or of all kinds
// where none is named, do not return.
func (g *Gate) Hold(ops ...Op) Plan {
	return func(w Write) error {
		if len(ops) == 0 || slices.Contains(ops, w.Op) {
			g.pass()
		}
		return nil
	}
}

func (g *Gate) pass() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		g.waiting.Add(1)
		<-opened
		g.waiting.Add(-1)
	}
}

// Store is a log store that fails by plan. Make one with [Wrap].
type Store struct {
	core.LogStore
	plan Plan

	mu     sync.Mutex
	counts map[Op]int
}

var _ core.LogStore = (*Store)(nil)

// Wrap returns store under the plan. Closing it closes store.
func Wrap(store core.LogStore, plan Plan) *Store {
	return &Store{LogStore: store, plan: plan, counts: map[Op]int{}}
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	if err := s.ask(StoreLogs, len(entries)); err != nil {
		return err
	}
	return s.LogStore.StoreLogs(entries)
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(low, high uint64) error {
	if err := s.ask(DeleteRange, 0); err != nil {
		return err
	}
	return s.LogStore.DeleteRange(low, high)
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	if err := s.ask(Set, 0); err != nil {
		return err
	}
	return s.LogStore.Set(key, value)
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	if err := s.ask(Set, 0); err != nil {
		return err
	}
	return s.LogStore.SetUint64(key, value)
}

// Unwrap makes the abilities of the store below known: see core.As.
func (s *Store) Unwrap() core.LogStore { return s.LogStore }

func (s *Store) ask(op Op, entries int) error {
	s.mu.Lock()
	s.counts[op]++
	w := Write{Op: op, Nth: s.counts[op], Entries: entries}
	s.mu.Unlock()
	return s.plan(w) // outside the lock: a plan may block
}
