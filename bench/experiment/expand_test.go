package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/internal/conf"
)

func TestExpandOrder(t *testing.T) {
	e, err := parseWith(t, withMatrix)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		got = append(got, fmt.Sprintf("%s %v %s %d", c.ID, c.Levels, c.Cluster.Backend, c.Load.Clients))
	}
	want := []string{
		"c01 [{backend inmem} {clients 1}] inmem 1",
		"c02 [{backend inmem} {clients 16}] inmem 16",
		"c03 [{backend bolt} {clients 1}] bolt 1",
		"c04 [{backend bolt} {clients 16}] bolt 16",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExpandWithoutMatrix(t *testing.T) {
	e, err := parseWith(t, `name = "x"`)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil || len(cells) != 1 || cells[0].ID != "c01" || len(cells[0].Levels) != 0 || cells[0].Load != e.Load {
		t.Errorf("%+v, %v", cells, err)
	}
}

func TestExpandOptions(t *testing.T) {
	e, err := parseWith(t, full)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	var sizes []any
	for _, c := range cells[:3] {
		sizes = append(sizes, c.Options["mdb"]["map_size"])
		if c.Options["mdb"]["no_sync"] != false {
			t.Errorf("%s lost an option", c.ID)
		}
	}
	if diff := cmp.Diff([]any{"1GiB", int64(4096), "4096"}, sizes); diff != "" {
		t.Error(diff)
	}

}

func TestCellsShareNothing(t *testing.T) {
	e, err := parseWith(t, withMatrix, "options.mdb.map_size=1GiB")
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	cells[0].Options["mdb"]["map_size"] = "changed"
	if cells[1].Options["mdb"]["map_size"] != "1GiB" || e.Options["mdb"]["map_size"] != "1GiB" {
		t.Error("a change of one cell's options shows elsewhere")
	}
}

// TestExpandRefuses: an experiment from a manifest need not have come from
// Parse.
func TestExpandRefuses(t *testing.T) {
	for _, f := range []Factor{
		{Key: "load.clients", Name: "clients"},
		{Key: "load.clients", Name: "clients", Levels: []string{"many"}},
		{Key: "load.clients", Name: "clients", Levels: []string{"0"}},
		{Key: "load.clinets", Name: "clinets", Levels: []string{"1"}},
		{Key: "options.mdb.map_size", Name: "options.mdb.map_size", Levels: []string{"[1]"}},
		{Name: "system", Levels: []string{"a", "b"}, Sets: []map[string]string{{}}},
		{Name: "system", Levels: []string{"a"}, Sets: []map[string]string{{"load.clinets": "1"}}},
		{Name: "system", Levels: []string{"a"}},
	} {
		e := &Experiment{}
		e.Matrix = []Factor{f}
		if cells, err := e.Expand(); !errors.Is(err, ErrInvalid) || cells != nil {
			t.Errorf("%+v: %v, %v", f, cells, err)
		}
	}
}

func TestQuick(t *testing.T) {
	e, err := parseWith(t, withMatrix, `matrix.duration=["500ms", "1s", "2s"]`, `matrix.warmup=["100ms"]`, `matrix.warmup_operations=[0, 5, 70]`)
	if err != nil {
		t.Fatal(err)
	}
	e.Quick()
	if e.Trials != 1 || e.Load.Duration != Duration(800*time.Millisecond) || e.Load.Warmup != Duration(200*time.Millisecond) {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]string{"500ms", "800ms"}, e.Matrix[2].Levels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"100ms"}, e.Matrix[3].Levels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"0"}, e.Matrix[4].Levels); diff != "" || e.Load.WarmupOperations != nil {
		t.Errorf("%v, %s", e.Load.WarmupOperations, diff)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	if n := cells[0].Load.WarmupOperations; n == nil || *n != 0 {
		t.Errorf("no operations come before the load, and that is taken for as many as an engine asks for: %v", n)
	}
}

