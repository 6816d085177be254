package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/bench/verify"
	"github.com/themilchenko/raftlab/cluster"
)

func TestMain(m *testing.M) {
	if err := mdb.EnsureRuntime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const small = `
# Is it the same?
name   = "small"
[load]
clients    = 2
duration   = "150ms"
warmup     = "50ms"
value_size = 64
[matrix]
backend = ["inmem", "bolt"]
`

// ran returns a run folder of real trials, with its report.
func ran(t *testing.T) (dir string, known experiment.Known) {
	t.Helper()
	parts := cluster.Builtin()
	slow := *inprocess.New(parts)
	describe := slow.Describe
	slow.Describe = func(ctx context.Context, cell experiment.Cell) (record.CellInfo, error) {
		info, err := describe(ctx, cell)
		info.WarmAfter = 100
		return info, err
	}
	systems := runner.Systems(parts, "kvnode").With(&slow)
	known = runner.Known(parts, systems, runner.Kinds())
	set := experiment.Override{Key: "trials", Value: "2"}
	e, err := experiment.Parse("small.toml", []byte(small), known, []experiment.Override{set})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "run")
	outcome, err := runner.Run(t.Context(), runner.Config{
		Experiment: e, Source: []byte(small), Overrides: []string{set.String()}, Out: dir, Systems: systems, Kinds: runner.Kinds(),
	})
	if err != nil || outcome.Ran != 4 {
		t.Fatalf("%v, %+v", err, outcome)
	}
	if err := report.Write(t.Context(), outcome.Folder, runner.Kinds()); err != nil {
		t.Fatal(err)
	}
	if err := outcome.Folder.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, known
}

