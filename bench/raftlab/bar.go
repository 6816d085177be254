package raftlab

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/record"
)

// bar draws a progress bar with the cell under way and the time left, and prints
// above it what went wrong.
type bar struct {
	tracker
	w        io.Writer
	name     string
	progress *mpb.Progress
	bar      *mpb.Bar

	// Read by the goroutine that draws:
	current atomic.Pointer[string]
	end     atomic.Int64 // expected, Unix nanoseconds
}

func (p *bar) Begin(total, done int, planned time.Duration) {
	p.begin(total, done, planned)
	p.say("")
	p.progress = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(20), mpb.WithRefreshRate(200*time.Millisecond))
	p.bar = p.progress.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(p.name+" "), decor.CountersNoUnit("%d/%d ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.status() })))
	p.bar.SetCurrent(int64(done))
}

func (p *bar) Calibrating() { p.say("measuring the machine") }

func (p *bar) TrialBegin(c experiment.Cell, _ record.TrialID) {
	p.trialBegin()
	p.say(label(c))
}

func (p *bar) TrialEnd(c experiment.Cell, t record.Trial) {
	p.trialEnd(c)
	if text, bad := verdict(t); bad {
		fmt.Fprintf(p.progress, "%s trial %d, %s: %s\n", t.Cell, t.Trial, label(c), text)
	}
	p.say(label(c))
	p.bar.SetCurrent(int64(p.done))
}

func (p *bar) LeftOut(c experiment.Cell, out record.LeftOut) {
	fmt.Fprintln(p.progress, leftOut(c, out))
}

func (p *bar) Fewer(trials int, planned time.Duration) {
	p.fewer(trials, planned)
	p.bar.SetTotal(int64(p.total), false)
}

func (p *bar) End() {
	if p.bar == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.progress.Wait()
}

func (p *bar) say(what string) {
	p.current.Store(&what)
	p.end.Store(p.now().Add(p.left()).UnixNano())
}

func (p *bar) status() string {
	left := max(0, time.Duration(p.end.Load()-p.now().UnixNano())).Round(time.Second)
	return fmt.Sprintf(" %s left  %s", left, *p.current.Load())
}
