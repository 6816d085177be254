// Package failstop has a replica stop when its log store cannot be relied on any more: a
// call has failed, or a write does not come to an end. It never tries a failed call again
// and repairs nothing.
package failstop

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// ErrStoreFailed is the cause of a replica that its log store stopped.
var ErrStoreFailed = errors.New("log store failed, replica stopped")

// Store is a log store that fails for good: after the first write that it could not do, no
// further one is tried (a second fsync may report success for data that the first one lost)
// and the replica is told. So it is after a read that failed, for instance of an entry that
// is damaged. Its writes are watched. It has no Unwrap, so core.As finds nothing in it.
type Store struct {
	core.LogStore
	Watch     *Watch
	gapless   bool // the store takes no gaps
	onFailure func(error)
	failure   atomic.Pointer[error]
}

// Wrap returns logs as a Store. onFailure is called once, on the goroutine whose call
// failed: it must not wait for who waits for that one.
func Wrap(logs core.LogStore, watch *Watch, onFailure func(error)) *Store {
	return &Store{LogStore: logs, Watch: watch, gapless: core.IsMonotonic(logs), onFailure: onFailure}
}

// Failed returns why the store cannot be relied on any more, or nil.
func (s *Store) Failed() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Fail notes that the store cannot be relied on any more, and why.
func (s *Store) Fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrStoreFailed, err)
	if s.failure.CompareAndSwap(nil, &err) {
		s.onFailure(err)
	}
	return err
}

// GiveUp fails because a write has been under way for age: see [Watch.Run].
func (s *Store) GiveUp(age time.Duration) {
	at := "the log store"
	if l, ok := core.As[core.Located](s.LogStore); ok {
		at = l.Path()
	}
	_ = s.Fail(fmt.Errorf("%w: a write to %s has not returned for %s", core.ErrStalled, at, age.Round(time.Millisecond)))
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
//
// A gap before the entries is where a snapshot of the leader's lies: the log ends before it,
// and all that is in it is covered. A store without gaps cannot leave such a log as it is, so
// it is emptied then, and not earlier: what follows a snapshot is kept.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	return s.write(func() error {
		if s.gapless && len(entries) > 0 {
			if err := s.closeGap(entries[0].Index); err != nil {
				return err
			}
		}
		return s.LogStore.StoreLogs(entries)
	})
}

// closeGap empties the log if it ends before the entry ahead of next.
func (s *Store) closeGap(next uint64) error {
	last, err := s.LogStore.LastIndex()
	if err != nil || last == 0 || next <= last+1 {
		return err
	}
	first, err := s.LogStore.FirstIndex()
	if err != nil {
		return err
	}
	return s.LogStore.DeleteRange(first, last)
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.write(func() error { return s.LogStore.DeleteRange(low, high) })
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	return s.write(func() error { return s.LogStore.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.write(func() error { return s.LogStore.SetUint64(key, value) })
}

// GetLog implements raft.LogStore. An entry that is not there is no failure.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	err := s.LogStore.GetLog(index, out)
	if err == nil || err == raft.ErrLogNotFound {
		return err
	}
	return s.Fail(err)
}

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) {
	index, err := s.LogStore.FirstIndex()
	return index, s.read(err)
}

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) {
	index, err := s.LogStore.LastIndex()
	return index, s.read(err)
}

// Get implements raft.StableStore.
func (s *Store) Get(key []byte) ([]byte, error) {
	value, err := s.LogStore.Get(key)
	return value, s.read(err)
}

// GetUint64 implements raft.StableStore.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	value, err := s.LogStore.GetUint64(key)
	return value, s.read(err)
}

// Close implements core.LogStore.
func (s *Store) Close() error { return s.Watch.During(s.LogStore.Close) }

// read passes on the error of a read: that a key is not there is none.
func (s *Store) read(err error) error {
	if err == nil || err.Error() == "not found" { // as raft.StableStore has it
		return err
	}
	return s.Fail(err)
}

func (s *Store) write(call func() error) error {
	if err := s.Failed(); err != nil {
		return err
	}
	if err := s.Watch.During(call); err != nil {
		return s.Fail(err)
	}
	return s.Failed() // it was given up meanwhile
}
