package coretest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// What a store keeps of a crash is seen from outside: a property starts the test
// program anew, restricted to itself, as a child that uses the store until it is
// killed.

// childVariable, in the environment, makes a property the child's part of it: the name
// of the property and what it is to do, by lines.
const childVariable = "CORETEST_CHILD"

// childTask returns what the child is to do, or nil in the process that starts it.
func childTask(t *checker) []string {
	task := strings.Split(os.Getenv(childVariable), "\n")
	if task[0] != t.Name() {
		return nil
	}
	return task[1:]
}

// say tells the parent.
func say(word string, args ...any) { fmt.Println(childVariable, word, fmt.Sprint(args...)) }

// mayGoOn waits for the parent to let the child go on. It is false once the parent is gone.
func mayGoOn() bool {
	_, err := os.Stdin.Read(make([]byte, 1))
	return err == nil
}

func (c *child) letGoOn(t *checker) {
	t.Helper()
	_, err := c.in.Write([]byte{'\n'})
	t.must("writing to the child", err)
}

// child is a process of the test program that runs a property.
type child struct {
	cmd   *exec.Cmd
	in    io.Writer      // lets it go on; it ends with this process
	lines chan [2]string // words that it says, with what follows; closed at its end
	other strings.Builder
}

// startChild starts the child of a property and kills it when the subtest ends.
func startChild(t *checker, task ...string) *child {
	t.Helper()
	program, err := os.Executable()
	t.must("looking for the test program", err)
	var names []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		names = append(names, "^"+regexp.QuoteMeta(name)+"$")
	}
	c := &child{cmd: exec.Command(program, "-test.run="+strings.Join(names, "/")), lines: make(chan [2]string)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(append([]string{t.Name()}, task...), "\n"),
		"TMPDIR="+t.TempDir()) // which it cannot remove itself once it is killed
	var errIn error
	c.in, errIn = c.cmd.StdinPipe()
	out, errOut := c.cmd.StdoutPipe()
	t.must("starting a child", errors.Join(errIn, errOut))
	c.cmd.Stderr = c.cmd.Stdout
	t.must("starting a child", c.cmd.Start())
	go c.read(out)
	t.Cleanup(c.kill)
	return c
}

func (c *child) read(out io.Reader) {
	defer close(c.lines)
	for s := bufio.NewScanner(out); s.Scan(); {
		if said, ok := strings.CutPrefix(s.Text(), childVariable+" "); ok {
			word, rest, _ := strings.Cut(said, " ")
			c.lines <- [2]string{word, rest}
		} else {
			fmt.Fprintln(&c.other, s.Text())
		}
	}
}

// next returns what the child says next. That it ends without a word fails the test.
func (c *child) next(t *checker) (word, rest string) {
	t.Helper()
	line := mustReceive(t, c.lines, "a word of the child")
	if line[0] == "" {
		t.Fatalf("the child has ended:\n%s", c.other.String())
	}
	return line[0], line[1]
}

// kill ends the child as a crash does and waits for it. What it has said meanwhile is
// dropped. It may be called any number of times.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	for range c.lines {
	}
	_ = c.cmd.Wait()
}

// killBatch is how many entries a StoreLogs call has that a kill interrupts.
const killBatch = 300

// checkKilledWriter kills a process in the middle of StoreLogs calls, several times in
// one folder. What was acknowledged before is there, and of the call that was under
// way all or nothing. A store that keeps entries one by one is seen by that unless
// each kill comes between two calls, by chance.
func checkKilledWriter(t *checker, h storeHarness) {
	const rounds = 6
	if task := childTask(t); task != nil {
		writeUntilKilled(t, h.open(t.T, task[0]))
		return
	}
	dir := t.TempDir()
	acknowledged := uint64(0)
	for range rounds {
		acknowledged = killAmidWrite(t, startChild(t, dir))
		s := h.open(t.T, dir)
		last, err := s.LastIndex()
		t.must("LastIndex after a kill", err)
		if over := last % killBatch; over != 0 {
			t.Fatalf("StoreLogs of %d entries was interrupted by a kill and has left %d of them: want all or none", killBatch, over)
		}
		if last < acknowledged || last == 0 {
			t.Fatalf("after a kill the log ends at %d, and %d was acknowledged before", last, acknowledged)
		}
		wantLog(t, s, 1, last)
		wantUint64(t, s, "term", 1)
		t.must("Close", s.Close())
	}
}

// writeUntilKilled is the child.
func writeUntilKilled(t *checker, s core.LogStore) {
	mustSetUint64(t, s, "term", 1)
	last, err := s.LastIndex()
	t.must("LastIndex", err)
	for say("ready"); mayGoOn(); last += killBatch {
		mustStore(t, s, entries(last+1, last+killBatch))
		say("stored", last+killBatch)
	}
}

// killAmidWrite lets the child end some calls and kills it in one, at a moment drawn
// from as long as the call before took. It returns the last index that it has
// acknowledged.
func killAmidWrite(t *checker, c *child) (last uint64) {
	const calls = 2
	c.next(t)
	var took time.Duration
	for range calls {
		begun := time.Now()
		c.letGoOn(t)
		_, index := c.next(t)
		took = time.Since(begun)
		var err error
		last, err = strconv.ParseUint(index, 10, 64)
		t.must("what the child says", err)
	}
	c.letGoOn(t)
	time.Sleep(rand.N(took + 1))
	c.kill()
	return last
}

// checkFailingFlush writes in a process in which every flush fails (fsync and what is
// like it, by a filter of system calls): a write that is acknowledged there was not
// flushed. Where a process cannot do that to itself, on systems other than Linux,
// nothing is checked, nor with a store that writes through descriptors which flush by
// themselves.
func checkFailingFlush(t *checker, h storeHarness) {
	if task := childTask(t); task != nil {
		s := h.inUse(t, task[0])
		if err := failFlushes(); err != nil {
			say("unseen", err)
			return
		}
		for _, c := range storeCalls() {
			if c.name != task[1] {
				continue
			}
			if err := c.do(s); err != nil {
				say("refused", err)
			} else if how := flushesUnasked(); how != "" {
				say("unseen", how)
			} else {
				say("acknowledged")
			}
		}
		return
	}
	for _, c := range storeCalls() {
		if !c.write {
			continue
		}
		child := startChild(t, t.TempDir(), c.name)
		switch word, why := child.next(t); word {
		case "acknowledged":
			t.Errorf("%s succeeds where every flush fails: it declares %q, and flushes nothing or ignores the error", c.name, core.DurableDisk)
		case "unseen":
			t.Logf("%s: whether it flushes cannot be seen: %s", c.name, why)
		}
		child.kill()
	}
}

// flushesUnasked says how this process may write durably without asking for a flush.
func flushesUnasked() string {
	const synchronous = 0o10000 // O_DSYNC of Linux, which O_SYNC includes
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err.Error()
	}
	for _, f := range files {
		path, _ := os.Readlink(filepath.Join("/proc/self/fd", f.Name()))
		info, _ := os.ReadFile(filepath.Join("/proc/self/fdinfo", f.Name())) // gone since: the folder's own
		_, flags, _ := strings.Cut(string(info), "flags:")
		flags, _, _ = strings.Cut(strings.TrimSpace(flags), "\n")
		if n, _ := strconv.ParseUint(flags, 8, 64); n&synchronous != 0 || strings.Contains(path, "io_uring") {
			return "it writes through " + path
		}
	}
	return ""
}
