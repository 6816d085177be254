package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure/formation"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

const forming = `
name    = "forming"
trials  = 1
measure = "formation"

[cluster]
mode    = "process"
backend = "inmem"

[raft]
heartbeat_timeout = "200ms"

[formation]
settle = "300ms"
rest   = "1500ms"
`

// TestFormation watches real groups come into being.
func TestFormation(t *testing.T) {
	t.Parallel()
	cfg := configure(t, forming+"[matrix]\ndiscovery = [\"static\", \"gossip\"]\nnodes = [3]\n", cluster.Builtin())
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || len(outcome.Failures) > 0 {
		t.Fatalf("%v; failures: %q", err, outcome.Failures)
	}
	all := trials(t, outcome)
	if len(all) != 2 {
		t.Fatalf("%d trials", len(all))
	}
	for i, trial := range all {
		checkFormation(t, outcome.Folder.Manifest().Cells[i], trial)
	}
}

func checkFormation(t *testing.T, cell record.CellInfo, trial record.Trial) {
	t.Helper()
	name := fmt.Sprintf("%s, %d nodes", cell.Cluster.Discovery, cell.Cluster.Nodes)
	wantTalk := cell.Cluster.Discovery == experiment.DiscoveryGossip && cell.Cluster.Nodes > 1
	f := formationOf(t, trial)
	if f.LeaderNS <= 0 || f.VotersNS < f.LeaderNS || f.LeaderErrorNS <= 0 || f.VotersErrorNS <= 0 {
		t.Fatalf("%s: %+v", name, f)
	}
	if len(f.Traffic) != cell.Cluster.Nodes {
		t.Errorf("%s: traffic of %d nodes, want %d", name, len(f.Traffic), cell.Cluster.Nodes)
	}
	for i, x := range f.Traffic {
		if x.NS < int64(cell.Formation.Rest) {
			t.Errorf("%s: counted for %s", name, time.Duration(x.NS))
		}
		if talks := x.Messages > 0 && x.Bytes > x.Messages; talks != wantTalk {
			t.Errorf("%s: node %d sent %d messages, %d bytes", name, i+1, x.Messages, x.Bytes)
		}
	}
	gates := map[string]record.Verdict{}
	for _, g := range trial.Gates {
		gates[g.Name] = g.Verdict
	}
	for _, must := range []string{"alive", "leader", "voters"} { // the clock is the machine's
		if gates[must] != record.Pass {
			t.Errorf("%s: gate %s: %q; gates %+v", name, must, gates[must], trial.Gates)
		}
	}
	if trial.Leader == "" {
		t.Errorf("%s: nobody led", name)
	}
}

// formationOf is what a trial measured.
func formationOf(t *testing.T, trial record.Trial) formation.Data {
	t.Helper()
	var d formation.Data
	if there, err := trial.Get(formation.Name, 1, &d); !there || err != nil {
		t.Fatalf("no formation: %v; %+v", err, trial)
	}
	return d
}

// TestFormationProcessDies kills a member at rest: the trial is invalid, says which
// one it was, and has no traffic.
func TestFormationProcessDies(t *testing.T) {
	t.Parallel()
	cfg := configure(t, strings.Replace(forming, "1500ms", "4s", 1), cluster.Builtin())
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, _ := runAndKill(t, cfg, 2, func(pids []int) error { return atRest(pids[2]) })
	trial := trials(t, outcome)[0]
	if reason := trial.InvalidReason(); !strings.Contains(reason, "alive: node3 stopped") {
		t.Errorf("invalid because of %q", reason)
	}
	if f := formationOf(t, trial); len(f.Traffic) > 0 {
		t.Errorf("%+v", f)
	}
}

// atRest waits until the member is ready and nobody has asked it for its status
// for a while: the group is whole.
func atRest(pid int) error {
	c, address, err := reach(pid)
	if err != nil {
		return err
	}
	defer c.Close()
	const quiet = time.Second
	before, since := "", time.Now()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c.Node(address).Ready(context.Background()) != nil {
			continue
		}
		asked, err := statusRequests(address)
		if err != nil {
			return err
		}
		if asked != before {
			before, since = asked, time.Now()
		}
		if time.Since(since) > quiet {
			return nil
		}
	}
	return errors.New("the group did not come to rest")
}

// statusRequests returns the member's counters of requests for its status.
func statusRequests(address string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"/status"`) && strings.Contains(line, "_count") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ""), err
}

// TestFormationNeverWhole: what was seen is kept, and the failure says what was
// missing.
func TestFormationNeverWhole(t *testing.T) {
	t.Parallel()
	cfg := configure(t, forming+"timeout = \"1s\"\n", cluster.Builtin())
	silent := filepath.Join(t.TempDir(), "silent") // says what it is, and then nothing more
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--describe*) exec %s \"$@\";; esac\nexec sleep 60\n", clustertest.Program(t, "kvnode"))
	if err := os.WriteFile(silent, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Systems = runner.Systems(cluster.Builtin(), silent)
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcome.Failures) != 1 || !strings.Contains(outcome.Failures[0], "there is no leader") || !strings.Contains(outcome.Failures[0], "formation.timeout = 1s") {
		t.Errorf("failures: %q", outcome.Failures)
	}
	trial := trials(t, outcome)[0]
	if f := formationOf(t, trial); f.LeaderNS != 0 || f.VotersNS != 0 {
		t.Errorf("%+v", f)
	}
}

// TestGossipUnderLoad loads a group whose members found each other.
func TestGossipUnderLoad(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(inProcesses(head), "[cluster]\n", "[cluster]\ndiscovery = \"gossip\"\n", 1) + "read_ratio = 0.3\n"
	cfg := configure(t, toml, cluster.Builtin())
	cfg.Experiment.Trials = 1
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, err := run(t, t.Context(), cfg)
	if err != nil || len(outcome.Failures) > 0 {
		t.Fatalf("%v; failures: %q", err, outcome.Failures)
	}
	checkTrial(t, trials(t, outcome)[0])
}
