package coretest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

const (
	benchEntrySize = 256    // bytes of data in each entry
	benchMostKept  = 16_384 // entries that a log grows to before a prefix goes
	benchKept      = 1024   // entries that are left then
	benchRange     = 512    // entries that one DeleteRange removes
)

// BenchmarkLogStore measures a log store: appending in batches, reading at
// random, deleting prefixes. Call it inside a b.Run that names the store, as in
// "backend=bolt". Every sub-benchmark opens a store in a new folder; the log
// stays below 20,000 entries of 256 bytes, and what keeps it there is outside
// the timer and the counts.
//
// Besides the time: MB/s and entries/s of what was appended, read or deleted,
// and fsyncs/op where the store is a core.SyncCounter.
func BenchmarkLogStore(b *testing.B, open func(b *testing.B, dir string) core.LogStore) {
	b.Helper()
	run := func(name string, measure func(*storeBench)) {
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir())
			b.Cleanup(func() { must(b, "Close", s.Close()) })
			measure(&storeBench{B: b, store: s, next: 1, first: 1})
		})
	}
	for _, batch := range []int{1, 64, 512} {
		run(fmt.Sprintf("op=append/batch=%d", batch), func(m *storeBench) { m.append(batch) })
	}
	run("op=get", (*storeBench).get)
	run(fmt.Sprintf("op=delete-prefix/entries=%d", benchRange), (*storeBench).deletePrefix)
}

// storeBench is one measurement of a store.
type storeBench struct {
	*testing.B
	store core.LogStore

	first, next  uint64 // the log is [first, next)
	outsideSyncs uint64 // flushes that belong to no measured operation
}

// batch makes n entries; put numbers them.
func (m *storeBench) batch(n int) []*raft.Log {
	random := rand.NewChaCha8([32]byte{1})
	logs := make([]*raft.Log, n)
	for i := range logs {
		logs[i] = &raft.Log{Term: 3, Type: raft.LogCommand, Data: make([]byte, benchEntrySize), AppendedAt: time.Now()}
		random.Read(logs[i].Data) // no store may gain by compressing
	}
	return logs
}

// put appends logs.
func (m *storeBench) put(logs []*raft.Log) {
	for _, l := range logs {
		l.Index = m.next
		m.next++
	}
	must(m, "StoreLogs", m.store.StoreLogs(logs))
}

// drop deletes the log before index.
func (m *storeBench) drop(index uint64) {
	must(m, "DeleteRange", m.store.DeleteRange(m.first, index-1))
	m.first = index
}

// outside runs what must show neither in the time nor in the counts.
func (m *storeBench) outside(do func()) {
	m.StopTimer()
	before := m.syncs()
	do()
	m.outsideSyncs += m.syncs() - before
	m.StartTimer()
}

func (m *storeBench) syncs() uint64 {
	if c, ok := core.As[core.SyncCounter](m.store); ok {
		return c.SyncCount()
	}
	return 0
}

// loop measures op, which handles the given number of entries.
func (m *storeBench) loop(entriesPerOp int, op func()) {
	m.SetBytes(int64(entriesPerOp) * benchEntrySize)
	m.ReportAllocs()
	before := m.syncs()
	m.outsideSyncs = 0
	for m.Loop() {
		op()
	}
	m.ReportMetric(float64(m.N)*float64(entriesPerOp)/m.Elapsed().Seconds(), "entries/s")
	if _, ok := core.As[core.SyncCounter](m.store); ok {
		m.ReportMetric(float64(m.syncs()-before-m.outsideSyncs)/float64(m.N), "fsyncs/op")
	}
}

func (m *storeBench) append(batch int) {
	logs := m.batch(batch)
	m.loop(batch, func() {
		m.put(logs)
		if m.next-m.first >= benchMostKept {
			m.outside(func() { m.drop(m.next - benchKept) })
		}
	})
}

func (m *storeBench) get() {
	logs := m.batch(benchRange)
	for m.next < benchMostKept {
		m.put(logs)
	}
	random := rand.New(rand.NewPCG(1, 2))
	m.loop(1, func() {
		var l raft.Log
		index := m.first + random.Uint64N(m.next-m.first)
		must(m, "GetLog", m.store.GetLog(index, &l))
	})
}

func (m *storeBench) deletePrefix() {
	logs := m.batch(benchRange)
	fill := func() {
		for m.next-m.first < benchMostKept {
			m.put(logs)
		}
	}
	fill()
	m.loop(benchRange, func() {
		if m.next-m.first <= benchKept {
			m.outside(fill)
		}
		m.drop(m.first + benchRange)
	})
}

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
				b.Cleanup(func() { must(b, "Close of both", errors.Join(from.Close(), to.Close())) })
				stop := each(to.Consumer(), func(rpc raft.RPC) {
					rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
				})
				b.Cleanup(func() { must(b, "answering", <-stop()) })
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

func benchCalls(b *testing.B, from, to core.Transport, req *raft.AppendEntriesRequest) {
	target := to.LocalAddr()
	for b.Loop() {
		var resp raft.AppendEntriesResponse
		must(b, "AppendEntries", from.AppendEntries("peer", target, req, &resp))
	}
}

// benchPipeline sends as fast as the pipeline takes requests; all but those
// under way at the end have been answered within the time.
func benchPipeline(b *testing.B, from, to core.Transport, req *raft.AppendEntriesRequest) {
	p, err := from.AppendEntriesPipeline("peer", to.LocalAddr())
	must(b, "AppendEntriesPipeline", err)
	stop := each(p.Consumer(), func(f raft.AppendFuture) {
		if err := f.Error(); err != nil {
			b.Errorf("a future of the pipeline: %v", err)
		}
	})
	defer func() { must(b, "taking futures", errors.Join(<-stop(), p.Close())) }()
	for b.Loop() {
		_, err := p.AppendEntries(req, new(raft.AppendEntriesResponse))
		must(b, "AppendEntries of the pipeline", err)
	}
}
