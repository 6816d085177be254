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
	op       Op
	intended time.Time
}

// shards is how many recorders the workers of an open loop share. One each would
// be a histogram per operation in flight; one for all, a lock that all want.
const shards = 16

// open hands out operations when the schedule says so. One goroutine keeps the
// schedule; workers carry the operations out. Where none is free, a worker is
// added rather than the schedule slowed, up to MaxInFlight; then operations wait
// in line, and their latency counts from when they were due.
func (l *load) open(ctx context.Context) []*recorder {
	p := &workers{load: l, ctx: ctx, line: make(chan due)}
	for i := range p.shards {
		p.shards[i].recorder = newRecorder(l.opens, l.spec)
	}
	for range min(l.spec.Clients, l.spec.maxInFlight()) {
		p.add()
	}
	l.schedule(ctx, p)
	close(p.line)
	p.running.Wait()

	recorders := make([]*recorder, shards)
	for i := range p.shards {
		recorders[i] = p.shards[i].recorder
	}
	return recorders
}

// schedule hands each operation over at its time. A backlog that is still there
// when the window has long closed is given up, and counts as failed: an overload
// must end.
func (l *load) schedule(ctx context.Context, p *workers) {
	g := l.shared.generator(0, 1)
	gap := l.gaps()
	timer := newPacer(ctx)
	defer timer.close()
	closes := l.closes()
	giveUp := closes.Add(min(l.spec.OpTimeout, l.spec.Duration))
	for at := l.begin; at.Before(closes); at = at.Add(gap()) {
		if time.Now().After(giveUp) {
			p.shards[0].neverStarted(g.next().Kind, at)
			continue
		}
		op := g.next()
		if timer.sleepUntil(at) != nil || !p.hand(ctx, due{op, at}) {
			return
		}
	}
}

// gaps returns the time from one intended start to the next.
func (l *load) gaps() func() time.Duration {
	mean := float64(time.Second) / l.spec.Rate
	if l.spec.Arrival == Poisson {
		const stream = 0x61727269766573 // "arrives"
		rng := rand.New(rand.NewPCG(l.spec.Seed, stream))
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

// workers carry out the operations of an open loop.
type workers struct {
	load    *load
	ctx     context.Context
	line    chan due
	count   int // added so far, by the scheduler only
	running sync.WaitGroup
	shards  [shards]shard
}

type shard struct {
	mu sync.Mutex
	*recorder
}

func (s *shard) neverStarted(kind Kind, intended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inWindow(intended) {
		s.scheduled++
		s.done(kind, intended, time.Time{}, errNeverStarted)
	}
}

var errNeverStarted = errors.New("never started: the backlog was still there long after the load")

// hand gives d to a free worker, or to a new one, or waits for one.
func (p *workers) hand(ctx context.Context, d due) bool {
	select {
	case p.line <- d:
		return true
	default:
	}
	if p.count < p.load.spec.maxInFlight() {
		p.add()
	}
	select {
	case p.line <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *workers) add() {
	s := &p.shards[p.count%shards]
	p.count++
	p.running.Go(func() {
		for d := range p.line {
			opCtx, done := context.WithTimeout(p.ctx, p.load.spec.OpTimeout)
			start := time.Now()
			err := p.load.target.Do(opCtx, &d.op)
			end := time.Now()
			done()
			if p.ctx.Err() != nil {
				continue // cut off, not failed
			}
			s.mu.Lock()
			s.started(d.intended, start)
			s.done(d.op.Kind, d.intended, end, err)
			s.mu.Unlock()
		}
	})
}
