package hashicorp

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// errStopping answers a heartbeat that the library was too late to answer.
var errStopping = errors.New("the replica is stopping")

// errElection answers a heartbeat of a term that is about to be over.
var errElection = errors.New("a newer term has begun")

// guard makes a replica fail-stop (package failstop).
//
// The library panics where it cannot save its term, or read a committed entry. To take
// only the replica down and not the process, guard ends the goroutine that asked, which
// is one of the library's own: seen from the group, the member has crashed.
//
// To a store that says itself that it takes no gaps the library would remove all of the log
// when it installs a snapshot, whatever follows that: entries that this replica has
// acknowledged, and that may be committed by its answer (Raft dissertation, figure 5.3,
// step 6, keeps them). So guard hides what the store says (raft.MonotonicLogStore), and
// failstop closes the gap when it comes.
type guard struct {
	*failstop.Store
	phase  atomic.Int32
	term   atomic.Uint64 // the newest that was to be saved; by then it may be
	missed atomic.Uint64 // the index last asked for that was not there; while starting
}

func newGuard(logs core.LogStore, watch *failstop.Watch, onFailure func(error)) *guard {
	return &guard{Store: failstop.Wrap(logs, watch, onFailure)}
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
	return g.Failed()
}

// SetUint64 implements raft.StableStore. The library panics on its errors: once
// the replica runs, it does not return one. Nor does it return to a heartbeat: only the
// library's main goroutine begins a term (see replica.changesNothing), and the heartbeat
// is answered with a refusal.
func (g *guard) SetUint64(key []byte, value uint64) error {
	if calledBy("raft.(*Raft).processHeartbeat") {
		runtime.Goexit()
	}
	if bytes.Equal(key, termKey) {
		g.term.Store(value)
	}
	err := g.Store.SetUint64(key, value)
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
	err := g.Store.GetLog(index, out)
	if err == nil {
		return nil
	}
	if err == raft.ErrLogNotFound {
		if g.phase.Load() == starting {
			g.missed.Store(index)
		}
		return err
	}
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
// does not get to see. It never falls: what is found to be applied is remembered, since
// the next entry to come hides it.
func (r *replica) appliedIndex(snapshot uint64) uint64 {
	queued := r.raft.AppliedIndex() // first: what it counts is in the tail
	if visible := r.tail.visible.Load(); visible <= max(r.seen.Load(), snapshot) {
		r.applied.Advance(queued)
	}
	return max(r.applied.Load(), snapshot)
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
