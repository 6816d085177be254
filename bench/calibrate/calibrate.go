// Package calibrate measures what the machine itself costs (a flush to the
// disk, a round trip over the loopback, a timer) and describes where a run
// happened, so that a figure of a cluster can be read against the floor it
// stands on. It never starts a cluster, judges a figure or writes to a run
// folder.
//
// The measurements share the machine with nothing of ours: run them before the
// first trial and between trials, not during one. Each is one goroutine calling
// in a loop (two where something goes there and back), so they show latency, not
// throughput; only [Flushes] lets several write at a time.
package calibrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// All measures everything in [record.Calibration], one after the other, in at
// most about 5 s; dir is the data directory. Flushes are measured by so many writers at a
// time, in ascending order; without any, they are left out. A disk that needs longer than a
// second for one flush takes the time of some hundred flushes more. What a disk has no
// room for is left out, but for single flushes: they tell of a disk that is full.
func All(ctx context.Context, dir string, writers []int) (record.Calibration, error) {
	var c record.Calibration
	var err error
	if c.FsyncUS, c.FdatasyncUS, err = Disk(ctx, dir, DiskOptions{}); err != nil {
		return record.Calibration{}, err
	}
	for _, bytes := range []int{entryBytes, appendBytes} {
		if len(writers) == 0 {
			break
		}
		flushes, err := Flushes(ctx, dir, bytes, writers...)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return record.Calibration{}, err
		}
		c.Flushes = append(c.Flushes, flushes...)
	}
	if c.WriteBytesPerS, err = Bandwidth(ctx, dir); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return record.Calibration{}, err
	}
	if c.LoopbackUS, err = Loopback(ctx, smallMessage); err != nil {
		return record.Calibration{}, err
	}
	if c.Loopback64KUS, err = Loopback(ctx, largeMessage); err != nil {
		return record.Calibration{}, err
	}
	c.WakeUS = Wake(ctx)
	if len(writers) > 0 {
		c.WakeAfterUS, err = WakeAfterFlush(ctx, dir)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return record.Calibration{}, err
		}
	}
	c.TimerUS = Timer(ctx)
	c.ClockResolution = ClockResolution()
	if err := ctx.Err(); err != nil {
		return record.Calibration{}, err
	}
	return c, nil
}

// quantiles sums up samples in microseconds. A quantile is one of the samples,
// by the nearest-rank definition: P90 of n sorted samples is number ⌈0.9·n⌉,
// counted from 1. Nothing is interpolated or averaged. It sorts samples in
// place; without any, all is 0.
func quantiles(samples []time.Duration) record.Quantiles {
	n := len(samples)
	if n == 0 {
		return record.Quantiles{}
	}
	slices.Sort(samples)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	rank := func(percent int) float64 { return us(samples[(percent*n+99)/100-1]) }
	return record.Quantiles{
		N:   n,
		Min: us(samples[0]),
		P50: rank(50),
		P90: rank(90),
		P99: rank(99),
		Max: us(samples[n-1]),
	}
}

const (
	loopbackRounds = 2000
	loopbackWarmup = 100 // rounds before the first that counts
	loopbackLimit  = 500 * time.Millisecond

	smallMessage = 64
	largeMessage = 64 << 10
)

// Loopback measures the round trip of so many bytes over one TCP connection on the
// loopback interface, between two goroutines of this process, without Nagle's
// delay (as Go has it): 2000 times, or as often as half a second allows. It is the floor
// under every message between members on one machine. A cancelled ctx ends it at
// once.
func Loopback(ctx context.Context, bytes int) (result record.Quantiles, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("calibrate loopback: %w", errors.Join(ctx.Err(), err))
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return record.Quantiles{}, err
	}
	echoed := make(chan error, 1)
	go func() { echoed <- echo(listener, bytes) }()

	samples, err := roundTrips(ctx, listener.Addr().String(), bytes)
	// The connection is closed by now; closing the listener ends an echo that
	// never saw one.
	listener.Close()
	if echoErr := <-echoed; err == nil {
		err = echoErr
	}
	if err != nil {
		return record.Quantiles{}, err
	}
	return quantiles(samples), nil
}

