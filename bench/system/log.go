package system

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// LastWords adds to an error the last line that a dead member has written to its log. A disk
// that is full is known by what the log says: the error is an ENOSPC then.
func LastWords(err error, member, log string) error {
	text, readErr := os.ReadFile(log)
	if readErr != nil {
		return err
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) > 0 {
		err = fmt.Errorf("%w; last in the log of %s: %s", err, member, lines[len(lines)-1])
	}
	if bytes.Contains(bytes.ToLower(text), []byte(syscall.ENOSPC.Error())) {
		err = fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}
