package hashicorp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/handshake"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
	"github.com/themilchenko/raftlab/engines/internal/links"
	"github.com/themilchenko/raftlab/internal/sharing"
)

// guardedTransport has requests of the others pass the gate, finds members that have
// moved, takes answers only from the member that was asked, notes in rounds which peers
// agree, bounds messages and the wait for a member that is back, sends nothing that
// followers take for a sign of a leader while the log store has stalled, holds back
// answers for entries that are not durable here (see overlap), and is otherwise what
// it wraps.
type guardedTransport struct {
	core.Transport
	replica *replica
}

// Consumer implements raft.Transport.
func (t guardedTransport) Consumer() <-chan raft.RPC {
	if t.replica.gate.requests != nil {
		return t.replica.gate.requests
	}
	return t.Transport.Consumer()
}

// SetHeartbeatHandler implements raft.Transport.
func (t guardedTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle != nil {
		handle = t.replica.logs.isolated(handle)
		if t.replica.gate.requests != nil { // otherwise the transport has asked the gate
			quick := handle
			handle = func(rpc raft.RPC) { t.replica.gate.beat(rpc, quick) }
		}
	}
	t.Transport.SetHeartbeatHandler(handle)
}

// EncodePeer implements raft.Transport. It names the member and the group too. The
// library knows by this alone for whom it has voted, and another member may have the
// address later; and it is in every message.
func (t guardedTransport) EncodePeer(id raft.ServerID, address raft.ServerAddress) []byte {
	return t.replica.self.header(t.Transport, id, address)
}

// DecodePeer implements raft.Transport.
func (t guardedTransport) DecodePeer(encoded []byte) raft.ServerAddress {
	address, _, _ := bytes.Cut(encoded, []byte{0})
	return t.Transport.DecodePeer(address)
}

// AppendEntries implements raft.Transport.
func (t guardedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.replica.logs.Watch.Stalled() > 0 {
		return errMuted
	}
	trim(req)
	req.RPCHeader = addressed(req.RPCHeader, id)
	if !isHeartbeat(req) {
		if err := t.replica.outages.await(id, req.Term); err != nil {
			return err
		}
	} else if !t.replica.sendsTo(id, req.Term) {
		// The library ends its heartbeats with the replication, which may wait for a disk.
		return fmt.Errorf("heartbeat to %s: term %d is over here", id, req.Term)
	}
	sent, begun := t.replica.rounds.next(), time.Now()
	at, err := t.ask(id, target, resp, &resp.Term, func(at raft.ServerAddress) error {
		return t.Transport.AppendEntries(id, at, req, resp)
	})
	t.replica.outages.ended(id, err)
	if err == nil && resp.Success && resp.Term == req.Term {
		t.replica.rounds.agreed(id, agreement{term: req.Term, sent: sent, lastIndex: resp.LastLog, begun: begun, at: time.Now(), address: at})
	}
	if err != nil {
		return err
	}
	t.replica.trace.answered(id, &future{begun: begun, req: req, resp: resp})
	return t.replica.overlap.await(acknowledged(req, resp), nil)
}

