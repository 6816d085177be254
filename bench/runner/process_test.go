package runner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	psutil "github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/kv/client"
)

const processes = `
[cluster]
nodes = 3
mode  = "process"
`

func inProcesses(toml string) string {
	return strings.Replace(toml, "\n[cluster]\nnodes = 3\n", processes, 1)
}

// TestProcesses runs kvnode processes beside an in-process group of the same parts.
func TestProcesses(t *testing.T) {
	t.Parallel()
	cfg := configure(t, head+`
read_ratio = 0.3
[matrix]
mode    = ["inprocess", "process"]
backend = ["inmem", "bolt"]
[options.bolt]
no_freelist_sync = true
`, cluster.Builtin())
	cfg.Experiment.Trials = 1
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcome.Failures) > 0 {
		t.Fatal(outcome.Failures)
	}
	for _, trial := range trials(t, outcome) {
		checkTrial(t, trial)
		if n := len(loadOf(t, trial).SyncsPerNode); n != 0 && n != 3 {
			t.Errorf("%s: flushes of %d members", trial.Cell, n)
		}
	}
	acks := map[string]string{}
	for _, c := range outcome.Folder.Manifest().Cells {
		acks[c.Cluster.Mode] = c.Acknowledgement
	}
	if acks[experiment.ModeProcess] == acks[experiment.ModeInProcess] || len(acks) != 2 {
		t.Errorf("the acknowledgements of the modes are not told apart: %v", acks)
	}
	if left, err := filepath.Glob(filepath.Join(cfg.Out, "data-*")); err != nil || len(left) > 0 {
		t.Errorf("data left behind: %v %v", left, err)
	}
}

// TestProcessDies kills a member under load: the trial fails, names the member, and
// no process is left.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	cfg := configure(t, inProcesses(head), cluster.Builtin())
	cfg.Experiment.Trials = 1
	cfg.Experiment.Load.Duration = experiment.Duration(20 * time.Second)
	cfg.Systems = runner.Systems(cluster.Builtin(), clustertest.Program(t, "kvnode"))
	outcome, pids := runAndKill(t, cfg, 1, func(pids []int) error { return underLoad(pids[0]) })
	if len(outcome.Failures) != 1 || !strings.Contains(outcome.Failures[0], "node2 stopped") {
		t.Errorf("failures: %q", outcome.Failures)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// runAndKill runs an experiment of three members and kills one of them once when
// returns.
func runAndKill(t *testing.T, cfg runner.Config, member int, when func(pids []int) error) (runner.Outcome, []int) {
	t.Helper()
	var pids []int
	killed := make(chan error, 1)
	go func() {
		var err error
		if pids, err = members(cfg.Out, 3); err == nil {
			err = errors.Join(when(pids), syscall.Kill(pids[member], syscall.SIGKILL))
		}
		killed <- err
	}()
	outcome, err := run(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	return outcome, pids
}

// underLoad waits until the member has applied commands of the load.
func underLoad(pid int) error {
	c, _, err := reach(pid)
	if err != nil {
		return err
	}
	defer c.Close()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s, err := c.Status(context.Background()); err == nil && s.Me.Commands > 50 {
			return nil
		}
	}
	return errors.New("no load came")
}

// reach returns a client of the member, and its HTTP address.
func reach(pid int) (*client.Client, string, error) {
	p, err := psutil.NewProcess(int32(pid))
	if err != nil {
		return nil, "", err
	}
	args, err := p.CmdlineSlice()
	if err != nil {
		return nil, "", err
	}
	address := args[slices.Index(args, "-haddr")+1]
	c, err := client.New([]string{address}, client.Options{})
	return c, address, err
}

// members waits until n members of the run in dir have started, and returns their
// process ids, in the order of their names.
func members(dir string, n int) ([]int, error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(dir, "data-*", "node*", "node.pid"))
		if err != nil || len(files) < n {
			continue
		}
		var pids []int
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			first, _, _ := strings.Cut(string(text), "\n")
			pid, err := strconv.Atoi(first)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
		return pids, nil
	}
	return nil, errors.New("the members did not start")
}

// TestProcessesThatDieAtStart: the failure says once what they said last.
func TestProcessesThatDieAtStart(t *testing.T) {
	t.Parallel()
	const lastWords = "the moon is down"
	program := filepath.Join(t.TempDir(), "dying")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--describe*) exec %s \"$@\";; esac\necho %s >&2\nexit 1\n", clustertest.Program(t, "kvnode"), lastWords)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[string]string{"load": inProcesses(head), "formation": forming} {
		cfg := configure(t, text, cluster.Builtin())
		cfg.Experiment.Trials = 1
		cfg.Systems = runner.Systems(cluster.Builtin(), program)
		outcome, err := run(t, t.Context(), cfg)
		if err != nil || len(outcome.Failures) != 1 || strings.Count(outcome.Failures[0], lastWords) != 1 || strings.Contains(outcome.Failures[0], "\n") {
			t.Errorf("%s: %q, %v", kind, outcome.Failures, err)
		}
	}
}

func TestProcessesThatCannotRun(t *testing.T) {
	for name, c := range map[string]struct{ toml, kvnode, want string }{
		"no program":   {head, filepath.Join(t.TempDir(), "kvnode"), "--kvnode"},
		"no wire":      {strings.Replace(head, "nodes = 3", "nodes = 3\ntransport = \"inmem\"", 1), clustertest.Program(t, "kvnode"), "inmem"},
		"not a kvnode": {head, "/dev/null", "--kvnode"},
	} {
		cfg := configure(t, strings.Replace(c.toml, "nodes = 3", "nodes = 3\nmode = \"process\"", 1), cluster.Builtin())
		cfg.Systems = runner.Systems(cluster.Builtin(), c.kvnode)
		if _, err := run(t, t.Context(), cfg); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, which should name %s", name, err, c.want)
		}
	}
}

// TestPluginThatKvnodeLacks: a store that only this program has is not run as another
// one under its name, whatever it declares.
func TestPluginThatKvnodeLacks(t *testing.T) {
	toml := strings.Replace(inProcesses(head), "nodes = 3", "nodes = 3\nbackend = \"small-entries\"", 1)
	catalogs := smallEntries(t)
	cfg := configure(t, toml, catalogs)
	program := clustertest.Program(t, "kvnode")
	cfg.Systems = runner.Systems(catalogs, program)
	_, err := run(t, t.Context(), cfg)
	if !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "small-entries") || !strings.Contains(err.Error(), "--kvnode") {
		t.Errorf("%v, which should name the store and --kvnode", err)
	}
	if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run folder was made all the same")
	}

	// Nor is one that calls itself otherwise.
	liar := filepath.Join(t.TempDir(), "liar")
	script := fmt.Sprintf("#!/bin/sh\nexec %s --describe --inmem /tmp/none\n", program)
	if err := os.WriteFile(liar, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Systems = runner.Systems(catalogs, liar)
	if _, err := run(t, t.Context(), cfg); !errors.Is(err, runner.ErrUsage) || !strings.Contains(err.Error(), "\"inmem\" instead") {
		t.Errorf("%v, which should name what would run", err)
	}
}
