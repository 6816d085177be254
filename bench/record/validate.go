package record

import (
	"fmt"
	"slices"
	"strings"
)

// maxTrials bounds a trial's number: it must fit the file name and be sane.
const maxTrials = 9999

// Validate checks that the manifest is one that a runner can have written. The
// error is an [ErrInvalid] or [ErrNewer].
func (m *Manifest) Validate() error {
	if m.Format > FormatVersion {
		return fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewer, m.Format, FormatVersion)
	}
	if m.Format != FormatVersion {
		return fmt.Errorf("%w: format %d, want %d", ErrInvalid, m.Format, FormatVersion)
	}
	if len(m.Cells) == 0 {
		return fmt.Errorf("%w: no cells", ErrInvalid)
	}
	seen := make(map[string]bool, len(m.Cells))
	for i := range m.Cells {
		c := &m.Cells[i]
		if seen[c.ID] {
			return fmt.Errorf("%w: cell %s is there twice", ErrInvalid, c.ID)
		}
		seen[c.ID] = true
		if err := m.checkCell(c); err != nil {
			return err
		}
	}
	planned := make(map[TrialID]bool, len(m.Order))
	for _, id := range m.Order {
		switch {
		case !seen[id.Cell]:
			return fmt.Errorf("%w: the order names the unknown cell %q", ErrInvalid, id.Cell)
		case id.Trial < 1 || id.Trial > maxTrials:
			return fmt.Errorf("%w: the order names trial %d of cell %s", ErrInvalid, id.Trial, id.Cell)
		case planned[id]:
			return fmt.Errorf("%w: the order names trial %d of cell %s twice", ErrInvalid, id.Trial, id.Cell)
		}
		planned[id] = true
	}
	return nil
}

func (m *Manifest) checkCell(c *CellInfo) error {
	if !validCellID(c.ID) {
		return fmt.Errorf("%w: cell id %q: want a lower-case letter, then letters and digits", ErrInvalid, c.ID)
	}
	if len(c.Levels) != len(m.Experiment.Matrix) {
		return fmt.Errorf("%w: cell %s has %d levels for %d factors", ErrInvalid, c.ID, len(c.Levels), len(m.Experiment.Matrix))
	}
	for i, f := range m.Experiment.Matrix {
		if c.Levels[i].Factor != f.Name || !slices.Contains(f.Levels, c.Levels[i].Value) {
			return fmt.Errorf("%w: cell %s: level %s = %q is not in the matrix", ErrInvalid, c.ID, c.Levels[i].Factor, c.Levels[i].Value)
		}
	}
	return nil
}

// validCellID keeps an id fit for a file name on every system.
func validCellID(id string) bool {
	if id == "" || len(id) > 32 || id[0] < 'a' || id[0] > 'z' {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// Validate checks what all trials say alike; what was measured is for its kind to
// check. The error is an [ErrInvalid]. It does not judge the measurement: a trial with
// a failed gate is as valid here as any other.
func (t *Trial) Validate() error {
	if !validCellID(t.Cell) || t.Trial < 1 || t.Trial > maxTrials {
		return fmt.Errorf("%w: trial %d of cell %q", ErrInvalid, t.Trial, t.Cell)
	}
	if t.Session < 0 {
		return fmt.Errorf("%w: a session below zero", ErrInvalid)
	}
	if t.Failure == "" && len(t.Data) == 0 {
		return fmt.Errorf("%w: nothing measured and no failure", ErrInvalid)
	}
	if err := t.Probe.FdatasyncUS.validate("probe.fdatasync_us"); err != nil {
		return err
	}
	if err := t.Probe.WorkUS.validate("probe.work_us"); err != nil {
		return err
	}
	for _, g := range t.Gates {
		if err := g.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (q Quantiles) validate(name string) error {
	inOrder := q.Min <= q.P50 && q.P50 <= q.P90 && q.P90 <= q.P99 && q.P99 <= q.Max
	if q.N < 0 || q.Min < 0 || !inOrder {
		return fmt.Errorf("%w: %s: quantiles out of order", ErrInvalid, name)
	}
	return nil
}

func (g Gate) validate() error {
	if g.Name == "" {
		return fmt.Errorf("%w: a gate without a name", ErrInvalid)
	}
	switch g.Verdict {
	case Pass, Fail, Skip:
		return nil
	default:
		return fmt.Errorf("%w: gate %s: verdict %q", ErrInvalid, g.Name, g.Verdict)
	}
}

// Decide returns the verdict that the gate's own figure and limit give; a
// skipped gate stays skipped.
func (g Gate) Decide() Verdict {
	switch {
	case g.Verdict == Skip:
		return Skip
	case g.AtLeast && g.Figure >= g.Limit, !g.AtLeast && g.Figure <= g.Limit:
		return Pass
	default:
		return Fail
	}
}

// InvalidReason says in a few words why the trial must not be used: its failure
// or the gates it failed. It is empty for a valid trial.
func (t *Trial) InvalidReason() string {
	if t.Failure != "" {
		return t.Failure
	}
	var reasons []string
	for _, g := range t.Gates {
		if g.Verdict != Fail {
			continue
		}
		reason := g.Name
		if g.Reason != "" {
			reason += ": " + g.Reason
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}
