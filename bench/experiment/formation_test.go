package experiment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const forming = `name = "x"
measure = "formation"
[cluster]
mode = "process"
[formation]
rest = "2s"
[matrix]
discovery = ["static", "gossip"]
nodes = [3, 5]
`

func TestParseFormation(t *testing.T) {
	e, err := parseWith(t, forming, "timeout=90s")
	if err != nil {
		t.Fatal(err)
	}
	checkExperiment(t, e)
	want := Formation{Settle: Duration(5 * time.Second), Rest: Duration(2 * time.Second), Timeout: Duration(90 * time.Second)}
	if e.Measure != MeasureFormation || e.Formation != want || e.Load != (Load{}) {
		t.Errorf("measure %q, formation %+v, load %+v", e.Measure, e.Formation, e.Load)
	}
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		if c.Formation != want {
			t.Errorf("cell %s: %+v", c.ID, c.Formation)
		}
		got = append(got, c.Cluster.Discovery)
	}
	if diff := cmp.Diff([]string{"static", "static", "gossip", "gossip"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestFormationDefaults: a load knows nothing of a formation, and the other way
// round.
func TestFormationDefaults(t *testing.T) {
	e, err := parseWith(t, "name = \"x\"\nmeasure = \"formation\"\n[cluster]\nmode = \"process\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Formation{Duration(5 * time.Second), Duration(5 * time.Second), Duration(time.Minute)}); e.Formation != want {
		t.Errorf("%+v, want %+v", e.Formation, want)
	}
	if e, err = parseWith(t, withMatrix); err != nil || e.Formation != (Formation{}) {
		t.Errorf("a load with %+v, %v", e.Formation, err)
	}
}

func TestQuickFormation(t *testing.T) {
	e, err := parseWith(t, forming, "rest=100ms", "settle=1s", `matrix.rest=["500ms", "2s", "3s"]`)
	if err != nil {
		t.Fatal(err)
	}
	e.Quick()
	if e.Trials != 1 || e.Formation.Rest != Duration(100*time.Millisecond) || e.Formation.Settle != Duration(200*time.Millisecond) {
		t.Errorf("%d trials, %+v", e.Trials, e.Formation)
	}
	if diff := cmp.Diff([]string{"500ms", "1s"}, e.Matrix[2].Levels); diff != "" {
		t.Error(diff)
	}
}

func TestFormationErrors(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"no such measure": {"name = \"x\"\nmeasure = \"formatoin\"",
			`x.toml:2: measure = "formatoin": want one of "load", "formation"; did you mean "formation"?`},
		"no such discovery": {"name = \"x\"\n[cluster]\ndiscovery = \"dns\"",
			`x.toml:3: cluster.discovery = "dns": want one of "static", "gossip"`},
		"measure as a factor": {"name = \"x\"\n[matrix]\nmeasure = [\"load\"]",
			`x.toml:3: "measure" is the same for all cells and cannot be a factor; factors are the keys of [cluster], [raft], [load] and [formation], and options`},
		"formation in one process": {"name = \"x\"\nmeasure = \"formation\"",
			`x.toml:2: measure = "formation" needs processes that start, and cluster.mode is "inprocess": set mode = "process" in [cluster]`},
		"gossip in one process": {"name = \"x\"\n[cluster]\nbackend = \"bolt\"\ndiscovery = \"gossip\"",
			`x.toml:4: cluster.discovery = "gossip" needs processes that find each other, and cluster.mode is "inprocess": set mode = "process" in [cluster]`},
		"a profile in one process": {"name = \"x\"\n[cluster]\nprofile = \"lan\"",
			`x.toml:3: cluster.profile = "lan" is for kvnode, and cluster.mode is "inprocess": set mode = "process" in [cluster], or set heartbeat_timeout in [raft]`},
		"gossip in one process in a cell": {"name = \"x\"\n[matrix]\nmode = [\"process\", \"inprocess\"]\ndiscovery = [\"static\", \"gossip\"]",
			`x.toml:4: cluster.discovery = "gossip" needs processes that find each other, and cluster.mode is "inprocess" (cell c04: mode = inprocess, discovery = gossip): set mode = "process" in [cluster]`},
		"load of a formation": {forming + "\n[load]\nclients = 3\n",
			`x.toml:12: load.clients is for measure = "load", and this experiment has measure = "formation": remove clients, or set measure at the top of the file`},
		"factor of a load of a formation": {forming + "clients = [3]\n",
			`x.toml:10: load.clients is for measure = "load", and this experiment has measure = "formation": remove clients, or set measure at the top of the file`},
		"formation of a load": {"name = \"x\"\n[formation]\nrest = \"2s\"",
			`x.toml:3: formation.rest is for measure = "formation", and this experiment has measure = "load": remove rest, or set measure at the top of the file`},
		"rest too short": {"name = \"x\"\nmeasure = \"formation\"\n[cluster]\nmode = \"process\"\n[formation]\nrest = \"1ms\"",
			`x.toml:6: formation.rest = "1ms": want a duration from 100ms to 24h`},
		"misplaced": {"name = \"x\"\n[cluster]\nrest = \"2s\"",
			`x.toml:3: unknown key "rest" in [cluster]; it belongs in [formation]`},
	} {
		_, err := parseWith(t, c.file)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	_, err := parseWith(t, forming, "clients=4")
	if want := `override clients=4: load.clients is for measure = "load", and this experiment has measure = "formation": remove clients, or set measure at the top of the file`; err == nil || err.Error() != want {
		t.Errorf("override: %v", err)
	}
}
