package runner

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/transports"
)

// Catalogs are the parts that an experiment may name.
type Catalogs struct {
	Engines    *engines.Catalog
	Backends   *backends.Catalog
	Transports *transports.Catalog
}

// Builtin returns the catalogues of what comes with raftlab.
func Builtin() Catalogs {
	return Catalogs{Engines: engines.Builtin(), Backends: backends.Builtin(), Transports: transports.Builtin()}
}

// Known lists the names and options for the parser of experiment files.
func (c Catalogs) Known() experiment.Known {
	var k experiment.Known
	for _, name := range c.Engines.Names() {
		if e, err := c.Engines.Lookup(name); err == nil {
			k.Engines = append(k.Engines, experiment.PluginOf(name, e.Options))
		}
	}
	for _, name := range c.Backends.Names() {
		if b, err := c.Backends.Lookup(name); err == nil {
			k.Backends = append(k.Backends, experiment.Plugin{Name: name, Options: b.Options})
		}
	}
	for _, name := range c.Transports.Names() {
		if t, err := c.Transports.Lookup(name); err == nil {
			k.Transports = append(k.Transports, experiment.Plugin{Name: name, Options: t.Options})
		}
	}
	return k
}

// Config is what a run needs.
type Config struct {
	Experiment *experiment.Experiment
	Source     []byte   // the experiment file as it was given
	Overrides  []string // what the command line changed in it
	Command    []string // the command line, for the manifest

	Out     string // run folder
	DataDir string // where the members' data goes; empty: next to the run folder
	Resume  bool   // go on with the run in Out

	// Kvnode is the path of the program that members in processes of their own
	// run; needed only where a cell has mode "process".
	Kvnode string

	Catalogs Catalogs
	Progress Progress     // nil: none
	Logger   *slog.Logger // engines' log lines; nil: to raft.log in the run folder, warnings and worse
}

// Progress is told how a run goes, from one goroutine.
type Progress interface {
	// Begin: total trials, of which done were there already; planned is the time
	// that the remaining ones take at least.
	Begin(total, done int, planned time.Duration)
	// Calibrating: the machine is being measured.
	Calibrating()
	// TrialBegin: a trial starts.
	TrialBegin(cell experiment.Cell, trial record.TrialID)
	// TrialEnd: it is over and recorded.
	TrialEnd(cell experiment.Cell, trial record.Trial)
	// End: no more calls come.
	End()
}

// Outcome sums up a run for the caller. What was measured is in Folder.
type Outcome struct {
	Folder      *record.Folder
	Ran         int      // trials run by this call
	Failures    []string // trials that could not be carried through, with the reason
	Interrupted bool     // the context ended before all trials had run
}

// dataDir is the folder for the members' data.
func (c *Config) dataDir() string {
	if c.DataDir != "" {
		return c.DataDir
	}
	return c.Out
}

// checkKvnode sees that there is a kvnode to run, if any cell needs one.
func (c *Config) checkKvnode(cells []parts) error {
	for _, p := range cells {
		if p.info.Cluster.Mode != experiment.ModeProcess {
			continue
		}
		if _, err := exec.LookPath(c.Kvnode); err != nil {
			return fmt.Errorf("mode = %q needs the program kvnode: build it (make build), or name it with --kvnode: %w", experiment.ModeProcess, err)
		}
		return nil
	}
	return nil
}

// checkDataDir makes the folder for the members' data, unless it is that of a
// run to go on with, and sees that it can be written.
func (c *Config) checkDataDir() error {
	dir := c.dataDir()
	if c.Resume && c.DataDir == "" {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("there is no run to resume: %w", err)
		}
	} else {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("data directory %s: %w", dir, err)
		}
	}
	probe, err := os.CreateTemp(dir, ".raftlab-write-test-*")
	if err != nil {
		return fmt.Errorf("data directory %s cannot be written: %w", dir, err)
	}
	if err := probe.Close(); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	return os.Remove(probe.Name())
}
