package hunt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/fault"
)

// Where nodes bind, so that the listeners of a process can be told apart. The others
// reach them through doors only.
const (
	bindHTTP   = "127.0.0.2"
	bindRaft   = "127.0.0.3"
	bindGossip = "127.0.0.4"
)

const (
	listenTime = 20 * time.Second
	pollPause  = 10 * time.Millisecond
)

// process is a kvnode that runs, or has ended.
type process struct {
	cmd    *exec.Cmd
	log    string // path of its output
	ended  chan struct{}
	killed bool // by us
}

// spawner starts processes that die with this one. The system ties them to the thread
// that started them, so there is one thread that does nothing else.
type spawner struct {
	orders chan func()
	done   chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{orders: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		for order := range s.orders {
			order()
		}
	}()
	return s
}

func (s *spawner) close() {
	close(s.orders)
	<-s.done
}

// start starts a program with its output in a new file.
func (s *spawner) start(log, program string, args []string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(program, args...), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dyingWithParent()
	fmt.Fprintf(out, "$ %s %s\n", program, strings.Join(args, " "))
	started := make(chan error)
	s.orders <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is what counts
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends a signal; the process may have ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process without a word, also one that is paused, and waits for that.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.killed = p.killed || !p.hasEnded()
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// listeners waits until the process listens everywhere.
func (p *process) listeners(ctx context.Context, gossip bool) (http, raft, gossips netip.AddrPort, err error) {
	for deadline := time.Now().Add(crowded(listenTime)); ; pause(ctx, pollPause) {
		tcp, udp, err := fault.Listening(p.pid())
		if err != nil {
			return http, raft, gossips, err
		}
		http, raft = at(tcp, bindHTTP), at(tcp, bindRaft)
		gossips = at(udp, bindGossip)
		switch {
		case http.IsValid() && raft.IsValid() && (gossips.IsValid() || !gossip):
			return http, raft, gossips, nil
		case p.hasEnded():
			return http, raft, gossips, errEnded
		case time.Now().After(deadline) || ctx.Err() != nil:
			return http, raft, gossips, fmt.Errorf("it does not listen after %v: see %s", listenTime, p.log)
		}
	}
}

var errEnded = errors.New("the process has ended")

func at(list []netip.AddrPort, host string) netip.AddrPort {
	for _, a := range list {
		if a.Addr().String() == host {
			return a
		}
	}
	return netip.AddrPort{}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

const longestWord = 1500

var (
	lastWord  = regexp.MustCompile(`(?ms)^kvnode: .*`)
	complaint = regexp.MustCompile(`(?m)^.*level=(?:WARN|ERROR) .*$`)
	traceback = regexp.MustCompile(`(?m)^(?:panic: |fatal error: |goroutine \d+ |SIG[A-Z]+: |unexpected fault address).*$`)
)

// lastWords is what the process said about its end, or else its last complaints.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if t := traceback.Find(text); t != nil {
		return "traceback: " + string(t)
	}
	words := lastWord.FindString(string(text))
	if words == "" {
		all := complaint.FindAllString(string(text), -1)
		words = strings.Join(all[max(0, len(all)-3):], "\n")
	}
	return strings.TrimSpace(words[:min(len(words), longestWord)])
}

// complaints returns what its log says of the node not being let in, each text once.
func (p *process) complaints() []string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	var list []string
	for _, line := range complaint.FindAllString(string(text), -1) {
		_, line, _ = strings.Cut(line, "level=")
		if strings.Contains(line, `msg="request failed"`) {
			continue
		}
		if key := withoutNames(line); !seen[key] && refusing.MatchString(line) {
			seen[key] = true
			list = append(list, line)
		}
	}
	return list
}

var (
	names   = regexp.MustCompile(`/[^\s",:;)]*/`)
	numbers = regexp.MustCompile(`\b\d[\d.:]*|\b[0-9a-f]{8,}\b`)
	ids     = regexp.MustCompile(`\bn\d\b`)
	// refusing is in the complaints of a node that is not let in.
	refusing = regexp.MustCompile(`refus|not settled|another (?:group|node|cluster|incarnation)|removed|no member|is a member|damaged|two nodes|same id`)
	// command is what a refusal must have: something to type.
	command = regexp.MustCompile(`\b(?:kvnode|clusterctl|mv|rm|cp|curl) +[-~/a-zA-Z<]|--(?:gossip-)?join|(?:POST|DELETE) /`)
)

// withoutNames is a text with what differs from one case to the next left out.
func withoutNames(text string) string {
	text = names.ReplaceAllString(text, "…/")
	text = ids.ReplaceAllString(text, "nX")
	return numbers.ReplaceAllString(text, "#")
}

// unclear says what is wrong with a refusal; empty: nothing.
func unclear(text string) string {
	switch {
	case text == "":
		return "it says nothing"
	case strings.HasPrefix(text, "traceback: "):
		return "it is a traceback"
	case !command.MatchString(strings.TrimPrefix(text, "kvnode: ")):
		return "it names no command"
	}
	return ""
}
