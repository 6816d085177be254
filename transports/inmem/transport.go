package inmem

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

const (
	// waitingRequests is how many requests may wait at a member that is busy
	// before senders block, as a socket's buffer would hold some.
	waitingRequests = 16

	// snapshotUnit is the part of a snapshot that gets one timeout: hashicorp/raft
	// counts the same way over a network.
	snapshotUnit = raft.DefaultTimeoutScale
)

var (
	errPeerClosed = fmt.Errorf("the peer is %w", core.ErrClosed)
	errTimeout    = fmt.Errorf("no answer in time: %w", os.ErrDeadlineExceeded)
)

var (
	_ core.Transport   = (*transport)(nil)
	_ core.Interceptor = (*transport)(nil)
)

// transport is one member's end of a Network.
type transport struct {
	network   *Network
	address   raft.ServerAddress
	requests  chan raft.RPC // never closed: the engine would take that for requests
	heartbeat atomic.Pointer[func(raft.RPC)]
	intercept atomic.Pointer[func(*raft.RPC) bool]
	queueing  sync.RWMutex // held while a request is queued without an interceptor

	closing sync.Once
	done    chan struct{} // closed by Close

	mu        sync.Mutex
	closed    bool                   // no more pipelines and handlers
	pipelines map[*pipeline]struct{} // open ones that start here
	handlers  sync.WaitGroup         // heartbeat handlers under way
}

func newTransport(n *Network, address raft.ServerAddress) *transport {
	return &transport{
		network:   n,
		address:   address,
		requests:  make(chan raft.RPC, waitingRequests),
		done:      make(chan struct{}),
		pipelines: make(map[*pipeline]struct{}),
	}
}

// Consumer implements raft.Transport. The channel is never closed.
func (t *transport) Consumer() <-chan raft.RPC { return t.requests }

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return t.address }

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(_ raft.ServerID, address raft.ServerAddress) []byte {
	return []byte(address)
}

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(encoded []byte) raft.ServerAddress {
	return raft.ServerAddress(encoded)
}

// SetHeartbeatHandler implements raft.Transport. The handler runs on a goroutine
// of its own, for which Close waits.
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		t.heartbeat.Store(nil)
		return
	}
	t.heartbeat.Store(&handle)
}

