package report

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/stats"
)

// stores is a small run: two stores at two loads.
func stores(change func(*synth)) synth {
	s := synth{
		name: "stores", trials: 5, load: closedLoop(), seed: 11,
		matrix: []experiment.Factor{factorOf(keyBackend, "bolt", "mdb"), factorOf(keyClients, "1", "16")},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func compared(t *testing.T, a, b synth, opts CompareOptions) (*comparison, string) {
	t.Helper()
	var out bytes.Buffer
	fa, fb := a.folder(t), b.folder(t)
	if err := Compare(t.Context(), &out, catalog(), fa, fb, opts); err != nil {
		t.Fatal(err)
	}
	ma, err := build(t.Context(), fa, catalog())
	if err != nil {
		t.Fatal(err)
	}
	mb, err := build(t.Context(), fb, catalog())
	if err != nil {
		t.Fatal(err)
	}
	c := compareRuns(ma, mb, opts.Margin)
	for line := range strings.Lines(out.String()) {
		if len([]rune(line)) > 81 && !strings.Contains(line, "/") { // paths may be longer
			t.Errorf("line wider than 80: %q", line)
		}
	}
	return c, out.String()
}

func directions(c *comparison) []direction {
	var out []direction
	for _, x := range c.cells {
		for _, q := range x.quantities {
			out = appendNew(out, q.direction)
		}
	}
	return out
}

// quantity returns the comparison of one quantity of a pair of cells.
func quantity(t *testing.T, c *comparison, cell int, key string) quantityComparison {
	t.Helper()
	for _, q := range c.cells[cell].quantities {
		if q.Key == key {
			return q
		}
	}
	t.Fatalf("%s is not compared", key)
	return quantityComparison{}
}

// TestCompareSame: two runs of the same thing show no difference, though the
// tests find some.
func TestCompareSame(t *testing.T) {
	again := stores(func(s *synth) { s.seed = 12 })
	c, text := compared(t, stores(nil), again, CompareOptions{})
	if c.found != 0 || len(c.cells) != 4 || c.tested != 16 || c.differ != "" {
		t.Errorf("found %d of %d in %d cells: %s", c.found, c.tested, len(c.cells), text)
	}
	// 3 % slower, and a test that is sure of it: within the margin.
	one := []experiment.Factor{factorOf(keyBackend, "bolt")}
	slower := stores(func(s *synth) { s.slower, s.trials, s.matrix = 1.03, 12, one })
	many := stores(func(s *synth) { s.trials, s.matrix = 12, one })
	c, text = compared(t, many, slower, CompareOptions{})
	if c.found != 0 || !slices.Contains(directions(c), equal) {
		t.Errorf("a little slower: %v\n%s", directions(c), text)
	}
	// The same with a margin of almost nothing.
	if c, text = compared(t, many, slower, CompareOptions{Margin: 0.0001}); c.found == 0 {
		t.Errorf("a margin of 0.01 %%: %v\n%s", directions(c), text)
	}
}

func TestCompareSlower(t *testing.T) {
	c, text := compared(t, stores(nil), stores(func(s *synth) { s.slower = 1.4 }), CompareOptions{})
	for i, x := range c.cells {
		p50, throughput := quantity(t, c, i, "latency.p50").direction, quantity(t, c, i, "throughput").direction
		if p50 != higher || throughput != lower {
			t.Errorf("%s: p50 %d, throughput %d\n%s", x.a.info.ID, p50, throughput, text)
		}
	}
	if c.found < 8 {
		t.Errorf("found %d", c.found)
	}
}

// TestCompareDrift: where the disk of B was twice as slow, twice the latency of a
// store that flushes is no difference of the store.
// TestCompareNothingMeasured: the cells are there all the same.
func TestCompareNothingMeasured(t *testing.T) {
	none := stores(func(s *synth) { s.skip = func(experiment.Cell, int) bool { return true } })
	c, text := compared(t, none, none, CompareOptions{})
	if !strings.Contains(text, "throughput") || c.found != 0 || len(c.family) != 0 {
		t.Errorf("found %d, %v\n%s", c.found, c.family, text)
	}
}

func TestCompareDrift(t *testing.T) {
	with := func(backend string) func(float64, float64) synth {
		return func(slower, disk float64) synth {
			return stores(func(s *synth) {
				s.slower, s.slowDisk = slower, disk
				s.matrix = []experiment.Factor{factorOf(keyBackend, backend), factorOf(keyClients, "1", "16")}
			})
		}
	}
	bolt, inmem := with("bolt"), with("inmem")
	c, text := compared(t, bolt(1, 1), bolt(1.9, 2), CompareOptions{})
	if c.found != 0 || quantity(t, c, 0, "latency.p50").direction == higher || c.cells[0].margin.middle < 0.9 {
		t.Errorf("bolt: found %d, margin %g\n%s", c.found, c.cells[0].margin.middle, text)
	}
	if !strings.Contains(strings.Join(strings.Fields(text), " "), "The disk was not equally fast in the two runs") {
		t.Errorf("no word about the disk:\n%s", text)
	}
	if c, text := compared(t, inmem(1, 1), inmem(1.9, 2), CompareOptions{}); quantity(t, c, 0, "latency.p50").direction != higher {
		t.Errorf("inmem: %d\n%s", quantity(t, c, 0, "latency.p50").direction, text)
	}
}

func TestCompareOneSettingApart(t *testing.T) {
	with := func(backend string, clients ...string) synth {
		return stores(func(s *synth) {
			s.matrix = []experiment.Factor{factorOf(keyBackend, backend), factorOf(keyClients, clients...)}
		})
	}
	c, text := compared(t, with("bolt", "1", "16"), with("inmem", "1", "16"), CompareOptions{})
	if c.differ != keyBackend || len(c.cells) != 2 || quantity(t, c, 0, "latency.p50").direction != lower || len(inequalities(c.cells[0].a.info, c.cells[0].b.info)) != 1 {
		t.Errorf("%+v\n%s", c, text)
	}
	if !strings.Contains(text, markUnequal) {
		t.Errorf("unequal durability goes without a mark:\n%s", text)
	}
	// Single cells that differ in one setting are compared, in two not.
	one := func(change func(*experiment.Load)) synth {
		s := scenarios()["one"]
		s.trials = 5
		change(&s.load)
		return s
	}
	a := one(func(*experiment.Load) {})
	c, _ = compared(t, a, one(func(l *experiment.Load) { l.Clients = 64 }), CompareOptions{})
	if c.differ != keyClients || len(c.cells) != 1 {
		t.Errorf("clients apart: %+v", c)
	}
	var out bytes.Buffer
	two := one(func(l *experiment.Load) { l.Clients, l.ValueSize = 64, 1024 })
	if err := Compare(t.Context(), &out, catalog(), a.folder(t), two.folder(t), CompareOptions{}); !errors.Is(err, errNothingToCompare) {
		t.Errorf("two settings apart: %v", err)
	}
	// Where some cells agree, only those are compared.
	c, text = compared(t, with("bolt", "1", "16"), with("bolt", "16", "64"), CompareOptions{})
	if len(c.cells) != 1 || len(c.onlyA) != 1 || len(c.onlyB) != 1 || c.differ != "" {
		t.Errorf("overlap: %+v\n%s", c, text)
	}
}

func TestCompareTooFewAndInvalid(t *testing.T) {
	few := stores(func(s *synth) { s.trials = 3 })
	c, text := compared(t, few, few, CompareOptions{})
	if c.tested != 0 || c.found != 0 || !slices.Contains(directions(c), undecided) {
		t.Errorf("3 trials: %v\n%s", directions(c), text)
	}
	if !slices.ContainsFunc(c.family, func(w stats.Warning) bool { return w.Code == stats.CannotDiffer }) {
		t.Errorf("3 trials: no warning: %v", c.family)
	}
	invalid := stores(func(s *synth) {
		s.fail = func(c experiment.Cell, _ int) string {
			if c.ID == "c01" {
				return "too slow"
			}
			return ""
		}
	})
	c, _ = compared(t, stores(nil), invalid, CompareOptions{})
	if quantity(t, c, 0, "latency.p50").direction != untested || quantity(t, c, 1, "latency.p50").direction == untested {
		t.Errorf("invalid cell: %d, valid one: %d", quantity(t, c, 0, "latency.p50").direction, quantity(t, c, 1, "latency.p50").direction)
	}
}

func TestCompareGolden(t *testing.T) {
	a := stores(func(s *synth) {
		s.matrix = []experiment.Factor{factorOf(keyBackend, "bolt", "mdb"), factorOf(keyClients, "1")}
	})
	b := a
	b.slower, b.slowDisk, b.seed = 1.3, 1.1, 5
	fa, fb := a.folder(t), b.folder(t)
	for _, lang := range []Lang{English, Russian} {
		var out bytes.Buffer
		if err := Compare(t.Context(), &out, catalog(), fa, fb, CompareOptions{Lang: lang, Width: 80}); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(fa.Dir(), "A/stores", fb.Dir(), "B/stores").Replace(out.String())
		before, rest, _ := strings.Cut(text, "\nA   ") // the folders differ from run to run
		_, rest, _ = strings.Cut(rest, "\n\n")
		text = before + "\n" + rest
		golden(t, "compare."+string(lang)+".txt", []byte(text))
	}
}

func TestCompareRefusesANegativeMargin(t *testing.T) {
	f := scenario(t, "one").folder
	if err := Compare(t.Context(), &bytes.Buffer{}, catalog(), f, f, CompareOptions{Margin: -1}); err == nil {
		t.Error("accepted")
	}
}

// TestSettings: what makes a cell another one, and what does not.
func TestSettings(t *testing.T) {
	of := func(change func(*experiment.Cell)) settings {
		t.Helper()
		c := record.CellInfo{Cell: experiment.Cell{
			ID: "c01", Cluster: experiment.Cluster{Engine: "hashicorp", Backend: "bolt", Transport: "tcp", Nodes: 3}, Load: closedLoop(),
			Options: map[string]map[string]any{"bolt": {"no_sync": true}, "mdb": {"size": "1GiB"}},
		}}
		change(&c.Cell)
		s, err := settingsOf(&c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	base := of(func(*experiment.Cell) {})
	for name, change := range map[string]func(*experiment.Cell){
		"load.clients":         func(c *experiment.Cell) { c.Load.Clients = 7 },
		"raft":                 func(c *experiment.Cell) { c.Raft.MaxInFlight = 7 },
		"cluster.discovery":    func(c *experiment.Cell) { c.Cluster.Discovery = "gossip" },
		"options.bolt.no_sync": func(c *experiment.Cell) { c.Options["bolt"]["no_sync"] = false },
	} {
		s := of(change)
		if maps.Equal(s.what, base.what) || s.what[name] == base.what[name] || !maps.Equal(s.how, base.how) {
			t.Errorf("%s makes no difference: %v", name, s)
		}
		if !maps.Equal(s.without(name), base.without(name)) {
			t.Errorf("%s is not all of the difference: %v", name, s)
		}
	}
	for name, change := range map[string]func(*experiment.Cell){
		"arrival of a closed loop": func(c *experiment.Cell) { c.Load.Arrival = "poisson" },
		"read level of writes":     func(c *experiment.Cell) { c.Load.ReadLevel = "stale" },
		"another store’s options":  func(c *experiment.Cell) { c.Options["mdb"]["size"] = "2GiB" },
		"duration":                 func(c *experiment.Cell) { c.Load.Duration *= 2 },
	} {
		if s := of(change); !maps.Equal(s.what, base.what) {
			t.Errorf("%s: %v", name, s)
		}
	}
	if base.how["load.duration"] != "2s" || len(base.what["options.mdb.size"]) > 0 {
		t.Errorf("%v", base)
	}
	if _, there := base.without(keyBackend)["options.bolt.no_sync"]; there {
		t.Error("the options of a store belong to it")
	}
}
