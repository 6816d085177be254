package child

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/themilchenko/raftlab/internal/poll"
)

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStopped waits for what the kernel tells a parent once the last thread has stopped,
// and leaves it there.
func (p *Process) awaitStopped(ctx context.Context) error {
	return poll.Until(ctx, time.Millisecond, func() (bool, error) {
		if p.Ended() {
			return false, os.ErrProcessDone
		}
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.PID(), &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECHILD) { // reaped just now: Ended comes
			return false, nil
		}
		return info.Signo == int32(syscall.SIGCHLD), err
	})
}
