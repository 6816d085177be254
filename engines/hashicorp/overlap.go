package hashicorp

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/sharing"
)

// overlap lets a leader write to its log store while it replicates (Raft dissertation,
// §10.2.1), where the library does one after the other. docs/overlapped-persistence.md
// has the argument; each rule here says what would happen without it.
//
// V is the log as the library sees it, D the largest index with no entry up to it that
// is not durable here: D <= V, and what is between is pending. The library takes V for
// durable and counts this replica in for it. So no follower's answer for an entry
// beyond D reaches the library (await, held). A majority of two or more needs one of them,
// so the library's commit index never passes D: what it commits, applies, tells
// followers, puts into a snapshot and acknowledges is durable on a majority that
// includes the leader, as without overlap. The rules for the log:
//
//  1. Only a leader's commands become pending (StoreLogs). A follower answers for what
//     it has stored: its answer is a promise to the leader, and a crash would break it.
//     An entry that changes the configuration can make this replica a majority of
//     its own. So can no command, but where there is no other voter, no answer is
//     waited for: there everything is written at once. No-ops and barriers are rare, and
//     a no-op that is durable before it is sent keeps Raft's figure 8 out by itself.
//  2. A pending entry is read from memory: followers are sent it before it is on disk.
//  3. What deletes a pending entry waits until that is written, and so does each write of
//     a stable value: V = D whenever a term begins or a vote is given. An old
//     entry, written late, would otherwise reappear behind a truncation, or be vouched for
//     by a follower that does not have it on disk yet.
//  4. After a write that failed nothing is written any more and no answer is let
//     through (guard): a second flush may succeed for data that the first one lost.
//
// One write is under way at a time, in a goroutine that ends with the last pending entry;
// Close waits for it. It writes through guard, so it is watched as all writes are. The
// entries and their commands are not copied: the library changes neither.
type overlap struct {
	*guard
	leads  atomic.Pointer[func() bool] // nil until the library runs: see replica.leadsOthers
	pends  func(*raft.Log) bool        // rule 1: which entries may become pending
	unheld bool                        // for tests: no answer is held back
	trace  *tracer                     // nil: off
	first  atomic.Uint64               // pending[0].Index; 0: nothing is pending
	next   atomic.Uint64               // what follows the last entry of the log; 0: to be asked

	mu       sync.Mutex
	changed  sync.Cond   // a write has ended, or none will be tried again
	pending  []*raft.Log // of consecutive indexes
	bytes    int         // of their commands
	appended uint64      // how many have ever become pending
	written  uint64      // how many of these are durable
	writing  bool
	closed   bool          // nothing becomes pending any more
	moved    sharing.Event // as changed, for those that wait for other things too
}

// How much may be pending, and how much of that goes into one write. A command that is
// larger is pending, or written, alone.
const (
	maxPendingEntries = 8192
	maxPendingBytes   = 64 << 20
	maxWriteBytes     = 8 << 20
)

// persistence returns the log that the library writes to, and makes r.overlap if it is
// that.
func (r *replica) persistence(how string, broken func(*overlap)) core.LogStore {
	if how != core.Overlapped {
		return r.logs
	}
	r.overlap = newOverlap(r.logs)
	r.overlap.trace = r.trace
	if broken != nil {
		broken(r.overlap)
	}
	return r.overlap
}

func newOverlap(logs *guard) *overlap {
	o := &overlap{guard: logs, pends: func(e *raft.Log) bool { return e.Type == raft.LogCommand }}
	o.changed.L = &o.mu
	return o
}

// checkPersistence refuses what core.Tuning.Persistence cannot be.
func checkPersistence(how string) error {
	switch how {
	case "", core.Serial, core.Overlapped:
		return nil
	}
	return fmt.Errorf("persistence = %q: want %s or %s", how, core.Serial, core.Overlapped)
}

// begin lets entries become pending while leads holds; before it, all is serial.
func (o *overlap) begin(leads func() bool) {
	if o != nil {
		o.leads.Store(&leads)
	}
}

