package hashicorp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/transports/tcp"
)

func listen(t testing.TB) core.Wire {
	t.Helper()
	link, err := tcp.New(tcp.Options{}).Listen("")
	if err != nil {
		t.Fatal(err)
	}
	return link.Wire
}

// stock is the library's own transport on a wire.
func stock(t testing.TB, inFlight int, newTimes bool) core.Transport {
	t.Helper()
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: listen(t), MaxPool: 3, MaxRPCsInFlight: inFlight, Timeout: time.Minute,
		MsgpackUseNewTimeFormat: newTimes, Logger: hclog.NewNullLogger(),
	})
}

func framing(t testing.TB, inFlight int) core.Transport {
	t.Helper()
	return hashicorp.Frame(listen(t), hashicorp.FrameOptions{MaxInFlight: inFlight, Timeout: time.Minute})
}

// responder answers what comes to a transport until the test ends: requests of term 99
// with an error and a response, the others with what can be told from them.
type responder struct {
	last any // the last request; read only after its answer
	body []byte
}

const refusedTerm = 99

var errRefused = errors.New("refused: 100 % for a reason")

func respondTo(t *testing.T, tr core.Transport) *responder {
	t.Helper()
	r := new(responder)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case rpc := <-tr.Consumer():
				r.answer(rpc)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended })
	tr.SetHeartbeatHandler(func(rpc raft.RPC) {
		rpc.Respond(&raft.AppendEntriesResponse{Term: 1, LastLog: 12345, Success: true}, nil)
	})
	return r
}

func (r *responder) answer(rpc raft.RPC) {
	r.last = rpc.Command
	from := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("id"), Addr: bytes.Repeat([]byte("a"), 300)}
	switch req := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		var err error
		if req.Term == refusedTerm {
			err = errRefused
		}
		rpc.Respond(&raft.AppendEntriesResponse{RPCHeader: from, Term: req.Term, LastLog: req.PrevLogEntry + uint64(len(req.Entries)), Success: err == nil, NoRetryBackoff: true}, err)
	case *raft.RequestVoteRequest:
		rpc.Respond(&raft.RequestVoteResponse{RPCHeader: from, Term: req.Term, Peers: []byte("p"), Granted: true}, nil)
	case *raft.RequestPreVoteRequest:
		rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: from, Term: req.Term, Granted: true}, nil)
	case *raft.TimeoutNowRequest:
		rpc.Respond(nil, errRefused)
	case *raft.InstallSnapshotRequest:
		var err error
		r.body, err = io.ReadAll(rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{RPCHeader: from, Term: req.Term, Success: true}, err)
	}
}

