package coretest

import (
	"errors"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// openPipeline opens a pipeline and closes it when the subtest ends.
func openPipeline(t *checker, from, to core.Transport) raft.AppendPipeline {
	t.Helper()
	p, err := from.AppendEntriesPipeline("peer", to.LocalAddr())
	if err != nil {
		t.Fatalf("AppendEntriesPipeline: %v", err)
	}
	closeAtEnd(t, "the pipeline", p)
	return p
}

// checkPipeline: requests arrive in the order sent, and the futures come out in
// the same order, each with its own request and response.
func checkPipeline(t *checker, h transportHarness) {
	const requests = 300
	a, b := h.pair(t)
	next := uint64(1)
	serve(t, b, func(rpc raft.RPC) {
		req, ok := rpc.Command.(*raft.AppendEntriesRequest)
		if !ok || req.PrevLogEntry != next-1 {
			t.Errorf("request %d of the pipeline arrived as %+v", next, rpc.Command)
		}
		next++
		respond(rpc, appendResponse(b, req), nil)
	})
	p := openPipeline(t, a, b)
	type sending struct {
		req    *raft.AppendEntriesRequest
		resp   *raft.AppendEntriesResponse
		future raft.AppendFuture
	}
	sent := make(chan sending, requests)
	done := start(func() error {
		for i := range uint64(requests) {
			req, resp := appendRequest(a, i+1, int(i%3)), new(raft.AppendEntriesResponse)
			f, err := p.AppendEntries(req, resp)
			if err != nil {
				return err
			}
			sent <- sending{req, resp, f}
		}
		return nil
	})
	for i := range requests {
		f := mustReceive(t, p.Consumer(), "the next future of the pipeline")
		s := mustReceive(t, sent, "the return of the pipeline's AppendEntries")
		if f == nil || f != s.future {
			t.Fatalf("future %d came out of order", i)
		}
		if err := f.Error(); err != nil {
			t.Fatalf("future %d: %v", i, err)
		}
		if f.Request() != s.req || f.Response() != s.resp || f.Start().IsZero() {
			t.Fatalf("future %d: Request, Response or Start are not those of the call", i)
		}
		wantEqual(t, "the response of a future", f.Response(), appendResponse(b, s.req))
	}
	if err := mustReceive(t, done, "the end of sending"); err != nil {
		t.Errorf("AppendEntries of the pipeline: %v", err)
	}
}

// checkPipelineHandlerError: a refused request still comes out, as the engine
// learns of it in no other way.
func checkPipelineHandlerError(t *checker, h transportHarness) {
	const refusal = "refused for a reason"
	a, b := h.pair(t)
	serve(t, b, func(rpc raft.RPC) { respond(rpc, nil, errors.New(refusal)) })
	p := openPipeline(t, a, b)
	sent := start(func() error {
		_, err := p.AppendEntries(appendRequest(a, 1, 1), new(raft.AppendEntriesResponse))
		return err
	})
	f := mustReceive(t, p.Consumer(), "the future of the refused request")
	if err := f.Error(); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("future of a refused request: error is %v, want one that says %q", err, refusal)
	}
	if f.Response().Success {
		t.Error("future of a refused request: Success is set")
	}
	if err := mustReceive(t, sent, "the return of AppendEntries"); err != nil {
		t.Errorf("AppendEntries of the pipeline: %v", err)
	}
}

// stalled is a pipeline to a peer that answers nothing of it.
type stalled struct {
	first   raft.AppendFuture   // the peer has this request
	blocked <-chan error        // what the sender, once it is blocked, returns with
	further []raft.AppendFuture // of the requests it got rid of; to be read after blocked
}

// stall fills the pipeline p from a to b. The peer goes on answering votes.
func stall(t *checker, a, b core.Transport, p raft.AppendPipeline) *stalled {
	t.Helper()
	held := make(chan raft.RPC, 1)
	serve(t, b, func(rpc raft.RPC) {
		if _, append := rpc.Command.(*raft.AppendEntriesRequest); !append {
			echo(b)(rpc)
			return
		}
		select {
		case held <- rpc:
		default:
		}
	})
	first, err := p.AppendEntries(appendRequest(a, 1, 1), new(raft.AppendEntriesResponse))
	if err != nil {
		t.Fatalf("AppendEntries of the pipeline: %v", err)
	}
	mustReceive(t, held, "the first request at the peer")
	s := &stalled{first: first}
	s.blocked = start(func() error {
		const most = 10_000 // far above any bound on requests under way
		for i := range uint64(most) {
			f, err := p.AppendEntries(appendRequest(a, i+2, 1), new(raft.AppendEntriesResponse))
			if err != nil {
				return err
			}
			if f == nil {
				t.Error("AppendEntries of the pipeline returned neither a future nor an error")
				return nil
			}
			s.further = append(s.further, f)
		}
		t.Errorf("the pipeline took %d requests without an answer to any", most)
		return nil
	})
	return s
}

