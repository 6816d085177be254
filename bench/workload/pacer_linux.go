package workload

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/themilchenko/raftlab/internal/poll"
)

// pacer sleeps until a point in time, never less. Neither kind of timer is good
// enough alone, so both are set and the first to fire wakes it:
//
//   - while the process is idle its poller waits in whole milliseconds, and the
//     runtime's timers with it; a timer of the kernel that the poller watches like
//     a socket wakes it within tens of microseconds;
//   - while all processors are busy the poller is asked every 10 ms only (by
//     sysmon), but the runtime's timers are looked at with every switch of
//     goroutines.
//
// A pacer is used by one goroutine. It ends with the context that made it.
type pacer struct {
	ctx       context.Context
	timer     *os.File // nil where there is none to be had: the runtime's timer then
	fd        int      // of timer; asking it each time would make it block
	stopWatch func() bool
}

func newPacer(ctx context.Context) *pacer {
	p := &pacer{ctx: ctx}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return p
	}
	p.fd, p.timer = fd, os.NewFile(uintptr(fd), "timerfd")
	p.stopWatch = context.AfterFunc(ctx, func() { _ = p.timer.SetReadDeadline(time.Now()) })
	return p
}

func (p *pacer) close() {
	if p.timer != nil {
		p.stopWatch()
		_ = p.timer.Close()
	}
}

// sleepUntil returns at t, or at once if t is past, or when the context ends.
func (p *pacer) sleepUntil(t time.Time) error {
	for p.ctx.Err() == nil {
		wait := time.Until(t)
		if wait <= 0 {
			return nil
		}
		if err := p.sleep(t, wait); err != nil {
			return poll.Sleep(p.ctx, time.Until(t))
		}
	}
	return p.ctx.Err()
}

// sleep waits for either timer once. An error says that the kernel's timer
// cannot be used.
func (p *pacer) sleep(t time.Time, wait time.Duration) error {
	if p.timer == nil {
		return os.ErrInvalid
	}
	if err := p.timer.SetReadDeadline(t); err != nil {
		return err
	}
	if p.ctx.Err() != nil { // it ended before the deadline was set, and would not wake us again
		return nil
	}
	setting := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	if err := unix.TimerfdSettime(p.fd, 0, &setting, nil); err != nil {
		return err
	}
	var expirations [8]byte
	_, err := p.timer.Read(expirations[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
