package process

import (
	"errors"
	"fmt"
	"testing"
)

// TestStat: a process has ended once its last thread has.
func TestStat(t *testing.T) {
	for name, c := range map[string]struct {
		state   string
		threads int
		gone    bool
	}{
		"sleeps":                         {"S", 9, false},
		"paused":                         {"T", 9, false},
		"not reaped":                     {"Z", 1, true},
		"killed, and two wait for disks": {"Z", 3, false},
		"being taken away":               {"X", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			line := fmt.Sprintf("4711 (a) Z (b) %s 1 4711 4711 0 -1 4 0 0 0 0 0 0 0 0 20 0 %d 0 815 0 0", c.state, c.threads)
			state, start, err := parseStat([]byte(line))
			if errors.Is(err, errGone) != c.gone || !c.gone && (err != nil || state != c.state || start != "815") {
				t.Error(state, start, err)
			}
		})
	}
	if _, _, err := parseStat([]byte("4711 (a) S 1 2")); err == nil || errors.Is(err, errGone) {
		t.Error(err)
	}
}
