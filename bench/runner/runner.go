// Package runner turns an experiment into a run folder. It never measures, computes no
// statistics and prints nothing: that is for bench/measure, bench/stats and bench/report.
//
// The steps of a run:
//
//  1. The matrix is expanded into cells, and each cell's system is asked what it would
//     run, so that a wrong name or option fails before anything is measured.
//  2. The machine is described and calibrated.
//  3. Trials run in rounds: each round takes every cell once, in an order
//     shuffled by the seed, so that a drift of the machine falls on all cells
//     alike (a randomised complete block design).
//  4. Each trial is carried out by its kind of measurement on a new group in a new folder
//     under the data directory. It is written to the run folder as soon as it is over:
//     what was measured survives Ctrl-C, a crash and a full disk, and Resume runs the rest.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/measure/anatomy"
	"github.com/themilchenko/raftlab/bench/measure/failover"
	"github.com/themilchenko/raftlab/bench/measure/formation"
	"github.com/themilchenko/raftlab/bench/measure/load"
	"github.com/themilchenko/raftlab/bench/measure/peak"
	"github.com/themilchenko/raftlab/bench/measure/recovery"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/bench/system/kvnode"
	"github.com/themilchenko/raftlab/bench/system/program"
	"github.com/themilchenko/raftlab/cluster"
)

// ErrUsage marks errors of the caller's making: an experiment that cannot be
// run as it is written, a folder that cannot be used.
var ErrUsage = errors.New("usage")

// Kinds returns the kinds of measurement that come with raftlab.
func Kinds() measure.Catalog {
	return measure.Catalog{load.Kind(), formation.Kind(), anatomy.Kind(), failover.Kind(), recovery.Kind(), peak.Kind()}
}

// Systems returns the systems that come with raftlab: groups in this process, made of
// the parts in the catalogues, groups of engines that are programs, and groups of the program
// kvnode at that path. Others are named too, with the program that has them.
func Systems(parts cluster.Catalogs, path string) system.Catalog {
	return system.Catalog{inprocess.New(parts), program.New(parts.Engines), kvnode.New(path, parts), system.Elsewhere("etcd", "raftlab-peers")}
}

// Known lists the names and options for the parser of experiment files.
func Known(c cluster.Catalogs, systems system.Catalog, kinds measure.Catalog) experiment.Known {
	var known experiment.Known
	for _, s := range systems {
		known = append(known, experiment.Plugin{Kind: experiment.KindSystem, Name: s.Name}) // some share one
	}
	for name, e := range c.Engines.All() {
		p := experiment.PluginOf(experiment.KindEngine, name, e.Options)
		if e.Program != nil {
			p = experiment.Plugin{Kind: experiment.KindEngine, Name: name, Own: true, Ask: func() ([]string, error) {
				d, err := program.Describe(context.Background(), name, e.Program, nil)
				return d.Options(), err
			}}
		}
		known = append(known, p)
	}
	for name, b := range c.Backends.All() {
		known = append(known, experiment.Plugin{Kind: experiment.KindBackend, Name: name, Options: b.Options})
	}
	for name, t := range c.Transports.All() {
		known = append(known, experiment.Plugin{Kind: experiment.KindTransport, Name: name, Options: t.Options})
	}
	for _, k := range kinds {
		if k.Name != experiment.MeasureLoad && k.Name != experiment.MeasureFormation {
			p := experiment.PluginOf(experiment.KindMeasure, k.Name, k.Settings)
			p.Load, p.Connects = k.Load, k.Connects
			known = append(known, p)
		}
	}
	return known
}

