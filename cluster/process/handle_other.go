//go:build unix && !linux

package process

import (
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/internal/lockfile"
)

func openFD(int) (int, error) { return -1, errors.ErrUnsupported }

func signalFD(int, syscall.Signal) error { return errors.ErrUnsupported }

func endedFD(int, time.Duration) (bool, error) { return false, errors.ErrUnsupported }

// look asks the system. The start is a time of the clock, in milliseconds.
func look(pid int) (glance, error) {
	p, err := process.NewProcess(int32(pid))
	if errors.Is(err, process.ErrorProcessNotRunning) {
		return glance{}, errGone
	}
	if err != nil {
		return glance{}, err
	}
	created, err := p.CreateTime()
	if err != nil {
		return glance{}, err
	}
	states, err := p.Status()
	if err != nil {
		return glance{}, err
	}
	g := glance{start: strconv.FormatInt(created, 10)}
	for _, state := range states {
		switch state {
		case process.Zombie:
			return glance{}, errGone
		case process.Stop:
			g.paused = true
		}
	}
	return g, nil
}

// locks reports whether somebody holds the file at path locked. Which process it
// is, these systems do not tell: the caller checks what it was started with.
func locks(_ int, path string) bool { return lockfile.Held(path) }

func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
