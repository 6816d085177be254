package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/calibrate"
	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/system/program"
	"github.com/themilchenko/raftlab/bench/until"
)

// Bounds of what is a plan; beyond them an experiment is a slip. The number of trials is
// bounded by record.MaxTrials, and that of cells by package experiment.
const (
	maxTrialTime = 24 * time.Hour
	maxRunTime   = 60 * 24 * time.Hour
)

// What a trial costs once it is over: its file, and each of its histograms in the report,
// which holds those of the whole run.
const (
	fileBytes      = 64 << 10
	histogramBytes = 270 << 10
)

// Plan is what a run would take, found out before anything is measured or written.
type Plan struct {
	Cells        []PlannedCell
	Trials, Done int            // in all, and of these by an earlier session
	Time         time.Duration  // that the others take at least, beside starting and stopping groups
	Needs        []measure.Need // of the most demanding cell, and of the run folder and the report
	Memory       uint64         // that is free
	Disk         uint64         // that is free where the members' data goes

	kind  *measure.Kind
	rule  *until.Rule      // nil: no cell is left out
	cells map[string]*cell // by id

	histograms int // of all trials in a report
	manifest   record.Manifest
}

// PlannedCell is one cell of a plan.
type PlannedCell struct {
	record.CellInfo
	Trials int            // still to run
	Time   time.Duration  // of one, at least
	Needs  []measure.Need // of one, beside what nobody can foresee
}

// NewPlan asks the systems what they would run, and adds up what that costs. The error
// joins all that is refused, each with its mend; as much of the plan as is known is told
// also then. Nothing is written, and nothing is allocated that grows with a product of
// settings before that product is known to be bounded.
func NewPlan(ctx context.Context, cfg Config) (*Plan, error) {
	p := &Plan{cells: map[string]*cell{}}
	var err error
	if p.kind, err = cfg.Kinds.Lookup(cfg.Experiment.Measure); err != nil {
		return p, err
	}
	if p.rule, err = until.NewRule(cfg.Experiment, p.kind); err != nil {
		return p, err
	}
	have, missing, err := cfg.unfinished()
	if err != nil {
		return p, err
	}
	rounds := max(1, cfg.Experiment.Trials, have.Rounds(), cfg.Trials)
	cells, err := cfg.Experiment.Expand()
	if err != nil {
		return p, err
	}
	if n := len(cells); n > record.MaxTrials/rounds {
		return p, fmt.Errorf("%d cells × %d trials are %.0f trials, and a run has at most %d: lower trials, or take levels away from [matrix]",
			n, rounds, float64(n)*float64(rounds), record.MaxTrials)
	}
	infos, err := p.describe(ctx, cfg, cells)
	if err != nil {
		return p, err
	}
	p.manifest = have
	if !cfg.Resume {
		p.manifest = record.Manifest{Format: record.FormatVersion, Experiment: *cfg.Experiment, Overrides: cfg.Overrides, Quick: cfg.Quick, Cells: infos}
	}
	p.manifest.Order = record.Order(infos, rounds, cfg.Experiment.Seed)
	p.count(infos, missing, have.Rounds())
	return p, errors.Join(p.checkTime(), p.checkRoom(cfg))
}

// unfinished is the run to go on with, if that is asked for, and which trials it lacks.
func (c *Config) unfinished() (have record.Manifest, missing []record.TrialID, err error) {
	if !c.Resume {
		return have, nil, nil
	}
	folder, err := record.Open(c.Out)
	if err != nil {
		return have, nil, err
	}
	have = folder.Manifest()
	if err := c.mayGoOn(&have); err != nil {
		return have, nil, err
	}
	missing, err = folder.Missing()
	return have, missing, err
}