// Config is what a run needs.
type Config struct {
	Experiment *experiment.Experiment
	Source     []byte   // the experiment file as it was given
	Overrides  []string // what the command line changed in it
	Quick      bool     // it was cut down to a trial run
	Command    []string // the command line, for the manifest

	Out     string // run folder
	DataDir string // where the members' data goes; empty: next to the run folder
	Resume  bool   // go on with the run in Out
	Trials  int    // of each cell, to which Resume extends the run; 0: those that are planned

	Systems  system.Catalog
	Kinds    measure.Catalog
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
	// LeftOut: a cell is known closely enough, and has no trials any more.
	LeftOut(cell experiment.Cell, out record.LeftOut)
	// Fewer: so many trials fewer are to run than Begin said, and so much less time is planned.
	Fewer(trials int, planned time.Duration)
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

// Run is Start of a NewPlan.
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	plan, err := NewPlan(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return Outcome{Interrupted: true}, nil
		}
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return plan.Start(ctx, cfg)
}

// Start runs the experiment, or the rest of it, as planned with the same cfg, and records
// every trial. It returns an error only where it could not go on; trials that failed are
// in the outcome. When ctx ends, the trial under way is dropped and Start returns what is
// done with Interrupted set. The caller closes Outcome.Folder.
func (p *Plan) Start(ctx context.Context, cfg Config) (Outcome, error) {
	cfg.Progress = cmp.Or[Progress](cfg.Progress, noProgress{})
	r := &run{cfg: cfg, plan: p, kind: p.kind, cells: p.cells}
	if err := r.prepare(); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	err := r.all(ctx)
	r.outcome.Folder = r.folder
	return r.outcome, err
}

// run is one call of Start.
type run struct {
	cfg     Config
	plan    *Plan
	kind    *measure.Kind
	folder  *record.Folder
	cells   map[string]*cell // by id
	session int
	outcome Outcome
}

// cell is a cell with the system that runs it.
type cell struct {
	info   record.CellInfo
	system *system.System
}

// prepare makes the folders, once the plan has found nothing to refuse.
func (r *run) prepare() (err error) {
	undo, err := r.cfg.checkDataDir()
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return err
	}
	r.folder, err = r.openFolder()
	return err
}

func (r *run) openFolder() (*record.Folder, error) {
	if !r.cfg.Resume {
		return record.Create(r.cfg.Out, r.plan.manifest, r.cfg.Source)
	}
	folder, err := record.Resume(r.cfg.Out)
	if err != nil {
		return nil, err
	}
	have := folder.Manifest()
	err = errors.Join(r.cfg.mayGoOn(&have), removeLeftovers(r.cfg.Out)) // again: it may have changed before we held the lock
	if err == nil && r.cfg.Trials > have.Rounds() {
		err = folder.Extend(record.Extension{At: time.Now().UTC(), Trials: r.cfg.Trials, Command: r.cfg.Command})
	}
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// dataPrefix begins the names of the members' folders in the data directory.
const dataPrefix = "data-"

// dataDir is the folder for the members' data.
func (c *Config) dataDir() string {
	if c.DataDir != "" {
		return c.DataDir
	}
	return c.Out
}

// checkDataDir makes the folder for the members' data, unless it is that of a
// run to go on with, and sees that it can be written. undo takes away what it made.
func (c *Config) checkDataDir() (undo func(), err error) {
	dir := c.dataDir()
	undo = func() {}
	if c.Resume && c.DataDir == "" {
		if _, err := os.Stat(dir); err != nil {
			return undo, fmt.Errorf("there is no run to resume: %w", err)
		}
	} else if undo, err = makeDir(dir); err != nil {
		return undo, fmt.Errorf("data directory %s: %w", dir, err)
	}
	probe, err := os.CreateTemp(dir, ".raftlab-write-test-*")
	if err != nil {
		return undo, fmt.Errorf("data directory %s cannot be written: %w", dir, err)
	}
	return undo, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// makeDir makes a folder and those that it lies in; undo removes those again that were not
// there, as far as they are empty.
func makeDir(dir string) (undo func(), err error) {
	var made []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	undo = func() {
		for _, d := range made {
			if os.Remove(d) != nil { // somebody else uses it
				return
			}
		}
	}
	return undo, os.MkdirAll(dir, 0o755)
}

// removeLeftovers removes the members' data that a run which was killed has left
// in its folder. It is called under the folder's lock, so nobody uses them; a
// data directory elsewhere may be shared with other runs and is left alone.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dataPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove what a killed run left: %w", err)
		}
	}
	return nil
}

