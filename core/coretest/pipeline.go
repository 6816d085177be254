package coretest

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

func pipelineProperties() []property[transportHarness] {
	return []property[transportHarness]{
		{"Pipeline", checkPipeline},
		{"PipelineHandlerError", checkPipelineHandlerError},
		{"PipelineClose", checkPipelineClose},
		{"PipelinePeerCloses", checkPipelinePeerCloses},
		{"PipelineOwnerCloses", checkPipelineOwnerCloses},
		{"PipelineToNobody", checkPipelineToNobody},
	}
}

// openPipeline opens a pipeline and closes it when the subtest ends.
func openPipeline(t *checker, from, to core.Transport) raft.AppendPipeline {
	t.Helper()
	p, err := from.AppendEntriesPipeline("peer", to.LocalAddr())
	t.must("AppendEntriesPipeline", err)
	closeAtEnd(t, "the pipeline", p)
	return p
}

// sendEntry sends one entry through a pipeline that begins at from.
func sendEntry(p raft.AppendPipeline, from core.Transport, index uint64) (raft.AppendFuture, error) {
	return p.AppendEntries(appendRequest(from, index, 1), new(raft.AppendEntriesResponse))
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
		rpc.Respond(appendResponse(b, req), nil)
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
		t.must(fmt.Sprintf("future %d", i), f.Error())
		if f.Request() != s.req || f.Response() != s.resp || f.Start().IsZero() {
			t.Fatalf("future %d: Request, Response or Start are not those of the call", i)
		}
		wantEqual(t, "the response of a future", f.Response(), appendResponse(b, s.req))
	}
	t.succeeded("AppendEntries of the pipeline", done)
}

// checkPipelineHandlerError: a refused request still comes out, as the engine
// learns of it in no other way.
func checkPipelineHandlerError(t *checker, h transportHarness) {
	const refusal = "refused for a reason"
	a, b := h.pair(t)
	serve(t, b, func(rpc raft.RPC) { rpc.Respond(nil, errors.New(refusal)) })
	p := openPipeline(t, a, b)
	sent := start(func() error { _, err := sendEntry(p, a, 1); return err })
	f := mustReceive(t, p.Consumer(), "the future of the refused request")
	t.failedSaying("the future of a refused request", start(f.Error), refusal)
	if f.Response().Success {
		t.Error("future of a refused request: Success is set")
	}
	t.succeeded("AppendEntries of the pipeline", sent)
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
	first, err := sendEntry(p, a, 1)
	t.must("AppendEntries of the pipeline", err)
	mustReceive(t, held, "the first request at the peer")
	s := &stalled{first: first}
	s.blocked = start(func() error {
		const most = 10_000 // far above any bound on requests under way
		for i := range uint64(most) {
			f, err := sendEntry(p, a, i+2)
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
	t.failed("the sender that was blocked", s.blocked)
	for i, f := range append([]raft.AppendFuture{s.first}, s.further...) {
		t.fails(fmt.Sprintf("request %d that was under way", i), f.Error)
	}
}

// wantPipelineEnded checks what the engine relies on after Close: later sends
// fail, and Consumer delivers no nil future. hashicorp/raft v1.7.3 may still be
// receiving from it (replication.go, pipelineDecode), so it must not be closed.
func wantPipelineEnded(t *checker, a core.Transport, p raft.AppendPipeline) {
	t.Helper()
	t.fails("AppendEntries on an ended pipeline", func() error { _, err := sendEntry(p, a, 1); return err })
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
		t.succeeds("Close of the pipeline", p.Close)
	}
	h.wantCancelled(t, s)
	wantPipelineEnded(t, a, p)
	t.should("RequestVote after a pipeline to the same peer was closed", transportCalls(a, b)["RequestVote"]())
}

// checkPipelinePeerCloses: the request that was under way fails, and is still
// delivered, which is how the engine leaves its pipeline.
func checkPipelinePeerCloses(t *checker, h transportHarness) {
	a, b := h.pair(t)
	p := openPipeline(t, a, b)
	s := stall(t, a, b, p)
	t.succeeds("Close of the peer", b.Close)
	delivered := mustReceive(t, p.Consumer(), "the failed future")
	if delivered != s.first {
		t.Error("the first future to come out is not that of the first request")
	}
	t.fails("the request that was under way when the peer closed", delivered.Error)
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
	t.succeeds("Close with a pipeline open", a.Close)
	h.wantCancelled(t, s)
	wantPipelineEnded(t, a, p)
}

// checkPipelineToNobody: a pipeline to a peer that is gone fails when it is
// opened, or its first request does.
func checkPipelineToNobody(t *checker, h transportHarness) {
	a, b := h.pair(t)
	t.must("Close", b.Close())
	t.fails("a pipeline to a peer that is gone", func() error {
		p, err := a.AppendEntriesPipeline("peer", b.LocalAddr())
		if err != nil {
			return err
		}
		defer p.Close()
		f, err := sendEntry(p, a, 1)
		if err != nil {
			return err
		}
		return f.Error()
	})
}
