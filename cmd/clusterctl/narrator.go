package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/themilchenko/raftlab/cluster/process"
)

const (
	redrawEvery = 200 * time.Millisecond
	remindEvery = 5 * time.Second // where nothing can be redrawn
)

// narrator tells what happens to the nodes, and, while some are not ready yet,
// which ones: on a terminal in one line that is rewritten, elsewhere now and then.
type narrator struct {
	stdout io.Writer
	stderr io.Writer
	log    *log.Logger // stdout with the time in front
	live   bool        // stderr is a terminal

	mu      sync.Mutex
	led     bool     // another node leads, so who starts is a follower
	waiting []string // started and not ready yet
	drawn   bool     // the line stands on the terminal
}

func newNarrator(stdout, stderr io.Writer) *narrator {
	return &narrator{stdout: stdout, stderr: stderr, log: log.New(stdout, "", log.LstdFlags), live: isTerminal(stderr)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// event prints one step. Its wording is that of the thesis.
func (n *narrator) event(e process.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.erase()
	alias := e.Node.Alias
	switch e.Kind {
	case process.Starting:
		role := "follower "
		switch {
		case n.led:
		case e.Leader:
			role = "leader "
		case e.Node.GossipAddress != "":
			role = "" // nobody knows yet
		}
		n.log.Printf("Starting %s%q...", role, alias)
	case process.Started:
		n.log.Printf("Started %q (pid %d)", alias, e.PID)
		n.waiting = append(n.waiting, alias)
	case process.AlreadyRunning:
		n.log.Printf("%q is already running (pid %d)", alias, e.PID)
	case process.Ready:
		n.waiting = slices.DeleteFunc(n.waiting, func(s string) bool { return s == alias })
	case process.Stopped:
		if e.Leader {
			alias = "leader " + alias
		}
		fmt.Fprintf(n.stdout, "Stopped %s (pid %d)\n", alias, e.PID)
	case process.AlreadyStopped:
		fmt.Fprintf(n.stdout, "%s is not running\n", alias)
	case process.Killing:
		fmt.Fprintf(n.stderr, "%s does not stop: killing it (pid %d)\n", alias, e.PID)
	case process.Killed:
		fmt.Fprintf(n.stdout, "Killed %s (pid %d)\n", alias, e.PID)
	case process.Paused:
		fmt.Fprintf(n.stdout, "Paused %s (pid %d)\n", alias, e.PID)
	case process.Resumed:
		fmt.Fprintf(n.stdout, "Resumed %s (pid %d)\n", alias, e.PID)
	}
}

// watch shows which nodes are being waited for until the returned function is
// called. led says whether there is a leader already.
func (n *narrator) watch(led bool) (stop func()) {
	n.mu.Lock()
	n.led = led
	n.mu.Unlock()
	every := remindEvery
	if n.live {
		every = redrawEvery
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		begun := time.Now()
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticks.C:
				n.draw(time.Since(begun))
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		n.mu.Lock()
		defer n.mu.Unlock()
		n.erase()
		n.waiting = nil
	}
}

func (n *narrator) draw(since time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		n.erase()
		return
	}
	text := fmt.Sprintf("Waiting for %s (%.0f s)", strings.Join(n.waiting, ", "), since.Seconds())
	if !n.live {
		fmt.Fprintln(n.stderr, text)
		return
	}
	const width = 79 // a longer line would wrap and could not be rewritten
	if len(text) > width {
		text = fmt.Sprintf("Waiting for %s (%.0f s)", count(len(n.waiting), "node"), since.Seconds())
	}
	fmt.Fprintf(n.stderr, "\r\x1b[K%s", text)
	n.drawn = true
}

// erase removes the line, so that others can be printed. The lock is held.
func (n *narrator) erase() {
	if n.drawn {
		fmt.Fprint(n.stderr, "\r\x1b[K")
		n.drawn = false
	}
}
