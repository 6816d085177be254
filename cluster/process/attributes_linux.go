package process

import "syscall"

// attributes are those of a new node process: a session of its own, so that
// what a terminal sends does not reach it.
func attributes(foreground bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if foreground {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}
