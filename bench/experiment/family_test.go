package experiment

import (
	"strings"
	"testing"
	"time"
)

// TestFamilies: what a family stands for, and that two are never mixed.
func TestFamilies(t *testing.T) {
	const engines = "[matrix]\nengine = [\"hashicorp\", \"etcd\"]\n"
	parse := func(file string) (*Experiment, error) {
		return Parse("x.toml", []byte("name = \"x\"\n"+file), append(catalogue(), Plugin{Kind: KindEngine, Name: "etcd"}), nil)
	}
	e, err := parse("[cluster]\nfamily = \"aligned\"\n[raft]\nmax_in_flight = 8\n[matrix]\nengine = [\"hashicorp\", \"etcd\"]\nmax_append_entries = [64, 128]\n")
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	want := Raft{HeartbeatTimeout: time.Second, MaxInFlight: 8, SnapshotThreshold: 1e12}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		if want.MaxAppendEntries = 64; strings.Contains(c.describe(), "128") {
			want.MaxAppendEntries = 128
		}
		if c.Raft != want {
			t.Errorf("%s: %+v, want %+v", c.describe(), c.Raft, want)
		}
	}
	if e, err := parse("[cluster]\nfamily = \"recommended\"\n" + engines); err != nil || e.Raft != (Raft{}) || e.Cluster.Family != FamilyRecommended {
		t.Errorf("%+v, %v", e, err)
	}
	for want, file := range map[string]string{
		`x.toml:5: raft.max_in_flight beside family = "recommended"`: "[cluster]\nfamily = \"recommended\"\n[raft]\nmax_in_flight = 8\n" + engines,
		`x.toml:6: raft.commit_timeout beside family`:                "[cluster]\nfamily = \"recommended\"\n[[matrix.x]]\nname = \"a\"\nraft.commit_timeout = \"1s\"\n",
		`x.toml:3: matrix.family sets cluster.family`:                "[matrix]\nfamily = [\"aligned\", \"recommended\"]\n",
		`the engine hashicorp has settings of [raft] with which etcd is not measured (cell c01: x = a)`: "[cluster]\nfamily = \"aligned\"\n" +
			"[[matrix.x]]\nname = \"a\"\nraft.max_in_flight = 1\n[[matrix.x]]\nname = \"b\"\nengine = \"etcd\"\n",
	} {
		if _, err := parse(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