// TestOneThingTampered: whatever is changed in a run folder is found and named.
func TestOneThingTampered(t *testing.T) {
	dir, known := ran(t)
	run := func(t *testing.T, dir string) (verify.Verification, error) {
		f, err := record.Open(dir)
		if err != nil {
			return verify.Verification{}, err
		}
		return verify.Run(t.Context(), f, runner.Kinds(), known)
	}
	if v, err := run(t, dir); err != nil || len(v.Differences)+len(v.Notes)+len(v.Unchecked) > 0 || v.Trials != 4 {
		t.Fatalf("as it was written: %+v, %v", v, err)
	}
	t.Run("earlier defaults", func(t *testing.T) { earlierDefaults(t, copied(t, dir), known) })
	const manifest, trial = record.ManifestFile, "trials/c02-t02.json"
	for name, c := range map[string]struct {
		file, old, new string // a regular expression and what is put in its place; an empty old makes the file
		want           string // File Column of a difference
	}{
		"the experiment file":     {record.ExperimentFile, `clients    = 2`, `clients    = 3`, manifest + " experiment.load.clients"},
		"an override":             {manifest, `"trials=2"`, `"trials=3"`, manifest + " experiment.trials"},
		"the resolved experiment": {manifest, `(?s)("experiment": .*?)"keys": 10000`, `$1"keys": 20000`, manifest + " experiment.load.keys"},
		"a trial run":             {manifest, `"overrides"`, `"quick": true, "overrides"`, manifest + " experiment.trials"},
		"a cell":                  {manifest, `(?s)("id": "c02".*?)"value_size": 64`, `$1"value_size": 65`, manifest + " cells.c02.load.value_size"},
		"the seed":                {manifest, `"seed": 1`, `"seed": 2`, manifest + " experiment.seed"},
		"the order":               {manifest, `(?s)("order": \[\s*)(\{.*?\})(,\s*)(\{.*?\})`, `$1$4$3$2`, manifest + " order[0]"},
		"a trial's seed":          {trial, `"seed": \d+`, `"seed": 77`, trial + " seed"},
		"a trial's start":         {trial, `"started": "\d{4}`, `"started": "2001`, trial + " started"},
		"an operation":            {trial, `"completed": \d+`, `"completed": 1`, ""},
		"a verdict":               {trial, `(?s)("name": "leader",\s*"verdict": )"PASS"`, `$1"FAIL"`, trial + " gates.leader"},
		"a figure and its limit":  {trial, `(?s)("name": "clock",.*?"limit": )20`, `${1}1000`, trial + " gates.clock.limit"},
		"a limit from counts":     {trial, `(?s)("name": "errors",.*?"limit": )0.1`, `${1}50`, trial + " gates.errors.limit"},
		"a figure from counts":    {trial, `(?s)("name": "load",.*?"figure": )\d+`, `${1}100000`, trial + " gates.load"},
		"flushes":                 {trial, `(?s)("syncs_per_node": \[\s*)\d+`, `${1}1`, trial + " gates.flushes"},
		"a member's flushes":      {trial, `(?s)("syncs_per_node": \[\s*)\d+,`, `${1}`, trial + " syncs_per_node"},
		"what was acknowledged":   {trial, `"acknowledged": \d+`, `"acknowledged": 0`, trial + " acknowledged"},
		"operations before":       {manifest, `"warmup_operations": \d+`, `"warmup_operations": 7`, manifest + " cells.c01.warmup_operations"},
		"what was served before":  {trial, `"served": \d+`, `"served": 7`, trial + " gates.cold"},
		"a cold gate less":        {trial, `"name": "cold"`, `"name": "warm"`, trial + " gates.cold"},
		"a gate that is skipped":  {trial, `(?s)("name": "cold",\s*"verdict": )"PASS"`, `$1"SKIP"`, trial + " gates.cold.skipped"},
		"a gate less":             {trial, `"name": "convergence"`, `"name": "congruence"`, trial + " gates.convergence"},
		"a table":                 {"results.csv", `,bolt,`, `,boIt,`, "results.csv "},
		"a report":                {"report.md", `bolt`, `boIt`, "report.md "},
		"a trial from elsewhere":  {"trials/c09-t01.json", "", "{}", "trials/c09-t01.json "},
		"a note among the trials": {"trials/README", "", "hm", "trials/README "},
		"a plot from elsewhere":   {"plots/better.svg", "", "<svg/>", "plots/better.svg "},
		"a note beside them":      {"notes.txt", "", "hm", "note: notes.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			tampered := copied(t, dir)
			change(t, filepath.Join(tampered, filepath.FromSlash(c.file)), c.old, c.new)
			v, err := run(t, tampered)
			if c.want == "" { // a count that contradicts others is no trial at all
				if err == nil || !strings.Contains(err.Error(), c.file) {
					t.Errorf("%+v, %v", v, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, d := range v.Differences {
				said = append(said, d.File+" "+d.Column)
			}
			for _, n := range v.Notes {
				said = append(said, "note: "+n)
			}
			if !strings.Contains(strings.Join(said, "\n"), c.want) {
				t.Errorf("want %q, got %q", c.want, said)
			}
		})
	}
}

func change(t *testing.T, file, old, new string) {
	t.Helper()
	if old == "" {
		if err := os.WriteFile(file, []byte(new), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(old)
	where := at.FindSubmatchIndex(text)
	if where == nil {
		t.Fatalf("%s has no %q:\n%s", file, old, text)
	}
	changed := at.Expand(append([]byte(nil), text[:where[0]]...), []byte(new), text, where)
	if err := os.WriteFile(file, append(changed, text[where[1]:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".json") && !json.Valid(append(changed, text[where[1]:]...)) {
		t.Fatal("the change made no JSON of it")
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return other
}

// earlierDefaults: what a run of an earlier raftlab took by default may be another default
// now: that is a note. What its file says is not.
func earlierDefaults(t *testing.T, dir string, known experiment.Known) {
	manifest := filepath.Join(dir, record.ManifestFile)
	change(t, manifest, fmt.Sprintf(`"format": %d`, record.FormatVersion), `"format": 4`)
	change(t, manifest, `(?s)("experiment": .*?)"op_timeout": "10s"`, `$1"op_timeout": "9s"`)
	change(t, manifest, `(?s)("experiment": .*?)"value_size": 64`, `$1"value_size": 65`)
	f, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Run(t.Context(), f, runner.Kinds(), known)
	if err != nil || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "load.op_timeout: 9s") {
		t.Errorf("notes %q, %v", v.Notes, err)
	}
	if len(v.Differences) == 0 || v.Differences[0].Column != "experiment.load.value_size" {
		t.Errorf("differences %v", v.Differences)
	}
}
