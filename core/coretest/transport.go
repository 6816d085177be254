package coretest

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
	h := transportHarness{make: make, rebind: cfg.rebind, looseFutures: cfg.looseFutures}
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
		{"Pipeline", checkPipeline},
		{"PipelineHandlerError", checkPipelineHandlerError},
		{"PipelineClose", checkPipelineClose},
		{"PipelinePeerCloses", checkPipelinePeerCloses},
		{"PipelineOwnerCloses", checkPipelineOwnerCloses},
		{"PipelineToNobody", checkPipelineToNobody},
		{"Concurrent", checkConcurrentCalls},
		{"PeerGone", checkPeerGone},
		{"CallerCloses", checkCallerCloses},
		{"PeerCloses", checkPeerCloses},
		{"UseAfterClose", checkTransportAfterClose},
		{"CloseTwice", checkTransportCloseTwice},
	}
	if h.rebind != nil {
		properties = append(properties, property[transportHarness]{"Rebind", checkRebind})
	}
	runAll(t, cfg, h, properties)
}

type transportHarness struct {
	make         func(t *testing.T) (a, b core.Transport)
	rebind       func(t *testing.T, closed core.Transport) core.Transport
	looseFutures bool
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
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case rpc := <-tr.Consumer():
				answer(rpc)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		receive(t, stopped, "the end of a handler")
	})
}

// hold takes requests that reach tr and leaves them unanswered.
func hold(t *checker, tr core.Transport) <-chan raft.RPC {
	t.Helper()
	held := make(chan raft.RPC, 16)
	serve(t, tr, func(rpc raft.RPC) { held <- rpc })
	return held
}

// respond answers rpc. The channel is buffered by whoever made the request.
func respond(rpc raft.RPC, response any, err error) { rpc.Respond(response, err) }

func wantEqual(t *checker, what string, got, want any) {
	t.Helper()
	// Bytes are compared whole: cmp's own way is slow for large entries.
	whole := cmp.FilterValues(func(x, y []byte) bool { return len(x)+len(y) > 0 }, cmp.Comparer(bytes.Equal))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), whole); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
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
			respond(rpc, appendResponse(by, req), nil)
		case *raft.RequestVoteRequest:
			respond(rpc, &raft.RequestVoteResponse{RPCHeader: header(by), Term: req.Term + 1, Granted: true}, nil)
		case *raft.RequestPreVoteRequest:
			respond(rpc, new(raft.RequestPreVoteResponse), nil)
		case *raft.TimeoutNowRequest:
			respond(rpc, new(raft.TimeoutNowResponse), nil)
		case *raft.InstallSnapshotRequest:
			_, err := io.Copy(io.Discard, rpc.Reader)
			respond(rpc, new(raft.InstallSnapshotResponse), err)
		default:
			respond(rpc, nil, fmt.Errorf("unexpected %T", req))
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
	if err := a.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
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
	respond(rpc, want, nil)
	if err := mustReceive(t, done, "the end of the call"); err != nil {
		t.Fatalf("the call: %v", err)
	}
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
