package inmem_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
)

// pair makes two members of a network; inside a synctest bubble time is virtual.
func pair(t *testing.T, opts inmem.Options) (a, b core.Transport) {
	t.Helper()
	n := inmem.New(opts)
	a, b = listen(t, n, ""), listen(t, n, "")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func appendTo(a, b core.Transport) error {
	req := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 4}
	return a.AppendEntries("b", b.LocalAddr(), req, new(raft.AppendEntriesResponse))
}

func TestAddressesAreChosenInOrder(t *testing.T) {
	n := inmem.New(inmem.Options{})
	for _, step := range []struct{ bind, want string }{
		{"", "mem-1"}, {"mem-2", "mem-2"}, {"", "mem-3"}, {"127.0.0.1:0", "mem-4"}, {"node-a", "node-a"},
	} {
		tr := listen(t, n, step.bind)
		defer tr.Close()
		if got := string(tr.LocalAddr()); got != step.want {
			t.Errorf("Listen(%q): address %q, want %q", step.bind, got, step.want)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	a, b := pair(t, inmem.Options{})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := appendTo(a, b); !errors.Is(err, core.ErrClosed) {
		t.Errorf("call after Close: %v, want core.ErrClosed", err)
	}
	err := appendTo(b, a)
	if !errors.Is(err, core.ErrNotFound) || !strings.Contains(err.Error(), string(a.LocalAddr())) {
		t.Errorf("call to nobody: %v, want core.ErrNotFound and the address", err)
	}
}

// TestCallTimesOut covers a peer that takes the request and does not answer, and
// one that takes nothing while its queue is full.
func TestCallTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		a, b := pair(t, inmem.Options{Timeout: timeout})
		for call := range 40 {
			begin := time.Now()
			if err := appendTo(a, b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("call %d that nobody answers: %v, want os.ErrDeadlineExceeded", call, err)
			}
			if took := time.Since(begin); took != timeout {
				t.Fatalf("call %d that nobody answers ended after %v, want %v", call, took, timeout)
			}
		}
		late := <-b.Consumer() // an answer that nobody waits for any more harms nothing
		late.Respond(&raft.AppendEntriesResponse{}, nil)
	})
}

func TestSnapshotTimeoutGrowsWithSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, inmem.Options{Timeout: time.Second})
		begin := time.Now()
		req := &raft.InstallSnapshotRequest{Size: 4 * raft.DefaultTimeoutScale}
		err := a.InstallSnapshot("b", b.LocalAddr(), req, new(raft.InstallSnapshotResponse), strings.NewReader(""))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 4*time.Second {
			t.Errorf("InstallSnapshot of four units: %v after %v, want a timeout after 4s", err, time.Since(begin))
		}
	})
}

// TestSnapshotIsTakenBack: once the call has ended, the receiver must not read
// from the sender's snapshot, which the sender closes.
func TestSnapshotIsTakenBack(t *testing.T) {
	a, b := pair(t, inmem.Options{})
	done := make(chan error, 1)
	go func() {
		req := &raft.InstallSnapshotRequest{Size: 100}
		done <- a.InstallSnapshot("b", b.LocalAddr(), req, new(raft.InstallSnapshotResponse), strings.NewReader(strings.Repeat("x", 100)))
	}()
	rpc := <-b.Consumer()
	if _, err := io.ReadFull(rpc.Reader, make([]byte, 10)); err != nil {
		t.Fatalf("reading while the call is out: %v", err)
	}
	a.Close()
	if err := <-done; !errors.Is(err, core.ErrClosed) {
		t.Errorf("InstallSnapshot at Close: %v, want core.ErrClosed", err)
	}
	if n, err := rpc.Reader.Read(make([]byte, 10)); n != 0 || !errors.Is(err, core.ErrClosed) {
		t.Errorf("reading after the call has ended: %d, %v, want core.ErrClosed", n, err)
	}
}

func TestAnswerOfAnotherType(t *testing.T) {
	a, b := pair(t, inmem.Options{})
	for _, answer := range []any{nil, new(raft.RequestVoteResponse), (*raft.AppendEntriesResponse)(nil)} {
		done := make(chan error, 1)
		go func() { done <- appendTo(a, b) }()
		rpc := <-b.Consumer()
		rpc.Respond(answer, nil)
		if err := <-done; err == nil {
			t.Errorf("AppendEntries answered with %#v: no error", answer)
		}
	}
}

