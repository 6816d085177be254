package system

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// AddProcess adds to a usage what a process has used, told by its id: CPU, by the
// process's own clock, which is finer than the ticks of /proc/PID/stat, and bytes written.
func (u *Usage) AddProcess(pid int) error {
	const sched = 2                         // CPUCLOCK_SCHED, as in the kernel's posix-timers.h
	clock := int32(^uint32(pid)<<3) | sched // MAKE_PROCESS_CPUCLOCK there
	var spent unix.Timespec
	if err := unix.ClockGettime(clock, &spent); err != nil {
		return fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	u.CPU += time.Duration(spent.Nano())
	if u.Written == Uncounted {
		return nil
	}
	written, err := writtenBytes(pid)
	if err != nil { // the kernel was built without, or does not tell us
		u.Written = Uncounted
		return nil
	}
	u.Written += written
	return nil
}

// writtenBytes reads how many bytes a process has caused to be written to disks: of a
// file in memory there are none, and what is cut off again before it is written counts (man
// 5 proc_pid_io).
func writtenBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(text, []byte("\nwrite_bytes: "))
	number, _, found := bytes.Cut(after, []byte("\n"))
	if !found {
		return 0, fmt.Errorf("/proc/%d/io has no write_bytes", pid)
	}
	return strconv.ParseInt(string(number), 10, 64)
}
