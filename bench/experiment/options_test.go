package experiment

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOldRaftKeys: [raft] once had keys that are the engine's options today. Files and
// manifests that have them mean the same as new ones.
func TestOldRaftKeys(t *testing.T) {
	const cluster = "name = \"x\"\n[matrix]\n"
	want, err := parseWith(t, cluster+"options.hashicorp.log_cache = [-1, 64]\n[options.hashicorp]\ntrailing_logs = 7\nbatch_apply = true")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		cluster + "log_cache = [-1, 64]\n[raft]\ntrailing_logs = 7\nbatch_apply = true",
		cluster + "raft.log_cache = [-1, 64]\n[raft]\ntrailing_logs = 7\n[options.engine.hashicorp]\nbatch_apply = true",
	} {
		got, err := parseWith(t, file)
		if err != nil {
			t.Fatal(err)
		}
		got.Matrix[0].Name = want.Matrix[0].Name // as written
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		if want.Hash() != got.Hash() {
			t.Errorf("%s: another hash", file)
		}
	}
	if e, err := parseWith(t, cluster+"log_cache = [-1, 64]", "raft.trailing_logs=7", "batch_apply=true"); err != nil || e.Options["hashicorp"]["trailing_logs"] != int64(7) {
		t.Errorf("overrides: %+v, %v", e, err)
	}

	manifest := `{"name":"x","title":"x","seed":1,"trials":5,"measure":"load",
		"cluster":{"nodes":3,"engine":"hashicorp","backend":"bolt","transport":"tcp","mode":"inprocess","discovery":"static"},
		"raft":{"heartbeat_timeout":"1s","batch_apply":true,"trailing_logs":7},
		"matrix":[{"key":"raft.log_cache","name":"options.hashicorp.log_cache","levels":["-1","64"]}]}`
	var old Experiment
	if err := json.Unmarshal([]byte(manifest), &old); err != nil {
		t.Fatal(err)
	}
	if old.Raft.HeartbeatTimeout != time.Second {
		t.Errorf("%+v", old.Raft)
	}
	if diff := cmp.Diff(want.Matrix, old.Matrix); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Options, old.Options); diff != "" {
		t.Error(diff)
	}
}

type snapshotSettings struct {
	Count int      `key:"count" min:"1" max:"9"`
	Pause Duration `key:"pause"`
}

// twins knows a backend and a transport of one name, which share an option, and a
// measure.
func twins() Known {
	return Known{
		{Kind: KindEngine, Name: "hashicorp"},
		{Kind: KindBackend, Name: "bolt"},
		{Kind: KindBackend, Name: "wal"},
		{Kind: KindBackend, Name: "twin", Options: []string{"size", "both"}},
		{Kind: KindTransport, Name: "tcp"},
		{Kind: KindTransport, Name: "twin", Options: []string{"depth", "both"}},
		{Kind: KindSystem, Name: "inprocess"},
		{Kind: KindSystem, Name: "process"},
		PluginOf(KindMeasure, "snapshot", snapshotSettings{3, Duration(time.Second)}),
	}
}

type traceSettings struct {
	Trace bool `key:"trace"`
}

// underLoad is a measure that puts a load to the group.
func underLoad(name string, settings any) Plugin {
	p := PluginOf(KindMeasure, name, settings)
	p.Load = true
	return p
}

