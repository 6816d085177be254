//go:build linux

package hunt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/fault"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/child"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv/client"
)

// node is a member that the group is to have.
type node struct {
	id                 string
	name               string // of its processes in the network
	dir                string
	raft, http, gossip *fault.Proxy
	resp               *fault.Proxy // nil: it does not serve the Redis protocol
	process            *process     // nil: it has never run
	runs               int
	paused             bool
	suspect            string // how its data was damaged; empty: it was not
}

// proxies are those that have been opened for the node.
func (n *node) proxies() []*fault.Proxy {
	return slices.DeleteFunc([]*fault.Proxy{n.raft, n.http, n.gossip, n.resp}, func(p *fault.Proxy) bool { return p == nil })
}

func (n *node) up() bool { return n.process != nil && !n.process.Ended() }

// logFile is a file in which the log store keeps entries. Of a store that has many it is
// the newest, or any.
func (n *node) logFile(backend string, random *rand.Rand) (string, error) {
	endings := map[string][]string{"bolt": {"raft.db"}, "mdb": {"data.mdb"}, "wal": {".wal"}, "pebble": {".log", ".sst"}}[backend]
	var files []string // the newest last: their names are numbers of one length
	err := filepath.WalkDir(filepath.Join(n.dir, "log"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 && slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(d.Name(), e) }) {
			files = append(files, p)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case len(files) == 0:
		return "", fmt.Errorf("%s has no file %s: %w", n.dir, strings.Join(endings, ", "), fs.ErrNotExist)
	case random.IntN(2) == 0:
		return files[random.IntN(len(files))], nil
	}
	return files[len(files)-1], nil
}

// Where nodes bind, so that the listeners of a process can be told apart. The others
// reach them through proxies only.
const (
	bindHTTP   = "127.0.0.2"
	bindRaft   = "127.0.0.3"
	bindGossip = "127.0.0.4"
	bindRESP   = "127.0.0.5"
)

const (
	listenTime = 20 * time.Second
	pollPause  = 10 * time.Millisecond
)

// process is a kvnode that runs, or has ended.
type process struct {
	*child.Process
	log    string // path of its output
	killed bool   // by us
}

// startProcess starts a program, which dies with this one, with its output in a new file.
func startProcess(log, program string, args []string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	fmt.Fprintf(out, "$ %s %s\n", program, strings.Join(args, " "))
	p, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	return &process{Process: p, log: log}, nil
}

// signal sends a signal; the process may have ended.
func (p *process) signal(s syscall.Signal) { _ = p.Signal(s) }

// kill ends the process without a word, also one that is paused, and waits for that.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.killed = p.killed || !p.Ended()
	_ = p.Kill()
}

// listeners are where a process listens; what it does not serve is not valid.
type listeners struct{ http, raft, resp, gossip netip.AddrPort }

// listeners waits until the process listens everywhere.
func (p *process) listeners(ctx context.Context, gossip, resp bool) (l listeners, err error) {
	for deadline := time.Now().Add(crowded(listenTime)); ; pause(ctx, pollPause) {
		tcp, udp, err := fault.Listening(p.PID())
		if err != nil {
			return l, err
		}
		l = listeners{http: at(tcp, bindHTTP), raft: at(tcp, bindRaft), resp: at(tcp, bindRESP), gossip: at(udp, bindGossip)}
		switch {
		case l.http.IsValid() && l.raft.IsValid() && l.gossip.IsValid() == gossip && l.resp.IsValid() == resp:
			return l, nil
		case p.Ended():
			return l, errEnded
		case time.Now().After(deadline) || ctx.Err() != nil:
			return l, fmt.Errorf("it does not listen after %v: see %s", listenTime, p.log)
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

func pause(ctx context.Context, d time.Duration) { _ = poll.Sleep(ctx, d) }

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

// bringBack starts a node that does not run. One whose data were damaged may be refused:
// then it gets a new folder, as the text says.
func (g *group) bringBack(ctx context.Context, n *node) {
	g.noteEnd(n)
	if g.start(ctx, n) == nil || ctx.Err() != nil {
		return
	}
	g.noteEnd(n)
	if n.suspect == "" {
		return
	}
	g.replace(ctx, n)
}

// noteEnd notes how nodes have ended by themselves, once.
func (g *group) noteEnd(nodes ...*node) {
	for _, n := range nodes {
		p := n.process
		if p == nil || !p.Ended() || p.killed {
			continue
		}
		p.killed = true
		text := p.lastWords()
		g.log("%s ended by itself: %s", n.id, text)
		if n.suspect != "" {
			g.report.refusal(n, text)
			continue
		}
		g.report.violate(Crashed, "%s, exit code %d, see %s:\n%s", n.id, p.State().ExitCode(), p.log, text)
	}
}

// replace moves the folder of a node away and starts it in a new one.
func (g *group) replace(ctx context.Context, n *node) {
	g.stop(n)
	moved := fmt.Sprintf("%s.moved.%d", n.dir, n.runs)
	if err := moveFolder(n.dir, moved); err != nil {
		g.report.violate(Beyond, "%s: %v", n.id, err)
		return
	}
	n.suspect += ", its folder moved away"
	g.log("%s is started in a new folder", n.id)
	if err := g.start(ctx, n); err != nil && ctx.Err() == nil {
		g.noteEnd(n)
	}
}

// mend makes a node whose data are gone or damaged a voter of the group again.
func (g *group) mend(ctx context.Context, n *node) {
	if n.suspect == "" {
		return
	}
	back := func() error {
		err := g.await(ctx, comeBack, func(ctx context.Context) error { return g.isVoter(ctx, n) })
		g.noteEnd(n)
		return err
	}
	for _, step := range []func(){
		func() {},
		func() { g.replace(ctx, n) },
		func() { g.remove(ctx, n); g.replace(ctx, n) },
	} {
		step()
		err := back()
		if err == nil {
			g.log("%s is a voter again", n.id)
			n.suspect = ""
			return
		}
		if ctx.Err() != nil {
			return
		}
		g.log("%s is not a voter again: %v", n.id, err)
		if n.up() {
			g.stranger(n, false)
		}
	}
	g.report.violate(Beyond, "%s, %s: it is not a voter again, also in a new folder and after it was removed; see %s", n.id, n.suspect, n.process.log)
	n.suspect = ""
}

// stranger notes what a node that runs and stays out of the group says about that. One
// of its complaints has to be clear. That it has none means that it is slow, but for a
// node that can never belong to the group.
func (g *group) stranger(n *node, never bool) {
	words := n.process.complaints()
	for _, w := range words {
		g.report.Refusals["(runs) "+withoutNames(w)]++
	}
	if len(words) == 0 && !never || slices.ContainsFunc(words, func(w string) bool { return unclear(w) == "" }) {
		return
	}
	g.report.violate(Unclear, "%s, %s, stays out of the group, and no complaint of it names a command:\n%s",
		n.name, n.suspect, strings.Join(words, "\n"))
}

// remove takes a node that does not run out of the configuration.
func (g *group) remove(ctx context.Context, n *node) {
	g.stop(n)
	others := slices.DeleteFunc(slices.Clone(g.nodes), func(o *node) bool { return o == n })
	err := g.await(ctx, comeBack, func(ctx context.Context) error {
		return g.ask(ctx, func(ctx context.Context, c *client.Client, _ *client.Node) error {
			err := c.Remove(ctx, n.id)
			if errors.Is(err, core.ErrNotFound) {
				return nil
			}
			return err
		}, others...)
	})
	g.log("remove %s: %v", n.id, err)
}

// moveFolder moves a folder, where there is one, to a place that it makes.
func moveFolder(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
