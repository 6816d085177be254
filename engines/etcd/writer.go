package etcd

import (
	"fmt"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
)

// write is what is to be written, and what waits for that.
type write struct {
	append   *pb.Message   // MsgStorageAppend; nil: nothing
	incoming *incoming     // the snapshot in it
	after    []*pb.Message // to be sent behind it
}

// do makes a write durable. One is done at a time, in the order of the library. kind is what
// of entries is taken down.
func (w *write) do(r *replica, kind core.SpanKind) error {
	if w.append == nil {
		return nil
	}
	m := w.append
	entries := m.GetEntries()
	begun, commit := r.trace.now(), r.committed.Load()
	if s := m.GetSnapshot(); s != nil {
		if err := w.install(r); err != nil {
			return err
		}
	}
	if err := r.log.save(m.GetTerm(), m.GetVote(), entries); err != nil {
		return err
	}
	if r.trace != nil && len(entries) > 0 {
		span := r.trace.span(kind, entries, begun)
		span.Commit = commit
		r.trace.record(span)
	}
	return nil
}

// install puts a snapshot of the leader's in the log's place: term and vote first, since a
// snapshot without a log that has a term is what is left of a lost one.
func (w *write) install(r *replica) error {
	m := w.append
	if w.incoming == nil || w.incoming.meta.Index != m.GetSnapshot().GetMetadata().GetIndex() {
		return r.store.Fail(fmt.Errorf("a snapshot of entry %d has no data", m.GetSnapshot().GetMetadata().GetIndex()))
	}
	meta := w.incoming.meta
	if err := r.log.save(m.GetTerm(), m.GetVote(), nil); err != nil {
		return err
	}
	begun := time.Now()
	if err := w.incoming.sink.Close(); err != nil {
		return r.store.Fail(fmt.Errorf("finish the leader's snapshot: %w", err))
	}
	if err := r.log.saveMembers(meta.Index, configurationOf(meta)); err != nil {
		return err
	}
	if err := r.log.restart(meta); err != nil {
		return err
	}
	r.logger.Info("the leader's snapshot is here", "index", meta.Index, "took", time.Since(begun))
	return nil
}

// writer is the goroutine that writes, where the driver does not.
type writer struct {
	r    *replica
	work chan *write
	done chan *write // each that is done, in their order
}

// maxWrites is how many may wait.
const maxWrites = 64

func newWriter(r *replica) *writer {
	return &writer{r: r, work: make(chan *write, maxWrites), done: make(chan *write, maxWrites)}
}

func (w *writer) run(quit <-chan struct{}) error {
	for {
		select {
		case next := <-w.work:
			if err := next.do(w.r, core.SpanWrite); err != nil {
				return err
			}
			select {
			case w.done <- next:
			case <-quit:
				return nil
			}
		case <-quit:
			return nil
		}
	}
}