// AppendEntriesPipeline implements raft.Transport. Who answers is not looked at: the
// library opens a pipeline right after an answer of the member to AppendEntries.
func (t guardedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	var p raft.AppendPipeline
	_, err := t.replica.routes.call(id, target, nil, func(at raft.ServerAddress) (err error) {
		p, err = t.Transport.AppendEntriesPipeline(id, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return guardedPipeline{p, t.replica.logs.Watch, addressed(t.replica.header(), id)}, nil
}

// ask calls a member as routes.call does, and refuses an answer of a term that no group
// can have come to.
func (t guardedTransport) ask(id raft.ServerID, target raft.ServerAddress, answer raft.WithRPCHeader, term *uint64, call func(at raft.ServerAddress) error) (raft.ServerAddress, error) {
	at, err := t.replica.routes.call(id, target, answer, call)
	if err == nil {
		err = t.replica.credible(*term)
	}
	return at, err
}

// RequestVote implements raft.Transport.
func (t guardedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, all *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	one := *all // the others are sent the same request
	one.RPCHeader = addressed(one.RPCHeader, id)
	_, err := t.ask(id, target, resp, &resp.Term, func(at raft.ServerAddress) error {
		return t.Transport.RequestVote(id, at, &one, resp)
	})
	return err
}

// RequestPreVote implements raft.WithPreVote.
func (t guardedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, all *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	t.replica.missed.await(t.replica.quit)
	one := *all
	one.RPCHeader = addressed(one.RPCHeader, id)
	_, err := t.ask(id, target, resp, &resp.Term, func(at raft.ServerAddress) error {
		return t.Transport.RequestPreVote(id, at, &one, resp)
	})
	return err
}

// InstallSnapshot implements raft.Transport. A snapshot is read once, so it is the
// library that tries again.
func (t guardedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if t.replica.logs.Watch.Stalled() > 0 {
		return errMuted
	}
	req.RPCHeader = addressed(req.RPCHeader, id)
	if err := t.replica.outages.await(id, req.Term); err != nil {
		return err
	}
	_, err := t.ask(id, target, nil, &resp.Term, func(at raft.ServerAddress) error {
		return t.Transport.InstallSnapshot(id, at, req, resp, data)
	})
	t.replica.outages.ended(id, err)
	return err
}

// TimeoutNow implements raft.Transport.
func (t guardedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	req.RPCHeader = addressed(req.RPCHeader, id)
	_, err := t.replica.routes.call(id, target, nil, func(at raft.ServerAddress) error {
		return t.Transport.TimeoutNow(id, at, req, resp)
	})
	return err
}

// The library bounds messages and its cache of the log by the number of entries
// only. Entries can be large: without a bound in bytes, a follower that lags
// behind a few of them is sent one message that never gets through in time,
// again and again.
const (
	// maxMessageBytes is how many bytes of commands one AppendEntries carries at
	// most, unless its first entry alone is larger.
	maxMessageBytes = 8 << 20
	// maxCachedBytes is how large an entry that is kept in the log cache may be.
	maxCachedBytes = 256 << 10
)

// trim shortens a message that has not been sent. The library goes on after the
// last entry that is still in it.
func trim(req *raft.AppendEntriesRequest) {
	size := 0
	for i, e := range req.Entries {
		size += len(e.Data)
		if i > 0 && size > maxMessageBytes {
			req.Entries = req.Entries[:i]
			return
		}
	}
}

// guardedPipeline is a pipeline to one member, of which the same holds as of
// guardedTransport.
type guardedPipeline struct {
	raft.AppendPipeline
	watch  *failstop.Watch
	header raft.RPCHeader // of each request
}

// AppendEntries implements raft.AppendPipeline.
func (p guardedPipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if p.watch.Stalled() > 0 {
		return nil, errMuted
	}
	trim(req)
	req.RPCHeader = p.header
	return p.AppendPipeline.AppendEntries(req, resp)
}

// hear is replica.hear.
type hear = func(from raft.ServerID, answer raft.AppendFuture, quit <-chan struct{}) raft.AppendFuture

// hear notes that an answer has come on a pipeline, and returns it as the library may see
// it until quit is closed.
func (r *replica) hear(from raft.ServerID, answer raft.AppendFuture, quit <-chan struct{}) raft.AppendFuture {
	r.trace.answered(from, answer)
	return r.overlap.hold(answer, quit)
}

// relaying is around a transport of structs, whose pipelines know nothing of hear.
type relaying struct {
	core.Transport
	hear hear
}

// AppendEntriesPipeline implements raft.Transport.
func (t relaying) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.Transport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &relay{AppendPipeline: inner, answers: make(chan raft.AppendFuture, maxHeld), quit: make(chan struct{})}
	p.running.Go(func() { p.run(id, t.hear) })
	return p, nil
}

// relay is around a pipeline of such a transport. It takes a goroutine.
type relay struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	running sync.WaitGroup
	closing sync.Once
	quit    chan struct{}
}

// Consumer implements raft.AppendPipeline.
func (p *relay) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *relay) Close() error {
	p.closing.Do(func() { close(p.quit) })
	err := p.AppendPipeline.Close()
	p.running.Wait()
	return err
}

func (p *relay) run(from raft.ServerID, hear hear) {
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- hear(from, answer, p.quit):
			case <-p.quit:
				return
			}
		case <-p.quit:
			return
		}
	}
}

