package experiment

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/internal/conf"
)

const withMatrix = `name = "x"
[load]
clients = 8
[matrix]
backend = ["inmem", "bolt"]
clients = [1, 16]
`

func parseWith(t *testing.T, file string, overrides ...string) (*Experiment, error) {
	t.Helper()
	var parsed []Override
	for _, text := range overrides {
		o, err := ParseOverride(text)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, o)
	}
	return Parse("x.toml", []byte(file), catalogue(), parsed)
}

func TestOverrideMatrix(t *testing.T) {
	backends := Factor{Key: "cluster.backend", Name: "backend", Levels: []string{"inmem", "bolt"}}
	clients := Factor{Key: "load.clients", Name: "clients", Levels: []string{"1", "16"}}
	pinned := Factor{Key: "load.clients", Name: "clients", Levels: []string{"4"}}
	tests := []struct {
		overrides []string
		want      []Factor
		clients   int
	}{
		{nil, []Factor{backends, clients}, 8},
		{[]string{"load.clients=4"}, []Factor{backends, pinned}, 4},
		{[]string{"clients=4"}, []Factor{backends, pinned}, 4},
		{[]string{"matrix.clients=[4]"}, []Factor{backends, pinned}, 8},
		{[]string{"matrix.load.clients=[]"}, []Factor{backends}, 8},
		{[]string{"matrix.clients=[]", "matrix.backend=[]"}, nil, 8},
		{[]string{"matrix.clients=[]", "matrix.clients=[4]"}, []Factor{backends, pinned}, 8},
		{[]string{"clients=4", "matrix.clients=[1, 16]"}, []Factor{backends, clients}, 4},
		{[]string{"matrix.nodes=[3, 5]"}, []Factor{backends, clients, {Key: "cluster.nodes", Name: "nodes", Levels: []string{"3", "5"}}}, 8},
		{[]string{"matrix.nodes=[]"}, []Factor{backends, clients}, 8},
	}
	for _, tt := range tests {
		e, err := parseWith(t, withMatrix, tt.overrides...)
		if err != nil {
			t.Errorf("%q: %v", tt.overrides, err)
			continue
		}
		if diff := cmp.Diff(tt.want, e.Matrix); diff != "" {
			t.Errorf("%q: %s", tt.overrides, diff)
		}
		if e.Load.Clients != tt.clients {
			t.Errorf("%q: %d clients in [load], want %d", tt.overrides, e.Load.Clients, tt.clients)
		}
	}
}

func TestOverrideScalars(t *testing.T) {
	e, err := parseWith(t, withMatrix, "trials=2", "seed=9", `title="A = B"`, "load.duration=2s", "warmup=1s", "warmup=0s",
		"cluster.transport=inmem", "options.mdb.map_size=2GiB", "options.mdb.no_sync=true", "raft.log_cache=-1")
	if err != nil {
		t.Fatal(err)
	}
	if e.Trials != 2 || e.Seed != 9 || e.Title != "A = B" || e.Load.Duration != Duration(2*time.Second) || e.Load.Warmup != 0 ||
		e.Cluster.Transport != "inmem" || e.Options["hashicorp"]["log_cache"] != int64(-1) {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff(map[string]any{"map_size": "2GiB", "no_sync": true}, e.Options["mdb"]); diff != "" {
		t.Error(diff)
	}
}

// TestOverrideMends: what an override replaces is not checked.
func TestOverrideMends(t *testing.T) {
	if _, err := parseWith(t, "name = 'x'\n[load]\nduration = 'long'\n", "duration=1s"); err != nil {
		t.Error(err)
	}
}

func TestOverrideErrors(t *testing.T) {
	tests := []struct{ override, want string }{
		{"load.duration=5 parsecs", `override load.duration=5 parsecs: load.duration = "5 parsecs": want a duration in quotes: numbers with a unit (us, ms, s, m, h), such as "500ms" or "1m30s"`},
		{"load.clinets=5", `override load.clinets=5: unknown key "load.clinets"; did you mean "load.clients"?`},
		{"trails=5", `override trails=5: unknown key "trails"; did you mean "trials"?`},
		{"clients=[1, 2]", `override clients=[1, 2]: load.clients takes one value; to compare several, give matrix.clients=[1, 2]`},
		{"zzzzzz=1", `override zzzzzz=1: unknown key "zzzzzz"; see 'raftlab help experiment'`},
		{"cluster.clients=1", `override cluster.clients=1: unknown key "cluster.clients"; did you mean "clients"? See 'raftlab help experiment'`},
		{"options.zzz.x=1", `override options.zzz.x=1: unknown key "options.zzz.x"; see 'raftlab help experiment'`},
		{"matrix.zzz=[1]", `override matrix.zzz=[1]: unknown key "zzz" in [matrix]; see 'raftlab help experiment'`},
		{"backend=blot", `override backend=blot: cluster.backend = "blot": want one of "inmem", "bolt", "mdb", "wal"; did you mean "bolt"?`},
		{"matrix.clients=4", `override matrix.clients=4: matrix.clients = 4: want a list, such as matrix.clients=[4]`},
		{"matrix.clinets=[4]", `override matrix.clinets=[4]: unknown key "clinets" in [matrix]; did you mean "clients"?`},
		{"matrix.backend=[\"blot\"]", `override matrix.backend=["blot"]: level "blot" of matrix.backend: want one of "inmem", "bolt", "mdb", "wal"; did you mean "bolt"?`},
		{"options.mdb.mapsize=4", `override options.mdb.mapsize=4: unknown key "options.mdb.mapsize"; did you mean "options.mdb.map_size"?`},
	}
	for _, tt := range tests {
		_, err := parseWith(t, withMatrix, tt.override)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.override, err, tt.want)
			continue
		}
		checkErrorChain(t, err)
	}
	_, err := parseWith(t, "name = 'x'\nx = 1\n", "trials=0", "seed=-1")
	want := "x.toml:2: unknown key \"x\" at the top level; known are name, title, title_ru, question_ru, seed, trials, measure, until, baseline\n" +
		"override trials=0: trials = 0: want a whole number from 1 to 9999, without quotes\n" +
		"override seed=-1: seed = -1: want a whole number of at least 0, without quotes"
	if err == nil || err.Error() != want {
		t.Errorf("mistakes in file and overrides:\n got %v\nwant %s", err, want)
	}
	if _, err := Parse("x.toml", []byte(withMatrix), catalogue(), []Override{{Key: "a b", Value: "1"}, {Key: "seed", Value: "\xff"}}); err == nil {
		t.Error("an Override that ParseOverride refuses was taken")
	}
}

