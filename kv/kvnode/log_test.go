package kvnode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// piped is a kvnode whose standard error is a pipe that is read only where the test
// says so.
type piped struct {
	*process
	t     *testing.T
	lines *bufio.Scanner // of what it writes
	read  *os.File
	write *os.File // the node's end, held open here too
	http  string
}

func launchPiped(t *testing.T, args ...string) *piped {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"kvnode", "--id", "node1", "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--inmem", "--log-level", "debug"}, args...)
	p := &piped{
		process: &process{cmd: exec.Command(self), ended: make(chan struct{})},
		t:       t, lines: bufio.NewScanner(read), read: read, write: write,
	}
	p.cmd.Args, p.cmd.Stderr = append(args, t.TempDir()), write
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is what counts
	}()
	t.Cleanup(func() {
		p.kill()
		read.Close()
		write.Close()
	})
	p.http = p.next(`msg="HTTP listening" address=(\S+)`)[1]
	p.next("leader is node1")
	return p
}

// next reads until a line matches.
func (p *piped) next(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	if err := p.read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	for p.lines.Scan() {
		if found := re.FindStringSubmatch(p.lines.Text()); found != nil {
			return found
		}
	}
	p.t.Fatalf("no %q: %v", pattern, p.lines.Err())
	return nil
}

// block fills the pipe, so that the next write to it waits until somebody reads.
func (p *piped) block() {
	p.t.Helper()
	fd := int(p.write.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		p.t.Fatal(err)
	}
	filling := []byte(strings.Repeat("filling ", 8) + "\n")
	for err := error(nil); err == nil; {
		_, err = unix.Write(fd, filling)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			p.t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		p.t.Fatal(err)
	}
}

func (p *piped) put(count int) {
	p.t.Helper()
	for i := range count {
		answer, err := ask("PUT", fmt.Sprintf("%s/key/%d", p.http, i), "v")
		if err != nil || !strings.HasPrefix(answer, "200") {
			p.t.Fatalf("write %d while nobody reads the log: %s %v", i, answer, err)
		}
	}
}

func (p *piped) ends(code int, signals ...os.Signal) {
	p.t.Helper()
	for _, s := range signals {
		if err := p.cmd.Process.Signal(s); err != nil {
			p.t.Fatal(err)
		}
	}
	select {
	case <-p.ended:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			p.t.Errorf("exit code %d, want %d", got, code)
		}
	case <-time.After(patience):
		p.t.Fatal("it goes on")
	}
}

// TestBlockedLog: whoever does not read a node's log stops neither its writes nor its
// end, and is told later how many lines were dropped.
func TestBlockedLog(t *testing.T) {
	p := launchPiped(t)
	p.block()
	p.put(3000) // more than is kept for a reader, of a line each
	count, err := strconv.Atoi(p.next(`level=WARN msg="log lines were dropped.*" lines=(\d+)`)[1])
	if err != nil || count == 0 {
		t.Errorf("%d lines dropped, %v", count, err)
	}
	p.put(1)
	p.next("path=/key/0 ") // it logs on

	p.block()
	p.put(1)
	p.ends(exitOK, syscall.SIGTERM)
}

// TestBlockedLogSecondSignal: nor does it stop an end that is not in order.
func TestBlockedLogSecondSignal(t *testing.T) {
	p := launchPiped(t)
	p.block()
	c, err := beginUpload(p.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, func() error { // and takes no more connections
		if _, err := ask("GET", p.http+"/healthz", ""); err == nil {
			return errors.New("it goes on")
		}
		return nil
	})
	p.ends(exitFailed, syscall.SIGTERM)
}

// TestReaderGone: a reader of the log that ends does not take the node with it.
func TestReaderGone(t *testing.T) {
	p := launchPiped(t)
	p.read.Close()
	p.write.Close()
	p.put(10)
	p.ends(exitOK, syscall.SIGTERM)
}

// disk is a file system that may be full.
type disk struct {
	room    atomic.Bool
	refused chan struct{} // holds one
	mu      sync.Mutex
	file    bytes.Buffer
}

// Write implements io.Writer.
func (d *disk) Write(p []byte) (int, error) {
	if !d.room.Load() {
		select {
		case d.refused <- struct{}{}:
		default:
		}
		return 0, syscall.ENOSPC
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.file.Write(p)
}

// TestLogOnFullDisk: lines that could not be written are counted too, and the count is
// told in the format of the others, in their place.
func TestLogOnFullDisk(t *testing.T) {
	d := &disk{refused: make(chan struct{}, 1)}
	q := newLogQueue(d)
	logger := q.logger(slog.LevelInfo, "json")
	for range 3 {
		logger.Info("lost")
		<-d.refused
	}
	d.room.Store(true)
	until(t, func() error { // the log goes on
		logger.Info("kept")
		d.mu.Lock()
		defer d.mu.Unlock()
		if !strings.Contains(d.file.String(), "kept") {
			return errors.New("nothing is kept")
		}
		return nil
	})
	q.close(patience)
	var first struct {
		Level, Msg string
		Lines      int
	}
	line, rest, _ := strings.Cut(d.file.String(), "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Level != "WARN" || first.Lines < 3 || !strings.Contains(first.Msg, "dropped") {
		t.Errorf("first line %s %v", line, err)
	}
	if strings.Contains(rest, "lost") || strings.Contains(rest, "dropped") {
		t.Errorf("then\n%s", rest)
	}
}

// TestLogOrder: all that is written by several goroutines gets there, each line whole.
func TestLogOrder(t *testing.T) {
	d := &disk{}
	d.room.Store(true)
	q := newLogQueue(d)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 500 {
				fmt.Fprintf(q, "writer %d line %d\n", w, i)
			}
		})
	}
	writers.Wait()
	q.close(patience)
	q.close(patience)
	next := map[int]int{}
	for line := range strings.Lines(d.file.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "writer %d line %d\n", &w, &i); err != nil || next[w] != i {
			t.Fatalf("%q, want line %d; %v", line, next[w], err)
		}
		next[w]++
	}
	for w := range 4 {
		if next[w] != 500 {
			t.Errorf("%d lines of writer %d", next[w], w)
		}
	}
}

func TestJSONLog(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, slog.LevelWarn, "json").Info("not this")
	newLogger(&out, slog.LevelWarn, "json").Warn("this", "a", 1)
	if got := out.String(); !strings.HasPrefix(got, `{"time":"`) || !strings.Contains(got, `"msg":"this","a":1}`) || strings.Contains(got, "not") {
		t.Errorf("%s", got)
	}
}
