package coretest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// TestTransport checks a transport against the contract of core.Transport. make
// returns two members that reach each other under their LocalAddr; the suite
// closes both. Their timeout for a call should be well above a minute, so that a
// call which Close does not end is seen to hang.
func TestTransport(t *testing.T, make func(t *testing.T) (a, b core.Transport), opts ...Option) {
	t.Helper()
	cfg := configOf(opts)
	h := transportHarness{make: make, rebind: cfg.rebind}
	properties := []property[transportHarness]{
		{"Addresses", checkAddresses},
		{"EncodePeer", checkEncodePeer},
		{"AppendEntries", checkAppendEntries},
		{"RequestVote", checkRequestVote},
		{"RequestPreVote", checkRequestPreVote},
		{"TimeoutNow", checkTimeoutNow},
		{"ToSelf", checkToSelf},
		{"HandlerError", checkHandlerError},
		{"InstallSnapshot", checkInstallSnapshot},
		{"InstallSnapshotError", checkInstallSnapshotError},
		{"Heartbeat", checkHeartbeat},
		{"HeartbeatLookalikes", checkHeartbeatLookalikes},
		{"HeartbeatWithoutHandler", checkHeartbeatWithoutHandler},
		{"Concurrent", checkConcurrentCalls},
		{"PeerGone", checkPeerGone},
		{"CallerCloses", checkCallerCloses},
		{"PeerCloses", checkPeerCloses},
		{"UseAfterClose", checkTransportAfterClose},
		{"CloseTwice", checkTransportCloseTwice},
	}
	within(t, cfg.deadline, h.probe)
	if h.pipelines {
		properties = append(properties, pipelineProperties()...)
	}
	if h.rebind != nil {
		properties = append(properties, property[transportHarness]{"Rebind", checkRebind})
	}
	runAll(t, cfg, h, properties)
}

type transportHarness struct {
	make      func(t *testing.T) (a, b core.Transport)
	rebind    func(t *testing.T, closed core.Transport) core.Transport
	pipelines bool
}

// probe learns whether the transport has pipelines.
func (h *transportHarness) probe(t *checker) {
	a, b := h.pair(t)
	serve(t, b, echo(b))
	p, err := a.AppendEntriesPipeline("peer", b.LocalAddr())
	if h.pipelines = err != raft.ErrPipelineReplicationNotSupported; err == nil {
		t.must("Close of a pipeline", p.Close())
	}
}

// pair makes two members and closes them when the subtest ends.
func (h transportHarness) pair(t *checker) (a, b core.Transport) {
	t.Helper()
	a, b = h.make(t.T)
	closeAtEnd(t, "transport a", a)
	closeAtEnd(t, "transport b", b)
	return a, b
}

// serve answers the requests that reach tr, one after the other, until the
// subtest ends.
func serve(t *checker, tr core.Transport, answer func(raft.RPC)) {
	t.Helper()
	stop := each(tr.Consumer(), answer)
	t.Cleanup(func() {
		if err, ok := receive(t, stop(), "the end of a handler"); ok {
			t.should("handling requests", err)
		}
	})
}

// hold takes requests that reach tr and leaves them unanswered.
func hold(t *checker, tr core.Transport) <-chan raft.RPC {
	t.Helper()
	held := make(chan raft.RPC, 16)
	serve(t, tr, func(rpc raft.RPC) { held <- rpc })
	return held
}

func wantEqual(t *checker, what string, got, want any) {
	t.Helper()
	if diff := difference(got, want); diff != "" {
		t.Errorf("%s differs %s", what, diff)
	}
}

func header(tr core.Transport) raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte("id of " + tr.LocalAddr()),
		Addr:            tr.EncodePeer("", tr.LocalAddr()),
	}
}

// appendRequest makes a request with every field set and n entries from index
// first.
func appendRequest(from core.Transport, first uint64, n int) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{
		RPCHeader:         header(from),
		Term:              7,
		Leader:            []byte(from.LocalAddr()),
		PrevLogEntry:      first - 1,
		PrevLogTerm:       6,
		Entries:           entries(first, first+uint64(n)-1),
		LeaderCommitIndex: first,
	}
}

