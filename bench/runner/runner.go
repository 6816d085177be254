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
	"math/rand/v2"
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
// the parts in the catalogues, and groups of the program kvnode at that path. Others are
// named too, with the program that has them.
func Systems(parts cluster.Catalogs, program string) system.Catalog {
	return system.Catalog{inprocess.New(parts), kvnode.New(program, parts), system.Elsewhere("etcd", "raftlab-peers")}
}

// Known lists the names and options for the parser of experiment files.
func Known(c cluster.Catalogs, systems system.Catalog, kinds measure.Catalog) experiment.Known {
	var known experiment.Known
	for _, s := range systems {
		known = append(known, experiment.Plugin{Kind: experiment.KindSystem, Name: s.Name})
	}
	for name, e := range c.Engines.All() {
		known = append(known, experiment.PluginOf(experiment.KindEngine, name, e.Options))
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
	Command    []string // the command line, for the manifest

	Out     string // run folder
	DataDir string // where the members' data goes; empty: next to the run folder
	Resume  bool   // go on with the run in Out

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

// Run runs the experiment, or the rest of it, and records every trial. It
// returns an error only where it could not go on; trials that failed are in the
// outcome. When ctx ends, the trial under way is dropped and Run returns what is
// done with Interrupted set. The caller closes Outcome.Folder.
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	cfg.Progress = cmp.Or[Progress](cfg.Progress, noProgress{})
	r := &run{cfg: cfg, cells: map[string]*cell{}}
	if err := r.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return Outcome{Interrupted: true}, nil
		}
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	err := r.all(ctx)
	r.outcome.Folder = r.folder
	return r.outcome, err
}

// run is one call of Run.
type run struct {
	cfg     Config
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

// prepare finds out, before anything is measured or written, whether all can be run.
func (r *run) prepare(ctx context.Context) (err error) {
	if r.kind, err = r.cfg.Kinds.Lookup(r.cfg.Experiment.Measure); err != nil {
		return err
	}
	cells, err := r.cfg.Experiment.Expand()
	if err != nil {
		return err
	}
	infos, err := r.describe(ctx, cells)
	if err != nil {
		return err
	}
	undo, err := r.cfg.checkDataDir()
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return err
	}
	if err = r.checkRoom(cells); err != nil {
		return err
	}
	r.folder, err = r.openFolder(infos)
	return err
}

// describe asks the systems what they would run. All that is wrong comes in one error.
func (r *run) describe(ctx context.Context, cells []experiment.Cell) ([]record.CellInfo, error) {
	var infos []record.CellInfo
	var errs []error
	said := map[string]bool{} // cells share parts: say each thing once
	for _, c := range cells {
		s, err := r.cfg.Systems.Lookup(c.Cluster.Mode)
		if err != nil {
			return nil, err
		}
		if missing := s.Missing(r.kind.Needs); len(missing) > 0 {
			return nil, fmt.Errorf("measure = %q needs %s, which mode = %q has not", r.kind.Name, missing[0], s.Name)
		}
		info, err := s.Describe(ctx, c)
		if r.kind.Accept != nil {
			err = errors.Join(err, r.kind.Accept(c))
		}
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, err)
		}
		r.cells[c.ID] = &cell{info, s}
		infos = append(infos, info)
	}
	return infos, errors.Join(errs...)
}

func (r *run) openFolder(cells []record.CellInfo) (*record.Folder, error) {
	cfg := r.cfg
	if !cfg.Resume {
		m := record.Manifest{Format: record.FormatVersion, Experiment: *cfg.Experiment, Overrides: cfg.Overrides, Cells: cells}
		m.Order = order(cells, cfg.Experiment.Trials, cfg.Experiment.Seed)
		return record.Create(cfg.Out, m, cfg.Source)
	}
	folder, err := record.Resume(cfg.Out)
	if err != nil {
		return nil, err
	}
	have := folder.Manifest().Experiment
	if have.Hash() != cfg.Experiment.Hash() {
		return nil, errors.Join(fmt.Errorf(
			"%s holds a run of another experiment, or of this one with other settings; resume with the same file and flags, or choose another --out",
			cfg.Out), folder.Close())
	}
	if err := removeLeftovers(cfg.Out); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// order lists all trials in the order in which they run: in rounds that take
// every cell once, each round shuffled anew by the seed.
func order(cells []record.CellInfo, trials int, seed uint64) []record.TrialID {
	const stream = 0x6f72646572 // "order": other uses of the seed draw other numbers
	rng := rand.New(rand.NewPCG(seed, stream))
	var all []record.TrialID
	for trial := 1; trial <= trials; trial++ {
		for _, i := range rng.Perm(len(cells)) {
			all = append(all, record.TrialID{Cell: cells[i].ID, Trial: trial})
		}
	}
	return all
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

// checkRoom refuses cells that memory or disk cannot hold, before hours have gone into
// the others.
func (r *run) checkRoom(cells []experiment.Cell) error {
	if r.kind.Room == nil {
		return nil
	}
	dir := r.cfg.dataDir()
	memory, disk, err := calibrate.Free(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range cells {
		needsMemory, needsDisk := r.kind.Room(c)
		for _, x := range []struct {
			needs, free uint64
			of, mend    string
		}{{needsMemory, memory, "memory", "fewer nodes or a smaller state"}, {needsDisk, disk, "the disk of " + dir, "a smaller state, or another --data-dir"}} {
			if x.needs > x.free {
				errs = append(errs, fmt.Errorf("cell %s needs about %.1f GB of %s, %.1f GB are free: take %s",
					c.ID, float64(x.needs)/1e9, x.of, float64(x.free)/1e9, x.mend))
			}
		}
	}
	return errors.Join(errs...)
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
	missing, err := r.folder.Missing()
	if err != nil {
		return err
	}
	total := len(r.folder.Manifest().Order)
	planned := time.Duration(0)
	for _, id := range missing {
		planned += r.kind.Lasts(r.cells[id.Cell].info.Cell)
	}
	r.cfg.Progress.Begin(total, total-len(missing), planned)
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
	for _, id := range missing {
		stop, err := r.one(ctx, id, logger)
		if err != nil {
			return errors.Join(err, closeLog())
		}
		if stop {
			break
		}
	}
	return closeLog()
}

// one runs and records one trial; stop says that no other should follow.
func (r *run) one(ctx context.Context, id record.TrialID, logger *slog.Logger) (stop bool, err error) {
	c := r.cells[id.Cell]
	r.cfg.Progress.TrialBegin(c.info.Cell, id)
	result := record.Trial{TrialID: id, Started: time.Now().UTC(), Session: r.session}
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
	return r.kind.Run(ctx, &measure.Trial{
		Cell: &c.info,
		// Trials repeat the measurement and not one stream of operations.
		Seed:   rand.NewPCG(r.cfg.Experiment.Seed, uint64(result.Trial)).Uint64(),
		Logger: logger,
		Record: result,
		New: func(o system.Options) (system.Group, error) {
			return c.system.New(system.Spec{Cell: &c.info, Dir: dir, Logger: logger, Options: o})
		},
	})
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
func (noProgress) End()                                       {}