func TestPipelineBoundsRequestsUnderWay(t *testing.T) {
	for _, bound := range []int{2, 3, 8} {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t, inmem.Options{MaxInFlight: bound, Timeout: time.Hour})
			p, err := a.AppendEntriesPipeline("b", b.LocalAddr())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			go func() {
				for {
					req := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 4}
					if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
						return
					}
				}
			}()
			var waiting []raft.RPC
			for answered := range 5 {
				synctest.Wait()
				for len(b.Consumer()) > 0 {
					waiting = append(waiting, <-b.Consumer())
				}
				synctest.Wait()
				if len(waiting) != bound || len(b.Consumer()) != 0 {
					t.Fatalf("after %d answers %d requests are under way, want %d", answered, len(waiting)+len(b.Consumer()), bound)
				}
				waiting[0].Respond(&raft.AppendEntriesResponse{}, nil)
				waiting = waiting[1:]
				<-p.Consumer()
			}
		})
	}
}

func TestPipelineCloseFailsAllUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 7
		a, b := pair(t, inmem.Options{MaxInFlight: requests + 1, Timeout: time.Hour})
		p, err := a.AppendEntriesPipeline("b", b.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		var futures []raft.AppendFuture
		for range requests {
			f, err := p.AppendEntries(&raft.AppendEntriesRequest{PrevLogEntry: 4}, new(raft.AppendEntriesResponse))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		p.Close()
		for i, f := range futures {
			if err := f.Error(); !errors.Is(err, raft.ErrPipelineShutdown) {
				t.Errorf("request %d under way at Close: %v, want raft.ErrPipelineShutdown", i, err)
			}
		}
	})
}

func TestPipelineTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, inmem.Options{Timeout: time.Second})
		p, err := a.AppendEntriesPipeline("b", b.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for request := range 3 {
			time.Sleep(300 * time.Millisecond) // virtual; each request has the whole timeout
			begin := time.Now()
			f, err := p.AppendEntries(&raft.AppendEntriesRequest{PrevLogEntry: 4}, new(raft.AppendEntriesResponse))
			if err != nil {
				t.Fatal(err)
			}
			if delivered := <-p.Consumer(); delivered != f || !errors.Is(f.Error(), os.ErrDeadlineExceeded) {
				t.Errorf("request %d that nobody answers: %v, want os.ErrDeadlineExceeded", request, f.Error())
			}
			if took := time.Since(begin); took != time.Second {
				t.Errorf("request %d that nobody answers ended after %v, want 1s", request, took)
			}
		}
	})
}

func TestPipeliningOff(t *testing.T) {
	a, b := pair(t, inmem.Options{MaxInFlight: 1})
	if _, err := a.AppendEntriesPipeline("b", b.LocalAddr()); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("pipeline with one message in flight: %v, want raft.ErrPipelineReplicationNotSupported itself", err)
	}
}

// TestCloseWaitsForHeartbeatHandler: the caller is let go at once, Close itself
// waits for the goroutine that it owns.
func TestCloseWaitsForHeartbeatHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, inmem.Options{Timeout: time.Hour})
		release, closed := make(chan struct{}), make(chan struct{})
		b.SetHeartbeatHandler(func(rpc raft.RPC) { <-release })
		call := make(chan error, 1)
		go func() {
			beat := &raft.AppendEntriesRequest{Term: 1, Leader: []byte("a")}
			call <- a.AppendEntries("b", b.LocalAddr(), beat, new(raft.AppendEntriesResponse))
		}()
		synctest.Wait()
		go func() { b.Close(); close(closed) }()
		synctest.Wait()
		if err := <-call; !errors.Is(err, core.ErrClosed) {
			t.Errorf("heartbeat to a peer that closes: %v, want core.ErrClosed", err)
		}
		select {
		case <-closed:
			t.Error("Close has not waited for the heartbeat handler")
		default:
		}
		close(release)
		<-closed
	})
}
