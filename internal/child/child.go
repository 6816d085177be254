// Package child starts processes that end with this one, each leading a process group of
// its own, and waits for them. It restarts nothing, and reads none of their output.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a process that was started here. All methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // what it ended with; once done is closed
}

// Start starts the command in a session of its own, so that what a terminal sends does not
// reach it. On Linux it is killed when this process ends, however that ends. Its standard
// streams should be files or nil: what else they are, its end waits for.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		// Linux has the child die with the thread that started it, so that one waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(p.done)
		p.err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended and its remains are taken in.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether Done is closed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Err returns what the process ended with: nil for exit code 0, or an *[exec.ExitError].
// Before its end it is nil.
func (p *Process) Err() error {
	if !p.Ended() {
		return nil
	}
	return p.err
}

// State says how the process ended, and what it used; nil while it runs.
func (p *Process) State() *os.ProcessState {
	if !p.Ended() {
		return nil
	}
	return p.cmd.ProcessState
}

// Signal sends a signal to the process and those that it has started. One that comes after
// its end has no effect, and no error.
func (p *Process) Signal(s syscall.Signal) error {
	if p.Ended() {
		return nil
	}
	if err := syscall.Kill(-p.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process %d: %w", s, p.PID(), err)
	}
	return nil
}

// Kill ends the process, also one that stands still, and waits for its end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Pause stops the process by SIGSTOP. On Linux it returns once all its threads stand
// still; a process that ends meanwhile is an error.
func (p *Process) Pause(ctx context.Context) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := p.awaitStopped(ctx); err != nil {
		return fmt.Errorf("pause process %d: %w", p.PID(), err)
	}
	return nil
}

// Resume has a process that was paused go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }
