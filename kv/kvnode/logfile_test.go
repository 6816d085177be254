package kvnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// logFiles returns what a log and the ones before it hold, the newest first.
func logFiles(t *testing.T, path string) (files []string) {
	t.Helper()
	for at := path; ; at = fmt.Sprintf("%s.%d", path, len(files)) {
		text, err := os.ReadFile(at)
		if errors.Is(err, os.ErrNotExist) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(text))
	}
}

func openLog(t *testing.T, path string, maxBytes int64, keep int) *logFile {
	t.Helper()
	l, err := openLogFile(path, maxBytes, keep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.file.Close() })
	return l
}

// TestLogRotates: no file becomes larger than it may, as many stay as are to, and they hold
// the last lines without a gap; also where there were more of them before.
func TestLogRotates(t *testing.T) {
	const maxBytes, lines = 100, 60
	path := filepath.Join(t.TempDir(), "node.log")
	written := 0
	for _, keep := range []int{3, 1, 0} {
		l := openLog(t, path, maxBytes, keep)
		for range lines {
			written++
			if _, err := fmt.Fprintf(l, "line %d\n", written); err != nil {
				t.Fatal(err)
			}
		}
		files := logFiles(t, path)
		if len(files) != keep+1 {
			t.Fatalf("keep %d: %d files", keep, len(files))
		}
		next := written
		for _, text := range files {
			if len(text) > maxBytes {
				t.Errorf("keep %d: a file has %d bytes", keep, len(text))
			}
			all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			for i := len(all) - 1; i >= 0; i, next = i-1, next-1 {
				if all[i] != fmt.Sprintf("line %d", next) {
					t.Fatalf("keep %d: %q, want line %d", keep, all[i], next)
				}
			}
		}
	}
}

// TestLogMovedAway: after somebody else has moved the file away, it is theirs, and what
// they have put at the path is written to.
func TestLogMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.log")
	l := openLog(t, path, 20, 5)
	write := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(l, line); err != nil {
			t.Fatal(err)
		}
	}
	write("first 15 bytes.")
	if err := os.Rename(path, path+".theirs"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	write("second")
	if files := logFiles(t, path); len(files) != 1 || files[0] != "second\n" {
		t.Errorf("%q", files)
	}
}

// TestLogCannotRotate: a log that cannot be moved away grows no more, and goes on once it can.
func TestLogCannotRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.log")
	l := openLog(t, path, 20, 1)
	obstacle := filepath.Join(path+".1", "in the way")
	if err := os.MkdirAll(obstacle, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("first 15 bytes.\n")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Write([]byte("second\n")); err == nil {
			t.Fatal("it was written")
		}
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("third\n")); err != nil {
		t.Fatal(err)
	}
	if files := logFiles(t, path); len(files) != 2 || files[0] != "third\n" || files[1] != "first 15 bytes.\n" {
		t.Errorf("%q", files)
	}
}

// TestLogFile runs a node whose log and standard error are one file, as clusterctl does:
// what the runtime says at the end stands in the file that is the log by then.
func TestLogFile(t *testing.T) {
	for _, way := range []string{"rotated by itself", "moved away by another"} {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "node.log")
			args := []string{"--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--id", "node1", "--inmem", "--log-file", path}
			if way == "rotated by itself" {
				args = append(args, "--log-max-size", "256KiB", "--log-keep", "1", "--log-level", "debug")
			}
			p, err := launch(dir, path, append(args, "data")...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.kill)
			address, err := p.find(`msg="HTTP listening" address=(\S+)`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.find("leader is node1"); err != nil {
				t.Fatal(err)
			}
			if way == "rotated by itself" {
				until(t, func() error {
					for range 50 { // a file takes more than a thousand
						if _, err := ask("PUT", address[1]+"/key/a", "v"); err != nil {
							return err
						}
					}
					if _, err := os.Stat(path + ".1"); err != nil {
						return err
					}
					// What is in the next file was written after the outputs had gone along.
					if next, err := os.Stat(path); err != nil || next.Size() == 0 {
						return fmt.Errorf("the rotation has not ended: %v", err)
					}
					return nil
				})
			} else {
				if err := os.Rename(path, path+".1"); err != nil {
					t.Fatal(err)
				}
				if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				if _, err := p.find("msg=.SIGHUP"); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
				t.Fatal(err)
			}
			if _, err := p.find("(?s)SIGQUIT: quit.*goroutine "); err != nil {
				t.Error(err)
			}
			if files := logFiles(t, path); len(files) != 2 || strings.Contains(files[1], "goroutine ") {
				t.Errorf("%d files; the runtime wrote to one that is not the log any more", len(files))
			}
		})
	}
}

// TestLogFileFailure: where the log is elsewhere, who starts a node that cannot run is told
// on standard error too, and who has both in one file reads it once.
func TestLogFileFailure(t *testing.T) {
	for _, log := range []string{"node.log", "err"} {
		dir := t.TempDir()
		p, err := launch(dir, filepath.Join(dir, "err"), "--haddr", "192.0.2.1:1", "--log-file", filepath.Join(dir, log), "data")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		if code, err := p.exit(); err != nil || code != exitFailed {
			t.Errorf("exit code %d, %v", code, err)
		}
		for _, name := range []string{log, "err"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if got := strings.Count(string(text), "kvnode: --haddr 192.0.2.1:1: "); err != nil || got != 1 {
				t.Errorf("log to %s: %s has it %d times: %v\n%s", log, name, got, err, text)
			}
		}
	}
}

// TestLogGoneFailure: who started the node is told why it ends, also where its log cannot be
// opened any more.
func TestLogGoneFailure(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var user bytes.Buffer
	q := newLogQueue(&user)
	if err := q.redirect(logSettings{path: filepath.Join(folder, "node.log"), maxBytes: 1 << 20}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	q.mu.Lock() // so that it finds both at once
	q.stale = true
	q.failure = append(q.failure, "kvnode: the disk is gone\n"...)
	q.mu.Unlock()
	q.close(patience)
	if user.String() != "kvnode: the disk is gone\n" {
		t.Errorf("it says %q", &user)
	}
}