// leadsOthers says whether this replica leads others that have to agree. StoreLogs is
// called on the library's main goroutine, which is the only one that makes a leader,
// changes its configuration and begins a term (see changesNothing).
func (r *replica) leadsOthers() bool {
	if r.raft.State() != raft.Leader {
		return false
	}
	voters := 0
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters > 1
}

// StoreLog implements raft.LogStore.
func (o *overlap) StoreLog(entry *raft.Log) error { return o.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. A leader's commands are pending when it returns.
func (o *overlap) StoreLogs(entries []*raft.Log) error {
	if o.append(entries) {
		return o.Failed()
	}
	o.drain()
	defer o.next.Store(0)
	return o.guard.StoreLogs(entries)
}

// append makes entries pending, once there is room, if they may be.
func (o *overlap) append(entries []*raft.Log) bool {
	size := 0
	for _, e := range entries {
		if !o.pends(e) {
			return false
		}
		size += len(e.Data)
	}
	if len(entries) == 0 || !o.continues(entries[0].Index) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) > 0 && o.Failed() == nil && (len(o.pending)+len(entries) > maxPendingEntries || o.bytes+size > maxPendingBytes) {
		o.changed.Wait()
	}
	leads := o.leads.Load()
	if o.closed || o.Failed() != nil || leads == nil || !(*leads)() {
		return false
	}
	o.pending = append(o.pending, entries...)
	o.bytes += size
	o.appended += uint64(len(entries))
	o.first.Store(o.pending[0].Index)
	o.next.Store(entries[len(entries)-1].Index + 1)
	if !o.writing {
		o.writing = true
		go o.write()
	}
	return true
}

// continues says whether index follows the end of the log, as all that a leader stores
// does.
func (o *overlap) continues(index uint64) bool {
	if o.next.Load() == 0 {
		last, err := o.LastIndex()
		if err != nil {
			return false
		}
		o.next.Store(last + 1)
	}
	return o.next.Load() == index
}

// write writes what is pending until nothing is. What came during a write goes into the next.
func (o *overlap) write() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) > 0 {
		batch := o.batch()
		o.mu.Unlock()
		err := o.trace.stored(core.SpanWrite, 0, batch, o.guard.StoreLogs)
		o.mu.Lock()
		if err != nil {
			break // guard has told everybody
		}
		o.wrote(len(batch))
	}
	o.writing = false
	o.changed.Broadcast()
}

// batch returns what is to be written next.
func (o *overlap) batch() []*raft.Log {
	size, n := 0, 0
	for n < len(o.pending) && (n == 0 || size+len(o.pending[n].Data) <= maxWriteBytes) {
		size += len(o.pending[n].Data)
		n++
	}
	return o.pending[:n:n]
}

// wrote notes that the first n pending entries are durable.
func (o *overlap) wrote(n int) {
	for _, e := range o.pending[:n] {
		o.bytes -= len(e.Data)
	}
	clear(o.pending[:n]) // for the garbage collector
	o.pending = o.pending[n:]
	o.written += uint64(n)
	if len(o.pending) > 0 {
		o.first.Store(o.pending[0].Index)
	} else {
		o.pending = nil
		o.first.Store(0)
	}
	o.changed.Broadcast()
	o.moved.Happened()
}

// drain waits until what is pending now is durable, not for what comes meanwhile:
// snapshots call it beside a leader that goes on. After a failure it does not wait, and
// guard refuses what its caller does next.
func (o *overlap) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for target := o.appended; o.written < target && o.Failed() == nil; {
		o.changed.Wait()
	}
}

// abandon wakes up all who wait, after a failure of the log store.
func (o *overlap) abandon() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
	o.moved.Happened()
}

// until returns index, or D if that is less.
func (o *overlap) until(index uint64) uint64 {
	if o == nil {
		return index
	}
	if first := o.first.Load(); first > 0 && first <= index {
		return first - 1
	}
	return index
}

// GetLog implements raft.LogStore.
func (o *overlap) GetLog(index uint64, out *raft.Log) error {
	if first := o.first.Load(); first > 0 && index >= first && o.getPending(index, out) {
		return nil
	}
	return o.guard.GetLog(index, out) // written meanwhile, or always
}

