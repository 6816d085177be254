package workload

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// due is an operation and when it is to start.
type due struct {
	op Op
	at time.Time
}

// shards is how many recorders the workers of an open loop share. One each would
// be a histogram per operation in flight; one for all, a lock that all want.
const shards = 16

// workers carry out the operations of an open loop.
type workers struct {
	spec    Spec
	loop    Loop // of shards clients without a source
	line    chan due
	count   int // added so far, by the schedule only
	running sync.WaitGroup
}

// open hands out operations when the schedule says so. One goroutine keeps the
// schedule; workers carry the operations out. Where none is free, a worker is
// added rather than the schedule slowed, up to MaxInFlight; then operations wait
// in line, and their latency counts from when they were due.
func (p *Prepared) open(ctx context.Context, target Target, begin time.Time) []*latencies {
	spec := p.shared.spec
	w := &workers{spec: spec, loop: Loop{OpTimeout: spec.OpTimeout}, line: make(chan due)}
	recorders := make([]*latencies, shards)
	for i := range recorders {
		recorders[i] = newLatencies(begin.Add(spec.Warmup), spec)
		w.loop.Clients = append(w.loop.Clients, Client{nil, target, []Recorder{&sharedLatencies{latencies: recorders[i]}}})
	}
	for range min(spec.Clients, spec.maxInFlight()) {
		w.add(ctx)
	}
	w.schedule(ctx, p.shared.generator(0, 1), begin)
	close(w.line)
	w.running.Wait()
	return recorders
}

var errNeverStarted = errors.New("never started: the backlog was still there long after the load")

// schedule hands each operation over at its time. A backlog that is still there
// when the window has long closed is given up, and counts as failed: an overload
// must end.
func (w *workers) schedule(ctx context.Context, source Source, begin time.Time) {
	gap := w.spec.gaps()
	timer := newPacer(ctx)
	defer timer.close()
	closes := begin.Add(w.spec.Warmup + w.spec.Duration)
	giveUp := closes.Add(min(w.spec.OpTimeout, w.spec.Duration))
	for next := (due{at: begin}); next.at.Before(closes); next.at = next.at.Add(gap()) {
		source.Next(&next.op, nil)
		if time.Now().After(giveUp) {
			_ = w.loop.Clients[0].Recorders[0].End(&next.op, Times{Due: next.at}, errNeverStarted) // it does not fail
			continue
		}
		if timer.sleepUntil(next.at) != nil || !w.hand(ctx, next) {
			return
		}
	}
}

// gaps returns the time from one intended start to the next.
func (s Spec) gaps() func() time.Duration {
	mean := float64(time.Second) / s.Rate
	if s.Arrival == Poisson {
		const stream = 0x61727269766573 // "arrives"
		rng := rand.New(rand.NewPCG(s.Seed, stream))
		return func() time.Duration { return time.Duration(mean * rng.ExpFloat64()) }
	}
	// Summing a rounded gap would drift off the rate: keep the remainder.
	carry := 0.0
	return func() time.Duration {
		carry += mean
		whole := time.Duration(carry)
		carry -= float64(whole)
		return whole
	}
}

// hand gives d to a free worker, or to a new one, or waits for one.
func (w *workers) hand(ctx context.Context, d due) bool {
	select {
	case w.line <- d:
		return true
	default:
	}
	if w.count < w.spec.maxInFlight() {
		w.add(ctx)
	}
	select {
	case w.line <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *workers) add(ctx context.Context) {
	c := &w.loop.Clients[w.count%shards]
	w.count++
	w.running.Go(func() {
		for d := range w.line {
			_, _ = w.loop.do(ctx, c, &d.op, d.at) // these recorders do not fail
		}
	})
}
