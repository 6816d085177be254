package hashicorp

import (
	"errors"
	"fmt"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Done implements core.Replica.
func (r *replica) Done() <-chan struct{} { return r.done }

// Err implements core.Replica.
func (r *replica) Err() error {
	select {
	case <-r.done:
		return r.cause
	default:
		return nil
	}
}

// Close implements core.Replica.
func (r *replica) Close() error {
	r.stop(nil)
	<-r.done
	return r.closeErr
}

// storeFailed is called, once, on the goroutine whose call failed: it must not
// wait for the library, which waits for that goroutine.
func (r *replica) storeFailed(err error) {
	r.logger.Error("log store failed, stopping the replica", "error", err)
	if r.logs.phase.CompareAndSwap(starting, stillborn) {
		return // Start returns the error
	}
	go r.stop(err)
}

// stop lets the calls that are out finish, then shuts everything down and
// closes done. Its goroutine is waited for through done.
func (r *replica) stop(cause error) {
	r.stopOnce.Do(func() {
		r.closing.Store(true)
		go func() {
			r.drain()
			r.muted.Store(true)
			if err := r.shutDown(); err != nil {
				r.closeErr = fmt.Errorf("close replica %s: %w", r.self.id, err)
			}
			r.cause = cause
			close(r.done)
		}()
	})
}

// shutDown stops the library and closes the transport and the log store. It waits for
// them, and for those who wait for a write, unless one has taken longer than the
// limit: what hangs in the operating system cannot be ended, and is left behind, with
// who waits for it. They end when it returns; nothing is written any more then.
func (r *replica) shutDown() error {
	finished := make(chan error, 1)
	go func() { finished <- r.closeAll() }()
	var err error
	select {
	case err = <-finished:
	case <-r.logs.watch.given:
		patience := time.NewTimer(r.grace)
		defer patience.Stop()
		select {
		case err = <-finished:
		case <-patience.C:
			err = fmt.Errorf("%w: its files stay open until a write has returned, or the process has ended", core.ErrStalled)
		}
	}
	close(r.unwatch)
	r.watchdog.Wait()
	return err
}

func (r *replica) closeAll() error {
	shutdown := r.raft.Shutdown()
	// Before the library's goroutines are waited for: some wait for the answers
	// of peers, which may be slow to come. Closing ends these calls.
	errTransport := r.transport.Close()
	errShutdown := shutdown.Error()
	close(r.quit)
	<-r.watching
	r.pumping.Wait()
	return errors.Join(errShutdown, errTransport, r.logs.Close())
}

// drain waits until no call is out: a leader that still has its quorum answers
// them, one without gives them up when its lease runs out. A stalled disk can
// keep one longer than the grace; it is then told core.ErrOutcomeUnknown.
func (r *replica) drain() {
	deadline := time.NewTimer(r.grace)
	defer deadline.Stop()
	for r.calls.Load() > 0 {
		select {
		case <-r.idle:
		case <-deadline.C:
			return
		}
	}
}
