package coretest

import (
	"bytes"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

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
		respond(rpc, nil, errors.New(refusal))
		if err := mustReceive(t, done, "the end of "+name); err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%s that the handler refused: error is %v, want one that says %q", name, err, refusal)
		}
	}
	done := start(transportCalls(a, b)["AppendEntries"])
	rpc := mustReceive(t, b.Consumer(), "AppendEntries at the peer's Consumer")
	respond(rpc, &raft.AppendEntriesResponse{Term: 3}, errors.New(refusal))
	if err := mustReceive(t, done, "the end of AppendEntries"); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("AppendEntries answered with a response and an error: error is %v, want one that says %q", err, refusal)
	}
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
	var group sync.WaitGroup
	for caller := range uint64(callers) {
		from, to := a, b
		if caller%3 == 0 {
			from, to = b, a
		}
		group.Go(func() {
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
	group.Wait()
}

// wantFailures runs every call and wants errors.
func wantFailures(t *checker, when string, calls map[string]func() error) {
	t.Helper()
	for name, call := range calls {
		if err := mustReceive(t, start(call), "the end of "+name+" "+when); err == nil {
			t.Errorf("%s %s: no error", name, when)
		}
	}
}

// checkPeerGone closes the peer before calls to it: once before the first
// contact, once after one, when a connection may be waiting for its next use.
func checkPeerGone(t *checker, h transportHarness) {
	a, b := h.pair(t)
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	wantFailures(t, "to a peer that is gone", transportCalls(a, b))

	a, b = h.pair(t)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 3)
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
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
	if err := mustReceive(t, start(closing.Close), "the end of Close with calls out"); err != nil {
		t.Errorf("Close with calls out: %v", err)
	}
	for name, done := range out {
		if err := mustReceive(t, done, "the end of "+name+" after Close"); err == nil {
			t.Errorf("%s that was out at Close: no error", name)
		}
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
	if err := a.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
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
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() {
			if err := a.Close(); err != nil {
				t.Errorf("one of several concurrent Close: %v", err)
			}
		})
	}
	closers.Wait()
	if err := a.Close(); err != nil {
		t.Errorf("Close once more: %v", err)
	}
}

// checkRebind: after Close another transport can have the address, and its peer
// reaches it there.
func checkRebind(t *checker, h transportHarness) {
	a, b := h.pair(t)
	serve(t, b, echo(b))
	wantAppend(t, a, b, 1)
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	again := h.rebind(t.T, b)
	closeAtEnd(t, "the second transport at the address", again)
	if again.LocalAddr() != b.LocalAddr() {
		t.Fatalf("the second transport listens on %s, want %s", again.LocalAddr(), b.LocalAddr())
	}
	serve(t, again, echo(again))
	// A connection to the first one may be noticed to be dead only by its use.
	_ = transportCalls(a, again)["AppendEntries"]()
	wantAppend(t, a, again, 2)
	wantAppend(t, again, again, 3)
	if !bytes.Equal(a.EncodePeer("", again.LocalAddr()), a.EncodePeer("", b.LocalAddr())) {
		t.Error("the address is encoded in another way after the restart")
	}
}
