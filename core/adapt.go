package core

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// AdaptStore makes a LogStore of any hashicorp/raft log store and stable store,
// unmodified. closer may be nil for a store that needs no closing. What that adds is
// told at [Adapted]; what else the contract asks beyond hashicorp/raft (ownership of
// bytes, say) is as good as the adapted store's own.
func AdaptStore(logs raft.LogStore, stable raft.StableStore, closer io.Closer, info StoreInfo) LogStore {
	a := Adapted{Logs: logs, Stable: stable, Info: info}
	if closer != nil {
		a.Close = closer.Close
	}
	return a.Store()
}

// Adapted says what a LogStore is made of by [Adapted.Store].
type Adapted struct {
	Logs   raft.LogStore
	Stable raft.StableStore
	Info   StoreInfo
	// Close ends the two; nil: nothing is to be done. It is called once.
	Close func() error
	// Around runs each call to the two (but Close) and may translate its error; nil
	// leaves them alone. op names the call in errors. It may be called concurrently.
	Around func(op string, write bool, call func() error) error
}

// Store returns a LogStore whose calls after Close are an [ErrClosed] and do not reach
// the adapted store, whose Close waits for calls under way and works any number of
// times, and whose GetLog leaves nothing of what the entry held before. It is a
// raft.MonotonicLogStore where Logs is one.
func (a Adapted) Store() LogStore { return &adaptedStore{parts: a} }

type adaptedStore struct {
	parts  Adapted
	mu     sync.RWMutex // held for reading by every call, for writing by Close
	closed bool
}

func (a *adaptedStore) call(op string, write bool, call func() error) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return fmt.Errorf("%s: %s: %w", a.parts.Info.Name, op, ErrClosed)
	}
	if a.parts.Around == nil {
		return call()
	}
	return a.parts.Around(op, write, call)
}

func (a *adaptedStore) Describe() StoreInfo { return a.parts.Info }

func (a *adaptedStore) IsMonotonic() bool {
	m, ok := a.parts.Logs.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (a *adaptedStore) FirstIndex() (index uint64, err error) {
	err = a.call("first index", false, func() (err error) { index, err = a.parts.Logs.FirstIndex(); return err })
	return index, err
}

func (a *adaptedStore) LastIndex() (index uint64, err error) {
	err = a.call("last index", false, func() (err error) { index, err = a.parts.Logs.LastIndex(); return err })
	return index, err
}

func (a *adaptedStore) GetLog(index uint64, out *raft.Log) error {
	*out = raft.Log{} // decoders leave fields alone that a record does not hold
	err := a.call("get log", false, func() error { return a.parts.Logs.GetLog(index, out) })
	if err != nil && err != raft.ErrLogNotFound {
		return fmt.Errorf("log entry %d: %w", index, err)
	}
	return err
}

func (a *adaptedStore) StoreLog(entry *raft.Log) error {
	return a.call("store log", true, func() error { return a.parts.Logs.StoreLog(entry) })
}

func (a *adaptedStore) StoreLogs(entries []*raft.Log) error {
	return a.call("store logs", true, func() error { return a.parts.Logs.StoreLogs(entries) })
}

func (a *adaptedStore) DeleteRange(low, high uint64) error {
	return a.call("delete range", true, func() error { return a.parts.Logs.DeleteRange(low, high) })
}

func (a *adaptedStore) Set(key, value []byte) error {
	return a.call("set", true, func() error { return a.parts.Stable.Set(key, value) })
}

func (a *adaptedStore) Get(key []byte) (value []byte, err error) {
	err = a.call("get", false, func() (err error) { value, err = a.parts.Stable.Get(key); return err })
	return value, err
}

func (a *adaptedStore) SetUint64(key []byte, value uint64) error {
	return a.call("set", true, func() error { return a.parts.Stable.SetUint64(key, value) })
}

func (a *adaptedStore) GetUint64(key []byte) (value uint64, err error) {
	err = a.call("get", false, func() (err error) { value, err = a.parts.Stable.GetUint64(key); return err })
	return value, err
}

// Close implements io.Closer. After an error, too, the store is closed.
func (a *adaptedStore) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.parts.Close == nil {
		a.closed = true
		return nil
	}
	a.closed = true
	return a.parts.Close()
}
