package workload

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/internal/poll"
)

// Client is one client of a closed loop: it has one operation under way at a time.
type Client struct {
	Source    Source
	Target    Target
	Recorders []Recorder
}

// Loop is a closed loop: each client begins its next operation when the last is
// answered.
type Loop struct {
	Clients   []Client
	OpTimeout time.Duration // of one operation, from when it is handed to the target
	Until     time.Time     // no operation is handed to the target then or later; zero: no such time
	// Finish has the operations that are out when the context ends waited for. Without
	// it they are cut off.
	Finish bool

	failed atomic.Bool
}

// Run runs the clients until they have no operation left, Until has come, the context
// ends, or a recorder fails, whose error it returns then. Operations that are out when
// the time has come or a recorder has failed are waited for.
func (l *Loop) Run(ctx context.Context) error {
	errs := make([]error, len(l.Clients))
	var clients sync.WaitGroup
	for i := range l.Clients {
		clients.Go(func() { errs[i] = l.client(ctx, &l.Clients[i]) })
	}
	clients.Wait()
	return errors.Join(errs...)
}

func (l *Loop) client(ctx context.Context, c *Client) error {
	opCtx := ctx
	if l.Finish {
		opCtx = context.WithoutCancel(ctx)
	}
	var op Op
	var last, broken error
	for !l.failed.Load() {
		wait, ok := c.Source.Next(&op, last)
		if !ok || poll.Sleep(ctx, wait) != nil {
			return nil
		}
		last, broken = l.do(opCtx, c, &op, time.Time{})
		switch {
		case opCtx.Err() != nil || errors.Is(broken, errOver):
			return nil
		case broken != nil:
			l.failed.Store(true)
			return broken
		}
	}
	return nil
}

var errOver = errors.New("the time of the load is over")

// do has the target carry out one operation, which was due or, if that is zero, is
// due now, and the recorders see it. broken says that the operation was cut off with
// ctx, that its time is over, or that a recorder failed.
func (l *Loop) do(ctx context.Context, c *Client, op *Op, due time.Time) (err, broken error) {
	for _, r := range c.Recorders {
		if broken := r.Begin(op); broken != nil {
			return nil, broken
		}
	}
	opCtx, done := context.WithTimeout(ctx, l.OpTimeout)
	defer done()
	at := Times{Due: due, Start: time.Now()} // after all that is the generator's own work
	if due.IsZero() {
		at.Due = at.Start
	}
	if !l.Until.IsZero() && !at.Start.Before(l.Until) {
		return nil, errOver
	}
	err = c.Target.Do(opCtx, op)
	at.End = time.Now()
	if broken := ctx.Err(); broken != nil {
		return err, broken // cut off, not failed
	}
	for _, r := range c.Recorders {
		broken = errors.Join(broken, r.End(op, at, err))
	}
	return err, broken
}

// Prepared is a load that is ready to run: keys and values are made, and its own
// cost is measured.
type Prepared struct {
	shared *shared
	cost   time.Duration // the generator's own, of an operation
}

