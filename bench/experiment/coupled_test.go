package experiment

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const coupled = `name = "x"
[load]
value_size = 7
[[matrix.system]]
name = "kvnode, slow"
mode = "process"
raft.commit_timeout = "1s"
[[matrix.system]]
name = "fast"
options.mdb.map_size = "1GiB"
[matrix.system.cluster]
backend = "mdb"
[[matrix.system]]
name = "etcd"
mode = "etcd"
duration = "2s"
[matrix]
clients = [1, 16]
`

func TestCoupledLevels(t *testing.T) {
	e, err := parseWith(t, coupled)
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
		got = append(got, fmt.Sprintf("%v %s %s %s %v %s %d", c.Levels, c.Cluster.Mode, c.Cluster.Backend, c.Raft.CommitTimeout, c.Options["mdb"], c.Load.Duration, c.Load.Clients))
	}
	want := []string{
		"[{system kvnode, slow} {clients 1}] process wal 1s map[] 5s 1",
		"[{system kvnode, slow} {clients 16}] process wal 1s map[] 5s 16",
		"[{system fast} {clients 1}] inprocess mdb 0s map[map_size:1GiB] 5s 1",
		"[{system fast} {clients 16}] inprocess mdb 0s map[map_size:1GiB] 5s 16",
		"[{system etcd} {clients 1}] etcd wal 0s map[] 2s 1",
		"[{system etcd} {clients 16}] etcd wal 0s map[] 2s 16",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e.Quick()
	if text := e.Matrix[0].Sets[2]["load.duration"]; text != "800ms" {
		t.Errorf("a quick trial of %s", text)
	}
}

func TestCoupledErrors(t *testing.T) {
	const head = "name = \"x\"\n" // line 1
	level := func(lines string) string {
		return head + "[[matrix.s]]\nname = \"a\"\n" + lines + "\n[[matrix.s]]\nname = \"b\"\n"
	}
	tests := []struct {
		name, file string
		want       []string
	}{
		{"unknown key", level("mdoe = \"process\""), []string{`x.toml:4: unknown key "mdoe" in [[matrix.s]]; did you mean "mode"?`}},
		{"unknown option", level("options.mdb.mapsize = 1"), []string{`x.toml:4: unknown key "options.mdb.mapsize" in [[matrix.s]]; did you mean "options.mdb.map_size"?`}},
		{"same for all cells", level("seed = 1"), []string{`x.toml:4: "seed" is the same for all cells and cannot be a factor; factors are the keys of [cluster], [raft], [load] and [formation], and options`}},
		{"unknown value", level("mode = \"ectd\""), []string{`x.toml:4: level "a" of matrix.s: cluster.mode = "ectd": want one of "inprocess", "process", "etcd"; did you mean "etcd"?`}},
		{"list", level("nodes = [1]"), []string{`x.toml:4: level "a" of matrix.s: cluster.nodes = […]: want a whole number from 1 to 99, without quotes`}},
		{"key twice", level("nodes = 1\ncluster.nodes = 2"), []string{`x.toml:5: cluster.nodes is given twice in one level of matrix.s, first on line 4: remove one`}},
		{"no name", head + "[[matrix.s]]\nnodes = 1", []string{`x.toml:2: [[matrix.s]]: a level has no name: add a line such as name = "etcd"`}},
		{"no such name", head + "[[matrix.s]]\nname = 1\n[[matrix.s]]\nname = \"a;b\"\nnodes = 1", []string{
			`x.toml:3: [[matrix.s]]: name = 1: want text in quotes, of 1 to 60 characters without ";" and "="`,
			`x.toml:5: [[matrix.s]]: name = "a;b": want text in quotes, of 1 to 60 characters without ";" and "="`}},
		{"name twice", head + "[[matrix.s]]\nname = \"a\"\n[[matrix.s]]\nname = \"a\"\nnodes = 1", []string{
			`x.toml:4: level "a" of matrix.s is there twice: give one another name`}},
		{"same levels", level("") + "[matrix]\nnodes = [1]", []string{`x.toml:5: levels "a" and "b" of matrix.s set the same: remove one`}},
		{"set by another factor", level("nodes = 1") + "[matrix]\ncluster.nodes = [1, 3]", []string{
			`x.toml:8: matrix.s and matrix.cluster.nodes both set cluster.nodes: take it out of one`}},
		{"set by another such factor", level("nodes = 1") + "[[matrix.t]]\nname = \"a\"\nnodes = 3", []string{
			`x.toml:9: matrix.s and matrix.t both set cluster.nodes: take it out of one`}},
		{"name of a setting", head + "[[matrix.backend]]\nname = \"a\"", []string{
			`x.toml:2: [[matrix.backend]]: that is a name of settings; a factor whose levels set several keys needs one of its own, such as [[matrix.system]]`}},
		{"name of a table", head + "[[matrix.raft]]\nname = \"a\"", []string{
			`x.toml:2: [[matrix.raft]]: that is a name of settings; a factor whose levels set several keys needs one of its own, such as [[matrix.system]]`}},
		{"no name for a factor", head + "[[matrix.'s s']]\nname = \"a\"", []string{
			`x.toml:2: [[matrix.s s]]: want a name of at most 60 letters, digits, "_" and "-", such as [[matrix.system]]`}},
		{"mixed", head + "[matrix]\ns = [{name = \"a\"}, 1]", []string{
			`x.toml:3: level 1 of matrix.s: want a table with a name and settings, as the other levels are`}},
		{"another measure", level("settle = \"1s\""), []string{
			`x.toml:4: formation.settle is for measure = "formation", and this experiment has measure = "load": remove settle, or set measure at the top of the file`}},
		{"arrival without a rate", level("arrival = \"poisson\""), []string{
			`x.toml:4: load.arrival is for an open loop, and there is no rate: set load.rate to operations per second, or remove load.arrival`}},
		{"gossip in one process", level("discovery = \"gossip\""), []string{
			`x.toml:4: cluster.discovery = "gossip" needs processes that find each other, and cluster.mode is "inprocess" (cell c01: s = a): set mode = "process" in [cluster]`}},
	}
	for _, tt := range tests {
		_, err := parseWith(t, tt.file)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if diff := cmp.Diff(strings.Join(tt.want, "\n"), err.Error()); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		checkErrorChain(t, err)
	}
}