// appendResponse is the answer that the properties give to req.
func appendResponse(by core.Transport, req *raft.AppendEntriesRequest) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{
		RPCHeader: header(by), Term: req.Term + 1, LastLog: req.PrevLogEntry + uint64(len(req.Entries)),
		Success: true, NoRetryBackoff: true,
	}
}

// echo answers AppendEntries with appendResponse, votes with the term after
// their own, and anything else with an empty response.
func echo(by core.Transport) func(raft.RPC) {
	return func(rpc raft.RPC) {
		switch req := rpc.Command.(type) {
		case *raft.AppendEntriesRequest:
			rpc.Respond(appendResponse(by, req), nil)
		case *raft.RequestVoteRequest:
			rpc.Respond(&raft.RequestVoteResponse{RPCHeader: header(by), Term: req.Term + 1, Granted: true}, nil)
		case *raft.RequestPreVoteRequest:
			rpc.Respond(new(raft.RequestPreVoteResponse), nil)
		case *raft.TimeoutNowRequest:
			rpc.Respond(new(raft.TimeoutNowResponse), nil)
		case *raft.InstallSnapshotRequest:
			_, err := io.Copy(io.Discard, rpc.Reader)
			rpc.Respond(new(raft.InstallSnapshotResponse), err)
		default:
			rpc.Respond(nil, fmt.Errorf("unexpected %T", req))
		}
	}
}

// wantAppend sends one AppendEntries and checks the echo.
func wantAppend(t *checker, from, to core.Transport, index uint64) {
	t.Helper()
	req := appendRequest(from, index, 1)
	var resp raft.AppendEntriesResponse
	if err := from.AppendEntries("peer", to.LocalAddr(), req, &resp); err != nil {
		t.Errorf("AppendEntries of entry %d: %v", index, err)
		return
	}
	wantEqual(t, "the AppendEntries response", &resp, appendResponse(to, req))
}

func checkAddresses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	if a.LocalAddr() == "" || b.LocalAddr() == "" || a.LocalAddr() == b.LocalAddr() {
		t.Errorf("LocalAddr of the members: %q and %q, want two different ones", a.LocalAddr(), b.LocalAddr())
	}
	before := a.LocalAddr()
	t.must("Close", a.Close())
	if after := a.LocalAddr(); after != before {
		t.Errorf("LocalAddr became %q with Close, was %q", after, before)
	}
}

func checkEncodePeer(t *checker, h transportHarness) {
	a, b := h.pair(t)
	for _, address := range []raft.ServerAddress{a.LocalAddr(), b.LocalAddr()} {
		encoded := a.EncodePeer("some id", address)
		if got := b.DecodePeer(encoded); got != address {
			t.Errorf("DecodePeer(EncodePeer(%q)) = %q", address, got)
		}
	}
}

// exchange sends req from one member to the other with call, checks that it
// arrives as it was, answers with want and checks that this comes back.
func exchange[Req, Resp any](t *checker, to core.Transport, req *Req, want *Resp, call func(*Resp) error) {
	t.Helper()
	var got Resp
	done := start(func() error { return call(&got) })
	rpc := mustReceive(t, to.Consumer(), "the request at the peer's Consumer")
	arrived, ok := rpc.Command.(*Req)
	if !ok {
		t.Fatalf("a %T arrived as a %T", req, rpc.Command)
	}
	wantEqual(t, "the request that arrived", arrived, req)
	rpc.Respond(want, nil)
	t.must("the call", t.ended("the call", done))
	wantEqual(t, "the response that came back", &got, want)
}

func checkAppendEntries(t *checker, h transportHarness) {
	a, b := h.pair(t)
	for _, dir := range []struct{ from, to core.Transport }{{a, b}, {b, a}, {a, b}} {
		for _, n := range []int{1, 0, 64} {
			req := appendRequest(dir.from, 10, n)
			exchange(t, dir.to, req, appendResponse(dir.to, req), func(resp *raft.AppendEntriesResponse) error {
				return dir.from.AppendEntries("peer", dir.to.LocalAddr(), req, resp)
			})
		}
	}
	req := appendRequest(a, 3, 2)
	req.Entries[0] = &raft.Log{Index: 3, Type: raft.LogNoop, AppendedAt: time.Unix(5, 999_999_999)}
	req.Entries[1].Data = make([]byte, 1<<20)
	refusal := &raft.AppendEntriesResponse{Term: 99, LastLog: 2}
	exchange(t, b, req, refusal, func(resp *raft.AppendEntriesResponse) error {
		return a.AppendEntries("peer", b.LocalAddr(), req, resp)
	})
}

