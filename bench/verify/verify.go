// Package verify computes again what a run folder says: the experiment from the file that
// it was, the cells, the order and the seeds from the experiment, the verdicts of the gates
// from figures, limits and counts, and all that is printed from the trials. It tells every
// difference and writes nothing.
//
// It shows that what is printed follows from the raw data, and those from the experiment as
// far as a program can tell. Whether the raw data were measured as recorded, and whether
// the machine and the parts are what they said of themselves, it cannot show.
package verify

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
)

// Verification is what was found.
type Verification struct {
	Trials      int
	Differences []report.Difference
	Unchecked   []string // files that were laid out by an earlier raftlab, so that their text was not compared
	Notes       []string // what is no difference, but may be worth knowing
}

// Run verifies a run folder. Known is what experiments may name. The error says why the
// verification could not be made; what could not be read of the run is a difference.
func Run(ctx context.Context, f *record.Folder, kinds measure.Catalog, known experiment.Known) (Verification, error) {
	var v Verification
	m := f.Manifest()
	kind, err := kinds.Lookup(m.Experiment.Measure)
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	v.checkExperiment(f, kinds, known)
	if err := v.checkCells(kind, &m); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	v.checkOrder(&m)
	v.checkSessions(&m)
	foreign, err := v.checkTrialFiles(f)
	if err != nil || foreign {
		return v, err // the trials cannot be read as they are
	}
	trials, err := f.Trials()
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	v.Trials = len(trials)
	for i := range trials {
		v.checkTrial(kind, &m, &trials[i])
	}
	v.checkTimes(&m, trials)
	if err := v.checkLeftOut(kind, &m, trials); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	printed, err := report.Verify(ctx, f, kinds)
	if err != nil {
		return v, err
	}
	v.Differences = append(v.Differences, printed.Differences...)
	v.Unchecked = printed.Unchecked
	return v, v.checkForeign(f, printed)
}

func (v *Verification) differ(file, field string, printed, computed any) {
	v.Differences = append(v.Differences, report.Difference{File: file, Column: field, Printed: fmt.Sprint(printed), Computed: fmt.Sprint(computed)})
}

// checkTrialFiles finds files among the trials that the run did not plan.
func (v *Verification) checkTrialFiles(f *record.Folder) (foreign bool, err error) {
	names, err := f.Names()
	if err != nil {
		return false, fmt.Errorf("verify: %w", err)
	}
	m := f.Manifest()
	planned := map[string]bool{}
	for _, id := range m.Order {
		planned[id.File()] = true
	}
	left := map[string]bool{}
	for _, id := range m.Planned() {
		left[id.File()] = true
	}
	for _, name := range names {
		hidden := strings.HasPrefix(path.Base(name), ".") // a write that was broken off
		switch {
		case path.Dir(strings.TrimSuffix(name, "/")) != record.TrialsDir || hidden:
		case !planned[name]:
			v.differ(name, "", "a file", "no such trial is planned")
			foreign = true
		case !left[name]:
			v.differ(name, "", "a trial", "the cell was left out of its round")
		}
	}
	return foreign, nil
}

// checkForeign finds files that no raftlab has written: among the plots, where they would
// be taken for the run's, they are a difference.
func (v *Verification) checkForeign(f *record.Folder, printed report.Verification) error {
	names, err := f.Names()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, name := range names {
		switch base := path.Base(name); {
		case strings.HasPrefix(base, "."), path.Dir(name) == record.TrialsDir, slices.Contains(printed.Made, name),
			slices.Contains([]string{record.ManifestFile, record.ExperimentFile, record.EngineLogFile}, name),
			strings.HasPrefix(name, "data-") && strings.HasSuffix(name, "/"):
		case path.Dir(name) == record.PlotsDir && len(v.Unchecked) == 0:
			v.differ(name, "", "a file", "no such plot")
		default:
			v.Notes = append(v.Notes, fmt.Sprintf("%s: no file of the run", name))
		}
	}
	return nil
}