func TestParseOverrideRefuses(t *testing.T) {
	for _, text := range []string{"", "load.duration", "=5", ".=5", "a..b=5", "a b=1", "title=\xff"} {
		if o, err := ParseOverride(text); !errors.Is(err, ErrInvalid) || strings.Count(err.Error(), "override") != 1 {
			t.Errorf("%q: %v, %v", text, o, err)
		}
	}
}

// anyScalar draws what may stand in [options], in the form Parse gives it.
func anyScalar() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SampledFrom([]string{"1", "0.5", "true", "inf", "[1]", `"a"`, "'a'", " 1", "1 # c", "1\nw = 2", "2020-01-01", "{}", ""}), func(s string) any { return s }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64Range(-conf.MaxExactInteger, conf.MaxExactInteger), func(n int64) any { return n }),
		rapid.Map(rapid.Float64Range(-conf.MaxExactInteger, conf.MaxExactInteger), func(f float64) any {
			v, _ := conf.Option(f)
			return v
		}),
	)
}

func TestLiteral(t *testing.T) {
	for text, want := range map[string]any{
		"1": int64(1), "0.5": 0.5, "true": true, `"1"`: "1", "'a b'": "a b", "1 # one": int64(1),
		"2s": "2s", "bolt": "bolt", "": "", "a, b": "a, b", "2020-01-01": "2020-01-01", "{ a = 1 }": "{ a = 1 }",
		"1\nw = 2": "1\nw = 2", "1\n[t]": "1\n[t]",
	} {
		if got := conf.Literal(text); got != want {
			t.Errorf("%q is %#v, want %#v", text, got, want)
		}
	}
}

func TestLiteralTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyScalar().Draw(t, "value")
		text := conf.LiteralText(want)
		if got := conf.Literal(text); got != want {
			t.Errorf("%#v was written %q and read %#v", want, text, got)
		}
	})
}

func FuzzParseOverride(f *testing.F) {
	for _, seed := range []string{"load.duration=2s", `matrix.backend=["bolt"]`, "matrix.clients=[]", "seed=1", "trials = 3",
		"title=a = b", "options.mdb.map_size=1\nx = 2", "x={", "clients=[[", "matrix.a.b.c=[{}]", "name=\"\\u0000\""} {
		f.Add(seed)
	}
	f.Add(`matrix.system=["etcd", "fast"]`)
	f.Add(`matrix.system=[{name="x"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOverride(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		again, err := ParseOverride(o.String())
		if err != nil || again != o {
			t.Fatalf("%v became %v, %v", o, again, err)
		}
		if e, err := Parse("x.toml", []byte(coupled), catalogue(), []Override{o}); err == nil {
			checkExperiment(t, e)
		}
		e, err := Parse("x.toml", []byte(withMatrix), catalogue(), []Override{o})
		if err != nil {
			checkErrorChain(t, err)
			return
		}
		checkExperiment(t, e)
		if !slices.Contains([]string{"name", "seed"}, o.Key) && e.Seed != 1 {
			t.Fatal("an override changed another key")
		}
	})
}
