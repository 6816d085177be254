package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/sharing"
)

const opPropose = "propose"

// How much may wait to be taken by the driver, and how much that is not committed yet it has.
const (
	maxWaiting          = 4096
	maxUncommitted      = 8192
	maxUncommittedBytes = 64 << 20
	maxBatchBytes       = 8 << 20
	// maxCommandBytes leaves room for one command in a message. One that fits into none would
	// hold up all that follow it.
	maxCommandBytes = 64 << 20
)

// The library takes an entry without data for a no-op, and cuts nothing off. So a command
// that is empty, or ends with the mark, has a mark behind it.
const mark = 0xff

func marked(command []byte) []byte {
	if n := len(command); n == 0 || command[n-1] == mark {
		return append(command[:n:n], mark)
	}
	return command
}

func unmarked(data []byte) []byte {
	if n := len(data); data[n-1] == mark {
		return data[:n-1]
	}
	return data
}

// proposal is an entry that somebody wants in the log: a command, or a change of the
// configuration.
type proposal struct {
	data   []byte                               // of a command
	change func(*configuration) ([]byte, error) // returns the data of a change; nil: it is a command
	to     core.Completion
}

func (p *proposal) fail(err error) { p.to.Complete(core.Applied{}, err) }

// proposals are those that wait to be taken. Safe for concurrent use.
type proposals struct {
	wake chan struct{} // holds one once there is something to take

	mu      sync.Mutex
	waiting []*proposal
	closed  bool
	room    sharing.Event
}

func newProposals() *proposals { return &proposals{wake: make(chan struct{}, 1)} }

// add has a proposal wait. It waits itself while too many do, until giveUp is closed, and
// returns false if the proposal was not added.
func (q *proposals) add(p *proposal, giveUp <-chan struct{}) bool {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return false
		}
		if len(q.waiting) < maxWaiting {
			q.waiting = append(q.waiting, p)
			q.mu.Unlock()
			select {
			case q.wake <- struct{}{}:
			default: // it knows
			}
			return true
		}
		room := q.room.Channel()
		q.mu.Unlock()
		select {
		case <-room:
		case <-giveUp:
			return false
		}
	}
}

// take moves up to limit proposals, of maxBatchBytes if there is more than one, to batch.
func (q *proposals) take(batch []*proposal, limit int) []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < min(limit, len(q.waiting)) && (n == 0 || size+len(q.waiting[n].data) <= maxBatchBytes) {
		size += len(q.waiting[n].data)
		n++
	}
	full := len(q.waiting) >= maxWaiting
	batch = append(batch, q.waiting[:n]...)
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	if rest > 0 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	if full {
		q.room.Happened()
	}
	return batch
}

// close returns those that nobody will take, and takes no more.
func (q *proposals) close() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting
	q.waiting, q.closed = nil, true
	q.room.Happened()
	return left
}

// Propose implements core.Replica: it begins a proposal and waits for it.
func (r *replica) Propose(ctx context.Context, command []byte) (core.Applied, error) {
	if err := ctx.Err(); err != nil {
		return core.Applied{}, fmt.Errorf("%s: %w", opPropose, err)
	}
	w := waiter{make(chan outcome, 1)} // never blocks who completes it
	r.begin(append(make([]byte, 0, len(command)+1), command...), w, ctx.Done())
	select {
	case o := <-w.outcome:
		return o.applied, o.err
	case <-ctx.Done():
		return core.Applied{}, unknown(opPropose, ctx.Err())
	}
}

// waiter is the completion of a caller that waits.
type waiter struct{ outcome chan outcome }

type outcome struct {
	applied core.Applied
	err     error
}

// Complete implements core.Completion.
func (w waiter) Complete(applied core.Applied, err error) { w.outcome <- outcome{applied, err} }

// Begin implements core.Proposer.
func (r *replica) Begin(command []byte, c core.Completion) { r.begin(command, c, r.Begun()) }

// begin has a command wait for the driver, for as long as giveUp lets it.
func (r *replica) begin(command []byte, c core.Completion, giveUp <-chan struct{}) {
	err := r.refuse(opPropose)
	if n := len(command); err == nil && n > maxCommandBytes {
		err = fmt.Errorf("%s: %w: a command of %d bytes, at most %d are allowed", opPropose, core.ErrInvalid, n, maxCommandBytes)
	}
	if err != nil {
		c.Complete(core.Applied{}, err)
		return
	}
	p := &proposal{data: marked(command), to: r.trace.proposed(command, c)}
	if r.proposals.add(p, giveUp) {
		return
	}
	err = r.stopped(opPropose)
	select {
	case <-r.Begun():
	case <-giveUp:
		err = fmt.Errorf("%s: %w: the caller left before the replica took it", opPropose, core.ErrOutcomeUnknown)
	default:
	}
	c.Complete(core.Applied{}, err)
}

// errChangePending refuses a change of the configuration while there is another: the caller
// tries again.
var errChangePending = errors.New("another change of the configuration is under way")

