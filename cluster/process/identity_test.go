package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPIDFile: what is in it is an id and nothing that kill would take for one.
func TestPIDFile(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	pid := w.inspect("node1").PID
	text, err := os.ReadFile(w.PIDPath("node1"))
	if want := fmt.Sprintln(pid); err != nil || string(text) != want {
		t.Fatalf("%q, %v, want %q", text, err, want)
	}
	w.stop()
	left, err := filepath.Glob(filepath.Join(w.Dir("node1"), "node.p*"))
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// lose takes away all that is written down of a node's process, and puts something
// else there.
func (w *world) lose(alias, pidFile, processFile string) {
	w.t.Helper()
	for name, text := range map[string]string{pidName: pidFile, processName: processFile} {
		path := filepath.Join(w.Dir(alias), name)
		err := removeFile(path)
		if text != "-" {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestReusedID: the process that has a dead node's id now is none of our business.
func TestReusedID(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	text, err := os.ReadFile(filepath.Join(w.Dir("node1"), processName))
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.take()
	pid := sleeper(t).Process.Pid
	_, rest, _ := strings.Cut(string(text), "\n")
	now, err := open(pid)
	if err != nil {
		t.Fatal(err)
	}
	now.close()
	lock := filepath.Join(w.Dir("node1"), lockName)
	bare, born := strconv.Itoa(pid), fmt.Sprintf("%d\n%s", pid, rest)
	for name, files := range map[string]struct{ pid, process string }{
		"another start":               {bare, born},
		"another boot":                {bare, fmt.Sprintf("%d\nx%d\nkvnode\n", pid, now.start.UnixMilli())},
		"another start, as once":      {born, "-"},
		"another boot, as once":       {fmt.Sprintf("%d\nx%d\nkvnode\n", pid, now.start.UnixMilli()), "-"},
		"no start":                    {bare, "-"},
		"nothing but an unheld lock":  {"-", "-"},
		"an empty file, unheld lock":  {"", ""},
		"another text, unheld lock":   {"x", "1\n2\n3\n4"},
		"no process, and unheld lock": {"99999999999", "-1"},
	} {
		w.lose("node1", files.pid, files.process)
		if err := os.WriteFile(lock, []byte(bare+"\n"), 0o644); err != nil {
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
		for _, file := range []string{pidName, processName} {
			if _, err := os.Stat(filepath.Join(w.Dir("node1"), file)); err == nil {
				t.Errorf("%s: the stale %s is left", name, file)
			}
		}
	}
}

// TestLostPIDFile: a node that runs is found by the lock of its data, whatever has
// become of what we wrote down.
func TestLostPIDFile(t *testing.T) {
	w := standIns(t, 2, Options{}, nil)
	for name, files := range map[string]struct{ pid, process string }{
		"lost":    {"-", "-"},
		"empty":   {"", ""},
		"garbage": {"x\n", "y\n"},
		"stale":   {fmt.Sprintln(sleeper(t).Process.Pid), "-"},
	} {
		w.start()
		pid := w.inspect("node2").PID
		w.lose("node2", files.pid, files.process)
		if s := w.inspect("node2"); s.PID != pid {
			t.Errorf("%s: %+v, want pid %d", name, s, pid)
		}
		w.start() // it runs already
		if now := w.inspect("node2").PID; now != pid {
			t.Errorf("%s: a second process %d beside %d", name, now, pid)
		}
		w.stop()
		if alive(pid) {
			t.Errorf("%s: it still runs", name)
		}
	}
}

// TestLockOfAnother: the lock tells nothing of a process that does not hold it, or
// is no kvnode on that data.
func TestLockOfAnother(t *testing.T) {
	w := standIns(t, 2, Options{}, nil)
	w.start()
	other := w.inspect("node2").PID
	if err := w.StopNode(context.Background(), "node1"); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(w.Dir("node1"), lockName), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"this test": os.Getpid(), "node2": other, "a stranger": sleeper(t).Process.Pid} {
		if err := lock.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := lock.WriteAt([]byte(fmt.Sprintln(pid)), 0); err != nil {
			t.Fatal(err)
		}
		if s := w.inspect("node1"); s.Running {
			t.Errorf("%s is taken for node1: %+v", name, s)
		}
	}
}

// TestPIDFileOfOnce: nodes that an older clusterctl has started are ours.
func TestPIDFileOfOnce(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	text, err := os.ReadFile(filepath.Join(w.Dir("node1"), processName))
	if err != nil {
		t.Fatal(err)
	}
	pid := w.inspect("node1").PID
	w.lose("node1", string(text), "-")
	if err := os.Remove(filepath.Join(w.Dir("node1"), lockName)); err != nil {
		t.Fatal(err)
	}
	if s := w.inspect("node1"); s.PID != pid {
		t.Errorf("%+v, want pid %d", s, pid)
	}
	w.stop()
	if alive(pid) {
		t.Error("it still runs")
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
	own, err := os.ReadFile(filepath.Join(w.Dir("node1"), processName))
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(w.Dir("node1"), lockName)
	if err := os.Rename(lock, lock+".aside"); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]int{"a shell": notKvnode.Process.Pid, "node2": w.inspect("node2").PID} {
		w.lose("node1", strconv.Itoa(other), "-")
		if s := w.inspect("node1"); s.Running {
			t.Errorf("%s is taken for node1: %+v", name, s)
		}
	}
	w.lose("node1", "-", string(own))
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
	w.lose("node1", fmt.Sprintln(pid), "-")
	if err := os.Remove(filepath.Join(w.Dir("node1"), lockName)); err != nil {
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

// TestBadPIDFile: where nothing runs, what is left of a pid file keeps nobody from
// starting.
func TestBadPIDFile(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	if err := os.MkdirAll(w.Dir("node1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", "-1", "0", "99999999999", "1\n2\n3\n4"} {
		w.lose("node1", text, text)
		w.start()
		if !w.inspect("node1").Running {
			t.Errorf("%q: it does not run", text)
		}
		w.stop()
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
	h := &handle{pid: cmd.Process.Pid, process: &os.Process{Pid: cmd.Process.Pid}}
	if ended, err := h.ended(); ended || err != nil {
		t.Fatal(ended, err)
	}
	if err := h.signal(9); err != nil {
		t.Error(err)
	}
	if err := h.awaitEnd(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestHandleAfterTheEnd: a handle of a process that has ended signals no other.
func TestHandleAfterTheEnd(t *testing.T) {
	cmd := exec.Command("cat") // ends with its input
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := open(cmd.Process.Pid)
	if err != nil || h == nil {
		t.Fatal(h, err)
	}
	defer h.close()
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.awaitEnd(t.Context()); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := h.signal(9); err != nil {
		t.Error(err)
	}
	if gone, err := open(cmd.Process.Pid); gone != nil || err != nil {
		t.Error(gone, err)
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