// echo answers the first connection until its peer closes it.
func echo(listener net.Listener, bytes int) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	message := make([]byte, bytes)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := conn.Write(message); err != nil {
			return err
		}
	}
}

func roundTrips(ctx context.Context, address string, bytes int) ([]time.Duration, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	message := make([]byte, bytes)
	samples := make([]time.Duration, 0, loopbackRounds)
	begin := time.Now()
	for round := range loopbackWarmup + loopbackRounds {
		start := time.Now()
		if len(samples) > 0 && start.Sub(begin) > loopbackLimit {
			break
		}
		if _, err := conn.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, message); err != nil {
			return nil, err
		}
		if round >= loopbackWarmup {
			samples = append(samples, time.Since(start))
		}
	}
	return samples, ctx.Err()
}

const (
	wakeRounds = 2000
	wakeLimit  = 100 * time.Millisecond
)

// Wake measures how long a goroutine that waits on a channel takes to go on once another
// sends to it: half the time there and back, 2000 times or as often as 100 ms allow. A
// cancelled ctx ends it early; the result then has the samples taken until then.
func Wake(ctx context.Context) record.Quantiles {
	there, back := make(chan struct{}), make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for range there {
			back <- struct{}{}
		}
	})
	samples := make([]time.Duration, 0, wakeRounds)
	begin := time.Now()
	for range wakeRounds {
		if ctx.Err() != nil || time.Since(begin) > wakeLimit {
			break
		}
		start := time.Now()
		there <- struct{}{}
		<-back
		samples = append(samples, time.Since(start)/2)
	}
	close(there)
	other.Wait()
	return quantiles(samples)
}

const (
	timerRounds = 200
	timerSleep  = 100 * time.Microsecond
	timerLimit  = 500 * time.Millisecond

	clockSteps = 1000
	clockReads = 1_000_000 // at most, should the clock be coarse
)

// Timer measures by how much a sleep of 100 µs is too long, 200 times or as
// often as half a second allows. An open loop that paces itself with timers
// starts operations late by about this much. A cancelled ctx ends it early;
// the result then has the samples taken until then.
func Timer(ctx context.Context) record.Quantiles {
	samples := make([]time.Duration, 0, timerRounds)
	begin := time.Now()
	for range timerRounds {
		if ctx.Err() != nil || time.Since(begin) > timerLimit {
			break
		}
		start := time.Now()
		time.Sleep(timerSleep)
		samples = append(samples, time.Since(start)-timerSleep)
	}
	return quantiles(samples)
}

// ClockResolution returns the smallest step, in nanoseconds, that the monotonic
// clock was seen to make between two readings: what reading it costs, or how
// coarse it is, whichever is more. 0: it was not seen to move at all.
func ClockResolution() float64 {
	var smallest time.Duration
	steps := 0
	last := time.Now()
	for range clockReads {
		now := time.Now()
		step := now.Sub(last)
		last = now
		if step <= 0 {
			continue
		}
		if smallest == 0 || step < smallest {
			smallest = step
		}
		if steps++; steps == clockSteps {
			break
		}
	}
	return float64(smallest.Nanoseconds())
}

const (
	workRounds = 20
	workBytes  = 256 << 10 // hashed by each processor in a round: a fraction of a millisecond
)

// Work measures how long all processors take, at the same time, for a fixed
// piece of work each: a SHA-256 of 256 KiB. A round ends when the slowest is
// done, so a processor that somebody else keeps busy shows. It takes 20 rounds,
// fewer when ctx ends.
func Work(ctx context.Context) record.Quantiles {
	data := make([]byte, workBytes)
	var samples []time.Duration
	for range workRounds {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		var processors sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			processors.Go(func() { sha256.Sum256(data) })
		}
		processors.Wait()
		samples = append(samples, time.Since(start))
	}
	return quantiles(samples)
}
