package etcd

import "syscall"

// attributes are those of a member's process: a session of its own, so that what a terminal
// sends does not reach it, and an end with the process that started it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
