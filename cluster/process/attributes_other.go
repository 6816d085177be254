//go:build unix && !linux

package process

import "syscall"

func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
