package workload

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Prepared is a load that is ready to run: keys and values are made, and its own
// cost is measured.
type Prepared struct {
	shared *shared
	cost   time.Duration // the generator's own, of an operation
}

// Prepare makes all that can be made before the load begins, so that it is not
// taken for a part of it.
func Prepare(spec Spec) (*Prepared, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	sh := newShared(spec)
	return &Prepared{shared: sh, cost: ownCost(sh)}, nil
}

// Run prepares the load of spec and puts it on target: see [Prepared.Run].
func Run(ctx context.Context, spec Spec, target Target) (*Result, error) {
	p, err := Prepare(spec)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, target)
}

// Run puts the load on target and returns what it saw. Operations that are out
// when the window closes are waited for, each until its timeout. When ctx ends,
// Run returns soon with what was measured and the context's error. It may be
// called again: the operations are the same.
func (p *Prepared) Run(ctx context.Context, target Target) (*Result, error) {
	spec := p.shared.spec
	begin := time.Now()
	l := &load{spec: spec, shared: p.shared, target: target, begin: begin, opens: begin.Add(spec.Warmup)}
	var recorders []*recorder
	if spec.Rate > 0 {
		recorders = l.open(ctx)
	} else {
		recorders = l.closed(ctx)
	}
	end := time.Now()
	result := merge(spec, recorders)
	result.Elapsed = end.Sub(begin)
	result.ClientCPU = p.cost * time.Duration(result.operations)
	if ctx.Err() != nil { // cut short: the window is what there was of it
		result.Window = min(max(end.Sub(l.opens), 0), spec.Duration)
	}
	// Sub uses the monotonic clock; without it, the wall clock.
	result.ClockDrift = end.Round(0).Sub(begin.Round(0)) - result.Elapsed
	return result, ctx.Err()
}

// load is one run of a load.
type load struct {
	spec   Spec
	shared *shared
	target Target
	begin  time.Time // of the warm-up
	opens  time.Time // of the window
}

func (l *load) closes() time.Time { return l.opens.Add(l.spec.Duration) }

// closed runs a loop per client: the next operation starts when the last is done.
func (l *load) closed(ctx context.Context) []*recorder {
	recorders := make([]*recorder, l.spec.Clients)
	var clients sync.WaitGroup
	for i := range recorders {
		recorders[i] = newRecorder(l.opens, l.spec)
		clients.Go(func() {
			l.client(ctx, l.shared.generator(i, l.spec.Clients), recorders[i])
		})
	}
	clients.Wait()
	return recorders
}

func (l *load) client(ctx context.Context, g *generator, r *recorder) {
	closes := l.closes()
	for ctx.Err() == nil {
		op := g.next()
		opCtx, done := context.WithTimeout(ctx, l.spec.OpTimeout)
		start := time.Now() // after all that is the generator's own work
		if !start.Before(closes) {
			done()
			return
		}
		err := l.target.Do(opCtx, &op)
		end := time.Now()
		done()
		if ctx.Err() != nil {
			return // cut off, not failed
		}
		r.done(op.Kind, start, end, err)
		if err != nil {
			_ = sleep(ctx, pauseAfterFailure)
		}
	}
}

// pauseAfterFailure keeps the clients of a target that refuses everything from
// taking the CPU that it needs to recover.
const pauseAfterFailure = time.Millisecond

// ownCost measures what the load generator itself spends on an operation:
// making it, its context, the clock, recording. It does so alone, before the
// load, so that waiting for a processor is not taken for work, and returns the
// median of several batches, so that an interruption is not either.
func ownCost(sh *shared) time.Duration {
	const batches, rounds = 11, 200
	g, r := sh.generator(0, 1), newRecorder(time.Now(), sh.spec)
	costs := make([]time.Duration, batches)
	for i := range costs {
		begin := time.Now()
		for range rounds {
			op := g.next()
			_, done := context.WithTimeout(context.Background(), sh.spec.OpTimeout)
			start := time.Now()
			end := time.Now()
			done()
			r.done(op.Kind, start, end, nil)
		}
		costs[i] = time.Since(begin) / rounds
	}
	slices.Sort(costs)
	return costs[batches/2]
}
