package failstop

import (
	"fmt"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// Ending is how a replica ends, and the watch over its log store until then. The replica embeds
// it; the zero value is none.
type Ending struct {
	once     sync.Once
	begun    chan struct{}
	done     chan struct{}
	cause    error // set before begun is closed
	closeErr error // set before done is closed
	unwatch  chan struct{}
	watchdog sync.WaitGroup
}

// NewEnding returns that of a replica that runs.
func NewEnding() *Ending {
	return &Ending{begun: make(chan struct{}), done: make(chan struct{}), unwatch: make(chan struct{})}
}

// Begun is closed once the replica begins to end.
func (e *Ending) Begun() <-chan struct{} { return e.begun }

// Ends says whether it has begun to.
func (e *Ending) Ends() bool {
	select {
	case <-e.begun:
		return true
	default:
		return false
	}
}

// Done implements core.Replica.
func (e *Ending) Done() <-chan struct{} { return e.done }

// Err implements core.Replica.
func (e *Ending) Err() error {
	select {
	case <-e.done:
		return e.cause
	default:
		return nil
	}
}

// Cause is why the replica ends; nil: it does not, or was closed.
func (e *Ending) Cause() error {
	if !e.Ends() {
		return nil
	}
	return e.cause
}

// Stopped is the error of a call for which the end of the replica id has come too soon.
func (e *Ending) Stopped(op, id string) error {
	if cause := e.Cause(); cause != nil {
		return fmt.Errorf("%s: replica %s: %w: %w", op, id, core.ErrClosed, cause)
	}
	return fmt.Errorf("%s: replica %s: %w", op, id, core.ErrClosed)
}

// Ended waits for the end, and returns what closing came to.
func (e *Ending) Ended() error {
	<-e.done
	return e.closeErr
}

// End ends the replica, the first time it is called: begin is run at once, and then shut on a
// goroutine that is waited for through Done.
func (e *Ending) End(cause error, shut func() error) {
	e.once.Do(func() {
		e.cause = cause
		close(e.begun)
		go func() {
			e.closeErr = shut()
			close(e.done)
		}()
	})
}

// Guard watches the writes of s until Shut, or Unguard: see [Watch.Run].
func (e *Ending) Guard(s *Store, stalled func()) {
	e.watchdog.Go(func() { s.Watch.Run(e.unwatch, stalled, s.GiveUp) })
}

// Unguard ends the watch.
func (e *Ending) Unguard() {
	close(e.unwatch)
	e.watchdog.Wait()
}

// Shut waits for closeAll, unless a write to s has taken longer than the limit: what hangs in the
// operating system cannot be ended, and is left behind after patience, with what waits for it.
// They end when it returns; nothing is written any more then.
func (e *Ending) Shut(s *Store, patience time.Duration, closeAll func() error) error {
	defer e.Unguard()
	finished := make(chan error, 1)
	go func() { finished <- closeAll() }()
	select {
	case err := <-finished:
		return err
	case <-s.Watch.Given():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-finished:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: its files stay open until a write has returned, or the process has ended", core.ErrStalled)
	}
}