// TestMeasureUnderLoad: what is measured under a load has the [load] table beside its own;
// what is not, has not.
func TestMeasureUnderLoad(t *testing.T) {
	known := append(twins(), underLoad("anatomy", traceSettings{true}))
	const text = `name = "x"
measure = "anatomy"
[load]
clients = 3
[matrix]
anatomy.trace = [false, true]
warmup = ["1s", "2s"]
`
	e, err := Parse("x.toml", []byte(text), known, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) != 4 || cells[0].Load.Clients != 3 || cells[0].Load.ValueSize != 256 || cells[3].Settings["trace"] != true || cells[0].Settings["trace"] != false {
		t.Errorf("%+v", cells)
	}
	for _, other := range []string{"snapshot", "formation"} {
		_, err := Parse("x.toml", []byte(strings.Replace(text, `"anatomy"`, `"`+other+`"`, 1)), known, nil)
		if err == nil || !strings.Contains(err.Error(), `load.clients is for measure = "load"`) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// TestOptionsOfTwins: which of two plug-ins of one name is meant must be said only where
// both take the option.
func TestOptionsOfTwins(t *testing.T) {
	e, err := Parse("x.toml", []byte(`name = "x"
[options.twin]
size = 1
depth = 2
[options.backend.twin]
both = 3
[matrix]
options.transport.twin.both = [4, 5]
`), twins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	backend := cells[1].Options.Of(KindBackend, "twin", []string{"size", "both"})
	transport := cells[1].Options.Of(KindTransport, "twin", []string{"depth", "both"})
	if diff := cmp.Diff(map[string]any{"size": int64(1), "both": int64(3)}, backend); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"depth": int64(2), "both": int64(5)}, transport); diff != "" {
		t.Error(diff)
	}

	for file, want := range map[string]string{
		"name='x'\n[options.twin]\nboth = 1": `x.toml:3: options.twin.both: the backend and the transport "twin" both take it: write [options.backend.twin] or [options.transport.twin]`,
		"name='x'\n[matrix]\noptions.twin.both = [1]": `x.toml:3: unknown key "options.twin.both" in [matrix]; the backend and the transport "twin" both take it: ` +
			`write [options.backend.twin] or [options.transport.twin]`,
		"name='x'\n[options.backend.twin]\ndepth = 1":                                `x.toml:3: unknown key "depth" in [options.backend.twin]; known are size, both`,
		"name='x'\n[options.backend.tcp]\ndepth = 1":                                 `x.toml:2: [options.backend.tcp]: there is no backend "tcp"; known are bolt, wal, twin`,
		"name='x'\n[options.twin]\nsize = 1\n[options.backend.twin]\nsize = 2\n\n\n": `x.toml:5: options.twin.size is given twice, first on line 3: remove one`,
	} {
		if _, err := Parse("x.toml", []byte(file), twins(), nil); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", file, err, want)
		}
	}
}

// TestMeasureWithItsOwnTable: what is measured beside a load and a formation brings its
// settings.
func TestMeasureWithItsOwnTable(t *testing.T) {
	e, err := Parse("x.toml", []byte("name = \"x\"\nmeasure = \"snapshot\"\n[snapshot]\npause = \"2s\"\n[matrix]\nsnapshot.count = [1, 2]\n"), twins(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	if e.Load != (Load{}) || e.Formation != (Formation{}) {
		t.Errorf("%+v, %+v", e.Load, e.Formation)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	got := snapshotSettings{}
	if err := cells[1].ReadSettings(&got); err != nil || got != (snapshotSettings{2, Duration(2 * time.Second)}) {
		t.Errorf("%+v, %v", got, err)
	}
	if e, err := Parse("x.toml", []byte("name='x'\nmeasure='snapshot'"), twins(), nil); err != nil || e.Settings["count"] != int64(3) {
		t.Errorf("defaults: %+v, %v", e, err)
	}
	for file, want := range map[string]string{
		"name='x'\nmeasure='snapshot'\n[snapshot]\ncount = 10": `x.toml:4: snapshot.count = 10: want a whole number from 1 to 9, without quotes`,
		"name='x'\n[snapshot]\ncount = 1":                      `x.toml:3: snapshot.count is for measure = "snapshot", and this experiment has measure = "load": remove count, or set measure at the top of the file`,
		"name='x'\nmeasure='snapshot'\n[load]\nclients = 1":    `x.toml:4: load.clients is for measure = "load", and this experiment has measure = "snapshot": remove clients, or set measure at the top of the file`,
		"name='x'\nmeasure='snapshots'":                        `x.toml:2: measure = "snapshots": want one of "load", "formation", "snapshot"; did you mean "snapshot"?`,
		"name='x'\n[snapshot]\ncuont = 1":                      `x.toml:3: unknown key "cuont" in [snapshot]; did you mean "count"?`,
	} {
		if _, err := Parse("x.toml", []byte(file), twins(), nil); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", file, err, want)
		}
	}
}
