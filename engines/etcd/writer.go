package etcd

import (
	"fmt"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
)

// write is what is to be written, and what waits for that.
type write struct {
	append   *pb.Message   // MsgStorageAppend; nil: nothing
	incoming *incoming     // the snapshot in it
	after    []*pb.Message // to be sent behind it
	// Where it is traced: of a leader that goes on beside the write, how long it took to put
	// the entries into the log and send them; else nothing but what was committed.
	handed core.Span
}

// writer is the goroutine that writes to the log. The driver goes on meanwhile, and never waits to
// hand it something: a leader whose disk is slow is heard. What waits is bounded by who makes
// it: proposals by maxUncommitted, a leader's messages by its limits in flight.
type writer struct {
	r    *replica
	wake chan struct{} // holds one once there is something to do
	done chan []*write // those that are durable, in the order of the library

	mu   sync.Mutex
	work []*write
}

func newWriter(r *replica) *writer {
	return &writer{r: r, wake: make(chan struct{}, 1), done: make(chan []*write, 1)}
}

func (w *writer) add(next *write) {
	w.mu.Lock()
	w.work = append(w.work, next)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the writes that are next and that one call of the log store can do.
func (w *writer) take() []*write {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(1, len(w.work))
	for 0 < n && n < min(maxJoined, len(w.work)) && w.work[n-1].joins(w.work[n]) {
		n++
	}
	batch := w.work[:n:n]
	if w.work = w.work[n:]; len(w.work) == 0 {
		w.work = nil
	}
	return batch
}

// maxJoined bounds the writes of one call.
const maxJoined = 64

func (w *writer) run(quit <-chan struct{}) error {
	for {
		batch := w.take()
		if len(batch) == 0 {
			select {
			case <-w.wake:
				continue
			case <-quit:
				return nil
			}
		}
		if err := w.do(batch); err != nil {
			return err
		}
		select {
		case w.done <- batch:
		case <-quit:
			return nil
		}
	}
}

// joins says whether one call of the log store can do both writes.
func (w *write) joins(next *write) bool {
	if w.incoming != nil || next.incoming != nil || w.append == nil || next.append == nil {
		return false
	}
	mine, others := w.append.GetEntries(), next.append.GetEntries()
	return len(mine) > 0 && len(others) > 0 && others[0].GetIndex() == mine[len(mine)-1].GetIndex()+1
}

// do makes writes durable.
func (w *writer) do(batch []*write) error {
	if i := batch[0].incoming; i != nil {
		if err := w.install(batch[0]); err != nil {
			return err
		}
	}
	var term, vote uint64
	var entries []*pb.Entry
	for _, next := range batch {
		if next.append == nil {
			continue
		}
		if t := next.append.GetTerm(); t > 0 {
			term, vote = t, next.append.GetVote()
		}
		if more := next.append.GetEntries(); entries == nil {
			entries = more[:len(more):len(more)]
		} else {
			entries = append(entries, more...)
		}
	}
	begun := w.r.trace.now()
	if err := w.r.log.save(term, vote, entries); err != nil {
		return err
	}
	for _, next := range batch {
		w.r.trace.written(next, begun)
	}
	return nil
}

// install puts a snapshot of the leader's in the log's place: term and vote first, since a
// snapshot without a log that has a term is what is left of a lost one.
func (w *writer) install(next *write) error {
	m, meta := next.append, next.incoming.meta
	if meta.Index != m.GetSnapshot().GetMetadata().GetIndex() {
		return w.r.store.Fail(fmt.Errorf("a snapshot of entry %d has the data of %d", m.GetSnapshot().GetMetadata().GetIndex(), meta.Index))
	}
	if err := w.r.log.save(m.GetTerm(), m.GetVote(), nil); err != nil {
		return err
	}
	begun := time.Now()
	if err := next.incoming.sink.Close(); err != nil {
		return w.r.store.Fail(fmt.Errorf("finish the leader's snapshot: %w", err))
	}
	if err := w.r.log.saveMembers(meta.Index, configurationOf(meta)); err != nil {
		return err
	}
	if err := w.r.log.restart(meta); err != nil {
		return err
	}
	w.r.logger.Info("the leader's snapshot is here", "index", meta.Index, "took", time.Since(begun))
	return nil
}

// ready does what the library asks for.
func (d *driver) ready() error {
	begun := d.r.trace.now()
	rd := d.node.Ready()
	d.note(rd)
	d.matched(rd.Entries)
	for _, s := range rd.ReadStates {
		d.answered(s.RequestCtx, s.Index)
	}
	w := &write{}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			w.append = m
		case raft.LocalApplyThread:
			if err := d.commit(m); err != nil {
				return err
			}
		default:
			if d.atOnce(m) {
				d.send(m)
			} else {
				w.after = append(w.after, m)
			}
		}
	}
	if d.arrived != nil {
		if !raft.IsEmptySnap(w.append.GetSnapshot()) {
			w.incoming = d.arrived
		} else {
			d.arrived.discard() // the library does not need it
		}
		d.arrived = nil
	}
	d.r.trace.handed(w, begun, d.r.committed.Load(), d.leadsAhead())
	d.hand(w)
	return nil
}

// leadsAhead says whether messages go out beside the write of what is in them.
func (d *driver) leadsAhead() bool {
	return d.role == core.Leader && d.set.Persistence == core.Overlapped
}

// atOnce says whether a message does not wait for what is being written. Heartbeats and their
// answers promise nothing of the log, so they tell that this replica is there although its disk is
// slow.
func (d *driver) atOnce(m *pb.Message) bool {
	switch m.GetType() {
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp:
		return true
	}
	return d.leadsAhead()
}

// hand hands a write to the writer, if there is anything to write or that is waited for.
func (d *driver) hand(w *write) {
	dirty := w.incoming != nil || len(w.append.GetEntries()) > 0
	if m := w.append; m.GetTerm() > 0 && (m.GetTerm() != d.savedTerm || m.GetVote() != d.savedVote) {
		d.savedTerm, d.savedVote, dirty = m.GetTerm(), m.GetVote(), true
	}
	if !dirty && d.writing == 0 {
		d.deliver(w)
		return
	}
	if !dirty && len(w.append.GetResponses()) == 0 && len(w.after) == 0 {
		return
	}
	d.writing++
	d.writer.add(w)
}

// written delivers what was waiting for writes.
func (d *driver) written(done []*write) {
	d.writing -= len(done)
	for _, w := range done {
		d.deliver(w)
	}
	held := d.held
	d.held = nil
	for _, m := range held {
		if d.ahead(m) {
			d.held = append(d.held, m)
		} else {
			_ = d.node.Step(m)
		}
	}
}

// deliver hands on what waited for a write: the library's own messages to it, and the others.
func (d *driver) deliver(w *write) {
	if w.incoming != nil {
		d.applier.add(job{restore: w.incoming.meta})
		d.configure(configurationOf(w.incoming.meta))
		w.incoming.settle(nil)
	}
	for _, m := range w.append.GetResponses() {
		if m.GetTo() == d.r.number {
			_ = d.node.Step(m)
		} else {
			d.send(m)
		}
	}
	for _, m := range w.after {
		d.send(m)
	}
}