// Prepare makes all that can be made before the load begins, so that it is not
// taken for a part of it.
func Prepare(ctx context.Context, spec Spec) (*Prepared, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	sh, err := newShared(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &Prepared{shared: sh, cost: ownCost(sh)}, nil
}

// Run puts the load on target and returns what it saw. A target that is a Recorder too,
// one for many goroutines that does not fail, is that of all clients. Operations that are out
// when the window closes are waited for, each until its timeout. When ctx ends,
// Run returns soon with what was measured and the context's error. It may be
// called again: the operations are the same.
func (p *Prepared) Run(ctx context.Context, target Target) (*Result, error) {
	spec, ready := p.shared.spec, p.closed
	if spec.Rate > 0 {
		ready = p.open
	}
	// Histograms are large, and clients may be many: the load begins when they are there.
	recorders, strands, late := make([]*latencies, spec.recorders()), make([]*strand, spec.recorders()), make([]*strand, spec.recorders())
	course, lateness := newCourse(spec), &course{warmup: int(spec.Warmup / shortestStep)}
	for i := range recorders {
		strands[i] = course.strand()
		recorders[i] = newLatencies(spec, strands[i])
		if spec.RateTo > 0 {
			late[i] = lateness.strand()
			recorders[i].late = late[i]
		}
	}
	run := ready(ctx, spec.Mix.withSteps(target), recorders)
	begin := time.Now()
	p.shared.begin(begin)
	opens := begin.Add(spec.Warmup)
	for _, r := range recorders {
		r.opensAt(opens)
	}
	run(begin)
	end := time.Now()
	result := newResult(spec)
	for _, r := range recorders {
		result.add(&r.seen)
	}
	result.sides()
	result.Opened, result.Elapsed = opens, end.Sub(begin)
	result.ClientCPU = p.cost * time.Duration(result.Operations)
	if ctx.Err() != nil { // cut short: the window is what there was of it
		result.Window = min(max(end.Sub(opens), 0), result.Window)
	}
	steps := stepsIn(result.Window, shortestStep)
	result.Steps = course.sumUp(strands, result.Window, perStep(course.warmup+steps, maxSteps))
	if spec.RateTo > 0 {
		result.Ramp = course.sumUp(strands, result.Window, perStep(steps, rampSteps))
		result.RampLag = lateness.sumUp(late, result.Window, perStep(steps, rampSteps))
	}
	// Sub uses the monotonic clock; without it, the wall clock.
	result.ClockDrift = end.Round(0).Sub(begin.Round(0)) - result.Elapsed
	return &result, ctx.Err()
}

// closed makes a closed loop, and returns what runs it.
func (p *Prepared) closed(ctx context.Context, target Target, recorders []*latencies) (run func(begin time.Time)) {
	spec := p.shared.spec
	loop := Loop{OpTimeout: spec.OpTimeout}
	for i := range spec.Clients {
		part := PartOf(target, i)
		var source Source = p.shared.generator(i, spec.Clients)
		if spec.Operations > 0 {
			source = counted{p.shared.generator(i, spec.Clients)}
		}
		loop.Clients = append(loop.Clients, Client{source, part, p.recorders(recorders[i%len(recorders)], part)})
	}
	return func(begin time.Time) {
		if spec.Operations == 0 {
			loop.Until = begin.Add(spec.Warmup + spec.Duration)
		}
		_ = loop.Run(ctx) // these recorders do not fail
	}
}

// recorders returns those of a client: its own, one that has to know which keys there
// are, and the target, if it is one.
func (p *Prepared) recorders(own Recorder, target Target) []Recorder {
	all := []Recorder{own}
	if p.shared.spec.grows() {
		all = append(all, p.shared.growth)
	}
	if r, ok := target.(Recorder); ok {
		all = append(all, r)
	}
	return all
}

// due is an operation and when it is to start.
type due struct {
	op Op
	at time.Time
}

// shards is how many recorders the clients share at most. One each would be large
// histograms for every operation in flight; one for all, a lock that all want.
const shards = 64

// recorders is how many the clients share.
func (s *Spec) recorders() int {
	if s.Rate > 0 {
		return min(s.maxInFlight(), shards)
	}
	return min(s.Clients, shards)
}

// HistogramBytes is about what the histograms of a load take while it runs: each recorder has
// one of each kind of operation, and of an open loop one of late starts.
func (s *Spec) HistogramBytes() int {
	each := len(s.Mix.Kinds())
	if s.Rate > 0 {
		each++
	}
	return s.recorders() * each * histogramBytes
}

// workers carry out the operations of an open loop.
type workers struct {
	spec    Spec
	loop    Loop // of a client without a source for each recorder
	line    chan due
	running sync.WaitGroup

	// Of the schedule only:
	opens  time.Time // the window
	count  int       // workers added so far
	queued int64     // operations of the window that found all workers busy and no other to be had
}

// open makes an open loop, and returns what runs it: it hands out operations when the
// schedule says so. One goroutine keeps the schedule; workers carry the operations out.
// Where none is free, a worker is added rather than the schedule slowed, up to MaxInFlight;
// then operations wait in line, and their latency counts from when they were due.
func (p *Prepared) open(ctx context.Context, target Target, recorders []*latencies) (run func(begin time.Time)) {
	spec := p.shared.spec
	w := &workers{spec: spec, loop: Loop{OpTimeout: spec.OpTimeout}, line: make(chan due)}
	for _, r := range recorders {
		w.loop.Clients = append(w.loop.Clients, Client{nil, target, p.recorders(r, target)})
	}
	return func(begin time.Time) {
		for range min(spec.Clients, spec.maxInFlight()) {
			w.add(ctx)
		}
		w.schedule(ctx, p.shared.generator(0, 1), begin)
		close(w.line)
		w.running.Wait()
		recorders[0].seen.Queued = w.queued
	}
}

var errNeverStarted = errors.New("never started: the backlog was still there long after the load")

// schedule hands each operation over at its time. A backlog that is still there
// when the window has long closed is given up, and counts as failed: an overload
// must end.
func (w *workers) schedule(ctx context.Context, source Source, begin time.Time) {
	arrival := w.spec.arrivals()
	timer := newPacer(ctx)
	defer timer.close()
	length, counted := w.spec.length(), int64(0)
	w.opens = begin.Add(w.spec.Warmup)
	closes := w.opens.Add(length)
	giveUp := closes.Add(min(w.spec.OpTimeout, length))
	for next := (due{at: begin.Add(arrival())}); w.spec.Operations > 0 || next.at.Before(closes); next.at = begin.Add(arrival()) {
		source.Next(&next.op, nil)
		if w.spec.Operations > 0 && !next.at.Before(w.opens) {
			if counted++; counted > w.spec.Operations {
				return
			}
		}
		next.op.warmUp = next.at.Before(w.opens)
		if time.Now().After(giveUp) {
			_ = w.loop.Clients[0].Recorders[0].End(&next.op, Times{Due: next.at}, errNeverStarted) // it does not fail
			continue
		}
		if timer.sleepUntil(next.at) != nil || !w.hand(ctx, next) {
			return
		}
	}
}

// arrivals returns what tells one intended start after another, as times after the load has
// begun. Poisson arrivals at a rate that changes are those at a rate of one on a time that is
// stretched to match (Çinlar, Introduction to Stochastic Processes, 1975, §4.7).
func (s *Spec) arrivals() func() time.Duration {
	const stream = 0x61727269766573 // "arrives"
	rng := rand.New(rand.NewPCG(s.Seed, stream))
	due := 0.0 // how many have been, on average
	return func() time.Duration {
		at := s.reaches(due)
		if s.Arrival == Poisson {
			due += rng.ExpFloat64()
		} else {
			due++
		}
		return at
	}
}

// reaches is when so many operations are to have started, of a ramp that goes on for ever.
func (s *Spec) reaches(due float64) time.Duration {
	before := s.Rate * s.Warmup.Seconds()
	if s.RateTo == 0 || due <= before {
		return time.Duration(math.Round(due / s.Rate * float64(time.Second)))
	}
	// The t of rate·t + slope·t²/2 = due, in the form that does not cancel where the slope is
	// small. A ramp down comes to zero only beyond the window.
	due -= before
	t := 2 * due / (s.Rate + math.Sqrt(max(0, s.Rate*s.Rate+2*s.slope()*due)))
	return s.Warmup + time.Duration(math.Round(t*float64(time.Second)))
}

// hand gives d to a free worker, or to a new one, or waits for one.
func (w *workers) hand(ctx context.Context, d due) bool {
	select {
	case w.line <- d:
		return true
	default:
	}
	switch {
	case w.count < w.spec.maxInFlight():
		w.add(ctx)
	case !d.at.Before(w.opens):
		w.queued++
	}
	select {
	case w.line <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *workers) add(ctx context.Context) {
	c := w.loop.Clients[w.count%len(w.loop.Clients)]
	c.Target = PartOf(c.Target, w.count)
	w.count++
	w.running.Go(func() {
		for d := range w.line {
			_, _ = w.loop.do(ctx, &c, &d.op, d.at) // these recorders do not fail
		}
	})
}

// idle is a target that does nothing.
type idle struct{}

func (idle) Do(context.Context, *Op) error { return nil }

// ownCost measures what the load generator itself spends on an operation:
// making it, its context, the clock, recording. It does so alone, before the
// load, so that waiting for a processor is not taken for work, and returns the
// median of several batches, so that an interruption is not either.
func ownCost(sh *shared) time.Duration {
	const batches, rounds = 11, 200
	source := sh.generator(0, 1)
	recorder := newLatencies(sh.spec, newCourse(sh.spec).strand())
	recorder.opensAt(time.Now())
	loop := Loop{OpTimeout: sh.spec.OpTimeout, Clients: []Client{{source, idle{}, []Recorder{recorder}}}}
	var op Op
	costs := make([]time.Duration, batches)
	for i := range costs {
		begin := time.Now()
		for range rounds {
			source.Next(&op, nil)
			_, _ = loop.do(context.Background(), &loop.Clients[0], &op, time.Time{})
		}
		costs[i] = time.Since(begin) / rounds
	}
	slices.Sort(costs)
	return costs[batches/2]
}