func checkRequestVote(t *checker, h transportHarness) {
	a, b := h.pair(t)
	req := &raft.RequestVoteRequest{
		RPCHeader: header(a), Term: 8, Candidate: []byte(a.LocalAddr()),
		LastLogIndex: 100, LastLogTerm: 7, LeadershipTransfer: true,
	}
	want := &raft.RequestVoteResponse{RPCHeader: header(b), Term: 9, Peers: []byte("peers"), Granted: true}
	exchange(t, b, req, want, func(resp *raft.RequestVoteResponse) error {
		return a.RequestVote("peer", b.LocalAddr(), req, resp)
	})
}

func checkRequestPreVote(t *checker, h transportHarness) {
	a, b := h.pair(t)
	req := &raft.RequestPreVoteRequest{RPCHeader: header(a), Term: 8, LastLogIndex: 100, LastLogTerm: 7}
	want := &raft.RequestPreVoteResponse{RPCHeader: header(b), Term: 9, Granted: true}
	exchange(t, b, req, want, func(resp *raft.RequestPreVoteResponse) error {
		return a.RequestPreVote("peer", b.LocalAddr(), req, resp)
	})
}

func checkTimeoutNow(t *checker, h transportHarness) {
	a, b := h.pair(t)
	req := &raft.TimeoutNowRequest{RPCHeader: header(a)}
	want := &raft.TimeoutNowResponse{RPCHeader: header(b)}
	exchange(t, b, req, want, func(resp *raft.TimeoutNowResponse) error {
		return a.TimeoutNow("peer", b.LocalAddr(), req, resp)
	})
}

// checkToSelf: a member may call its own address, as it does to campaign.
func checkToSelf(t *checker, h transportHarness) {
	a, _ := h.pair(t)
	serve(t, a, echo(a))
	wantAppend(t, a, a, 5)
}

// transportCalls are all calls to a peer.
func transportCalls(from, to core.Transport) map[string]func() error {
	target := to.LocalAddr()
	return map[string]func() error{
		"AppendEntries": func() error {
			return from.AppendEntries("peer", target, appendRequest(from, 5, 1), new(raft.AppendEntriesResponse))
		},
		"RequestVote": func() error {
			return from.RequestVote("peer", target, &raft.RequestVoteRequest{Term: 1}, new(raft.RequestVoteResponse))
		},
		"RequestPreVote": func() error {
			return from.RequestPreVote("peer", target, &raft.RequestPreVoteRequest{Term: 1}, new(raft.RequestPreVoteResponse))
		},
		"TimeoutNow": func() error {
			return from.TimeoutNow("peer", target, new(raft.TimeoutNowRequest), new(raft.TimeoutNowResponse))
		},
		"InstallSnapshot": func() error {
			state := strings.Repeat("state", 1000)
			req := &raft.InstallSnapshotRequest{Term: 1, Size: int64(len(state))}
			return from.InstallSnapshot("peer", target, req, new(raft.InstallSnapshotResponse), strings.NewReader(state))
		},
	}
}

// checkHandlerError: the text of the handler's error reaches the caller, with
// and without a response beside it, and the next call works.
func checkHandlerError(t *checker, h transportHarness) {
	const refusal = "refused for a reason"
	a, b := h.pair(t)
	for name, call := range transportCalls(a, b) {
		if name == "InstallSnapshot" {
			continue // see checkInstallSnapshotError
		}
		done := start(call)
		rpc := mustReceive(t, b.Consumer(), name+" at the peer's Consumer")
		rpc.Respond(nil, errors.New(refusal))
		t.failedSaying(name+" that the handler refused", done, refusal)
	}
	done := start(transportCalls(a, b)["AppendEntries"])
	rpc := mustReceive(t, b.Consumer(), "AppendEntries at the peer's Consumer")
	rpc.Respond(&raft.AppendEntriesResponse{Term: 3}, errors.New(refusal))
	t.failedSaying("AppendEntries answered with a response and an error", done, refusal)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 9)
}

