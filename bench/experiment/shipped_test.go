package experiment_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
)

// TestShippedExperiments holds experiments/ valid with the parts that there are, explained
// in both languages and short; each kind of measurement has one.
func TestShippedExperiments(t *testing.T) {
	paths, err := filepath.Glob("../../experiments/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	parts, kinds := cluster.Builtin(), runner.Kinds()
	known := runner.Known(parts, runner.Systems(parts, "kvnode"), kinds)
	asked := map[string]bool{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := experiment.Parse(path, text, known, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		asked[e.Measure] = true
		if e.Name+".toml" != filepath.Base(path) {
			t.Errorf("%s names itself %s", path, e.Name)
		}
		if e.Title == e.Name || e.TitleRu == "" || e.QuestionRu == "" || !strings.Contains(e.Question, "?") {
			t.Errorf("%s lacks a title or question", path)
		}
		cells, err := e.Expand()
		if err != nil {
			t.Fatal(err)
		}
		var load, rest experiment.Duration
		for _, c := range cells {
			load += experiment.Duration(e.Trials) * (c.Load.Warmup + c.Load.Duration)
			rest += experiment.Duration(e.Trials) * c.Formation.Rest
		}
		if rest > experiment.Duration(20*time.Minute) {
			t.Errorf("%s looks on for %s", path, rest)
		}
		if load > experiment.Duration(3*time.Minute) {
			t.Errorf("%s loads the cluster for %s", path, load)
		}
	}
	for _, k := range kinds.Names() {
		if !asked[k] {
			t.Errorf("no experiment measures %q", k)
		}
	}
}
