package calibrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

const (
	entryBytes = 512      // a small log entry with its frame: several lie on one page
	fileBytes  = 16 << 20 // room that each file has from the beginning, as a log's segment
	chunkBytes = 4 << 20  // of the bandwidth

	flushTurns = 4                     // for each number of writers, one after the other
	flushTurn  = 10 * time.Millisecond // the length of a half turn
	writeLimit = 200 * time.Millisecond
)

// Writers are the numbers of writers that tell a machine: the members of the usual
// groups, and the followers of the smallest.
func Writers() []int { return []int{1, 2, 3, 5, 7, 9} }

// Flushes measures what log stores on one disk cost each other: so many writers, each
// with a file of its own in dir that has its room from the beginning, append so many bytes
// and make them durable by fdatasync. Small ones, as of a log, mostly stay on a page that
// was written before; with a page, as of a B+tree, the file system notes each time that
// the page is in use. A turn has two halves. In the first, all begin at the
// same moment, as the followers of a group do that are sent one entry; that is EachUS.
// In the second, each goes on as soon as it can, as under load; that is PerSecond. The
// numbers of writers take turns, so that a drift of the disk falls on all alike. It takes
// 80 ms for each number, or, of a disk whose flush takes longer than a half turn, two flushes a turn.
//
// The files are removed in the end, also after an error. A flush cannot be interrupted: a
// cancelled ctx is seen after the ones under way.
func Flushes(ctx context.Context, dir string, bytes int, writers ...int) (out []record.Flushes, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("calibrate flushes: %w", err)
		}
	}()
	logs, remove, err := logsIn(dir, bytes, slices.Max(writers))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	samples := make([][]time.Duration, len(writers))
	flushes, took := make([]int, len(writers)), make([]time.Duration, len(writers))
	for range flushTurns {
		for i, n := range writers {
			if samples[i], err = together(ctx, logs[:n], samples[i]); err != nil {
				return nil, err
			}
			begin := time.Now()
			done, err := apart(ctx, logs[:n])
			if err != nil {
				return nil, err
			}
			flushes[i] += done
			took[i] += time.Since(begin)
		}
	}
	for i, n := range writers {
		f, err := flushesOf(bytes, n, samples[i])
		if err != nil {
			return nil, err
		}
		f.PerSecond = float64(flushes[i]) / took[i].Seconds()
		out = append(out, f)
	}
	return out, nil
}

// probeFlushes measures, of what Flushes does, how long those take that begin together, in
// one half turn each; and commits of a group of the most writers: what a trial that
// follows finds.
func probeFlushes(ctx context.Context, dir string, p *record.Probe, writers ...int) error {
	for _, bytes := range []int{entryBytes, appendBytes} {
		logs, remove, err := logsIn(dir, bytes, slices.Max(writers))
		if err != nil {
			return err
		}
		if err := errors.Join(probeLogs(ctx, logs, bytes, p, writers...), remove()); err != nil {
			return err
		}
	}
	return nil
}

func probeLogs(ctx context.Context, logs []*preallocated, bytes int, p *record.Probe, writers ...int) error {
	for _, n := range writers {
		samples, err := together(ctx, logs[:n], nil)
		if err != nil {
			return err
		}
		f, err := flushesOf(bytes, n, samples)
		if err != nil {
			return err
		}
		p.Flushes = append(p.Flushes, f)
	}
	if len(logs) < 2 { // nobody to agree with
		return nil
	}
	for _, overlapped := range []bool{false, true} {
		c, err := commits(ctx, logs, overlapped)
		if err != nil {
			return fmt.Errorf("commits of %d: %w", len(logs), err)
		}
		c.Bytes = bytes
		p.Commits = append(p.Commits, c)
	}
	return nil
}

// logsIn makes so many files, each with its room.
func logsIn(dir string, bytes, n int) (logs []*preallocated, remove func() error, err error) {
	remove = func() (err error) {
		for _, l := range logs {
			err = errors.Join(err, l.remove())
		}
		return err
	}
	for range n {
		l, err := preallocate(dir, bytes)
		if err != nil {
			return nil, nil, errors.Join(err, remove())
		}
		logs = append(logs, l)
	}
	return logs, remove, nil
}

func flushesOf(bytes, writers int, samples []time.Duration) (f record.Flushes, err error) {
	f = record.Flushes{Bytes: bytes, Writers: writers, EachUS: quantiles(samples)}
	f.EachHist, err = histogram(samples)
	return f, err
}

