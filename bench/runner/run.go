package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
)

// ErrUsage marks errors of the caller's making: an experiment that cannot be
// run as it is written, a folder that cannot be used.
var ErrUsage = errors.New("usage")

// Run runs the experiment, or the rest of it, and records every trial. It
// returns an error only where it could not go on; trials that failed are in the
// outcome. When ctx ends, the trial under way is dropped and Run returns what is
// done with Interrupted set. The caller closes Outcome.Folder.
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	cells, err := cfg.Experiment.Expand()
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	resolved, err := resolve(cells, cfg.Catalogs)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := cfg.checkKvnode(resolved); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := cfg.checkDataDir(); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if cfg.Progress == nil {
		cfg.Progress = noProgress{}
	}
	folder, err := openFolder(cfg, resolved)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	r := &run{cfg: cfg, folder: folder, dataDir: cfg.dataDir(), cells: map[string]parts{}}
	for _, p := range resolved {
		r.cells[p.info.ID] = p
	}
	err = r.all(ctx)
	r.outcome.Folder = folder
	return r.outcome, err
}

func openFolder(cfg Config, cells []parts) (*record.Folder, error) {
	if cfg.Resume {
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
	m := record.Manifest{
		Format:     record.FormatVersion,
		Experiment: *cfg.Experiment,
		Overrides:  cfg.Overrides,
	}
	var plain []experiment.Cell
	for _, p := range cells {
		m.Cells = append(m.Cells, p.info)
		plain = append(plain, p.info.Cell)
	}
	m.Order = order(plain, cfg.Experiment.Trials, cfg.Experiment.Seed)
	return record.Create(cfg.Out, m, cfg.Source)
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

// run is one call of Run.
type run struct {
	cfg     Config
	folder  *record.Folder
	dataDir string
	cells   map[string]parts
	session int
	outcome Outcome
}

func (r *run) all(ctx context.Context) error {
	missing, err := r.folder.Missing()
	if err != nil {
		return err
	}
	total := len(r.folder.Manifest().Order)
	r.cfg.Progress.Begin(total, total-len(missing), r.planned(missing))
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
	p := r.cells[id.Cell]
	r.cfg.Progress.TrialBegin(p.info.Cell, id)
	t := trial{id: id, measures: r.cfg.Experiment.Measure, parts: p, dataDir: r.dataDir, kvnode: r.cfg.Kvnode, seed: r.cfg.Experiment.Seed,
		logger: logger.With("cell", id.Cell, "trial", id.Trial)}
	result, failure := t.run(ctx)
	if ctx.Err() != nil {
		r.outcome.Interrupted = true
		return true, nil
	}
	result.Session = r.session
	if failure != nil {
		result.Failure = failure.Error()
		r.outcome.Failures = append(r.outcome.Failures, fmt.Sprintf("%s trial %d: %v", id.Cell, id.Trial, failure))
	}
	if errors.Is(failure, syscall.ENOSPC) {
		// Not recorded: with room made, Resume runs it as if nothing had been.
		return true, fmt.Errorf("the disk of %s is full; what was measured is kept, make room and go on with --resume: %w", r.dataDir, failure)
	}
	if err := r.folder.SaveTrial(result); err != nil {
		return true, fmt.Errorf("record %s trial %d: %w", id.Cell, id.Trial, err)
	}
	r.outcome.Ran++
	r.cfg.Progress.TrialEnd(p.info.Cell, result)
	return false, nil
}

// beginSession describes and calibrates the machine.
func (r *run) beginSession(ctx context.Context) error {
	r.cfg.Progress.Calibrating()
	env, err := calibrate.Environment(r.dataDir)
	if err != nil {
		return fmt.Errorf("describe the machine: %w", err)
	}
	var used []parts
	for _, p := range r.cells {
		used = append(used, p)
	}
	env.Modules = modules(used)
	calibration, err := calibrate.All(ctx, r.dataDir)
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

func (r *run) planned(trials []record.TrialID) time.Duration {
	var sum time.Duration
	for _, id := range trials {
		cell := r.cells[id.Cell].info.Cell
		sum += cell.Planned()
	}
	return sum
}

// logger returns where the engines log to.
func (r *run) logger() (*slog.Logger, func() error, error) {
	if r.cfg.Logger != nil {
		return r.cfg.Logger, func() error { return nil }, nil
	}
	f, err := os.OpenFile(filepath.Join(r.cfg.Out, "raft.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
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
