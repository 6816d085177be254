package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// errGone says that there is no such process, or only its remains: a zombie.
var errGone = errors.New("no such process")

// glance is what the system tells of a process.
type glance struct {
	start  string // see identity
	paused bool
}

// pollInterval is how often a process is looked at while something is awaited.
const pollInterval = 10 * time.Millisecond

// handle holds on to one process: after its end it reaches no other.
type handle struct {
	id identity
	fd int // of the process; -1 where the system has no such thing
}

// open returns a handle of the process that id names, nil if it is gone.
func open(id identity) (*handle, error) {
	h := &handle{id: id, fd: -1}
	fd, err := openFD(id.pid)
	switch {
	case errors.Is(err, errGone):
		return nil, nil
	case err == nil:
		h.fd = fd
	case !errors.Is(err, errors.ErrUnsupported):
		return nil, fmt.Errorf("process %d: %w", id.pid, err)
	}
	// The descriptor is of whoever has the id now. If the start is right too, it
	// is the one that is meant.
	here, err := h.here()
	if err != nil || !here {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *handle) close() {
	if h.fd >= 0 {
		_ = syscall.Close(h.fd)
		h.fd = -1
	}
}

// here reports whether the process has not ended.
func (h *handle) here() (bool, error) {
	now, err := look(h.id.pid)
	if errors.Is(err, errGone) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("process %d: %w", h.id.pid, err)
	}
	return now.start == h.id.start, nil
}

// signal sends a signal. One that comes after the end is lost without an error.
func (h *handle) signal(sig syscall.Signal) error {
	err := errors.ErrUnsupported
	if h.fd >= 0 {
		err = signalFD(h.fd, sig)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		here, lookErr := h.here()
		if lookErr != nil || !here {
			return lookErr
		}
		err = syscall.Kill(h.id.pid, sig)
	}
	if err == nil || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("process %d: %w", h.id.pid, os.NewSyscallError("signal", err))
}

// ended reports whether the process has ended, and waits for that up to d. Who
// is its parent still has to reap it.
func (h *handle) ended(d time.Duration) (bool, error) {
	if h.fd >= 0 {
		return endedFD(h.fd, d)
	}
	here, err := h.here()
	if here && d > 0 {
		time.Sleep(d)
		here, err = h.here()
	}
	return !here && err == nil, err
}

// awaitEnd returns once the process has ended or ctx has.
func (h *handle) awaitEnd(ctx context.Context) error {
	return await(ctx, func() (bool, error) { return h.ended(pollInterval) })
}

// awaitPaused returns once the process stands still, or runs again.
func (h *handle) awaitPaused(ctx context.Context, paused bool) error {
	return await(ctx, func() (bool, error) {
		now, err := look(h.id.pid)
		if err == nil && now.paused == paused {
			return true, nil
		}
		if errors.Is(err, errGone) {
			return false, ErrNotRunning
		}
		_, waitErr := h.ended(pollInterval)
		return false, errors.Join(err, waitErr)
	})
}

// await calls done, which itself waits for a moment, until it says yes.
func await(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
