package recovery

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
)

func data() Data {
	return Data{Keys: 1000, Passes: 2, FillNS: 4e9, EmptyBytes: []int64{9e6, 8e6, 9e6}, FullBytes: []int64{10e6, 12e6, 11e6}, RestartedBytes: 9e6,
		SnapshotNS: 3e6, QuietNS: 1e6, QuietWrites: 5, StallNS: 2e6, StallWrites: 1, RestartNS: 5e8, JoinNS: 1e9}
}

func cell(keys int) *record.CellInfo {
	c := &record.CellInfo{}
	c.Cluster.Nodes = 3
	c.Settings = map[string]any{"keys": int64(keys), "passes": int64(2)}
	return c
}

func trial(t testing.TB, d Data) *record.Trial {
	t.Helper()
	x := &record.Trial{TrialID: record.TrialID{Cell: "c01", Trial: 1}}
	if err := x.Put(Name, version, d); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestRead(t *testing.T) {
	v, err := read(nil, trial(t, data()))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{
		"memory.key": 1000, "memory": 12e6, "fill": 4, "fill.rate": 500, "snapshot": 0.003, "stall": 0.002, "quiet": 0.001,
		"restart": 0.5, "join": 1, "join.rate": 1000,
	} {
		if v.Scalars[key] != want {
			t.Errorf("%s: %g, want %g", key, v.Scalars[key], want)
		}
	}
	alone := data()
	alone.JoinNS = 0
	if v, err := read(nil, trial(t, alone)); err != nil || v.Scalars["join"] != 0 || len(v.Scalars) != 8 {
		t.Errorf("of a single node: %v, %v", v.Scalars, err)
	}
	for name, spoil := range map[string]func(*Data){
		"no keys":          func(d *Data) { d.Keys = 0 },
		"time below zero":  func(d *Data) { d.StallNS = -1 },
		"memory below it":  func(d *Data) { d.FullBytes[1] = -1 },
		"no time to start": func(d *Data) { d.RestartNS = 0 },
	} {
		d := data()
		spoil(&d)
		if _, err := read(nil, trial(t, d)); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	if found := check(cell(1000), trial(t, data()), measure.Values{}); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	d := data()
	d.Keys, d.EmptyBytes = 999, d.EmptyBytes[:2]
	found := check(cell(1000), trial(t, d), measure.Values{})
	if len(found) != 2 || found[0].Field != "recovery.keys" || found[0].Computed != "1000" || found[1].Printed != "2" {
		t.Errorf("%+v", found)
	}
}

// TestGrowth: of a power of the number of keys, that power is found, among trials of other
// cells and whatever the order.
func TestGrowth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.Float64Range(0.2, 2).Draw(t, "exponent")
		var trials []measure.Measured
		add := func(keys, nodes int, seconds float64, valid bool) {
			c := cell(keys)
			c.Cluster.Nodes = nodes
			trials = append(trials, measure.Measured{Cell: c, Valid: valid, Values: &measure.Values{Scalars: map[string]float64{"restart": seconds}}})
		}
		for _, keys := range rapid.SliceOfNDistinct(rapid.IntRange(10, 1e7), 2, 6, rapid.ID).Draw(t, "keys") {
			add(keys, 3, 1e-3*math.Pow(float64(keys), e), true)
			add(keys, 3, 99, false)
		}
		add(100, 1, 5, true)
		derive(rapid.Permutation(trials).Draw(t, "order"))
		for _, x := range trials {
			got, there := x.Values.Scalars["restart.growth"]
			if alone := x.Cell.Cluster.Nodes == 1; there == alone || !alone && math.Abs(got-e) > 1e-6 {
				t.Fatalf("%d nodes: %g, want %g", x.Cell.Cluster.Nodes, got, e)
			}
		}
	})
}

// TestKeys: no two are the same, and they come in no order.
func TestKeys(t *testing.T) {
	seen, sorted := map[string]bool{}, true
	last := ""
	for i := range 100_000 {
		k := key(i)
		sorted = sorted && k > last
		last = k
		seen[k] = true
		if len(k) != 16 {
			t.Fatalf("key %q", k)
		}
	}
	if len(seen) != 100_000 || sorted {
		t.Errorf("%d different keys, in order: %t", len(seen), sorted)
	}
}

// TestRoom grows with everything.
func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := *cell(rapid.IntRange(1, 1e9).Draw(t, "keys"))
		memory, disk := needs(&c)
		for name, grow := range map[string]func(*experiment.Cell){
			"nodes": func(c *experiment.Cell) { c.Cluster.Nodes++ },
			"value": func(c *experiment.Cell) {
				c.Settings = map[string]any{"keys": c.Settings["keys"], "passes": int64(2), "value_size": int64(1000)}
			},
		} {
			x := c.Cell
			grow(&x)
			if m, d := needs(&record.CellInfo{Cell: x}); m <= memory || d <= disk {
				t.Fatalf("more %s: %g and %g B, before %g and %g", name, m, d, memory, disk)
			}
		}
	})
}

// TestKindAgrees: what the kind names there is.
func TestKindAgrees(t *testing.T) {
	if _, err := (measure.Catalog{Kind()}).Lookup(Name); err != nil {
		t.Error(err)
	}
	if missing := slices.DeleteFunc(grown(), func(key string) bool {
		return slices.ContainsFunc(Kind().Quantities, func(q measure.Quantity) bool { return q.Key == key+".growth" })
	}); len(missing) > 0 {
		t.Errorf("no growth of %v", missing)
	}
}

func needs(c *record.CellInfo) (memory, disk float64) {
	memory, _ = measure.Needs(room(c), measure.Memory)
	disk, _ = measure.Needs(room(c), measure.Disk)
	return memory, disk
}