// pending are the proposals that the driver has. Its goroutine alone moves them on; who stops
// the replica while that goroutine hangs in a write gives them up. Each is in one list.
type pending struct {
	mu          sync.Mutex
	batch       []*proposal   // taken
	appended    []*proposal   // in the library's log, and to be found in the next Ready
	uncommitted []uncommitted // found; by index
	bytes       int           // of these
}

// hasRoom says whether more may be taken. What comes while the log is written shares the
// next write, and the next messages, unless it is to go ahead.
func (d *driver) hasRoom() bool {
	if d.writing > 0 && d.role == core.Leader && !d.r.options.AsyncStorageWrites {
		return false
	}
	p := &d.pending
	p.mu.Lock() // a stop takes what is pending from a driver that hangs
	defer p.mu.Unlock()
	return len(p.uncommitted) < maxUncommitted && p.bytes < maxUncommittedBytes
}

// take has the library take what waits, in one go: one message for each follower, one flush.
func (d *driver) take() {
	p := &d.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch = d.r.proposals.take(p.batch[:0], min(d.set.MaxAppendEntries, maxUncommitted-len(p.uncommitted)))
	for len(p.batch) > 0 {
		n := slices.IndexFunc(p.batch, func(next *proposal) bool { return next.change != nil })
		switch {
		case d.role != core.Leader:
			p.fail(1, d.r.notLeader(opPropose))
		case n != 0: // commands up to the next change
			if n < 0 {
				n = len(p.batch)
			}
			entries := make([]*pb.Entry, n)
			for i, next := range p.batch[:n] {
				entries[i] = &pb.Entry{Data: next.data}
			}
			d.append(entries)
		default:
			data, err := p.batch[0].change(d.members)
			if err != nil {
				p.fail(1, err)
				continue
			}
			d.append([]*pb.Entry{{Type: pb.EntryConfChangeV2.Enum(), Data: data}})
		}
	}
}

// fail fails the first n of the batch.
func (p *pending) fail(n int, err error) {
	for _, next := range p.batch[:n] {
		next.fail(err)
	}
	p.batch = p.batch[n:]
}

// append proposes entries, those of the first of the batch. They are then the last of the next
// Ready, in their order: the library copies them, so nothing else tells which they are.
func (d *driver) append(entries []*pb.Entry) {
	p, n := &d.pending, len(entries)
	err := d.node.Step(&pb.Message{Type: pb.MsgProp.Enum(), From: proto.Uint64(d.r.number), Entries: entries})
	switch {
	case err == nil:
		p.appended = append(p.appended, p.batch[:n]...)
		p.batch = p.batch[n:]
	case errors.Is(err, raft.ErrProposalDropped): // it does not lead, or gives leadership away
		p.fail(n, d.r.notLeader(opPropose))
	default:
		p.fail(n, err)
	}
}

// uncommitted is a proposal in the log.
type uncommitted struct {
	index, term uint64
	size        int
	*proposal
}

// matched finds the entries of what was appended among those of a Ready.
func (d *driver) matched(entries []*pb.Entry) {
	p := &d.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.appended) == 0 {
		return
	}
	lost := d.role != core.Leader || len(entries) < len(p.appended) // cannot be: nothing came in between
	for i, next := range p.appended {
		if lost {
			next.fail(unknown(opPropose, errors.New("the library lost track of it")))
			continue
		}
		e := entries[len(entries)-len(p.appended)+i]
		if next.change != nil && e.GetType() == pb.EntryNormal {
			next.fail(errChangePending)
			continue
		}
		p.uncommitted = append(p.uncommitted, uncommitted{e.GetIndex(), e.GetTerm(), len(next.data), next})
		p.bytes += len(next.data)
	}
	clear(p.appended)
	p.appended = p.appended[:0]
}

// committed takes out the proposals that committed entries are of. The result has one for each
// entry, nil for those of others; it is nil if there are none.
func (p *pending) committed(entries []*pb.Entry) []*proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.uncommitted) == 0 {
		return nil
	}
	found := make([]*proposal, len(entries))
	taken := 0
	for i, e := range entries {
		for taken < len(p.uncommitted) && p.uncommitted[taken].index <= e.GetIndex() {
			u := p.uncommitted[taken]
			taken++
			p.bytes -= u.size
			if u.index == e.GetIndex() && u.term == e.GetTerm() {
				found[i] = u.proposal
			} else {
				u.fail(unknown(opPropose, errors.New("another leader's entry has its place")))
			}
		}
	}
	clear(p.uncommitted[:taken])
	p.uncommitted = p.uncommitted[taken:]
	return found
}

// abandon tells all whose proposal is in the log, and not committed as far as is known here,
// that nobody will tell what becomes of it.
func (p *pending) abandon(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, next := range p.appended {
		next.fail(unknown(opPropose, cause))
	}
	for _, u := range p.uncommitted {
		u.fail(unknown(opPropose, cause))
	}
	p.appended, p.uncommitted, p.bytes = nil, nil, 0
}

// giveUp tells all, those too that were not appended.
func (p *pending) giveUp(cause error) {
	p.abandon(cause)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(len(p.batch), unknown(opPropose, cause))
}

func unknown(op string, cause error) error {
	return fmt.Errorf("%s: %w: %w", op, core.ErrOutcomeUnknown, cause)
}
