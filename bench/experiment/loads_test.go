package experiment

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/bench/workload"
)

// mixesOf parses a file and returns the mix, keys and value size of each cell.
func mixesOf(t *testing.T, file string, overrides ...string) []string {
	t.Helper()
	e, err := parseWith(t, file, overrides...)
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %v %s %d %s", c.ID, c.Load.Shares(), c.Load.KeyDistribution, c.Load.ValueSize, c.Load.Preset)))
	}
	return got
}

func TestPresets(t *testing.T) {
	const head = "name = \"x\"\n"
	for name, x := range map[string]struct {
		file      string
		overrides []string
		want      []string
	}{
		"one": {file: "[load]\npreset = \"ycsb-b\"", want: []string{"c01 {0.95 0.05 0 0 0 0 0} zipf 1000 ycsb-b"}},
		"overridden by the file": {file: "[load]\npreset = \"ycsb-b\"\nvalue_size = \"2KiB\"\nkey_distribution = \"uniform\"",
			want: []string{"c01 {0.95 0.05 0 0 0 0 0} uniform 2048 ycsb-b"}},
		"another mix": {file: "[load]\npreset = \"ycsb-b\"\nmix = {read = 0.5, insert = \"50%\"}\nvalue_sizes = \"50% 1B, 50% 3B\"",
			want: []string{"c01 {0.5 0 0.5 0 0 0 0} zipf 2 ycsb-b"}},
		"the short form": {file: "[load]\npreset = \"ycsb-e\"\nread_ratio = \"25%\"", want: []string{"c01 {0.25 0.75 0 0 0 0 0} zipf 1000 ycsb-e"}},
		"levels": {file: "[matrix]\npreset = [\"ycsb-a\", \"ycsb-d\", \"ycsb-e\", \"ycsb-f\"]", want: []string{
			"c01 {0.5 0.5 0 0 0 0 0} zipf 1000 ycsb-a", "c02 {0.95 0 0.05 0 0 0 0} latest 1000 ycsb-d",
			"c03 {0 0 0.05 0.95 0 0 0} zipf 1000 ycsb-e", "c04 {0.5 0 0 0 0.5 0 0} zipf 1000 ycsb-f"}},
		"levels beside a factor": {file: "[matrix]\nload.preset = [\"ycsb-c\", \"ycsb-d\"]\nvalue_size = [\"1KiB\", 2000]", want: []string{
			"c01 {1 0 0 0 0 0 0} zipf 1024 ycsb-c", "c02 {1 0 0 0 0 0 0} zipf 2000 ycsb-c",
			"c03 {0.95 0 0.05 0 0 0 0} latest 1024 ycsb-d", "c04 {0.95 0 0.05 0 0 0 0} latest 2000 ycsb-d"}},
		"coupled": {file: "[load]\nmix.compare_and_set = 1\n[[matrix.work]]\nname = \"A\"\npreset = \"ycsb-a\"\nvalue_size = 7\n[[matrix.work]]\nname = \"own\"\nmix.batch = 1\n[[matrix.work]]\nname = \"file\"\n[[matrix.work]]\nname = \"short\"\nread_ratio = 0.5",
			want: []string{"c01 {0 0 0 0 0 1 0} zipf 7 ycsb-a", "c02 {0 0 0 0 0 0 1} uniform 256", "c03 {0 0 0 0 0 1 0} uniform 256", "c04 {0.5 0.5 0 0 0 0 0} uniform 256"}},
		"coupled over a preset": {file: "[load]\npreset = \"ycsb-a\"\n[[matrix.work]]\nname = \"own\"\nload.mix.insert = 1\n[[matrix.work]]\nname = \"F\"\npreset = \"ycsb-f\"",
			want: []string{"c01 {0 0 1 0 0 0 0} zipf 1000 ycsb-a", "c02 {0.5 0 0 0 0.5 0 0} zipf 1000 ycsb-f"}},
		"on the command line": {overrides: []string{"load.preset=ycsb-c", "value_size=4KiB"}, want: []string{"c01 {1 0 0 0 0 0 0} zipf 4096 ycsb-c"}},
		"levels on the command line": {overrides: []string{`matrix.preset=["ycsb-c", "ycsb-a"]`}, want: []string{
			"c01 {1 0 0 0 0 0 0} zipf 1000 ycsb-c", "c02 {0.5 0.5 0 0 0 0 0} zipf 1000 ycsb-a"}},
		"pinned": {file: "[matrix]\npreset = [\"ycsb-a\", \"ycsb-d\"]", overrides: []string{"preset=ycsb-d"},
			want: []string{"c01 {0.95 0 0.05 0 0 0 0} latest 1000 ycsb-d"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(x.want, mixesOf(t, head+x.file, x.overrides...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLoadMistakes: each names its key and line, and how to mend it.
func TestLoadMistakes(t *testing.T) {
	for name, x := range map[string]struct{ load, want string }{
		"clients with a rate": {"clients = 64\nrate = 100",
			"x.toml:3: load.clients = 64 means nothing beside load.rate = 100: an open loop starts each operation on schedule, whoever is free: remove clients, or remove rate for a closed loop of so many clients"},
		"clients varied with a rate": {"rate = 100\n[matrix]\nclients = [1, 16]",
			"x.toml:5: load.clients = 1 means nothing beside load.rate = 100 (cell c01: clients = 1): "},
		"clients varied with closed and open": {"[matrix]\nrate = [0, 100]\nclients = [1, 16]",
			"x.toml:5: load.clients = 1 means nothing beside load.rate = 100 (cell c03: rate = 100, clients = 1): "},
		"a mix that does not add up": {"[load.mix]\nread = 0.5\ninsert = 0.4",
			"x.toml:4: load.mix: the shares add up to 0.9, not to 1"},
		"a level that does not add up": {"mix.write = 1\n[matrix]\nload.mix.read = [0, 0.5]",
			"x.toml:3: load.mix (cell c02: load.mix.read = 0.5): the shares add up to 1.5, not to 1"},
		"two mixes":         {"read_ratio = 0\nmix.read = 1", "x.toml:3: load.read_ratio and load.mix.read (line 4) are both given, and read_ratio is its short form: remove one"},
		"two mixes, varied": {"mix.read = 1\n[matrix]\nread_ratio = [0, 0.5]", "x.toml:5: load.read_ratio and load.mix.read (line 3) are both given, and read_ratio is its short form: remove one"},
		"two ends, varied":  {"operations = 9\n[matrix]\nduration = [\"1s\", \"2s\"]", "x.toml:3: load.operations and load.duration (line 5) are both given, and "},
		"an unknown kind":   {"mix.reed = 1", `x.toml:3: unknown key "reed" in [load.mix]; did you mean "read"?`},
		"a mix as text":     {`mix = "half"`, `x.toml:3: load.mix = "half": want a table: write [load.mix] on a line of its own`},
		"a share above 1":   {"mix.read = 1.5", `x.toml:3: load.mix.read = 1.5: want a share from 0 to 1, such as 0.95 or "95%"`},
		"an unknown preset": {`preset = "ycsb-g"`, `x.toml:3: load.preset = "ycsb-g": want one of "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"; did you mean "ycsb-a"?`},
		"a preset of levels": {"[matrix]\npreset = [\"ycsb-a\", \"ycsb\"]",
			`x.toml:4: level "ycsb" of matrix.preset: want one of `},
		"two ends":            {"operations = 10\nduration = \"1s\"", "x.toml:3: load.operations and load.duration (line 4) are both given, and the measured window has an end by the one or the other: remove one"},
		"two sizes":           {"value_size = 1\nvalue_sizes = \"1..2\"", "x.toml:4: load.value_sizes and load.value_size (line 3) are both given, and value_sizes is instead of value_size: remove one"},
		"a wrong size":        {"value_size = \"4 kilo\"", `x.toml:3: load.value_size = "4 kilo": want a size from 1B to 64MiB, such as 4096 or "4KiB"`},
		"wrong sizes":         {"value_sizes = \"4KiB..1\"", `x.toml:3: load.value_sizes = "4KiB..1": 4KiB..1: want the smaller size first`},
		"large sizes":         {"value_sizes = \"65MiB\"", `x.toml:3: load.value_sizes = "65MiB": at most 67108864`},
		"long scans":          {"scan_length = \"1..2000\"\nmix.scan = 1", `x.toml:3: load.scan_length = "1..2000": at most 1000`},
		"no scans":            {"scan_length = \"10\"", "x.toml:3: load.scan_length is for scans, and there are none: give load.mix.scan a share, or remove load.scan_length"},
		"no batches":          {"batch_size = 10", "x.toml:3: load.batch_size is for batches, and there are none: give load.mix.batch a share, or remove load.batch_size"},
		"large batches":       {"batch_size = 100\nkeys = 50\nmix.batch = 1", "x.toml:4: [load]: batch size = 100: must be between 1 and the 50 keys that there are"},
		"no zipf":             {"zipf_exponent = 1.2", `x.toml:3: load.zipf_exponent is for zipf and latest keys: set key_distribution = "zipf", or remove load.zipf_exponent`},
		"no hot spot":         {"hot_moves = \"1s\"", `x.toml:3: load.hot_moves is for hot-spot keys: set key_distribution = "hot-spot", or remove load.hot_moves`},
		"no followers":        {"target = \"followers\"\n[cluster]\nnodes = 1", `x.toml:3: load.target = "followers": one node has no followers: raise cluster.nodes, or remove target`},
		"news from followers": {"preset = \"ycsb-d\"\ntarget = \"all\"\nread_level = \"stale\"", `x.toml:5: load.read_level = "stale" beside load.target = "all" and reads of keys that are inserted meanwhile: a follower need not have them yet: set read_level = "linearizable"`},
		"two rates":           {"peak_share = \"70%\"\nrate = 5", "x.toml:3: load.peak_share = 0.7 beside load.rate = 5: the rate is the one or the other: remove one"},
		"a ramp from nowhere": {"rate_to = 500", "x.toml:3: load.rate_to = 500: a ramp begins at a rate, and there is none: set load.rate to operations per second, or remove rate_to"},
		"a ramp from a share": {"peak_share = \"50%\"\nrate_to = 500", "x.toml:4: load.rate_to = 500: a ramp begins at a rate, and load.peak_share gives another one to each trial: give load.rate instead, or remove rate_to"},
		"a level ramp":        {"rate = 500\nrate_to = 500", "x.toml:4: load.rate_to = 500: it is load.rate, so the rate does not change: give another one, or remove rate_to"},
		"a ramp of operations": {"rate = 5\nrate_to = 500\noperations = 100",
			"x.toml:4: load.rate_to = 500: a ramp takes a time, and load.operations leaves that open: give load.duration instead"},
		"both ends varied": {"[matrix]\nrate = [50, 100]\nrate_to = [100, 200]",
			"x.toml:5: load.rate_to = 100 (cell c03: rate = 100, rate_to = 100): it is load.rate, so the rate does not change: give another one, or remove rate_to; where the matrix varies both, give them as pairs: [[matrix.ramp]] with name, rate and rate_to"},
		"a rate in per cent": {"rate = \"70%\"", `x.toml:3: load.rate = "70%": want operations per second, without quotes; for a share of the peak, which is measured first, give peak_share = "70%"`},
		"a foreign lease":    {"target = \"all\"\nread_ratio = 1\nread_level = \"lease\"", `x.toml:5: load.read_level = "lease" beside load.target = "all": only the leader has a lease: set read_level = "linearizable", which followers serve too`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseWith(t, "name = \"x\"\n[load]\n"+x.load)
			if err == nil || !strings.HasPrefix(err.Error(), x.want) {
				t.Errorf("%v\nwant %s", err, x.want)
			}
		})
	}
}

// TestRamps: up, down, as pairs, and over what says the rate otherwise.
func TestRamps(t *testing.T) {
	for file, want := range map[string]string{
		"[load]\nrate = 50\nrate_to = 5000": "50 5000 0",
		"[load]\nrate = 50\nrate_to = 5":    "50 5 0",
		"[[matrix.ramp]]\nname = \"up\"\nrate = 1\nrate_to = 9\n[[matrix.ramp]]\nname = \"down\"\nrate = 9\nrate_to = 1": "1 9 0, 9 1 0",
	} {
		e, err := parseWith(t, "name = \"x\"\n"+file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		checkExperiment(t, e)
		cells, err := e.Expand()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range cells {
			got = append(got, fmt.Sprint(c.Load.Rate, c.Load.RateTo, c.Load.PeakShare))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v", file, got)
		}
	}
	e, err := parseWith(t, "name = \"x\"\n[load]\nrate = 50\nrate_to = 5000", "peak_share=50%")
	if err != nil || e.Load.Rate != 0 || e.Load.RateTo != 0 {
		t.Errorf("a share over a ramp: %+v, %v", e, err)
	}
}

// TestClientsOfAPartlyOpenMatrix: they are those of the cells that are closed loops.
func TestClientsOfAPartlyOpenMatrix(t *testing.T) {
	mixesOf(t, "name = \"x\"\n[load]\nclients = 64\n[matrix]\nrate = [0, 100]")
}

func TestOperationsHaveNoDuration(t *testing.T) {
	e, err := parseWith(t, "name = \"x\"\n[load]\noperations = 100000\nkey_distribution = \"hot-spot\"\nhot_moves = \"2s\"\nsnapshot_every = \"1s\"")
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	e.Quick()
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := cells[0].Load.Spec(7)
	if err != nil || spec.Validate() != nil {
		t.Fatal(err, spec.Validate())
	}
	if spec.Operations != quickOperations || spec.Duration != 0 || spec.HotKeys != 0.2 || spec.HotOperations != 0.8 || spec.Mix != (workload.Mix{Write: 1}) {
		t.Errorf("%+v", spec)
	}
}

func TestExclude(t *testing.T) {
	const matrix = `name = "x"
[[exclude]]
backend = "inmem"
cluster.nodes = 3
[[exclude]]
system = "b"
backend = "bolt"
[matrix]
backend = ["inmem", "bolt"]
nodes = [1, 3]
[[matrix.system]]
name = "a"
[[matrix.system]]
name = "b"
transport = "inmem"
`
	ids := func(overrides ...string) string {
		var ids []string
		for _, text := range mixesOf(t, matrix, overrides...) {
			ids = append(ids, strings.Fields(text)[0])
		}
		return strings.Join(ids, " ")
	}
	// c01 inmem 1 a, c02 inmem 1 b, c03 inmem 3 a, c04 inmem 3 b, c05 bolt 1 a, c06 bolt 1 b, c07 bolt 3 a, c08 bolt 3 b
	for want, overrides := range map[string][]string{
		"c01 c02 c05 c07": nil,
		"c01 c03":         {"backend=bolt"},               // of 1 and 3 nodes, system a
		"c01 c02":         {"matrix.backend=[\"inmem\"]"}, // of 1 node
	} {
		if got := ids(overrides...); got != want {
			t.Errorf("%v: cells %s, want %s", overrides, got, want)
		}
	}
	for lines, want := range map[string]string{
		`backend = "wal"`:                   `x.toml:3: [[exclude]] backend = "wal": the matrix has no such level of backend; it has inmem, bolt`,
		`transport = "tcp"`:                 `x.toml:3: [[exclude]] names "transport", which is no factor of the matrix; it has backend, nodes`,
		`nodes = "many"`:                    `x.toml:3: [[exclude]] nodes = "many": want a whole number from 1 to 99, without quotes`,
		``:                                  `x.toml:2: [[exclude]] is empty: name levels of the matrix that do not go together, such as backend = "inmem"`,
		"nodes = 1\n[[exclude]]\nnodes = 3": `x.toml:6: [[exclude]] leaves no cell: take one of its tables away`,
	} {
		_, err := parseWith(t, "name = \"x\"\n[[exclude]]\n"+lines+"\n[matrix]\nbackend = [\"inmem\", \"bolt\"]\nnodes = [1, 3]\n")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", lines, err, want)
		}
	}
	if _, err := parseWith(t, "name = \"x\"\nexclude = 1"); err == nil || !strings.Contains(err.Error(), "want tables [[exclude]]") {
		t.Error(err)
	}
}

// TestOverridesOfWhatIsSaidInTwoWays take the place of the other way.
func TestOverridesOfWhatIsSaidInTwoWays(t *testing.T) {
	const file = "name = \"x\"\n[load]\nduration = \"2s\"\nvalue_size = 7\nclients = 3\nmix.scan = 1\n"
	for override, want := range map[string]string{
		"load.operations=50":         "50 0s 7 3 0 0 {0 0 0 1 0 0 0}",
		"value_sizes=50% 1B, 50% 9B": "0 2s 5 3 0 0 {0 0 0 1 0 0 0}",
		"rate=100":                   "0 2s 7 16 100 0 {0 0 0 1 0 0 0}",
		"peak_share=50%":             "0 2s 7 3 0 0.5 {0 0 0 1 0 0 0}",
		"read_ratio=0.25":            "0 2s 7 3 0 0 {0.25 0.75 0 0 0 0 0}",
	} {
		e, err := parseWith(t, file, override)
		if err != nil {
			t.Errorf("%s: %v", override, err)
			continue
		}
		cells, err := e.Expand()
		if err != nil {
			t.Fatal(err)
		}
		l := cells[0].Load
		if got := fmt.Sprint(l.Operations, l.Duration, l.ValueSize, l.Clients, l.Rate, l.PeakShare, l.Shares()); got != want {
			t.Errorf("%s: %s, want %s", override, got, want)
		}
	}
	if _, err := parseWith(t, file, "load.mix={read=1}"); err == nil || !strings.Contains(err.Error(), `unknown key "load.mix"; [load.mix] is a table: set its keys, such as load.mix.read`) {
		t.Error(err)
	}
}
