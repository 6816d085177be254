package hashicorp

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// errStoreFailed is the cause of a replica that its log store stopped.
var errStoreFailed = errors.New("log store failed, replica stopped")

// errStopping answers a heartbeat that the library was too late to answer.
var errStopping = errors.New("the replica is stopping")

// errElection answers a heartbeat of a term that is about to be over.
var errElection = errors.New("a newer term has begun")

// guard makes a replica fail-stop: after the first write that its log store
// could not do, no further one is tried (a second fsync may report success for
// data that the first one lost) and the replica is told to stop. So it is after a
// read that failed, for instance of an entry that is damaged. It also watches how
// long writes take.
//
// The library panics where it cannot save its term, or read a committed entry. To take
// only the replica down and not the process, guard ends the goroutine that asked, which
// is one of the library's own: seen from the group, the member has crashed.
type guard struct {
	core.LogStore
	gapless   bool // the store takes no gaps
	onFailure func(error)
	failure   atomic.Pointer[error]
	phase     atomic.Int32
	watch     *watch
	term      atomic.Uint64 // the newest that was to be saved; by then it may be
	missed    atomic.Uint64 // the index last asked for that was not there; while starting
}

// The phases of a guard. Which leaves starting first, Start or a failure, has to stop
// the replica.
const (
	starting    int32 = iota
	running           // from here on it is the library's goroutines that call
	startFailed       // a call failed before Start was done: Start reports it
)

// begin ends the start, and fails if a call has.
func (g *guard) begin() error {
	if g.phase.CompareAndSwap(starting, running) {
		return nil
	}
	return g.failed()
}

