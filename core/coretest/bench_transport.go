package coretest

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// BenchmarkTransport measures AppendEntries from one member to another that
// answers at once: call by call, and in a pipeline. make returns the two
// members; they are closed after each sub-benchmark. Call it inside a b.Run that
// names the transport, as in "transport=tcp".
//
// Besides the time: MB/s of the entries' data, and entries/s.
func BenchmarkTransport(b *testing.B, make func(b *testing.B) (sender, receiver core.Transport)) {
	b.Helper()
	modes := []struct {
		name    string
		measure func(b *testing.B, from, to core.Transport, req *raft.AppendEntriesRequest)
	}{
		{"append", benchCalls},
		{"append-pipeline", benchPipeline},
	}
	for _, mode := range modes {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("rpc=%s/batch=%d", mode.name, batch), func(b *testing.B) {
				from, to := make(b)
				b.Cleanup(func() {
					if err := from.Close(); err != nil {
						b.Errorf("Close of the sender: %v", err)
					}
					if err := to.Close(); err != nil {
						b.Errorf("Close of the receiver: %v", err)
					}
				})
				answerAll(b, to)
				b.SetBytes(int64(batch) * benchEntrySize)
				b.ReportAllocs()
				mode.measure(b, from, to, benchRequest(from, batch))
				b.ReportMetric(float64(b.N)*float64(batch)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}

func benchRequest(from core.Transport, batch int) *raft.AppendEntriesRequest {
	req := appendRequest(from, 1000, batch)
	for _, l := range req.Entries {
		l.Data, l.Extensions, l.AppendedAt = randomBytes(benchEntrySize, 1), nil, time.Now()
	}
	return req
}

// answerAll answers every AppendEntries with success until the benchmark ends.
func answerAll(b *testing.B, tr core.Transport) {
	b.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case rpc := <-tr.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
			case <-stop:
				return
			}
		}
	}()
	b.Cleanup(func() {
		close(stop)
		<-stopped
	})
}

func benchCalls(b *testing.B, from, to core.Transport, req *raft.AppendEntriesRequest) {
	target := to.LocalAddr()
	for b.Loop() {
		var resp raft.AppendEntriesResponse
		if err := from.AppendEntries("peer", target, req, &resp); err != nil {
			b.Fatalf("AppendEntries: %v", err)
		}
	}
}

// benchPipeline sends as fast as the pipeline takes requests; all but those
// under way at the end have been answered within the time.
func benchPipeline(b *testing.B, from, to core.Transport, req *raft.AppendEntriesRequest) {
	p, err := from.AppendEntriesPipeline("peer", to.LocalAddr())
	if err != nil {
		b.Fatalf("AppendEntriesPipeline: %v", err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case f := <-p.Consumer():
				if err := f.Error(); err != nil {
					b.Errorf("AppendEntries in the pipeline: %v", err)
				}
			case <-stop:
				return
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
		p.Close()
	}()
	for b.Loop() {
		if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
			b.Fatalf("AppendEntries: %v", err)
		}
	}
}
