package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shirou/gopsutil/v4/process"
)

// TestStat: a process has ended once its last thread has.
func TestStat(t *testing.T) {
	for name, c := range map[string]struct {
		state        string
		threads      int
		gone, paused bool
	}{
		"sleeps":                         {"S (sleeping)", 9, false, false},
		"paused":                         {"T (stopped)", 9, false, true},
		"paused by a debugger":           {"t (tracing stop)", 9, false, true},
		"not reaped":                     {"Z (zombie)", 1, true, false},
		"killed, and two wait for disks": {"Z (zombie)", 3, false, false},
		"being taken away":               {"X (dead)", 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			t.Setenv("HOST_PROC", proc)
			write := func(file, text string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(filepath.Join(proc, file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(proc, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			pid := strconv.Itoa(os.Getpid())
			write("uptime", "100.00 50.00\n")
			write("stat", "btime 1000\n")
			write(pid+"/status", fmt.Sprintf("Name:\ta) Z (b\nState:\t%s\nThreads:\t%d\n", c.state, c.threads))
			write(pid+"/stat", pid+" (a) Z (b) S 1 4711 4711 0 -1 4 0 0 0 0 0 0 0 0 20 0 9 0 815 0 0")
			p, err := open(os.Getpid())
			if err != nil || (p == nil) != c.gone {
				t.Fatal(p, err)
			}
			if p == nil {
				return
			}
			defer p.close()
			if paused, err := p.paused(); paused != c.paused || err != nil || p.start.IsZero() {
				t.Error(p, paused, err)
			}
		})
	}
}

// turning is a process while a thread that is not its first makes it another program: the
// first has ended when its state is seen, and all are one when they are counted.
type turning struct{ looks int }

// Status implements visible.
func (e *turning) Status() ([]string, error) {
	e.looks++
	if e.looks == 1 {
		return []string{process.Zombie}, nil
	}
	return []string{process.Running}, nil
}

// NumThreads implements visible.
func (e *turning) NumThreads() (int32, error) { return 1, nil }

func TestAnotherProgram(t *testing.T) {
	if paused, err := pausedNow(&turning{}); paused || err != nil {
		t.Errorf("paused %t, %v", paused, err)
	}
}