// mayGoOn refuses to go on with a run of another experiment, or with fewer trials than
// are planned.
func (c *Config) mayGoOn(have *record.Manifest) error {
	asked := *c.Experiment
	asked.Trials = have.Experiment.Trials
	switch planned := have.Rounds(); {
	case asked.Hash() != have.Experiment.Hash():
		return fmt.Errorf("%s holds a run of another experiment, or of this one with other settings; resume with the same file and flags, or choose another --out", c.Out)
	case c.Trials == 0 && c.Experiment.Trials != have.Experiment.Trials && c.Experiment.Trials != planned:
		return fmt.Errorf("%s is planned with %d trials of each cell, and the experiment now says trials = %d: to add some, say how many there are to be in all with --trials, which must be more than %d",
			c.Out, planned, c.Experiment.Trials, planned)
	case c.Trials > 0 && c.Trials < planned:
		return fmt.Errorf("--trials %d: %s is planned with %d of each cell, which cannot be taken back; give --trials %d or more, or leave it out", c.Trials, c.Out, planned, planned)
	}
	return nil
}

// describe asks the systems what they would run. All that is wrong comes in one error.
func (p *Plan) describe(ctx context.Context, cfg Config, cells []experiment.Cell) ([]record.CellInfo, error) {
	var infos []record.CellInfo
	var errs []error
	var missing []experiment.Cell
	said := map[string]bool{} // cells share parts: say each thing once
	for _, c := range cells {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := cfg.Systems.For(c)
		if err != nil {
			return nil, err
		}
		if missing := s.Missing(p.kind.Needs); len(missing) > 0 {
			return nil, fmt.Errorf("measure = %q needs %s, which mode = %q with engine = %q has not", p.kind.Name, missing[0], s.Name, c.Cluster.Engine)
		}
		info, err := s.Describe(ctx, c)
		if errors.Is(err, program.ErrMissing) {
			missing = append(missing, c)
		} else if want := c.Cluster.Durability; err == nil && want != "" && info.Durability != want {
			err = fmt.Errorf("durability = %q: an acknowledged write has %q with the engine %s on the log store %s: take others, or leave the combination out with [[exclude]]",
				want, info.Durability, c.Cluster.Engine, c.Cluster.Backend)
		}
		if p.kind.Accept != nil {
			err = errors.Join(err, p.kind.Accept(c))
		}
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, err)
		}
		p.cells[c.ID] = &cell{system: s}
		infos = append(infos, info)
	}
	p.kind.SettleWarmup(infos, cfg.Quick)
	for i, c := range cells {
		p.cells[c.ID].info = infos[i]
	}
	if without := without(cfg.Experiment, missing); without != "" {
		errs = append(errs, fmt.Errorf("to run the others: --set '%s'", without))
	}
	return infos, errors.Join(errs...)
}

// without is the override that leaves out cells whose programs are missing; empty: there is
// none, or nothing would be left.
func without(e *experiment.Experiment, missing []experiment.Cell) string {
	for i, f := range e.Matrix {
		var rest []string
		for _, level := range f.Levels {
			if !slices.ContainsFunc(missing, func(c experiment.Cell) bool { return c.Levels[i].Value == level }) {
				rest = append(rest, strconv.Quote(level))
			}
		}
		if len(rest) > 0 && len(rest) < len(f.Levels) {
			return fmt.Sprintf("matrix.%s=[%s]", f.Name, strings.Join(rest, ", "))
		}
	}
	return ""
}

// count adds up the trials to run: those that are missing, and all of rounds beyond those
// that there were to be before.
func (p *Plan) count(infos []record.CellInfo, missing []record.TrialID, before int) {
	todo := map[string]int{}
	for _, id := range missing {
		todo[id.Cell]++
	}
	each := map[string]int{}
	for i := range infos {
		each[infos[i].ID] = p.histogramsOf(&infos[i])
	}
	for _, id := range p.manifest.Planned() {
		p.Trials++
		p.histograms += each[id.Cell]
		if id.Trial > before {
			todo[id.Cell]++
		}
	}
	p.Done = p.Trials
	for i := range infos {
		c := PlannedCell{CellInfo: infos[i], Trials: todo[infos[i].ID], Time: p.kind.Lasts(infos[i].Cell)}
		if p.kind.Room != nil {
			c.Needs = p.kind.Room(&c.CellInfo)
		}
		p.Done -= c.Trials
		p.Cells = append(p.Cells, c)
	}
}