// checkConcurrentCalls: every caller gets the answer to its own request.
func checkConcurrentCalls(t *checker, h transportHarness) {
	const callers, calls = 12, 40
	a, b := h.pair(t)
	serve(t, a, echo(a))
	serve(t, b, echo(b))
	serve(t, b, echo(b))
	all := group{t: t}
	for caller := range uint64(callers) {
		from, to := a, b
		if caller%3 == 0 {
			from, to = b, a
		}
		all.do(func() {
			for i := range uint64(calls) {
				index := 1 + caller*calls + i
				if i%2 == 0 {
					wantAppend(t, from, to, index)
					continue
				}
				var resp raft.RequestVoteResponse
				req := &raft.RequestVoteRequest{Term: index}
				if err := from.RequestVote("peer", to.LocalAddr(), req, &resp); err != nil || resp.Term != index+1 {
					t.Errorf("RequestVote in term %d: answer of term %d, %v, want term %d", index, resp.Term, err, index+1)
				}
			}
		})
	}
	all.Wait()
}

// wantFailures runs every call and wants errors.
func wantFailures(t *checker, when string, calls map[string]func() error) {
	t.Helper()
	for name, call := range calls {
		t.fails(name+" "+when, call)
	}
}

// checkPeerGone closes the peer before calls to it: once before the first
// contact, once after one, when a connection may be waiting for its next use.
func checkPeerGone(t *checker, h transportHarness) {
	a, b := h.pair(t)
	t.must("Close", b.Close())
	wantFailures(t, "to a peer that is gone", transportCalls(a, b))

	a, b = h.pair(t)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 3)
	t.must("Close", b.Close())
	wantFailures(t, "to a peer that is gone since the last call", transportCalls(a, b))
	wantFailures(t, "to a peer that is gone, once more", transportCalls(a, b))
}

// closeDuringCalls starts every call from a to b, waits until b has them all,
// closes one of the two and wants all calls to fail.
func closeDuringCalls(t *checker, a, b, closing core.Transport) {
	t.Helper()
	held := hold(t, b)
	out := map[string]<-chan error{}
	for name, call := range transportCalls(a, b) {
		out[name] = start(call)
		mustReceive(t, held, name+" at the peer")
	}
	t.succeeds("Close with calls out", closing.Close)
	for name, done := range out {
		t.failed(name+" that was out at Close", done)
	}
}

func checkCallerCloses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	closeDuringCalls(t, a, b, a)
}

func checkPeerCloses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	closeDuringCalls(t, a, b, b)
}

func checkTransportAfterClose(t *checker, h transportHarness) {
	a, b := h.pair(t)
	serve(t, b, echo(b)) // a request that gets there all the same succeeds
	t.must("Close", a.Close())
	calls := transportCalls(a, b)
	calls["AppendEntriesPipeline"] = func() error {
		p, err := a.AppendEntriesPipeline("peer", b.LocalAddr())
		if err == nil {
			p.Close()
		}
		return err
	}
	wantFailures(t, "after Close", calls)

	// The engine selects on Consumer: a closed channel would hand it empty
	// requests without end.
	select {
	case rpc, open := <-a.Consumer():
		t.Errorf("Consumer after Close: received %+v, open: %v", rpc, open)
	default:
	}
}

func checkTransportCloseTwice(t *checker, h transportHarness) {
	a, b := h.pair(t)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 1)
	closers := group{t: t}
	for range 3 {
		closers.do(func() {
			t.should("one of several concurrent Close", a.Close())
		})
	}
	closers.Wait()
	t.should("Close once more", a.Close())
}