// TestInterop: a group is upgraded one node after the other, so the library's own
// transport and this one are on either end of one wire.
func TestInterop(t *testing.T) {
	for _, inFlight := range []int{2, 16} {
		for _, newTimes := range []bool{false, true} {
			for _, asks := range []string{"frame", "library"} {
				t.Run(fmt.Sprintf("%s-asks/new-times-%v/in-flight-%d", asks, newTimes, inFlight), func(t *testing.T) {
					from, to := framing(t, inFlight), stock(t, inFlight, newTimes)
					if asks == "library" {
						from, to = to, from
					}
					answers := respondTo(t, to)
					interoperate(t, from, to, answers)
					for _, tr := range []core.Transport{from, to} {
						if err := tr.Close(); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

func entriesTo(term uint64, first uint64, n int) *raft.AppendEntriesRequest {
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("from"), Addr: []byte("its address")},
		Term:      term, PrevLogEntry: first - 1, PrevLogTerm: term, LeaderCommitIndex: first - 1,
	}
	for i := range n {
		req.Entries = append(req.Entries, &raft.Log{
			Index: first + uint64(i), Term: term, Type: raft.LogType(i % 3), Data: bytes.Repeat([]byte{byte(i)}, i*i), AppendedAt: time.Unix(1_790_000_000, int64(i)).UTC(),
		})
	}
	return req
}

func interoperate(t *testing.T, from, to core.Transport, answers *responder) {
	at := to.LocalAddr()
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	for _, n := range []int{0, 1, 3, 20, 300} { // up to 90 kB an entry, 9 MB in all
		req := entriesTo(7, 5, n)
		var resp raft.AppendEntriesResponse
		if err := from.AppendEntries("to", at, req, &resp); err != nil || !resp.Success || resp.LastLog != 4+uint64(len(req.Entries)) || len(resp.Addr) != 300 {
			t.Fatalf("%d entries: %v, %+v", n, err, resp)
		}
		same("AppendEntries", answers.last, any(req))
	}
	beat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("leader")}, Term: 7}
	var heard raft.AppendEntriesResponse
	if err := from.AppendEntries("to", at, beat, &heard); err != nil || heard.LastLog != 12345 {
		t.Errorf("a heartbeat: %v, %+v", err, heard)
	}
	if err := from.AppendEntries("to", at, entriesTo(refusedTerm, 5, 1), new(raft.AppendEntriesResponse)); err == nil {
		t.Errorf("a refusal: %v", err)
	}
	vote := &raft.RequestVoteRequest{Term: 8, Candidate: []byte("c"), LastLogIndex: 1 << 40, LeadershipTransfer: true}
	var given raft.RequestVoteResponse
	if err := from.RequestVote("to", at, vote, &given); err != nil || !given.Granted || given.Term != 8 || string(given.Peers) != "p" {
		t.Errorf("a vote: %v, %+v", err, given)
	}
	same("RequestVote", answers.last, any(vote))
	var would raft.RequestPreVoteResponse
	if err := from.RequestPreVote("to", at, &raft.RequestPreVoteRequest{Term: 9}, &would); err != nil || !would.Granted || would.Term != 9 {
		t.Errorf("a pre-vote: %v, %+v", err, would)
	}
	if err := from.TimeoutNow("to", at, new(raft.TimeoutNowRequest), new(raft.TimeoutNowResponse)); err == nil {
		t.Error("TimeoutNow that is refused: no error")
	}
	state := bytes.Repeat([]byte("state of the machine "), 100_000)
	install := &raft.InstallSnapshotRequest{SnapshotVersion: 1, Term: 7, Configuration: []byte("conf"), Size: int64(len(state))}
	var installed raft.InstallSnapshotResponse
	if err := from.InstallSnapshot("to", at, install, &installed, bytes.NewReader(state)); err != nil || !installed.Success || !bytes.Equal(answers.body, state) {
		t.Errorf("a snapshot: %v, %+v, %d bytes", err, installed, len(answers.body))
	}
	same("InstallSnapshot", answers.last, any(install))
	interoperatePipeline(t, from, at)
}

func interoperatePipeline(t *testing.T, from core.Transport, at raft.ServerAddress) {
	p, err := from.AppendEntriesPipeline("to", at)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const requests = 200
	sent := make(chan error, 1)
	go func() {
		for i := range uint64(requests) {
			if _, err := p.AppendEntries(entriesTo(7, 1+i, int(i%20)), new(raft.AppendEntriesResponse)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range uint64(requests) {
		select {
		case f := <-p.Consumer():
			if err := f.Error(); err != nil || f.Response().LastLog != i+i%20 || f.Request().PrevLogEntry != i {
				t.Fatalf("request %d of the pipeline: %v, %+v", i, err, f.Response())
			}
		case <-time.After(time.Minute):
			t.Fatal("the pipeline has stopped")
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// BenchmarkFraming sends requests of entries of 280 bytes over loopback TCP to an end that
// answers at once, by calls and through a pipeline, with this framing and the library's.
func BenchmarkFraming(b *testing.B) {
	for _, entries := range []int{0, 1, 64} {
		for _, framingOf := range []string{"ours", "library"} {
			b.Run(fmt.Sprintf("op=call/entries=%d/framing=%s", entries, framingOf), func(b *testing.B) {
				from, at, req := benchEnds(b, framingOf, entries)
				b.ReportAllocs()
				for b.Loop() {
					if err := from.AppendEntries("to", at, req, new(raft.AppendEntriesResponse)); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("op=pipeline/entries=%d/framing=%s", entries, framingOf), func(b *testing.B) {
				from, at, req := benchEnds(b, framingOf, entries)
				p, err := from.AppendEntriesPipeline("to", at)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { p.Close() })
				b.ReportAllocs()
				var taken sync.WaitGroup
				taken.Go(func() {
					for range b.N {
						if err := (<-p.Consumer()).Error(); err != nil {
							b.Error(err)
						}
					}
				})
				b.ResetTimer()
				for range b.N {
					if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
						b.Fatal(err)
					}
				}
				taken.Wait()
			})
		}
	}
}

func benchEnds(b *testing.B, framingOf string, entries int) (from core.Transport, at raft.ServerAddress, req *raft.AppendEntriesRequest) {
	from, to := framing(b, 2), framing(b, 2)
	if framingOf == "library" {
		must(b, from.Close(), to.Close())
		from, to = stock(b, 2, false), stock(b, 2, false)
	}
	done := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			select {
			case rpc := <-to.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
			case <-done:
				return
			}
		}
	})
	b.Cleanup(func() {
		close(done)
		serving.Wait()
		must(b, from.Close(), to.Close())
	})
	req = entriesTo(3, 100_001, entries)
	for _, e := range req.Entries {
		e.Data = make([]byte, 280)
	}
	return from, to.LocalAddr(), req
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
