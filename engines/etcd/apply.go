package etcd

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// applier is the one goroutine that the state machine sees. What it has to do waits in a
// queue without a bound of its own: the library bounds the entries that it has handed out and
// that are not applied yet.
type applier struct {
	r     *replica
	batch core.BatchFSM // nil: the state machine takes commands one by one

	wake chan struct{} // holds one once there is something to do
	mu   sync.Mutex
	work []job
	over bool

	// The goroutine's own.
	index, term uint64         // last applied
	members     *configuration // as of it
	commands    []core.BatchEntry
	saved       atomic.Uint64 // index of the newest snapshot, or of the one being written
	saving      chan struct{} // closed once the snapshot that is being written is; nil: none is
}

// job is one of: entries, a snapshot to restore, a question for a snapshot.
type job struct {
	entries []*pb.Entry
	waiting []*proposal // nil, or one for each entry
	applied *pb.Message // tells the library
	restore *hraft.SnapshotMeta
	save    func(error) // told once a snapshot of all that is applied now is written
}

func newApplier(r *replica, index, term, snapshot uint64, members *configuration) *applier {
	a := &applier{r: r, wake: make(chan struct{}, 1), index: index, term: term, members: members}
	a.saved.Store(snapshot)
	a.batch, _ = r.fsm.(core.BatchFSM)
	return a
}

// add queues a job. One that comes when the applier is gone is dropped.
func (a *applier) add(j job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		a.drop([]job{j}, a.r.stopped("apply"))
		return
	}
	a.work = append(a.work, j)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run works until quit is closed, or the state machine cannot go on.
func (a *applier) run(quit <-chan struct{}) error {
	defer a.leave()
	for {
		select {
		case <-a.wake:
		case <-quit:
			return nil
		}
		a.mu.Lock()
		work := a.work
		a.work = nil
		a.mu.Unlock()
		for i, j := range work {
			select {
			case <-quit:
				a.drop(work[i:], a.r.stopped("apply"))
				return nil
			default:
			}
			if err := a.do(j, work[i+1:]); err != nil {
				a.drop(work[i:], a.r.stopped("apply"))
				return err
			}
		}
	}
}

// leave drops what is left, and waits for the snapshot that is being written.
func (a *applier) leave() {
	a.mu.Lock()
	a.over = true
	left := a.work
	a.work = nil
	a.mu.Unlock()
	a.drop(left, a.r.stopped("apply"))
	if a.saving != nil {
		<-a.saving
	}
}

func (a *applier) drop(work []job, cause error) {
	for _, j := range work {
		for _, p := range j.waiting {
			if p != nil {
				p.fail(unknown(opPropose, cause))
			}
		}
		if j.save != nil {
			j.save(cause)
		}
	}
}

func (a *applier) do(j job, later []job) error {
	switch {
	case j.restore != nil:
		if a.superseded(later) { // its files may be gone
			return nil
		}
		return a.restore(j.restore)
	case j.save != nil:
		a.save(j.save)
	default:
		return a.apply(j)
	}
	return nil
}

// superseded says whether another snapshot waits to be restored, in later or behind that.
func (a *applier) superseded(later []job) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	restores := func(j job) bool { return j.restore != nil }
	return slices.ContainsFunc(later, restores) || slices.ContainsFunc(a.work, restores)
}

// apply has the state machine take in entries, and tells who waits for them. Those behind a snapshot
// that was superseded are in the next one.
func (a *applier) apply(j job) (err error) {
	if j.entries[0].GetIndex() > a.index+1 {
		a.drop([]job{j}, errors.New("a snapshot of a later state has taken its place"))
		a.r.driver.finished(j.applied, true)
		return nil
	}
	begun := a.r.trace.now()
	a.commands = a.commands[:0]
	members := a.members
	for _, e := range j.entries {
		switch {
		case e.GetType() != pb.EntryNormal:
			if members, _, err = members.next(e); err != nil {
				return err
			}
		case len(e.GetData()) > 0:
			a.commands = append(a.commands, core.BatchEntry{Index: e.GetIndex(), Command: unmarked(e.GetData())})
		}
	}
	if len(a.commands) > 0 {
		if a.batch != nil {
			a.batch.ApplyBatch(a.commands)
		} else {
			for i := range a.commands {
				c := &a.commands[i]
				c.Result = a.r.fsm.Apply(c.Index, c.Command)
			}
		}
		a.r.trace.record(core.Span{Kind: core.SpanApply, First: a.commands[0].Index, Last: a.commands[len(a.commands)-1].Index, Begin: begun, End: a.r.trace.now()})
	}
	last := j.entries[len(j.entries)-1]
	a.index, a.term, a.members = last.GetIndex(), last.GetTerm(), members
	a.r.appliedTerm.Store(a.term) // before the index: a term's reads look at it first
	a.r.applied.Advance(a.index)
	a.complete(j)
	clear(a.commands)
	a.r.driver.finished(j.applied, len(a.commands) < len(j.entries))
	return nil
}

