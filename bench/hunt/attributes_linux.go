package hunt

import "syscall"

// dyingWithParent makes a process of a group of its own, which ends with this one.
func dyingWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
