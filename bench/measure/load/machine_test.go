package load

import (
	"errors"
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

// constant is a histogram of one value.
func constant(t *testing.T, ns int64) *hdrhistogram.Histogram {
	t.Helper()
	h := record.NewHistogram()
	if err := h.RecordValues(ns, 1000); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestDerive: flushes of 1 ms in the calibration and of 2 ms in the probes, a loopback of 0.1 ms.
func TestDerive(t *testing.T) {
	text, err := record.EncodeHistogram(constant(t, 1e6))
	since, err2 := record.EncodeHistogram(constant(t, 2e6))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	probe := record.Probe{Flushes: []record.Flushes{{Bytes: 512, Writers: 1, EachHist: since}, {Bytes: 4096, Writers: 1, EachHist: since}}}
	p50 := func(us float64) record.Quantiles {
		return record.Quantiles{N: 1, Min: us, P50: us, P90: us, P99: us, Max: us}
	}
	session := &record.Session{Environment: record.Environment{Cores: 2}, Calibration: record.Calibration{
		LoopbackUS: p50(100), WriteBytesPerS: p50(1e9), Loopback64KUS: p50(131.072),
		Flushes: []record.Flushes{{Bytes: 512, Writers: 1, EachHist: text, PerSecond: 500}, {Bytes: 4096, Writers: 1, EachHist: text, PerSecond: 500}},
	}}
	var trials []measure.Measured
	add := func(durability string, clients int, rate, syncs float64, ns int64) *measure.Values {
		c := &record.CellInfo{Durability: durability, Wire: true}
		c.Cluster = experiment.Cluster{Nodes: 3, Backend: "store of " + durability, Mode: experiment.ModeInProcess}
		c.Load = experiment.Load{Clients: clients, Rate: rate, ValueSize: 256}
		v := &measure.Values{Distributions: map[string]*hdrhistogram.Histogram{"write.latency": constant(t, ns)},
			Scalars: map[string]float64{"write.throughput": 100, "syncs": syncs, "cpu": 0.5, "cpu.op": 1e-3}}
		trials = append(trials, measure.Measured{Cell: c, Session: session, Probe: probe, Values: v, Valid: true})
		return v
	}
	memory := add("nothing", 1, 0, 0, 300_000)
	one, many, open := add("disk", 1, 0, 1.98, 10e6), add("disk", 16, 0, 0.5, 20e6), add("disk", 1, 100, 1.98, 10e6)
	derive(trials)

	const flush, rtt, rest = 2e-3, 1e-4, 2e-4 // of the in-memory cell's 0.3 ms, 0.1 ms are messages
	for _, x := range []struct {
		name string
		of   *measure.Values
		key  string
		want float64 // below 0: none
	}{
		{"memory", memory, "floor", -1},
		{"memory", memory, "roof.cpu", -1},
		{"one client", one, "floor", flush + rtt},
		{"one client", one, "floor.ratio", 10e-3 / (flush + rtt)},
		{"one client", one, "expected.low", 4*flush + rtt + rest},
		{"one client", one, "expected.high", 4*flush + rtt + rest},
		{"one client", one, "expected.error", 100 * (10e-3/(4*flush+rtt+rest) - 1)},
		{"one client", one, "roof.flushes", 100 * 100 * 1.98 * 3 / 500},
		{"one client", one, "roof.cpu", 25},
		{"16 clients", many, "expected.low", 4*flush + rtt + rest},
		{"16 clients", many, "expected.high", 4*flush + rtt + rest + 3*2*flush + 16*1e-3/2},
		{"16 clients", many, "expected.error", -1},
		{"open loop", open, "floor", -1},
		{"open loop", open, "expected.low", -1},
		{"open loop", open, "roof.cpu", 25},
	} {
		got, there := x.of.Scalars[x.key]
		if there != (x.want >= 0) || there && math.Abs(got-x.want) > 2e-3*x.want {
			t.Errorf("%s: %s = %g, %t; want %g", x.name, x.key, got, there, x.want)
		}
	}
}

// TestOverlapped: what members said that they run with goes before what a cell sets.
func TestOverlapped(t *testing.T) {
	set := func(in, runs string) *record.CellInfo {
		c := &record.CellInfo{Cell: experiment.Cell{Raft: experiment.Raft{Persistence: in}}}
		if runs != "" {
			c.Runs = map[string]string{"raft.persistence": runs}
		}
		return c
	}
	for _, x := range []struct {
		in, runs string
		want     bool
	}{{"", "", false}, {"overlapped", "", true}, {"", "overlapped", true}, {"", "serial", false}} {
		if got := overlapped(set(x.in, x.runs)); got != x.want {
			t.Errorf("set %q, runs %q: %t", x.in, x.runs, got)
		}
	}
}