// checkTime adds up the time, which as a product may be beyond all that a Duration holds.
func (p *Plan) checkTime() error {
	total := 0.0
	for _, c := range p.Cells {
		if c.Time < 0 || c.Time > maxTrialTime {
			return fmt.Errorf("a trial of cell %s takes at least %.0f h, and may take %.0f h: lower the times of [%s]",
				c.ID, c.Time.Hours(), maxTrialTime.Hours(), p.kind.Name)
		}
		total += float64(c.Trials) * c.Time.Seconds()
	}
	if total > maxRunTime.Seconds() {
		return fmt.Errorf("the run takes at least %.0f days, and may take %.0f: lower trials or the times of [%s], or take levels away from [matrix]",
			total/86400, maxRunTime.Hours()/24, p.kind.Name)
	}
	p.Time = time.Duration(total * float64(time.Second))
	return nil
}

// checkRoom refuses what memory or disk cannot hold, before hours have gone into it.
func (p *Plan) checkRoom(cfg Config) (err error) {
	data, out := existing(cfg.dataDir()), existing(cfg.Out)
	if p.Memory, p.Disk, err = calibrate.Free(data); err != nil {
		return err
	}
	_, outDisk, err := calibrate.Free(out)
	if err != nil {
		return err
	}
	var errs []error
	check := func(who string, needs []measure.Need, of measure.Resource, free uint64, where string) (sum float64) {
		sum, most := measure.Needs(needs, of)
		if sum > float64(free) {
			errs = append(errs, fmt.Errorf("%s needs about %s of %s, and %s are free: most of it for %s; lower %s",
				who, Bytes(sum), where, Bytes(float64(free)), most.Why, most.Mend))
		}
		return sum
	}
	memory, disk := -1.0, -1.0
	var heaviest, largest []measure.Need
	for _, c := range p.Cells {
		if sum := check("cell "+c.ID, c.Needs, measure.Memory, p.Memory, "memory"); sum > memory {
			memory, heaviest = sum, only(c.Needs, measure.Memory)
		}
		if sum := check("cell "+c.ID, c.Needs, measure.Disk, p.Disk, "the disk of "+data+" (or choose another --data-dir)"); sum > disk {
			disk, largest = sum, only(c.Needs, measure.Disk)
		}
	}
	trials := fmt.Sprintf("%d trials", p.Trials)
	folder := measure.Need{Of: measure.Disk, Bytes: float64(p.Trials) * fileBytes, Why: "the files of " + trials, Mend: "trials, or take levels away from [matrix]"}
	report := measure.Need{Of: measure.Memory, Bytes: float64(p.histograms) * histogramBytes, Why: "the histograms of " + trials, Mend: folder.Mend}
	check("the run folder", []measure.Need{folder}, measure.Disk, outDisk, "the disk of "+out)
	check("the report", []measure.Need{report}, measure.Memory, p.Memory, "memory")
	p.Needs = append(append(heaviest, largest...), folder, report)
	const most = 5
	if n := len(errs) - most; n > 0 {
		errs = append(errs[:most], fmt.Errorf("and %d more that do not fit", n))
	}
	return errors.Join(errs...)
}

func only(needs []measure.Need, of measure.Resource) (out []measure.Need) {
	for _, n := range needs {
		if n.Of == of {
			out = append(out, n)
		}
	}
	return out
}

// histogramsOf is how many a trial of a cell has in a report.
func (p *Plan) histogramsOf(cell *record.CellInfo) int {
	if p.kind.Histograms != nil {
		return p.kind.Histograms(cell)
	}
	of := map[string]bool{}
	for _, q := range p.kind.Quantities {
		if q.Of != "" {
			of[q.Of] = true
		}
	}
	return len(of)
}

// existing is the folder that dir is in or would be made in.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Bytes writes a number of bytes as people say it.
func Bytes(n float64) string {
	for _, x := range []struct {
		size float64
		unit string
	}{{1e18, "EB"}, {1e15, "PB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= x.size {
			return fmt.Sprintf("%.3g %s", n/x.size, x.unit)
		}
	}
	return fmt.Sprintf("%.0f B", n)
}