// Intercept implements core.Interceptor. Requests that wait already are looked at
// too, on goroutines for which Close waits.
func (t *transport) Intercept(handle func(*raft.RPC) bool) {
	var waiting []raft.RPC
	take := func() {
		for {
			select {
			case rpc := <-t.requests:
				waiting = append(waiting, rpc)
			default:
				return
			}
		}
	}
	for !t.queueing.TryLock() { // senders may wait for room
		take()
		runtime.Gosched()
	}
	t.intercept.Store(&handle)
	take()
	t.queueing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, rpc := range waiting {
		if t.closed {
			rpc.Respond(nil, errPeerClosed)
			continue
		}
		t.handlers.Go(func() {
			if handle(&rpc) {
				return
			}
			if err := t.queue(rpc, nil, nil); err != nil {
				rpc.Respond(nil, err)
			}
		})
	}
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(_ raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return call(t, "append entries", target, raft.RPC{Command: req}, resp, t.network.opts.Timeout)
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(_ raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return call(t, "request vote", target, raft.RPC{Command: req}, resp, t.network.opts.Timeout)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return call(t, "request pre-vote", target, raft.RPC{Command: req}, resp, t.network.opts.Timeout)
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return call(t, "timeout now", target, raft.RPC{Command: req}, resp, t.network.opts.Timeout)
}

// InstallSnapshot implements raft.Transport. The receiver reads from data itself,
// and can no more once this call has returned.
func (t *transport) InstallSnapshot(_ raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	lent := lend(io.LimitReader(data, req.Size))
	defer lent.takeBack()
	timeout := t.network.opts.Timeout * time.Duration(max(1, req.Size/snapshotUnit))
	return call(t, "install snapshot", target, raft.RPC{Command: req, Reader: lent}, resp, timeout)
}

// AppendEntriesPipeline implements raft.Transport. The pipeline belongs to the
// caller, who closes it.
func (t *transport) AppendEntriesPipeline(_ raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.network.opts.MaxInFlight < 2 {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	peer, err := t.peer(target)
	if err != nil {
		return nil, t.failure("open a pipeline", target, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, t.failure("open a pipeline", target, core.ErrClosed)
	}
	p := startPipeline(t, peer, t.network.opts)
	t.pipelines[p] = struct{}{}
	return p, nil
}

// Close implements raft.WithClose. It waits for the transport's own goroutines:
// those of its pipelines and of heartbeat handlers under way, so a handler must
// not call it.
func (t *transport) Close() error {
	t.closing.Do(func() {
		t.network.forget(t)
		t.mu.Lock()
		t.closed = true
		open := make([]*pipeline, 0, len(t.pipelines))
		for p := range t.pipelines {
			open = append(open, p)
		}
		t.mu.Unlock()
		close(t.done)
		for _, p := range open {
			p.Close()
		}
		t.handlers.Wait()
	})
	return nil
}

// peer finds the transport at target, unless t is closed.
func (t *transport) peer(target raft.ServerAddress) (*transport, error) {
	select {
	case <-t.done:
		return nil, core.ErrClosed
	default:
		return t.network.find(target)
	}
}

func (t *transport) failure(op string, target raft.ServerAddress, err error) error {
	return fmt.Errorf("inmem: %s: %s to %s: %w", t.address, op, target, err)
}

// call sends rpc to target and copies the answer into resp.
func call[R any](t *transport, op string, target raft.ServerAddress, rpc raft.RPC, resp *R, timeout time.Duration) error {
	peer, err := t.peer(target)
	if err == nil {
		answers := make(chan raft.RPCResponse, 1)
		rpc.RespChan = answers
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		if err = peer.accept(rpc, timer.C, t.done); err == nil {
			err = copyAnswer(resp, peer.await(answers, timer.C, t.done, core.ErrClosed))
		}
	}
	if err != nil {
		return t.failure(op, target, err)
	}
	return nil
}

// await returns the answer to a request that t has accepted. After an error other than
// the answer's own it is not known whether t has seen the request; ended is the error
// once the sender is done.
func (t *transport) await(answers <-chan raft.RPCResponse, giveUp <-chan time.Time, senderDone <-chan struct{}, ended error) raft.RPCResponse {
	select {
	case answer := <-answers:
		return answer
	case <-t.done:
		return raft.RPCResponse{Error: errPeerClosed}
	case <-senderDone:
		return raft.RPCResponse{Error: ended}
	case <-giveUp:
		return raft.RPCResponse{Error: errTimeout}
	}
}

// accept takes a request of a peer in: a heartbeat goes to its handler past
// whatever waits, anything else queues for the consumer. giveUp and senderDone
// end the wait for a place in the queue.
func (t *transport) accept(rpc raft.RPC, giveUp <-chan time.Time, senderDone <-chan struct{}) error {
	if handle := t.intercept.Load(); handle == nil {
		t.queueing.RLock()
		defer t.queueing.RUnlock()
	}
	if handle := t.intercept.Load(); handle != nil && (*handle)(&rpc) {
		return nil
	}
	if handle := t.heartbeat.Load(); handle != nil && isHeartbeat(rpc.Command) {
		return t.goHandle(*handle, rpc)
	}
	return t.queue(rpc, giveUp, senderDone)
}

// queue hands a request to the consumer.
func (t *transport) queue(rpc raft.RPC, giveUp <-chan time.Time, senderDone <-chan struct{}) error {
	select {
	case t.requests <- rpc:
		return nil
	case <-t.done:
		return errPeerClosed
	case <-senderDone:
		return core.ErrClosed
	case <-giveUp:
		return errTimeout
	}
}

func (t *transport) goHandle(handle func(raft.RPC), rpc raft.RPC) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errPeerClosed
	}
	t.handlers.Go(func() { handle(rpc) })
	return nil
}

// isHeartbeat follows hashicorp/raft v1.7.3 (net_transport.go, handleCommand).
func isHeartbeat(command any) bool {
	req, ok := command.(*raft.AppendEntriesRequest)
	return ok && len(req.Entries) == 0 && req.Term != 0 &&
		req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && req.LeaderCommitIndex == 0 &&
		(len(req.RPCHeader.Addr) != 0 || req.Leader != nil)
}

// copyAnswer copies what was answered into resp and returns the answer's error.
func copyAnswer[R any](resp *R, answer raft.RPCResponse) error {
	given, ok := answer.Response.(*R)
	if ok && given != nil {
		*resp = *given
	}
	if answer.Error != nil {
		return answer.Error
	}
	if !ok || given == nil {
		return errors.New("the peer answered without a response of the expected type")
	}
	return nil
}

// lentReader lets a peer read from the sender's snapshot until the sender takes
// it back: the sender goes on to close what is behind it.
type lentReader struct {
	mu   sync.Mutex
	from io.Reader // nil once taken back
}

func lend(from io.Reader) *lentReader { return &lentReader{from: from} }

// Read implements io.Reader.
func (l *lentReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		return 0, fmt.Errorf("inmem: read snapshot after its call has ended: %w", core.ErrClosed)
	}
	return l.from.Read(p)
}

// takeBack waits for a read under way and makes later ones fail.
func (l *lentReader) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = nil
}
