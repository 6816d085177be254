package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// refusedPause keeps a worker from spinning where writes are refused at once.
const refusedPause = 10 * time.Millisecond

// Load writes until the duration is over, the count is reached or ctx ends; the
// writes under way then are waited for. That writes are refused or their outcome
// unknown is no error: the Result has their numbers. An error means that the load
// could not do its work: the journal could not be written, or a node called a
// write invalid. The journal is good for a check all the same.
func Load(ctx context.Context, cfg Config) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	j, err := createJournal(cfg.JournalPath, cfg.Parameters)
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &load{cfg: cfg, journal: j, meter: newMeter()}
	errs := make([]error, cfg.Workers)
	var workers, reporter sync.WaitGroup
	for i := range cfg.Workers {
		workers.Go(func() {
			if errs[i] = newWorker(l, i).run(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	over := make(chan struct{})
	if cfg.OnSecond != nil {
		reporter.Go(func() { l.meter.report(cfg.OnSecond, over) })
	}
	workers.Wait()
	close(over)
	reporter.Wait()
	result := l.meter.result(cfg.Prefix)
	if err := errors.Join(append(errs, j.close())...); err != nil {
		return result, fmt.Errorf("load: %w", err)
	}
	return result, nil
}

// load is what the workers share.
type load struct {
	cfg     Config
	journal *journal
	meter   *meter
	begun   atomic.Uint64
}

// another reports whether one more write may begin.
func (l *load) another(ctx context.Context) bool {
	return ctx.Err() == nil && (l.cfg.Writes == 0 || l.begun.Add(1) <= l.cfg.Writes)
}

// worker writes to its own keys, one write at a time.
type worker struct {
	*load
	id   int
	rng  *rand.Rand
	left []int // for each slot, how many of its keys were left because of an unknown outcome
}

func newWorker(l *load, id int) *worker {
	return &worker{
		load: l,
		id:   id,
		rng:  rand.New(rand.NewPCG(l.cfg.Seed, uint64(id))),
		left: make([]int, l.cfg.KeysPerWorker),
	}
}

func (w *worker) run(ctx context.Context) error {
	var lines []any // of the journal: the end of the last write goes with the begin of the next
	var failure error
	for seq := uint64(1); failure == nil && w.another(ctx); seq++ {
		slots, begin := w.plan(seq)
		if err := w.journal.append(append(lines, begin)...); err != nil {
			return err
		}
		end, err := w.write(ctx, begin)
		switch {
		case end.End == endUnknown:
			for _, slot := range slots {
				w.left[slot]++
			}
		case errors.Is(err, core.ErrInvalid):
			failure = err
		case err != nil:
			rest(ctx)
		}
		lines = []any{end}
	}
	return errors.Join(failure, w.journal.append(lines...))
}

func rest(ctx context.Context) {
	select {
	case <-time.After(refusedPause):
	case <-ctx.Done():
	}
}

// plan decides what the next write is and to which slots.
func (w *worker) plan(seq uint64) ([]int, line) {
	begin := line{Worker: w.id, Seq: seq, Op: opSet}
	count := 1
	switch draw := w.rng.Float64(); {
	case draw < w.cfg.DeleteShare:
		begin.Op = opDelete
	case draw < w.cfg.DeleteShare+w.cfg.BatchShare:
		count = 2 + w.rng.IntN(min(w.cfg.KeysPerWorker, maxBatchKeys)-1)
	}
	first := w.rng.IntN(w.cfg.KeysPerWorker)
	if seq <= uint64(w.cfg.KeysPerWorker) { // once round, so that every key is written
		first = int(seq - 1)
	}
	var slots []int
	for i := range count {
		slot := (first + i) % w.cfg.KeysPerWorker
		slots = append(slots, slot)
		begin.Keys = append(begin.Keys, fmt.Sprintf("%s%d/%d/%d", w.cfg.Prefix, w.id, slot, w.left[slot]))
	}
	return slots, begin
}

// write carries a planned write out and returns the journal's line of its end. It
// is not broken off when ctx ends: its outcome would be unknown without need.
func (w *worker) write(ctx context.Context, begin line) (line, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.WriteTimeout)
	defer cancel()
	started := time.Now()
	index, err := w.send(ctx, begin)
	end := line{Worker: w.id, Seq: begin.Seq, End: endAcknowledged, Index: index}
	if err != nil {
		end.End, end.Error = endRefused, err.Error()
	}
	if errors.Is(err, core.ErrOutcomeUnknown) {
		end.End = endUnknown
	}
	w.meter.ended(end.End, started)
	return end, err
}

func (w *worker) send(ctx context.Context, begin line) (uint64, error) {
	value := func(key string) []byte { return encodeValue(key, begin.Seq, w.cfg.Seed, w.cfg.ValueBytes) }
	switch {
	case begin.Op == opDelete:
		return w.cfg.Client.Delete(ctx, begin.Keys[0])
	case len(begin.Keys) == 1:
		return w.cfg.Client.Set(ctx, begin.Keys[0], value(begin.Keys[0]))
	}
	pairs := make(map[string][]byte, len(begin.Keys))
	for _, key := range begin.Keys {
		pairs[key] = value(key)
	}
	return w.cfg.Client.SetAll(ctx, pairs)
}
