package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReusedID: the process that has a dead node's id now is none of our business.
func TestReusedID(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	text, err := os.ReadFile(w.PIDPath("node1"))
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.take()
	pid := sleeper(t).Process.Pid
	_, rest, _ := strings.Cut(string(text), "\n")
	now, err := look(pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another start": fmt.Sprintf("%d\n%s", pid, rest),
		"another boot":  fmt.Sprintf("%d\nx%s\nkvnode\n", pid, now.start),
		"no start":      strconv.Itoa(pid),
	} {
		if err := os.WriteFile(w.PIDPath("node1"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if s := w.inspect("node1"); s.Running {
			t.Errorf("%s: %+v", name, s)
		}
		if err := w.Pause(context.Background(), "node1"); !errorsIsNotRunning(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Kill(context.Background(), "node1"); !errorsIsNotRunning(err) {
			t.Errorf("%s: %v", name, err)
		}
		w.stop()
		expect(t, w.take(), "already stopped node1*")
		if !alive(pid) {
			t.Fatalf("%s: an unrelated process was ended", name)
		}
		if _, err := os.Stat(w.PIDPath("node1")); err == nil {
			t.Errorf("%s: the stale file is left", name)
		}
	}
}

// TestBareIDOfAnother: neither the program nor the path alone makes it the node.
func TestBareIDOfAnother(t *testing.T) {
	w := standIns(t, 2, Options{}, nil)
	w.start()
	notKvnode := exec.Command("sh", "-c", "read line", w.Dir("node1"))
	stdin, err := notKvnode.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := notKvnode.Start(); err != nil {
		t.Fatal(err)
	}
	pid := w.inspect("node1").PID
	own, err := os.ReadFile(w.PIDPath("node1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]int{"a shell": notKvnode.Process.Pid, "node2": w.inspect("node2").PID} {
		if err := os.WriteFile(w.PIDPath("node1"), []byte(strconv.Itoa(other)), 0o644); err != nil {
			t.Fatal(err)
		}
		if s := w.inspect("node1"); s.Running {
			t.Errorf("%s is taken for node1: %+v", name, s)
		}
	}
	if err := os.WriteFile(w.PIDPath("node1"), own, 0o644); err != nil {
		t.Fatal(err)
	}
	if w.inspect("node1").PID != pid {
		t.Error("node1 is not found again")
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	_ = notKvnode.Wait() // read fails at the end of its input
}

// TestBareID: somebody wrote down the id only, of a node that does run.
func TestBareID(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	pid := w.inspect("node1").PID
	if err := os.WriteFile(w.PIDPath("node1"), []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := w.inspect("node1"); s.PID != pid {
		t.Errorf("%+v", s)
	}
	w.stop()
	if alive(pid) {
		t.Error("it still runs")
	}
}

func TestBadPIDFile(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	if err := os.MkdirAll(w.Dir("node1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", "-1", "0", "99999999999", "1\n2\n3\n4"} {
		if err := os.WriteFile(w.PIDPath("node1"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"start": w.Start(context.Background()), "stop": w.Stop(context.Background()), "status": w.Status(context.Background())[0].Err,
		} {
			if err == nil || !strings.Contains(err.Error(), w.PIDPath("node1")) || !strings.Contains(err.Error(), "remove it") {
				t.Errorf("%s with %q: %v", name, text, err)
			}
		}
	}
	if err := os.Remove(w.PIDPath("node1")); err != nil {
		t.Fatal(err)
	}
}

// TestZombie: a process that ended and was not reaped yet is gone.
func TestZombie(t *testing.T) {
	cmd := exec.Command("sleep", "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "gone though not reaped", func() bool { return !alive(cmd.Process.Pid) })
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestHandleWithoutDescriptor is for systems that have none.
func TestHandleWithoutDescriptor(t *testing.T) {
	cmd := sleeper(t)
	now, err := look(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := &handle{id: identity{pid: cmd.Process.Pid, start: "another"}, fd: -1}
	if err := other.signal(9); err != nil {
		t.Error(err)
	}
	if ended, err := other.ended(0); !ended || err != nil {
		t.Error(ended, err)
	}
	h := &handle{id: identity{pid: cmd.Process.Pid, start: now.start}, fd: -1}
	if ended, err := h.ended(pollInterval); ended || err != nil {
		t.Fatal("ended by the signal to another process", err)
	}
	if err := h.signal(9); err != nil {
		t.Error(err)
	}
	if err := h.awaitEnd(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestLifetimes: nodes end with the process that started them in the foreground,
// and only then.
func TestLifetimes(t *testing.T) {
	for _, mode := range []string{"foreground", "background"} {
		t.Run(mode, func(t *testing.T) {
			w := standIns(t, 2, Options{}, nil)
			path := w.file.DataDir + ".yaml"
			if err := w.file.Save(path); err != nil {
				t.Fatal(err)
			}
			starter := exec.Command(testBinary(t), "start-and-end", path, mode)
			starter.Stderr = os.Stderr
			stdin, err := starter.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			stdout, err := starter.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := starter.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fscanln(stdout, new(string)); err != nil {
				t.Error(err)
			}
			var pids []int
			for _, n := range w.file.Nodes {
				pid := w.inspect(n.Alias).PID
				pids = append(pids, pid)
				if session, err := unix.Getsid(pid); err != nil || session != pid {
					t.Errorf("process %d is in session %d of its starter, %v", pid, session, err)
				}
			}
			if mode == "background" {
				if err := starter.Wait(); err != nil {
					t.Error(err)
				}
				for _, pid := range pids {
					if pid == 0 || !alive(pid) {
						t.Errorf("process %d ended with its starter", pid)
					}
				}
				w.stop()
			} else {
				if err := starter.Process.Kill(); err != nil {
					t.Error(err)
				}
				_ = starter.Wait()
			}
			for _, pid := range pids {
				eventually(t, "process gone", func() bool { return !alive(pid) })
			}
		})
	}
}