// checkRebind: after Close another transport can have the address, and its peer
// reaches it there.
func checkRebind(t *checker, h transportHarness) {
	a, b := h.pair(t)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 1)
	t.must("Close", b.Close())
	rebound := h.rebind(t.T, b)
	closeAtEnd(t, "the second transport at the address", rebound)
	if rebound.LocalAddr() != b.LocalAddr() {
		t.Fatalf("the second transport listens on %s, want %s", rebound.LocalAddr(), b.LocalAddr())
	}
	serve(t, rebound, echo(rebound))
	// A connection to the first one may be noticed to be dead only by its use.
	_ = transportCalls(a, rebound)["AppendEntries"]()
	wantAppend(t, a, rebound, 2)
	wantAppend(t, rebound, rebound, 3)
	if !bytes.Equal(a.EncodePeer("", rebound.LocalAddr()), a.EncodePeer("", b.LocalAddr())) {
		t.Error("the address is encoded in another way after the restart")
	}
}

// heartbeat is what hashicorp/raft v1.7.3 sends as one (replication.go) and
// recognises as one (net_transport.go): a term and a leader, and nothing else.
func heartbeat(from core.Transport) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: header(from), Term: 7, Leader: []byte(from.LocalAddr())}
}

// answerHeartbeats makes tr answer heartbeats in a term that shows which handler did.
func answerHeartbeats(tr core.Transport, term uint64) {
	tr.SetHeartbeatHandler(func(rpc raft.RPC) {
		rpc.Respond(&raft.AppendEntriesResponse{RPCHeader: header(tr), Term: term, Success: true}, nil)
	})
}

// wantBeat sends a heartbeat and wants the handler's answer.
func wantBeat(t *checker, from, to core.Transport, term uint64) {
	t.Helper()
	var resp raft.AppendEntriesResponse
	done := start(func() error { return from.AppendEntries("peer", to.LocalAddr(), heartbeat(from), &resp) })
	t.must("heartbeat", t.ended("a heartbeat", done))
	want := &raft.AppendEntriesResponse{RPCHeader: header(to), Term: term, Success: true}
	wantEqual(t, "the answer to a heartbeat", &resp, want)
}

// checkHeartbeat: heartbeats reach their handler while nobody takes requests,
// and while one that was taken is not answered.
func checkHeartbeat(t *checker, h transportHarness) {
	a, b := h.pair(t)
	answerHeartbeats(b, 50)
	wantBeat(t, a, b, 50)

	req := appendRequest(a, 5, 1)
	var resp raft.AppendEntriesResponse
	done := start(func() error { return a.AppendEntries("peer", b.LocalAddr(), req, &resp) })
	wantBeat(t, a, b, 50)
	busy := mustReceive(t, b.Consumer(), "AppendEntries at the peer")
	for range 20 {
		wantBeat(t, a, b, 50)
	}
	answerHeartbeats(b, 60)
	wantBeat(t, a, b, 60)
	busy.Respond(appendResponse(b, req), nil)
	t.succeeded("AppendEntries beside heartbeats", done)
	wantEqual(t, "the response to AppendEntries beside heartbeats", &resp, appendResponse(b, req))
}

// checkHeartbeatLookalikes: what is not a heartbeat in every respect goes to
// Consumer, so that it stays in order with the other requests.
func checkHeartbeatLookalikes(t *checker, h transportHarness) {
	a, b := h.pair(t)
	b.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Errorf("the heartbeat handler was given %+v", rpc.Command)
		rpc.Respond(new(raft.AppendEntriesResponse), nil)
	})
	for what, change := range map[string]func(*raft.AppendEntriesRequest){
		"an entry":           func(r *raft.AppendEntriesRequest) { r.Entries = entries(1, 1) },
		"a commit index":     func(r *raft.AppendEntriesRequest) { r.LeaderCommitIndex = 1 },
		"a previous entry":   func(r *raft.AppendEntriesRequest) { r.PrevLogEntry = 1 },
		"a previous term":    func(r *raft.AppendEntriesRequest) { r.PrevLogTerm = 1 },
		"no term":            func(r *raft.AppendEntriesRequest) { r.Term = 0 },
		"no leader anywhere": func(r *raft.AppendEntriesRequest) { r.RPCHeader.Addr, r.Leader = nil, nil },
	} {
		req := heartbeat(a)
		change(req)
		done := start(func() error {
			return a.AppendEntries("peer", b.LocalAddr(), req, new(raft.AppendEntriesResponse))
		})
		rpc := mustReceive(t, b.Consumer(), "a heartbeat with "+what+" at Consumer")
		rpc.Respond(appendResponse(b, req), nil)
		t.succeeded("AppendEntries with "+what, done)
	}
}