func (g *guard) failed() error {
	if p := g.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail notes that the store cannot be relied on any more, and why.
func (g *guard) fail(err error) error {
	err = fmt.Errorf("%w: %w", errStoreFailed, err)
	if g.failure.CompareAndSwap(nil, &err) {
		g.onFailure(err)
	}
	return err
}

// StoreLog implements raft.LogStore.
func (g *guard) StoreLog(entry *raft.Log) error { return g.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
//
// A gap before the entries is where a snapshot of the leader's lies: the log ends before it,
// and all that is in it is covered. The library leaves such a log as it is, which a
// store without gaps cannot, so here it is removed then. To a store that says itself that it
// takes no gaps the library would do that when it installs the snapshot, whatever
// follows it in the log: entries that this replica has acknowledged, and that may be
// committed by its answer (Raft dissertation, figure 5.3, step 6, keeps them). So
// guard hides what the store says (raft.MonotonicLogStore).
func (g *guard) StoreLogs(entries []*raft.Log) error {
	return g.write(func() error {
		if g.gapless && len(entries) > 0 {
			if err := g.closeGap(entries[0].Index); err != nil {
				return err
			}
		}
		return g.LogStore.StoreLogs(entries)
	})
}

// closeGap empties the log if it ends before the entry ahead of next.
func (g *guard) closeGap(next uint64) error {
	last, err := g.LogStore.LastIndex()
	if err != nil || last == 0 || next <= last+1 {
		return err
	}
	first, err := g.LogStore.FirstIndex()
	if err != nil {
		return err
	}
	return g.LogStore.DeleteRange(first, last)
}

// DeleteRange implements raft.LogStore.
func (g *guard) DeleteRange(low, high uint64) error {
	return g.write(func() error { return g.LogStore.DeleteRange(low, high) })
}

// Set implements raft.StableStore.
func (g *guard) Set(key, value []byte) error {
	return g.write(func() error { return g.LogStore.Set(key, value) })
}

// SetUint64 implements raft.StableStore. The library panics on its errors: once
// the replica runs, it does not return one. Nor does it return to a heartbeat: only the
// library's main goroutine begins a term (see replica.changesNothing), and the heartbeat
// is answered with a refusal.
func (g *guard) SetUint64(key []byte, value uint64) error {
	if calledBy("raft.(*Raft).processHeartbeat") {
		runtime.Goexit()
	}
	if string(key) == "CurrentTerm" { // as the library knows it
		g.term.Store(value)
	}
	err := g.write(func() error { return g.LogStore.SetUint64(key, value) })
	if err != nil && g.phase.Load() == running {
		runtime.Goexit()
	}
	// Before that, the library saves the very term it has just read, so nothing
	// is lost by going on; Start looks at failed and reports it.
	return nil
}

// GetLog implements raft.LogStore. The library panics on the errors of a read for its
// state machine: once the replica runs, that one does not return.
func (g *guard) GetLog(index uint64, out *raft.Log) error {
	err := g.LogStore.GetLog(index, out)
	if err == nil {
		return nil
	}
	if err == raft.ErrLogNotFound {
		if g.phase.Load() == starting {
			g.missed.Store(index)
		}
		return err
	}
	err = g.fail(err)
	if g.phase.Load() == running && calledBy("raft.(*Raft).processLogs") {
		runtime.Goexit()
	}
	return err
}

// calledBy says whether a function of the library, in which it reads for its state machine
// or handles a heartbeat, has called on this goroutine. Others that read, to replicate,
// take errors; one of them that ended here would leave a goroutine behind that its
// library waits for.
func calledBy(function string) bool {
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}

// FirstIndex implements raft.LogStore.
func (g *guard) FirstIndex() (uint64, error) {
	index, err := g.LogStore.FirstIndex()
	return index, g.read(err)
}

// LastIndex implements raft.LogStore.
func (g *guard) LastIndex() (uint64, error) {
	index, err := g.LogStore.LastIndex()
	return index, g.read(err)
}

// Get implements raft.StableStore.
func (g *guard) Get(key []byte) ([]byte, error) {
	value, err := g.LogStore.Get(key)
	return value, g.read(err)
}

// GetUint64 implements raft.StableStore.
func (g *guard) GetUint64(key []byte) (uint64, error) {
	value, err := g.LogStore.GetUint64(key)
	return value, g.read(err)
}

// Close implements core.LogStore.
func (g *guard) Close() error { return g.watch.during(g.LogStore.Close) }

// read passes on the error of a read: that a key is not there is none.
func (g *guard) read(err error) error {
	if err == nil || err.Error() == "not found" { // as the library knows it
		return err
	}
	return g.fail(err)
}

func (g *guard) write(call func() error) error {
	if err := g.failed(); err != nil {
		return err
	}
	if err := g.watch.during(call); err != nil {
		return g.fail(err)
	}
	return g.failed() // it was given up meanwhile
}

// isolated wraps the library's heartbeat handler, which runs on the goroutine
// of the transport or even of the peer that sends: guard must not end that one. It does
// not agree to a heartbeat while it saves a newer term, to vote in it: the leader
// would count that for its lease.
func (g *guard) isolated(handle func(raft.RPC)) func(raft.RPC) {
	return func(rpc raft.RPC) {
		answer := make(chan raft.RPCResponse, 1)
		inner := rpc
		inner.RespChan = answer
		done := make(chan struct{})
		go func() {
			defer close(done)
			handle(inner)
		}()
		<-done
		select {
		case a := <-answer:
			if r, ok := a.Response.(*raft.AppendEntriesResponse); ok && r.Success && r.Term < g.term.Load() {
				a = raft.RPCResponse{Error: errElection}
			}
			rpc.RespChan <- a
		default:
			rpc.Respond(nil, errStopping)
		}
	}
}

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

// appliedIndex returns how far the state machine has come, with the entries that it
// does not get to see.
func (r *replica) appliedIndex(snapshot uint64) uint64 {
	applied := max(r.applied.Load(), snapshot)
	queued := r.raft.AppliedIndex() // first: what it counts is in the tail
	if visible := r.tail.visible.Load(); queued > applied && visible <= max(r.seen.Load(), snapshot) {
		return queued
	}
	return applied
}

// boundedCache is a log cache that large entries go round. An index is stored
// anew only after a DeleteRange, which empties the cache, so it never has another
// entry for one that went round.
type boundedCache struct {
	*raft.LogCache
	store raft.LogStore
}

// StoreLog implements raft.LogStore.
func (c boundedCache) StoreLog(entry *raft.Log) error { return c.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (c boundedCache) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		if len(e.Data) > maxCachedBytes {
			return c.store.StoreLogs(entries)
		}
	}
	return c.LogCache.StoreLogs(entries)
}
