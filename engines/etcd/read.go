package etcd

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// reading is a read index that the library was asked for.
type reading struct {
	done  chan readIndex // takes one
	asked int            // tick at which it was asked for last; 0: not yet
}

type readIndex struct {
	index uint64
	err   error
}

// readRetry is after how many ticks the library is asked again: it drops a question without
// a word when it loses leadership, or a message.
const readRetry = 3

// ReadIndex implements core.Replica by the library's ReadIndex (Raft dissertation, §6.4):
// a leader that has committed an entry of its term sends heartbeats, and gives the commit index
// of before once a majority has answered those.
func (r *replica) ReadIndex(ctx context.Context) (uint64, error) {
	return r.reads.Share(ctx, r.askReadIndex)
}

func (r *replica) askReadIndex(ctx context.Context) (uint64, error) {
	const op = "read index"
	stall := r.stalls.Channel() // before it is looked at
	if err := r.refuse(op); err != nil {
		return 0, err
	}
	asked := &reading{done: make(chan readIndex, 1)}
	if err := r.call(ctx, op, func(d *driver) { d.read(asked) }); err != nil {
		return 0, err
	}
	for {
		select {
		case got := <-asked.done:
			return got.index, got.err
		case <-stall:
			stall = r.stalls.Channel()
			if err := r.refuse(op); err != nil {
				return 0, err
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("%s: %w", op, ctx.Err())
		case <-r.Done():
			return 0, r.stopped(op)
		}
	}
}

// WaitApplied implements core.Replica.
func (r *replica) WaitApplied(ctx context.Context, index uint64) error {
	const op = "wait until applied"
	if err := r.applied.Wait(ctx, index, r.Done(), func() error { return r.stopped(op) }); err != nil {
		return fmt.Errorf("%s: index %d: %w", op, index, err)
	}
	return nil
}

// ReadBarrier implements core.Replica.
func (r *replica) ReadBarrier(ctx context.Context) error {
	index, err := r.ReadIndex(ctx)
	if err != nil {
		return err
	}
	return r.WaitApplied(ctx, index)
}

// LeaseBarrier implements core.Replica. A follower gives no vote for most of a heartbeat timeout
// from a message of its leader on, nor after a restart (the library's CheckQuorum, which forgets
// it in a new term; and driver.loyal, which does not). So the lease counts from when a message was
// sent that a majority has answered.
//
// What this term acknowledged was applied here first; what earlier terms did, the term's
// no-op has brought in: once that is applied, there is nothing to wait for.
//
// A transfer of leadership breaks the lease: the successor is elected without anyone
// waiting for it to run out (Raft dissertation, §6.4.1), so from then on the others are asked.
func (r *replica) LeaseBarrier(ctx context.Context) error {
	if err := r.refuse("lease barrier"); err != nil {
		return err
	}
	v := r.view.Load()
	if v.role != core.Leader || v.transferred || r.appliedTerm.Load() != v.term || !r.contacts.leased(v, r.number, time.Now().Add(-r.set.lease)) {
		return r.ReadBarrier(ctx)
	}
	return nil
}

// read asks the library for a read index.
func (d *driver) read(asked *reading) {
	if d.role != core.Leader {
		asked.done <- readIndex{err: d.r.notLeader("read index")}
		return
	}
	d.lastRead++
	d.reads[d.lastRead] = asked
	d.askAgain(d.lastRead)
}

// askAgain asks the library, once this leader has committed an entry of its term: until then it
// may not know what its predecessors, or it before a restart, have acknowledged. The library sees to
// that itself, but not in a group of one.
func (d *driver) askAgain(read uint64) {
	if !d.committedInTerm() {
		d.reads[read].asked = 0
		return
	}
	d.reads[read].asked = max(1, d.ticks)
	d.node.ReadIndex(binary.BigEndian.AppendUint64(nil, read))
}

// askWaiting asks for what could not be asked for before.
func (d *driver) askWaiting() {
	for read, asked := range d.reads {
		if asked.asked == 0 {
			d.askAgain(read)
		}
	}
}

func (d *driver) committedInTerm() bool {
	term, err := d.log.Term(d.r.committed.Load())
	return err == nil && term == d.term
}

// answered hands over a read index.
func (d *driver) answered(request []byte, index uint64) {
	if len(request) != 8 {
		return
	}
	read := binary.BigEndian.Uint64(request)
	if asked, ok := d.reads[read]; ok { // otherwise it was answered before
		delete(d.reads, read)
		asked.done <- readIndex{index: index}
	}
}

// contacts is what members have said to this replica as their leader. Safe for concurrent use.
type contacts struct {
	mu sync.Mutex
	of map[uint64]contact
}

// contact is what a member has said in a term.
type contact struct {
	term      uint64
	lastIndex uint64
	at        time.Time // when it did
	sent      time.Time // when the message was sent that it has answered
}

// heard notes an answer in term to what was sent at sent; lastIndex 0: it does not say.
func (c *contacts) heard(from, term, lastIndex uint64, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.of[from]
	if known.term != term {
		known = contact{term: term}
	}
	known.lastIndex = max(known.lastIndex, lastIndex)
	known.at = time.Now()
	if sent.After(known.sent) {
		known.sent = sent
	}
	c.of[from] = known
}

// keep forgets who is no member.
func (c *contacts) keep(members *configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.of {
		if _, member := members.numbered(n); !member {
			delete(c.of, n)
		}
	}
}

// leased says whether more than half of the voters, self included, have answered a message of
// the view's term that was sent not before since.
func (c *contacts) leased(v *view, self uint64, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	agree := 0
	for _, n := range v.voters {
		if known := c.of[n]; n == self || known.term == v.term && !known.sent.Before(since) {
			agree++
		}
	}
	return agree > len(v.voters)/2
}

// followers returns what the others have said in the view's term.
func (c *contacts) followers(v *view, self uint64, at func(uint64) string) []core.FollowerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var followers []core.FollowerStatus
	for _, m := range v.members.members {
		n := number(m)
		if n == self {
			continue
		}
		f := core.FollowerStatus{ID: m.ID}
		if known := c.of[n]; known.term == v.term {
			f.LastIndex, f.LastContact, f.Address = known.lastIndex, known.at, at(n)
		}
		followers = append(followers, f)
	}
	return followers
}