func (o *overlap) getPending(index uint64, out *raft.Log) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending) == 0 || index < o.pending[0].Index {
		return false
	}
	i := index - o.pending[0].Index
	if i >= uint64(len(o.pending)) {
		return false
	}
	*out = *o.pending[i]
	return true
}

// ends are the first and the last index that is pending, 0 if none is, and how many entries
// have been.
func (o *overlap) ends() (first, last, appended uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.pending); n > 0 {
		first, last = o.pending[0].Index, o.pending[n-1].Index
	}
	return first, last, o.appended
}

// FirstIndex implements raft.LogStore. The store is not asked under the lock, which a write of
// it may hold up. Where it is empty, and entries have come to be pending meanwhile, all before
// them may have been deleted from it: that does not make the log empty.
func (o *overlap) FirstIndex() (uint64, error) {
	for {
		pending, _, before := o.ends() // first: what is written meanwhile is then in the store
		stored, err := o.guard.FirstIndex()
		if stored > 0 || err != nil {
			return stored, err
		}
		if _, _, after := o.ends(); pending > 0 || after == before {
			return pending, nil
		}
	}
}

// LastIndex implements raft.LogStore: see FirstIndex.
func (o *overlap) LastIndex() (uint64, error) {
	for {
		_, pending, before := o.ends()
		if pending > 0 {
			return pending, nil
		}
		stored, err := o.guard.LastIndex()
		if stored > 0 || err != nil {
			return stored, err
		}
		if _, _, after := o.ends(); after == before {
			return 0, nil
		}
	}
}

// DeleteRange implements raft.LogStore. What a snapshot covers has been applied, so it is
// not pending, and is deleted beside the writes.
func (o *overlap) DeleteRange(low, high uint64) error {
	if o.until(math.MaxUint64) < high {
		o.drain()
	}
	defer o.next.Store(0)
	return o.guard.DeleteRange(low, high)
}

// Set implements raft.StableStore.
func (o *overlap) Set(key, value []byte) error {
	o.drain()
	return o.guard.Set(key, value)
}

// SetUint64 implements raft.StableStore.
func (o *overlap) SetUint64(key []byte, value uint64) error {
	o.drain()
	return o.guard.SetUint64(key, value)
}

// Close implements core.LogStore.
func (o *overlap) Close() error {
	o.mu.Lock()
	o.closed = true
	for o.writing {
		o.changed.Wait()
	}
	o.mu.Unlock()
	return o.guard.Close()
}

// await returns once index is not pending; an error: quit was closed, or it will not be
// written.
func (o *overlap) await(index uint64, quit <-chan struct{}) error {
	for o.pendingUpTo(index) {
		moved := o.moved.Channel() // before it is looked at again
		if !o.pendingUpTo(index) {
			break
		}
		if err := o.Failed(); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-quit:
			return errStopping
		}
	}
	return nil
}

// pendingUpTo says whether an answer for index has to wait.
func (o *overlap) pendingUpTo(index uint64) bool {
	return o.until(index) < index && !o.unheld
}

// acknowledged returns the last entry that an answer to req promises to have; 0: none.
func acknowledged(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) uint64 {
	if n := len(req.Entries); n > 0 && resp.Success {
		return req.Entries[n-1].Index
	}
	return 0
}

// maxHeld is how many answers of a pipeline wait before no more are taken from it.
const maxHeld = 128

// held is an answer of a pipeline that shows what it says once what it acknowledges is not
// pending. So it is the library's own goroutine, the one that takes the answers, that
// waits, and no further one is between it and the connection.
type held struct {
	raft.AppendFuture
	overlap *overlap
	quit    <-chan struct{} // ends the wait
}

// hold returns the answer as the library may see it.
func (o *overlap) hold(answer raft.AppendFuture, quit <-chan struct{}) raft.AppendFuture {
	if o == nil {
		return answer
	}
	return held{answer, o, quit}
}

// Response implements raft.AppendFuture. An answer for what will not be written is a refusal.
func (h held) Response() *raft.AppendEntriesResponse {
	resp := h.AppendFuture.Response()
	if h.overlap.await(acknowledged(h.Request(), resp), h.quit) != nil {
		*resp = raft.AppendEntriesResponse{}
	}
	return resp
}
