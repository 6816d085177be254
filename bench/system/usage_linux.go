package system

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// AddProcess adds to a usage the CPU time that a process has used, told by its id, by the
// process's own clock, which is finer than the ticks of /proc/PID/stat.
func (u *Usage) AddProcess(pid int) error {
	spent, err := processCPU(pid)
	u.CPU += spent
	return err
}

func processCPU(pid int) (time.Duration, error) {
	const sched = 2                         // CPUCLOCK_SCHED, as in the kernel's posix-timers.h
	clock := int32(^uint32(pid)<<3) | sched // MAKE_PROCESS_CPUCLOCK there
	var spent unix.Timespec
	if err := unix.ClockGettime(clock, &spent); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// UsedBy tells what a process has used, by its id.
func UsedBy(pid int) (used Used, err error) {
	if used.CPU, err = processCPU(pid); err != nil {
		return used, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return used, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	field := func(name string) (n int64) { // proc_pid_status(5): "VmHWM:	  123456 kB", "Threads:	7"
		_, rest, _ := strings.Cut(string(text), "\n"+name+":")
		line, _, _ := strings.Cut(rest, "\n")
		if words := strings.Fields(line); len(words) > 0 {
			n, err = strconv.ParseInt(words[0], 10, 64)
		} else {
			err = fmt.Errorf("process %d has ended", pid) // of a zombie there is no memory
		}
		return n
	}
	used.Threads = int(field("Threads"))
	used.PeakBytes = field("VmHWM") * 1024
	return used, err
}

// diskWritten tells how many bytes the disk of a folder has taken, from whoever; [Uncounted]
// where no disk is behind it. What /proc/PID/io says of each process is no measure of that:
// it counts whole folios of the page cache, which may be many times what was written.
func diskWritten(dir string) int64 {
	var at unix.Stat_t
	if err := unix.Stat(dir, &at); err != nil {
		return Uncounted
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(at.Dev), unix.Minor(at.Dev)))
	if err != nil {
		return Uncounted
	}
	const written, sector = 6, 512 // Documentation/block/stat.rst: sectors, of 512 B on any disk
	fields := strings.Fields(string(text))
	if len(fields) <= written {
		return Uncounted
	}
	sectors, err := strconv.ParseInt(fields[written], 10, 64)
	if err != nil {
		return Uncounted
	}
	return sectors * sector
}
