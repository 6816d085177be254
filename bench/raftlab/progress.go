package raftlab

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/internal/visible"
)

// newProgress returns a bar on a terminal and plain lines elsewhere.
func newProgress(w io.Writer, plain bool, cfg runner.Config) runner.Progress {
	t := tracker{now: time.Now, lasts: func(c experiment.Cell) time.Duration { return c.Planned() }}
	if kind, err := cfg.Kinds.Lookup(cfg.Experiment.Measure); err == nil { // otherwise nothing runs
		t.lasts = kind.Lasts
	}
	if f, ok := w.(*os.File); ok && !plain && term.IsTerminal(int(f.Fd())) {
		return &bar{w: w, tracker: t, name: cfg.Experiment.Name}
	}
	return &lines{w: w, tracker: t, name: cfg.Experiment.Name, measure: cfg.Experiment.Measure, kinds: cfg.Kinds}
}

// tracker estimates the time left: what is planned plus what each trial so far has
// taken on top of that.
type tracker struct {
	now         func() time.Time
	lasts       func(experiment.Cell) time.Duration // a trial, at least
	total, done int
	ran         int
	planned     time.Duration // of the trials to come
	overhead    time.Duration // of the trials so far, summed
	begun       time.Time
}

func (t *tracker) begin(total, done int, planned time.Duration) {
	t.total, t.done, t.planned = total, done, planned
}

func (t *tracker) fewer(trials int, planned time.Duration) {
	t.total -= trials
	t.planned -= planned
}

func (t *tracker) trialBegin() { t.begun = t.now() }

func (t *tracker) trialEnd(c experiment.Cell) {
	planned := t.lasts(c)
	t.done++
	t.ran++
	t.planned -= planned
	t.overhead += max(0, t.now().Sub(t.begun)-planned)
}

func (t *tracker) left() time.Duration {
	left := t.planned
	if t.ran > 0 {
		left += t.overhead / time.Duration(t.ran) * time.Duration(t.total-t.done)
	}
	return left.Round(time.Second)
}

// label names a cell by its levels; the report has better words, but needs the
// whole experiment for them.
func label(c experiment.Cell) string {
	var levels []string
	for _, l := range c.Levels {
		levels = append(levels, l.Factor+"="+l.Value)
	}
	if len(levels) == 0 {
		return c.ID
	}
	return visible.Text(strings.Join(levels, " "))
}

// lines prints a line per trial: for logs and pipes.
type lines struct {
	tracker
	w       io.Writer
	name    string
	measure string // the kind of measurement
	kinds   measure.Catalog
}

func (p *lines) Begin(total, done int, planned time.Duration) {
	p.begin(total, done, planned)
	fmt.Fprintf(p.w, "%s: %d trials", p.name, total)
	if done > 0 {
		fmt.Fprintf(p.w, ", %d of them done before", done)
	}
	fmt.Fprintf(p.w, ", at least %s\n", planned.Round(time.Second))
}

func (p *lines) Calibrating() { fmt.Fprintln(p.w, "measuring the machine: flushes, loopback, timers") }

func (p *lines) TrialBegin(experiment.Cell, record.TrialID) { p.trialBegin() }

func (p *lines) TrialEnd(c experiment.Cell, t record.Trial) {
	p.trialEnd(c)
	width := len(fmt.Sprint(p.total))
	fmt.Fprintf(p.w, "[%*d/%d] %s: %s, %s left\n", width, p.done, p.total, label(c), p.summary(c, t), p.left())
}

func (p *lines) LeftOut(c experiment.Cell, out record.LeftOut) {
	fmt.Fprintln(p.w, leftOut(c, out))
}

func (p *lines) Fewer(trials int, planned time.Duration) { p.fewer(trials, planned) }

// leftOut says that a cell has no trials any more.
func leftOut(c experiment.Cell, out record.LeftOut) string {
	return fmt.Sprintf("%s, %s: known closely enough after %d trials", c.ID, label(c), out.After)
}

func (p *lines) End() {}

// verdict tells what is wrong with a trial, if anything is.
func verdict(t record.Trial) (text string, bad bool) {
	if t.Failure != "" {
		return "FAILED: " + visible.Text(t.Failure), true
	}
	for _, g := range t.Gates {
		if g.Verdict == record.Fail {
			return "INVALID: " + visible.Text(g.Reason), true
		}
	}
	return "", false
}

// summary says in a few words how a trial went.
func (p *lines) summary(c experiment.Cell, t record.Trial) string {
	if text, bad := verdict(t); bad {
		return text
	}
	kind, err := p.kinds.Lookup(p.measure)
	if err != nil {
		return err.Error()
	}
	values, err := kind.Read(&record.CellInfo{Cell: c}, &t)
	if err != nil {
		return err.Error()
	}
	return report.Brief(kind, values)
}