// wantCancelled checks that the sender was let go, and that every request which
// was under way has failed.
func (h transportHarness) wantCancelled(t *checker, s *stalled) {
	t.Helper()
	if err := mustReceive(t, s.blocked, "the return of the blocked sender"); err == nil {
		t.Error("the sender that was blocked: no error")
	}
	if h.looseFutures {
		return
	}
	for i, f := range append([]raft.AppendFuture{s.first}, s.further...) {
		if err := mustReceive(t, start(f.Error), "the failure of a request that was under way"); err == nil {
			t.Errorf("request %d that was under way: no error", i)
		}
	}
}

// wantPipelineEnded checks what the engine relies on after Close: later sends
// fail, and Consumer delivers no nil future. hashicorp/raft v1.7.3 may still be
// receiving from it (replication.go, pipelineDecode), so it must not be closed.
func wantPipelineEnded(t *checker, a core.Transport, p raft.AppendPipeline) {
	t.Helper()
	ended := start(func() error {
		_, err := p.AppendEntries(appendRequest(a, 1, 1), new(raft.AppendEntriesResponse))
		return err
	})
	if err := mustReceive(t, ended, "the return of AppendEntries on an ended pipeline"); err == nil {
		t.Error("AppendEntries on an ended pipeline: no error")
	}
	for {
		select {
		case f, open := <-p.Consumer():
			if !open || f == nil {
				t.Errorf("Consumer of an ended pipeline delivers %v, open: %v", f, open)
				return
			}
			continue
		default:
		}
		return
	}
}

func checkPipelineClose(t *checker, h transportHarness) {
	a, b := h.pair(t)
	p := openPipeline(t, a, b)
	s := stall(t, a, b, p)
	for range 2 {
		if err := mustReceive(t, start(p.Close), "the end of the pipeline's Close"); err != nil {
			t.Errorf("Close of the pipeline: %v", err)
		}
	}
	h.wantCancelled(t, s)
	wantPipelineEnded(t, a, p)
	if err := transportCalls(a, b)["RequestVote"](); err != nil {
		t.Errorf("RequestVote after a pipeline to the same peer was closed: %v", err)
	}
}

// checkPipelinePeerCloses: the request that was under way fails, and is still
// delivered, which is how the engine leaves its pipeline.
func checkPipelinePeerCloses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	p := openPipeline(t, a, b)
	s := stall(t, a, b, p)
	if err := mustReceive(t, start(b.Close), "the end of the peer's Close"); err != nil {
		t.Errorf("Close of the peer: %v", err)
	}
	delivered := mustReceive(t, p.Consumer(), "the failed future")
	if delivered != s.first {
		t.Error("the first future to come out is not that of the first request")
	}
	if err := mustReceive(t, start(delivered.Error), "the failure of the request under way"); err == nil {
		t.Error("the request that was under way when the peer closed: no error")
	}
	for { // the sender goes on until it meets the error
		select {
		case <-p.Consumer():
			continue
		case err := <-s.blocked:
			if err == nil {
				t.Error("the sender that was blocked when the peer closed: no error")
			}
		}
		break
	}
}

// checkPipelineOwnerCloses: Close of the transport ends its pipelines.
func checkPipelineOwnerCloses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	p := openPipeline(t, a, b)
	s := stall(t, a, b, p)
	if err := mustReceive(t, start(a.Close), "the end of Close with a pipeline open"); err != nil {
		t.Errorf("Close with a pipeline open: %v", err)
	}
	h.wantCancelled(t, s)
	wantPipelineEnded(t, a, p)
}

// checkPipelineToNobody: a pipeline to a peer that is gone fails when it is
// opened, or its first request does.
func checkPipelineToNobody(t *checker, h transportHarness) {
	a, b := h.pair(t)
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	failed := start(func() error {
		p, err := a.AppendEntriesPipeline("peer", b.LocalAddr())
		if err != nil {
			return err
		}
		defer p.Close()
		f, err := p.AppendEntries(appendRequest(a, 1, 1), new(raft.AppendEntriesResponse))
		if err != nil {
			return err
		}
		return f.Error()
	})
	if err := mustReceive(t, failed, "the failure of a pipeline to nobody"); err == nil {
		t.Error("a pipeline to a peer that is gone works")
	}
}