// TestCap: a setting of what is measured, and levels of it, which may become the same.
func TestCap(t *testing.T) {
	e := &Experiment{Measure: "batch", Settings: map[string]any{"keys": int64(500), "other": int64(500)}, Matrix: []Factor{
		{Key: "batch.keys", Levels: []string{"10", "1000", "100000"}}, {Key: "load.keys", Levels: []string{"1000"}}}}
	before := e.Settings
	e.Cap("keys", 100)
	if e.Settings["keys"] != int64(100) || e.Settings["other"] != int64(500) || before["keys"] != int64(500) {
		t.Errorf("%v, before %v", e.Settings, before)
	}
	e.Settings = map[string]any{"pause": "10m"}
	if e.Cap("pause", int64(time.Second)); e.Settings["pause"] != "1s" {
		t.Errorf("%v", e.Settings)
	}
	if diff := cmp.Diff([][]string{{"10", "100"}, {"1000"}}, [][]string{e.Matrix[0].Levels, e.Matrix[1].Levels}); diff != "" {
		t.Error(diff)
	}
}

func TestHash(t *testing.T) {
	a, err := parseWith(t, full)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parseWith(t, full, "seed=8")
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash() == b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("%s, %s", a.Hash(), b.Hash())
	}
}

// checkExperiment checks what holds for all that Parse returns.
func checkExperiment(t rapid.TB, e *Experiment) {
	t.Helper()
	cells, err := e.Expand()
	if err != nil {
		t.Fatalf("parsed, but does not expand: %v", err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Experiment
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, &back); diff != "" {
		t.Fatalf("changed by JSON: %s", diff)
	}
	if e.Hash() != back.Hash() {
		t.Fatal("another hash after JSON")
	}
	again, err := back.Expand()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cells, again); diff != "" {
		t.Fatalf("other cells after JSON: %s", diff)
	}
}

// TestRoundTrip draws experiments, writes them as files and checks what Parse
// makes of them.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		fmt.Fprintf(&b, "name = \"x\"\nseed = %d\n", rapid.Int64Min(0).Draw(t, "seed"))
		fmt.Fprintf(&b, "[load]\nread_ratio = %v\nrate = %v\n", rapid.Float64Range(0, 1).Draw(t, "ratio"), rapid.Float64Range(1, 1e7).Draw(t, "rate"))
		b.WriteString("[matrix]\nbackend = [\"mdb\", \"bolt\"]\n")
		fmt.Fprintf(&b, "duration = [\"%s\"]\n", time.Duration(rapid.Int64Range(1e9, 1e12).Draw(t, "duration")))
		values := rapid.SliceOfNDistinct(anyScalar(), 1, 5, conf.LiteralText).Draw(t, "levels")
		levels := make([]string, len(values))
		for i, v := range values {
			levels[i] = conf.LiteralText(v)
			if s, ok := v.(string); ok {
				levels[i] = conf.Quote(s)
			}
		}
		fmt.Fprintf(&b, "options.mdb.label = [%s]\n", strings.Join(levels, ", "))

		e, err := Parse("x.toml", []byte(b.String()), catalogue(), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		checkExperiment(t, e)
		cells, err := e.Expand()
		if err != nil {
			t.Fatal(err)
		}
		if len(cells) != 2*len(values) {
			t.Fatalf("%d cells of %d levels", len(cells), len(values))
		}
		for i, c := range cells {
			if got, want := c.Options["mdb"]["label"], values[i%len(values)]; got != want {
				t.Errorf("cell %s has %#v, want %#v", c.ID, got, want)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("../../experiments/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{full, withMatrix, coupled, "name='x'\n[matrix]\ns=[{name='a',raft={commit_timeout='1s'}},{name='b'},1]\n[[matrix.t]]\nname=''",
		"name='x'\n[matrix]\nclients=[1]\n[[matrix.s]]\nname='a'\noptions.mdb.label=-0.0\n[[matrix.s]]\nname='b'\nload.clients=2", "", "\x7f", "\xef\xbb\xbf#\xff\nname='x'", "name = 'x'\n[matrix]\n\"\" = [1]", "a.b.c = {d = [[{}]]}",
		"[[matrix]]\n[matrix.options.mdb]", "name='x'\n[matrix]\nrate=[-0.0, 1e-9]\nread_ratio=[1e-300]", "name='x'\n[options.mdb]\nlabel=-0.0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse("x.toml", data, catalogue(), nil)
		if err != nil {
			checkErrorChain(t, err)
			return
		}
		checkExperiment(t, e)
		again, err := Parse("x.toml", slices.Clone(data), catalogue(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
