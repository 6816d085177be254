package coretest

import (
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// heartbeat is what hashicorp/raft v1.7.3 sends as one (replication.go) and
// recognises as one (net_transport.go): a term and a leader, and nothing else.
func heartbeat(from core.Transport) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: header(from), Term: 7, Leader: []byte(from.LocalAddr())}
}

// answerHeartbeats makes tr answer heartbeats in a term that shows who did.
func answerHeartbeats(tr core.Transport, term uint64) {
	tr.SetHeartbeatHandler(func(rpc raft.RPC) {
		respond(rpc, &raft.AppendEntriesResponse{RPCHeader: header(tr), Term: term, Success: true}, nil)
	})
}

// wantBeat sends a heartbeat and wants the handler's answer.
func wantBeat(t *checker, from, to core.Transport, term uint64) {
	t.Helper()
	var resp raft.AppendEntriesResponse
	done := start(func() error { return from.AppendEntries("peer", to.LocalAddr(), heartbeat(from), &resp) })
	if err := mustReceive(t, done, "the answer to a heartbeat"); err != nil {
		t.Fatalf("heartbeat: %v", err)
	}
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
	respond(busy, appendResponse(b, req), nil)
	if err := mustReceive(t, done, "the end of AppendEntries"); err != nil {
		t.Errorf("AppendEntries beside heartbeats: %v", err)
	}
	wantEqual(t, "the response to AppendEntries beside heartbeats", &resp, appendResponse(b, req))
}

// checkHeartbeatLookalikes: what is not a heartbeat in every respect goes to
// Consumer, so that it stays in order with the other requests.
func checkHeartbeatLookalikes(t *checker, h transportHarness) {
	a, b := h.pair(t)
	b.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Errorf("the heartbeat handler was given %+v", rpc.Command)
		respond(rpc, new(raft.AppendEntriesResponse), nil)
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
		respond(rpc, appendResponse(b, req), nil)
		if err := mustReceive(t, done, "the end of the call with "+what); err != nil {
			t.Errorf("AppendEntries with %s: %v", what, err)
		}
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