func histogram(samples []time.Duration) (string, error) {
	h := record.NewHistogram()
	for _, s := range samples {
		if err := h.RecordValue(int64(s)); err != nil {
			return "", err
		}
	}
	return record.EncodeHistogram(h)
}

// together lets all append at the same moment, again and again, and adds how long each took.
func together(ctx context.Context, logs []*preallocated, samples []time.Duration) ([]time.Duration, error) {
	for begin := time.Now(); time.Since(begin) < flushTurn; {
		took, errs := make([]time.Duration, len(logs)), make([]error, len(logs))
		start := make(chan struct{})
		var all sync.WaitGroup
		for i, l := range logs {
			all.Go(func() {
				<-start
				at := time.Now()
				errs[i] = l.append()
				took[i] = time.Since(at)
			})
		}
		close(start)
		all.Wait()
		if err := errors.Join(append(errs, ctx.Err())...); err != nil {
			return nil, err
		}
		samples = append(samples, took...)
	}
	return samples, nil
}

// apart lets each append as often as it can, and counts.
func apart(ctx context.Context, logs []*preallocated) (flushes int, err error) {
	done, errs := make([]int, len(logs)), make([]error, len(logs))
	begin := time.Now()
	var all sync.WaitGroup
	for i, l := range logs {
		all.Go(func() {
			for errs[i] == nil && ctx.Err() == nil && time.Since(begin) < flushTurn {
				errs[i] = l.append()
				done[i]++
			}
		})
	}
	all.Wait()
	for _, n := range done {
		flushes += n
	}
	return flushes, errors.Join(append(errs, ctx.Err())...)
}

// preallocated is a file that does not grow.
type preallocated struct {
	*os.File
	at      int64
	content []byte
}

func preallocate(dir string, bytes int) (l *preallocated, err error) {
	f, err := os.CreateTemp(dir, "calibrate-*.tmp")
	if err != nil {
		return nil, err
	}
	l = &preallocated{File: f, content: make([]byte, bytes)}
	for i := range l.content {
		l.content[i] = byte(i) // not zeros: a file system may leave those out
	}
	if err := errors.Join(reserve(f, fileBytes), f.Sync()); err != nil {
		return nil, errors.Join(err, l.remove())
	}
	return l, nil
}

func (l *preallocated) append() error {
	if _, err := l.WriteAt(l.content, l.at); err != nil {
		return err
	}
	if l.at += int64(len(l.content)); l.at+int64(len(l.content)) > fileBytes {
		l.at = 0
	}
	if err := datasync(l.File); err != nil {
		return fmt.Errorf("flush %s: %w", l.Name(), err)
	}
	return nil
}

func (l *preallocated) remove() error { return errors.Join(l.Close(), os.Remove(l.Name())) }

// Bandwidth measures how fast a file in dir takes pieces of 4 MiB that are made durable by
// fdatasync one by one, in bytes per second: for 200 ms, or one piece where that takes
// longer.
func Bandwidth(ctx context.Context, dir string) (result record.Quantiles, err error) {
	f, err := os.CreateTemp(dir, "calibrate-*.tmp")
	if err != nil {
		return record.Quantiles{}, fmt.Errorf("calibrate bandwidth: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	chunk := make([]byte, chunkBytes)
	for i := range chunk {
		chunk[i] = byte(i * 31 >> 3)
	}
	var samples []time.Duration
	for begin := time.Now(); len(samples) == 0 || time.Since(begin) < writeLimit; {
		start := time.Now()
		_, err := f.Write(chunk)
		if err := errors.Join(err, datasync(f), ctx.Err()); err != nil {
			return record.Quantiles{}, fmt.Errorf("calibrate bandwidth: %w", err)
		}
		samples = append(samples, time.Since(start))
	}
	return rates(quantiles(samples), chunkBytes), nil
}

// rates turns the microseconds that so many bytes took into bytes per second: the slowest
// is the lowest.
func rates(q record.Quantiles, bytes float64) record.Quantiles {
	perSecond := func(us float64) float64 { return bytes / (us * 1e-6) }
	return record.Quantiles{
		N: q.N, Min: perSecond(q.Max), P50: perSecond(q.P50),
		P90: perSecond(q.Min), P99: perSecond(q.Min), Max: perSecond(q.Min),
	}
}