func (r *run) all(ctx context.Context) error {
	if err := r.seeBefore(); err != nil {
		return err
	}
	missing, err := r.folder.Missing()
	if err != nil {
		return err
	}
	m := r.folder.Manifest()
	total := len(m.Planned())
	r.cfg.Progress.Begin(total, total-len(missing), r.lasts(missing))
	defer r.cfg.Progress.End()
	if len(missing) == 0 {
		return nil
	}
	if err := r.beginSession(ctx); err != nil {
		if ctx.Err() != nil {
			r.outcome.Interrupted = true
			return nil
		}
		return err
	}
	logger, closeLog, err := r.logger()
	if err != nil {
		return err
	}
	for len(missing) > 0 {
		id := missing[0]
		missing = missing[1:]
		stop, err := r.one(ctx, id, logger)
		if err == nil && !stop && r.plan.rule != nil {
			missing, err = r.leaveOut(missing)
		}
		if err != nil {
			return errors.Join(err, closeLog())
		}
		if stop {
			break
		}
	}
	return closeLog()
}

// lasts is how long trials take at least.
func (r *run) lasts(trials []record.TrialID) (planned time.Duration) {
	for _, id := range trials {
		planned += r.kind.Lasts(r.cells[id.Cell].info.Cell)
	}
	return planned
}

// seeBefore shows the trials of earlier sessions to the rule, which may not have been asked
// after the last of them.
func (r *run) seeBefore() error {
	if r.plan.rule == nil {
		return nil
	}
	trials, err := r.folder.Trials()
	if err != nil {
		return err
	}
	for i := range trials {
		if err := r.plan.rule.See(&r.cells[trials[i].Cell].info, &trials[i]); err != nil {
			return err
		}
	}
	_, err = r.leaveOut(nil)
	return err
}

// leaveOut takes those cells out of the missing trials that are known closely enough, if
// there are new ones.
func (r *run) leaveOut(missing []record.TrialID) ([]record.TrialID, error) {
	m := r.folder.Manifest()
	out := r.plan.rule.LeftOut(&m)
	if len(out) <= len(m.LeftOut) {
		return missing, nil
	}
	added := slices.DeleteFunc(out, func(l record.LeftOut) bool { return slices.Contains(m.LeftOut, l) })
	if err := r.folder.LeaveOut(added); err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(missing), func(id record.TrialID) bool {
		return slices.ContainsFunc(added, func(l record.LeftOut) bool { return l.Cell == id.Cell && id.Trial > l.After })
	})
	for _, l := range added {
		r.cfg.Progress.LeftOut(r.cells[l.Cell].info.Cell, l)
	}
	r.cfg.Progress.Fewer(len(missing)-len(left), r.lasts(missing)-r.lasts(left))
	return left, nil
}

// one runs and records one trial; stop says that no other should follow.
func (r *run) one(ctx context.Context, id record.TrialID, logger *slog.Logger) (stop bool, err error) {
	c := r.cells[id.Cell]
	r.cfg.Progress.TrialBegin(c.info.Cell, id)
	result := record.Trial{TrialID: id, Started: time.Now().UTC(), Session: r.session, Seed: record.TrialSeed(r.cfg.Experiment.Seed, id.Trial)}
	failure := r.carryOut(ctx, c, &result, logger.With("cell", id.Cell, "trial", id.Trial))
	if ctx.Err() != nil {
		r.outcome.Interrupted = true
		return true, nil
	}
	if failure == nil {
		_, failure = r.kind.Read(&c.info, &result) // what cannot be read again was not measured
	}
	if failure != nil {
		result.Failure = strings.ReplaceAll(failure.Error(), "\n", "; ") // joined errors, in one line of a table
		if _, err := r.kind.Read(&c.info, &result); err != nil {
			result.Data = nil // with it, the whole run could not be read
		}
		r.outcome.Failures = append(r.outcome.Failures, fmt.Sprintf("%s trial %d: %s", id.Cell, id.Trial, result.Failure))
	}
	if errors.Is(failure, syscall.ENOSPC) {
		// Not recorded: with room made, Resume runs it as if nothing had been.
		return true, fmt.Errorf("the disk of %s is full; what was measured is kept, make room and go on with --resume: %w", r.cfg.dataDir(), failure)
	}
	if err := r.folder.SaveTrial(result); err != nil {
		return true, fmt.Errorf("record %s trial %d: %w", id.Cell, id.Trial, err)
	}
	if r.plan.rule != nil {
		if err := r.plan.rule.See(&c.info, &result); err != nil {
			return true, err
		}
	}
	r.outcome.Ran++
	r.cfg.Progress.TrialEnd(c.info.Cell, result)
	return false, nil
}