func TestOverrideCoupled(t *testing.T) {
	for _, tt := range []struct {
		overrides []string
		want      []string // levels of the first factor
	}{
		{nil, []string{"kvnode, slow", "fast", "etcd"}},
		{[]string{`matrix.system=["etcd", "kvnode, slow"]`}, []string{"etcd", "kvnode, slow"}},
		{[]string{`matrix.system=[]`}, []string{"1", "16"}},
		{[]string{`matrix.system=[]`, `matrix.mode=["process"]`}, []string{"1", "16"}},
		{[]string{`matrix.system=["fast", "etcd"]`, "options.mdb.map_size=4096"}, []string{"fast", "etcd"}},
	} {
		e, err := parseWith(t, coupled, tt.overrides...)
		if err != nil {
			t.Errorf("%q: %v", tt.overrides, err)
			continue
		}
		checkExperiment(t, e)
		if diff := cmp.Diff(tt.want, e.Matrix[0].Levels); diff != "" {
			t.Errorf("%q: %s", tt.overrides, diff)
		}
	}
	for override, want := range map[string]string{
		`matrix.system=["ectd"]`:         `override matrix.system=["ectd"]: matrix.system has no level "ectd"; did you mean "etcd"?`,
		`matrix.system=etcd`:             `override matrix.system=etcd: matrix.system = "etcd": want a list of its levels, such as matrix.system=["kvnode, slow"]`,
		`matrix.system=["etcd", "etcd"]`: `x.toml:13: level "etcd" of matrix.system is there twice: give one another name`,
		`matrix.backend=["bolt"]`:        `override matrix.backend=["bolt"]: matrix.system and matrix.backend both set cluster.backend: take it out of one`,
	} {
		if _, err := parseWith(t, coupled, override); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", override, err, want)
		}
	}
	e, err := parseWith(t, coupled, "backend=inmem", "duration=1s")
	if err != nil {
		t.Fatal(err)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		if c.Cluster.Backend != "inmem" || c.Load.Duration != Duration(time.Second) {
			t.Errorf("%s: an override that does not hold: %s, %s", c.ID, c.Cluster.Backend, c.Load.Duration)
		}
	}
}
