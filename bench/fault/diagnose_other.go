//go:build !linux

package fault

import (
	"errors"
	"net/netip"
)

// diagnose is a question to Linux.
func diagnose(from, to netip.AddrPort) (string, error) { return "", errors.ErrUnsupported }