// carryOut has one trial carried out by the kind, in a folder of its own. With an error,
// the record holds what was measured until then.
func (r *run) carryOut(ctx context.Context, c *cell, result *record.Trial, logger *slog.Logger) (err error) {
	dir, err := os.MkdirTemp(r.cfg.dataDir(), fmt.Sprintf(dataPrefix+"%s-t%02d-*", result.Cell, result.Trial))
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if result.Probe, err = calibrate.Probe(ctx, dir, writers(c.info)...); err != nil {
		return fmt.Errorf("probe the disk: %w", err)
	}
	t := &measure.Trial{
		Cell:   &c.info,
		Seed:   result.Seed,
		Logger: logger,
		Record: result,
		New: func(o system.Options) (system.Group, error) {
			return c.system.New(system.Spec{Cell: &c.info, Dir: dir, Logger: logger, Options: o})
		},
	}
	return guarded(ctx, freeMemory(dir), func(ctx context.Context) error { return r.kind.Run(ctx, t) })
}

// writers are the numbers of members that flush at the same time in a cell: the leader
// alone, its followers, and all. None: nothing is flushed.
func writers(c record.CellInfo) []int {
	if c.Durability != "disk" {
		return nil
	}
	n := c.Cluster.Nodes
	return slices.Compact([]int{1, max(1, n-1), n})
}

// beginSession describes and calibrates the machine.
func (r *run) beginSession(ctx context.Context) error {
	r.cfg.Progress.Calibrating()
	env, err := calibrate.Environment(r.cfg.dataDir())
	if err != nil {
		return fmt.Errorf("describe the machine: %w", err)
	}
	env.Modules = map[string]string{} // the libraries behind the cells' parts
	for _, c := range r.cells {
		for _, part := range []record.Part{c.info.Engine, c.info.Backend, c.info.Transport} {
			if part.Library != "" {
				env.Modules[part.Library] = part.Version
			}
		}
	}
	var all []int
	for _, c := range r.cells {
		all = append(all, writers(c.info)...)
	}
	slices.Sort(all)
	calibration, err := calibrate.All(ctx, r.cfg.dataDir(), slices.Compact(all))
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	r.session = len(r.folder.Manifest().Sessions)
	return r.folder.AppendSession(record.Session{
		Started:     time.Now().UTC(),
		Command:     r.cfg.Command,
		Environment: env,
		Calibration: calibration,
	})
}

// logger returns where the engines log to.
func (r *run) logger() (*slog.Logger, func() error, error) {
	if r.cfg.Logger != nil {
		return r.cfg.Logger, func() error { return nil }, nil
	}
	f, err := os.OpenFile(filepath.Join(r.cfg.Out, record.EngineLogFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("log of the engines: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn})), f.Close, nil
}

type noProgress struct{}

func (noProgress) Begin(int, int, time.Duration)              {}
func (noProgress) Calibrating()                               {}
func (noProgress) TrialBegin(experiment.Cell, record.TrialID) {}
func (noProgress) TrialEnd(experiment.Cell, record.Trial)     {}
func (noProgress) LeftOut(experiment.Cell, record.LeftOut)    {}
func (noProgress) Fewer(int, time.Duration)                   {}
func (noProgress) End()                                       {}