// checkHeartbeatWithoutHandler: without a handler, a heartbeat is a request like
// any other.
func checkHeartbeatWithoutHandler(t *checker, h transportHarness) {
	a, b := h.pair(t)
	req := heartbeat(a)
	exchange(t, b, req, appendResponse(b, req), func(resp *raft.AppendEntriesResponse) error {
		return a.AppendEntries("peer", b.LocalAddr(), req, resp)
	})
}

// checkInstallSnapshot streams a state whose second half is given only once the receiver
// has read some of the first: a transport that reads a snapshot to its end before it
// delivers the request never gets there.
func checkInstallSnapshot(t *checker, h transportHarness) {
	const size, ahead, first = 8 << 20, 4 << 20, 1 << 20 // bytes: in all, given at once, read for the rest
	a, b := h.pair(t)
	req := &raft.InstallSnapshotRequest{
		RPCHeader: header(a), SnapshotVersion: raft.SnapshotVersionMax, Term: 7, Leader: []byte(a.LocalAddr()),
		LastLogIndex: 900, LastLogTerm: 6, Peers: []byte("peers"),
		Configuration: []byte("configuration"), ConfigurationIndex: 800, Size: size,
	}
	state, opened := randomBytes(size, 7), make(chan struct{})
	out, in := io.Pipe()
	giving := start(func() error {
		if _, err := in.Write(state[:ahead]); err != nil {
			return err
		}
		select {
		case <-opened:
		case <-time.After(t.patience / 2):
			return in.CloseWithError(fmt.Errorf("the receiver had read nothing after %d bytes: the snapshot is not streamed", ahead))
		}
		_, err := in.Write(state[ahead:])
		return errors.Join(err, in.Close())
	})
	var resp raft.InstallSnapshotResponse
	done := start(func() error { defer out.Close(); return a.InstallSnapshot("peer", b.LocalAddr(), req, &resp, out) })

	rpc := mustReceive(t, b.Consumer(), "InstallSnapshot at the peer's Consumer")
	wantEqual(t, "the request that arrived", rpc.Command, any(req))
	if rpc.Reader == nil {
		t.Fatal("InstallSnapshot came without a Reader")
	}
	got := make([]byte, size)
	_, err := io.ReadFull(rpc.Reader, got[:first])
	t.must("reading the start of the snapshot", err)
	close(opened)
	_, err = io.ReadFull(rpc.Reader, got[first:])
	t.must("reading the rest of the snapshot", err)
	if n, err := rpc.Reader.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("reading behind the snapshot: %d bytes, %v, want io.EOF", n, err)
	}
	want := &raft.InstallSnapshotResponse{RPCHeader: header(b), Term: 8, Success: true}
	rpc.Respond(want, nil)
	t.must("InstallSnapshot", t.ended("InstallSnapshot", done))
	wantEqual(t, "the response that came back", &resp, want)
	t.succeeded("giving the snapshot", giving)
	if !bytes.Equal(got, state) {
		t.Error("the receiver has read other bytes than the sender gave")
	}
}

// checkInstallSnapshotError: the receiver refuses after it has read everything;
// and, on the sender's side, the state cannot be read.
func checkInstallSnapshotError(t *checker, h transportHarness) {
	const refusal = "no room for the snapshot"
	a, b := h.pair(t)
	serve(t, b, func(rpc raft.RPC) {
		if _, err := io.Copy(io.Discard, rpc.Reader); err != nil {
			rpc.Respond(nil, err)
			return
		}
		rpc.Respond(new(raft.InstallSnapshotResponse), errors.New(refusal))
	})
	t.failedSaying("InstallSnapshot that the handler refused", start(transportCalls(a, b)["InstallSnapshot"]), refusal)

	req := &raft.InstallSnapshotRequest{Term: 1, Size: 1000}
	broken := io.MultiReader(strings.NewReader("a few bytes"), iotest.ErrReader(errors.New("the state cannot be read")))
	failed := start(func() error {
		return a.InstallSnapshot("peer", b.LocalAddr(), req, new(raft.InstallSnapshotResponse), broken)
	})
	t.failed("InstallSnapshot with a state that cannot be read", failed)
}
