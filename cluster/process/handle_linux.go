package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openFD returns a descriptor of the process, which stays its own when the id
// has gone to another.
func openFD(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ESRCH):
		return -1, errGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		return -1, errors.ErrUnsupported // an old kernel, or a sandbox that forbids the call
	}
	return -1, os.NewSyscallError("pidfd_open", err)
}

func signalFD(fd int, sig syscall.Signal) error {
	err := unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}

// endedFD waits up to d: the descriptor becomes readable with the end.
func endedFD(fd int, d time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, os.NewSyscallError("poll", err)
	}
	return n > 0, nil
}

// look reads /proc/PID/stat. The start is counted from boot, so the boot is part
// of it.
func look(pid int) (glance, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return glance{}, errGone
	}
	if err != nil {
		return glance{}, err
	}
	state, start, err := parseStat(text)
	if err != nil {
		return glance{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return glance{}, err
	}
	return glance{
		start:  strings.TrimSpace(string(boot)) + " " + start,
		paused: state == "T" || state == "t",
	}, nil
}

// parseStat returns the state and the start of a process from its line in /proc, or
// errGone if what is there are its remains.
func parseStat(text []byte) (state, start string, err error) {
	// The second field is the program's name, in parentheses, with anything in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const stateAt, threadsAt, startAt = 0, 20 - 3, 22 - 3 // as proc(5) counts, state is field 3
	if len(fields) <= startAt {
		return "", "", fmt.Errorf("%d fields", len(fields)+2)
	}
	state, start = fields[stateAt], fields[startAt]
	threads, err := strconv.Atoi(fields[threadsAt])
	if err != nil {
		return "", "", err
	}
	// A process that was killed while a thread waits for a disk that hangs is there until
	// the disk answers, ports and all, though its first thread has ended.
	if state == "X" || state == "Z" && threads < 2 {
		return "", "", errGone
	}
	return state, start, nil
}

// locks reports whether a process holds the file at path locked, as /proc tells
// without trying: who tries, and be it for a moment, could be in the way of a node
// that starts.
func locks(pid int, path string) bool {
	file, err := os.Stat(path)
	if err != nil {
		return false
	}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(fds)
	if err != nil {
		return false // gone, or another user's, whom we could not signal either
	}
	for _, fd := range list {
		target, err := os.Stat(filepath.Join(fds, fd.Name()))
		if err != nil || !os.SameFile(file, target) {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd.Name()))
		if err == nil && bytes.Contains(info, []byte("\nlock:")) {
			return true
		}
	}
	return false
}

// attributes are those of a new node process: a session of its own, so that
// what a terminal sends does not reach it.
func attributes(foreground bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if foreground {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}
