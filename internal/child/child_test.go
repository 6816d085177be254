package child_test

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/internal/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, script string) *child.Process {
	t.Helper()
	p, err := child.Start(exec.Command("/bin/sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func TestEnd(t *testing.T) {
	p := start(t, "exit 3")
	<-p.Done()
	if !p.Ended() || p.Err() == nil || p.State().ExitCode() != 3 {
		t.Errorf("%v, %v", p.Err(), p.State())
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal after the end: %v", err)
	}
	if err := p.Pause(t.Context()); err == nil {
		t.Error("what has ended was paused")
	}
	if _, err := child.Start(exec.Command("/nowhere/none")); err == nil {
		t.Error("nothing was started")
	}
}

// TestWithChildren: a signal reaches what the process has started, too, and nothing of that
// outlives it.
func TestWithChildren(t *testing.T) {
	out := new(strings.Builder)
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; exit 0")
	cmd.Stdout = out
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	left, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); syscall.Kill(left, 0) == nil; time.Sleep(time.Millisecond) {
		if state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(left)).Output(); err != nil || strings.HasPrefix(string(state), "Z") {
			return // nobody has reaped it yet
		}
		if time.Now().After(end) {
			t.Fatalf("process %d has outlived what started it", left)
		}
	}
}

func TestPause(t *testing.T) {
	p := start(t, "while :; do :; done")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 { // also again, and twice in a row
		for range 2 {
			if err := p.Pause(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(p.PID())).Output(); err != nil || !strings.HasPrefix(string(state), "T") {
			t.Errorf("paused, it is %s, %v", state, err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil || p.Err() == nil {
		t.Errorf("kill of one that stands still: %v, %v", err, p.Err())
	}
}
