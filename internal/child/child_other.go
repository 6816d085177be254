//go:build unix && !linux

package child

import (
	"context"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func (p *Process) awaitStopped(context.Context) error { return nil }
