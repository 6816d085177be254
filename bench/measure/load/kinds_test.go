package load

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/workload"
)

// TestKindsOfASimpleMix: where writes are of one kind and reads of another, kinds are those, with
// nothing recorded beside; also in trials that are older than kinds.
func TestKindsOfASimpleMix(t *testing.T) {
	d := valid(t)
	d.Reads = Operations{Completed: 4, Hist: encode(t, []int64{7000, 7000, 7000, 9000})}
	d.Timeline.Completed[1] += 4
	for name, x := range map[string]struct {
		mix  workload.Mix
		want []string
	}{
		"one kind": {workload.Mix{Write: 1}, nil},
		"two":      {workload.Mix{Scan: 0.3, Insert: 0.7}, []string{"kind.insert", "kind.scan"}},
		"several":  {workload.Mix{Scan: 0.3, Insert: 0.5, Write: 0.2}, nil}, // and an old trial does not know
	} {
		cell := &record.CellInfo{Cell: experiment.Cell{Load: experiment.Load{Mix: x.mix, OpTimeout: experiment.Duration(timeout)}}}
		trial := trialOf(t, d, "")
		trial.Data[Name] = record.Data{Version: 3, Measured: trial.Data[Name].Measured}
		v, err := read(cell, trial)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var kinds []string
		for name := range v.Distributions {
			if name != "latency" && name != "write.latency" && name != "read.latency" {
				kinds = append(kinds, name)
			}
		}
		if slices.Sort(kinds); !slices.Equal(kinds, x.want) {
			t.Errorf("%s: %v, want %v", name, kinds, x.want)
		}
		if len(kinds) > 0 && (v.Distributions["kind.scan"] != v.Distributions["read.latency"] || v.Failed["kind.insert"] != 1 || v.Scalars["kind.insert.ops"] != 10) {
			t.Errorf("%v", v.Scalars)
		}
	}
}

// TestRoomCountsKinds: each recorder has a histogram of each kind, and the plan knows.
func TestRoomCountsKinds(t *testing.T) {
	histograms := func(l experiment.Load) float64 {
		l.ValueSize, l.Keys = 1, 1
		for _, n := range room(&record.CellInfo{Cell: experiment.Cell{Load: l}}) {
			if strings.Contains(n.Why, "histograms") {
				return n.Bytes
			}
		}
		return 0
	}
	one := float64(workload.NewHistogram().ByteSize())
	for name, x := range map[string]struct {
		load experiment.Load
		want float64
	}{
		"a closed loop":   {experiment.Load{Clients: 4}, 4},
		"many clients":    {experiment.Load{Clients: 1000, ReadRatio: 0.5}, 64 * 2},
		"an open loop":    {experiment.Load{Clients: 1, Rate: 10, Mix: workload.Mix{Read: 0.4, Insert: 0.3, Write: 0.3}}, 64 * 4},
		"a share of peak": {experiment.Load{Clients: 1, PeakShare: 0.5}, 64 * 2},
	} {
		if got := histograms(x.load); got < x.want*one || got > 1.1*x.want*one {
			t.Errorf("%s: %.0f B, want %.0f histograms of %.0f B", name, got, x.want, one)
		}
	}
}

// TestKindsAreChecked: they add up to writes and reads, and are those of the mix.
func TestKindsAreChecked(t *testing.T) {
	mix := workload.Mix{Write: 0.5, Insert: 0.3, Batch: 0.2}
	made := func() Data {
		d := valid(t)
		d.Kinds = map[workload.Kind]Operations{
			workload.Write: {Completed: 5, Hist: encode(t, []int64{1000, 2000, 3000, 4000, 5000})}, workload.Insert: {Completed: 3, Failed: 1, Hist: encode(t, []int64{6000, 7000, 8000})},
			workload.WriteBatch: {Completed: 2, Hist: encode(t, []int64{9000, 10000})},
		}
		return d
	}
	cell := &record.CellInfo{Cell: experiment.Cell{
		Cluster: experiment.Cluster{Nodes: 3}, Load: experiment.Load{Mix: mix, Clients: 1, Duration: 1e9, OpTimeout: experiment.Duration(timeout)},
	}}
	v, err := read(cell, trialOf(t, made(), ""))
	if err != nil || v.Scalars["kind.insert.ops"] != 3 || v.Failed["kind.insert"] != 1 || v.Distributions["kind.batch"].TotalCount() != 2 {
		t.Fatalf("%v, %v", v.Scalars, err)
	}
	if n := histograms(cell); n != 7 {
		t.Errorf("%d histograms, want those of the whole, writes, reads, late starts and three kinds", n)
	}
	for name, spoil := range map[string]func(map[workload.Kind]Operations){
		"completed": func(k map[workload.Kind]Operations) { k[workload.WriteBatch] = Operations{Completed: 3} },
		"failed":    func(k map[workload.Kind]Operations) { k[workload.WriteBatch] = Operations{Completed: 2, Failed: 1} },
		"a read":    func(k map[workload.Kind]Operations) { k[workload.Scan] = Operations{Completed: 1} },
		"negative":  func(k map[workload.Kind]Operations) { k[workload.Scan] = Operations{Completed: -1} },
	} {
		d := made()
		spoil(d.Kinds)
		if _, err := read(cell, trialOf(t, d, "")); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		if _, err := read(cell, trialOf(t, d, "the machine stopped")); err != nil {
			t.Errorf("%s, broken off: %v", name, err)
		}
	}
	for want, spoil := range map[string]func(*Data){
		"": func(*Data) {},
		"kinds.insert": func(d *Data) {
			delete(d.Kinds, workload.Insert)
			d.Kinds[workload.Write] = d.Writes
			delete(d.Kinds, workload.WriteBatch)
		},
		"kinds.delete": func(d *Data) { d.Kinds[workload.Delete] = Operations{} },
		"writes.hist":  func(d *Data) { d.Writes.Hist = encode(t, slices.Repeat([]int64{3000}, 10)) },
	} {
		d := made()
		spoil(&d)
		x := trialOf(t, d, "")
		values, err := d.values(cell)
		if err != nil {
			t.Fatal(err)
		}
		x.Gates = d.gates(cell, values)
		found := ""
		for _, c := range check(cell, x, values) {
			found += c.Field
		}
		if found != want {
			t.Errorf("want %q, got %q of %v", want, found, slices.Collect(maps.Keys(d.Kinds)))
		}
	}
}