// routes calls members where links.Routes has them.
type routes struct {
	*links.Routes
	own  raft.ServerAddress // no other member is there
	self *persona
}

func newRoutes(own string, self *persona, locate func(id string) (string, bool)) *routes {
	return &routes{Routes: links.NewRoutes(locate), own: raft.ServerAddress(own), self: self}
}

// call calls a member where it was last reached, and says where that was. Where
// nobody is reached, or another member, the next call goes to the other address, if
// there is one.
//
// Members share hosts, and a port that one had another may have later. The library
// takes any answer for that of the member it meant; a vote or an entry counted for
// two members is a majority that is none. So answer is looked at for its sender. It
// is nil for answers that the library does not put their sender in: those to snapshots
// and to transfers of leadership, which change nothing if another member gives them.
func (d *routes) call(id raft.ServerID, configured raft.ServerAddress, answer raft.WithRPCHeader, call func(at raft.ServerAddress) error) (raft.ServerAddress, error) {
	at := raft.ServerAddress(d.Target(string(id), string(configured)))
	if at == d.own {
		// Sent there, it would come to this replica, which takes it for another's: a
		// leader would step down.
		err := &strangerError{at: at, from: "this replica", meant: string(id)}
		d.Failed(string(id), string(configured), string(at))
		return at, err
	}
	err := call(at)
	if err == nil && answer != nil {
		from, _ := sender(answer.GetRPCHeader())
		if err = d.self.Recognise(from); err == nil && serverID(from.ID, from.Incarnation) != id {
			err = &strangerError{at: at, from: from.String(), meant: string(id)}
		}
	}
	if unreachable(err) {
		d.Failed(string(id), string(configured), string(at))
	}
	return at, err
}

// strangerError says that another member answered than the one that was asked.
type strangerError struct {
	at          raft.ServerAddress
	from, meant string
}

func (e *strangerError) Error() string {
	return "at " + string(e.at) + ", where " + e.meant + " should be, " + e.from + " answers"
}

func unreachable(err error) bool {
	var network net.Error
	var stranger *strangerError
	var refused *handshake.RefusedError
	return errors.As(err, &network) || errors.As(err, &stranger) || errors.As(err, &refused)
}

// toleratedFailures is how many calls in a row may fail before the next one waits
// for a sign of life. The library doubles its pause with each: after six it is 320 ms.
const toleratedFailures = 6

// outages knows which members do not answer. The library replicates to a member
// that has failed often only after a pause of up to 10 s, also when it has long
// answered heartbeats again. So a call to such a member is held here until it
// answers, which is no failure to the library.
type outages struct {
	current func(id raft.ServerID, term uint64) bool // still leading, and id still a member
	closed  <-chan struct{}

	mu       sync.Mutex
	failures map[raft.ServerID]int
	back     sharing.Event // a member has answered again
}

func newOutages(current func(raft.ServerID, uint64) bool, closed <-chan struct{}) *outages {
	return &outages{current: current, closed: closed, failures: map[raft.ServerID]int{}}
}

// ended notes how a call to a member has ended.
func (o *outages) ended(id raft.ServerID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failures[id]++
		return
	}
	if o.failures[id] > 0 {
		delete(o.failures, id)
		o.back.Happened()
	}
}

// lookInterval is how often a call that is held looks whether it is still wanted.
const lookInterval = 500 * time.Millisecond

// await returns nil once a call to the member has a chance, and an error if it is
// wanted no more.
func (o *outages) await(id raft.ServerID, term uint64) error {
	var tick *time.Ticker
	for {
		back := o.back.Channel() // before the failures are looked at
		o.mu.Lock()
		down := o.failures[id] >= toleratedFailures
		o.mu.Unlock()
		if !down {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(lookInterval)
			defer tick.Stop()
		}
		select {
		case <-back:
		case <-tick.C:
			if !o.current(id, term) {
				o.forget(id)
				return fmt.Errorf("%s has not answered: nothing more is sent to it in term %d", id, term)
			}
		case <-o.closed:
			return errStopping
		}
	}
}

func (o *outages) forget(id raft.ServerID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.failures, id)
}

// isHeartbeat reports whether the library sends the request to be heard from only:
// it carries nothing.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return len(req.Entries) == 0 && req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && req.LeaderCommitIndex == 0
}
