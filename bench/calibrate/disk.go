package calibrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// The limits that DiskOptions and Probe keep to by default.
const (
	diskRounds = 200
	diskLimit  = time.Second

	probeRounds = 30
	probeLimit  = 100 * time.Millisecond
)

// appendBytes is one page of a file system: about what a log store writes for a
// small entry.
const appendBytes = 4096

// blockRounds is how many samples of one kind are taken before the other has
// its turn.
const blockRounds = 10

// DiskOptions bound the time that Disk takes. A zero field means the default.
type DiskOptions struct {
	Rounds int           // samples of each kind at most; default 200
	Limit  time.Duration // time in all, once there is one sample of each kind; default 1 s
}

// Disk measures how long it takes to append 4 KiB to a file in dir and make it
// durable: with fsync, and with fdatasync (which may leave out the times of the
// file, but not its new size). A sample is the write and the flush together, as
// a log store pays for both. The file is new and grows; the kinds take turns in
// blocks of ten, so that a drift of the disk shows in both. The first flush,
// which also makes the file itself durable, does not count.
//
// Where fdatasync does not exist (see [HasFdatasync]) fsync stands in for it.
// The file is removed in the end, also after an error. A flush cannot be
// interrupted: a cancelled ctx is seen after the one under way.
func Disk(ctx context.Context, dir string, opts DiskOptions) (fsync, fdatasync record.Quantiles, err error) {
	opts.Rounds = cmp.Or(opts.Rounds, diskRounds)
	opts.Limit = cmp.Or(opts.Limit, diskLimit)
	samples, err := timeAppends(ctx, dir, opts, (*os.File).Sync, datasync)
	if err != nil {
		return record.Quantiles{}, record.Quantiles{}, fmt.Errorf("calibrate disk: %w", err)
	}
	return quantiles(samples[0]), quantiles(samples[1]), nil
}

// Probe measures fdatasync as [Disk] does, but 30 times and in 100 ms at most
// (or one flush, if that takes longer), and the processors as [Work] does; and of so many
// writers at a time, what flushes take that begin together, as [Flushes] does, 20 ms for
// each number, and the rounds of a group of the most of them, 80 ms (record.Commits). It is
// meant for the moment before each trial, to see whether the machine is still what it was.
func Probe(ctx context.Context, dir string, writers ...int) (p record.Probe, err error) {
	opts := DiskOptions{Rounds: probeRounds, Limit: probeLimit}
	samples, err := timeAppends(ctx, dir, opts, datasync)
	if err != nil {
		return p, fmt.Errorf("probe disk: %w", err)
	}
	p = record.Probe{FdatasyncUS: quantiles(samples[0]), WorkUS: Work(ctx)}
	if len(writers) > 0 {
		if err := probeFlushes(ctx, dir, &p, writers...); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return p, fmt.Errorf("probe flushes: %w", err)
		}
	}
	return p, nil
}

// timeAppends takes samples for each kind of flush, in turns.
func timeAppends(ctx context.Context, dir string, opts DiskOptions, kinds ...func(*os.File) error) (samples [][]time.Duration, err error) {
	file, err := os.CreateTemp(dir, "calibrate-*.tmp")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()

	page := make([]byte, appendBytes)
	for i := range page {
		page[i] = byte(i) // not zeros: a file system may leave those out
	}
	appendPage := func(flush func(*os.File) error) (time.Duration, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		start := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := flush(file); err != nil {
			return 0, fmt.Errorf("flush %s: %w", file.Name(), err)
		}
		return time.Since(start), nil
	}
	if _, err := appendPage((*os.File).Sync); err != nil {
		return nil, err
	}

	samples = make([][]time.Duration, len(kinds))
	start := time.Now()
	for done := 0; done < opts.Rounds; done += blockRounds {
		for kind, flush := range kinds {
			for range min(blockRounds, opts.Rounds-done) {
				if len(samples[kind]) > 0 && time.Since(start) > opts.Limit {
					break
				}
				took, err := appendPage(flush)
				if err != nil {
					return nil, err
				}
				samples[kind] = append(samples[kind], took)
			}
		}
	}
	return samples, nil
}