// complete hands over the results, in the order of the indexes.
func (a *applier) complete(j job) {
	next := 0
	for i, p := range j.waiting {
		index := j.entries[i].GetIndex()
		for next < len(a.commands) && a.commands[next].Index < index {
			next++
		}
		if p == nil {
			continue
		}
		done := core.Applied{Index: index}
		if next < len(a.commands) && a.commands[next].Index == index {
			done.Result = a.commands[next].Result
		}
		p.to.Complete(done, nil)
	}
}

// restore puts a snapshot of the leader's in the state's place.
func (a *applier) restore(meta *hraft.SnapshotMeta) error {
	if meta.Index <= a.index {
		return nil
	}
	if err := restore(a.r.fsm, a.r.snapshots, meta); err != nil {
		return err
	}
	a.index, a.term, a.members = meta.Index, meta.Term, configurationOf(meta)
	a.saved.Store(meta.Index)
	a.r.appliedTerm.Store(a.term)
	a.r.applied.Advance(a.index)
	return nil
}

// restore gives a stored snapshot to a state machine.
func restore(fsm core.FSM, store hraft.SnapshotStore, meta *hraft.SnapshotMeta) error {
	_, data, err := store.Open(meta.ID)
	if err != nil {
		return fmt.Errorf("restore snapshot %s: %w", meta.ID, err)
	}
	if err := errors.Join(fsm.Restore(data), data.Close()); err != nil {
		return fmt.Errorf("restore snapshot %s: %w", meta.ID, err)
	}
	return nil
}

// save captures the state, and has another goroutine write it. One is written at a time.
func (a *applier) save(tell func(error)) {
	if a.saving != nil {
		select {
		case <-a.saving:
		default:
			saving := a.saving
			a.r.working.Go(func() { // what is applied now is to be in it: so another one, after this
				<-saving
				a.add(job{save: tell})
			})
			return
		}
	}
	if a.index <= a.saved.Load() {
		tell(nil)
		return
	}
	captured, err := a.r.fsm.Snapshot()
	if err != nil {
		tell(fmt.Errorf("capture snapshot: %w", err))
		return
	}
	saving := make(chan struct{})
	a.saving = saving
	before := a.saved.Swap(a.index)
	meta := &hraft.SnapshotMeta{Index: a.index, Term: a.term, Configuration: a.members.servers(), ConfigurationIndex: a.members.index}
	go func() { // leave waits for it
		defer close(saving)
		err := a.r.write(captured, meta)
		if err != nil {
			a.saved.CompareAndSwap(meta.Index, before)
		}
		tell(err)
	}()
}

// write writes a captured state, and has the log before it dropped.
func (r *replica) write(captured core.Snapshot, meta *hraft.SnapshotMeta) error {
	defer captured.Release()
	begun := time.Now()
	sink, err := snapshots.Begin(r.snapshots, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex)
	if err != nil {
		return err
	}
	if err := snapshots.Finish(sink, captured); err != nil {
		return err
	}
	meta.ID = sink.ID()
	r.logger.Info("snapshot written", "index", meta.Index, "took", time.Since(begun))
	compacted := make(chan error, 1)
	if !r.driver.post(func(d *driver) { compacted <- d.compacted(meta) }) {
		return nil // it is there: the next start finds it
	}
	select {
	case err = <-compacted:
	case <-r.Begun():
		return nil
	}
	if err == nil {
		err = r.log.drop()
	}
	return err
}

// Snapshots that come in pieces over a connection.

// incoming is a snapshot of the leader's that has come whole, and waits to be installed.
type incoming struct {
	sink hraft.SnapshotSink
	meta *hraft.SnapshotMeta
	done chan error // takes one: what became of it
}

// settle tells who has brought it what became of it.
func (i *incoming) settle(err error) { i.done <- err }

// discard is for one that is not needed.
func (i *incoming) discard() { i.settle(i.sink.Cancel()) }

// newestSnapshot returns the newest in a store, or nil.
func newestSnapshot(store hraft.SnapshotStore) (*hraft.SnapshotMeta, error) {
	all, err := store.List()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}
