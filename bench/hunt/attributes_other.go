//go:build !linux

package hunt

import "syscall"

// dyingWithParent makes a process of a group of its own. It outlives this one here.
func dyingWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
