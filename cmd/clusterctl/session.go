package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/internal/prompt"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	lookEvery   = 100 * time.Millisecond // while a command waits for the cluster
	redrawEvery = 200 * time.Millisecond
	remindEvery = 5 * time.Second // where nothing can be redrawn
)

var errTimeout = errors.New("timeout")

// until returns once done does, or with the cause of the context's end.
func until(ctx context.Context, done func() bool) error {
	return poll.Until(ctx, lookEvery, func() (bool, error) { return done(), nil })
}

// theLeader stands for the node that leads, wherever a NODE is asked for.
const theLeader = "leader"

// manager holds the flags that all commands share.
type manager struct {
	config string // path of the cluster file
}

// session is one command at work on the cluster of its file.
type session struct {
	*narrator
	path    string
	file    *clusterfile.File
	cluster *process.Cluster
}

// read reads the cluster file.
func (m *manager) read() (*clusterfile.File, error) {
	f, err := clusterfile.Read(m.config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Usagef("there is no cluster file %s: write one with 'clusterctl init', or name another with -c", m.config)
	}
	if err == nil {
		err = misplaced(f)
	}
	if err != nil {
		return nil, cli.Usage(err)
	}
	return f, nil
}

// misplaced returns an error for a file of the time when data_dir was relative to
// the current folder: to go on without that data would be to found a second cluster.
func misplaced(f *clusterfile.File) error {
	there := func(dir string) bool {
		return slices.ContainsFunc(f.Nodes, func(n clusterfile.Node) bool {
			_, err := os.Lstat(filepath.Join(dir, n.Alias))
			return err == nil
		})
	}
	now := f.Resolve(f.DataDir)
	if there(now) || !there(f.DataDir) {
		return nil
	}
	write, err := filepath.Rel(filepath.Dir(f.Path), f.DataDir)
	if err != nil {
		write = "with the whole path"
	}
	return fmt.Errorf("%s: data_dir: %s is relative to the folder of this file, and so is bin_path; the data of the nodes are not in %s, but in %s of the current folder: write data_dir: %s",
		f.Path, f.DataDir, now, f.DataDir, write)
}

// open reads the cluster file and prepares to work on its processes.
func (m *manager) open(c *cobra.Command, o process.Options) (*session, error) {
	f, err := m.read()
	if err != nil {
		return nil, err
	}
	s := newSession(c, m.config, f, o)
	return s, s.cluster.Foreign()
}

func newSession(c *cobra.Command, path string, f *clusterfile.File, o process.Options) *session {
	n := newNarrator(c.OutOrStdout(), c.ErrOrStderr())
	o.Events = n.event
	return &session{narrator: n, path: path, file: f, cluster: process.New(f, o)}
}

// runE is what a command of cobra runs, action what one of ours does with its session.
type (
	runE   = func(c *cobra.Command, args []string) error
	action = func(ctx context.Context, s *session, args []string) error
)

// on returns a command's runE that opens a session for the action.
func (m *manager) on(do action) runE { return m.toStart(nil, do) }

// toStart is on for a command that waits until nodes are ready.
func (m *manager) toStart(o *process.Options, do action) runE {
	return func(c *cobra.Command, args []string) error {
		var options process.Options
		if o != nil {
			options = *o
			if err := above0("--ready-timeout", o.ReadyTimeout); err != nil {
				return err
			}
		}
		s, err := m.open(c, options)
		if err != nil {
			return err
		}
		return do(c.Context(), s, args)
	}
}

// report asks all nodes how they are.
func (s *session) report(ctx context.Context) report {
	r := newReport(s.cluster.Status(ctx))
	for i := range r.Nodes {
		r.Nodes[i].Log = s.cluster.LogPath(r.Nodes[i].Alias)
	}
	return r
}

// command is the line to type for a command on the same cluster file.
func (s *session) command(args string) string { return s.cluster.Command(args) }

// asNewMember says how a node becomes a member again that was removed, or is of another group.
func (s *session) asNewMember(alias string) string {
	return fmt.Sprintf("to have it join with new data, and keep its old ones aside: %s", s.command("replace "+alias))
}

// sayNonmembers tells of nodes that run to no purpose, and what to do.
func (s *session) sayNonmembers(r report) {
	for _, n := range r.nonmembers() {
		if *n.LastIndex == 0 {
			fmt.Fprintf(s.stderr, "%s is not a member yet; to have it ask again: %s\n", n.Alias, s.command("restart "+n.Alias))
			continue
		}
		fmt.Fprintf(s.stderr, "%s is not a member: it was removed, or its data are of another group; %s\n", n.Alias, s.asNewMember(n.Alias))
	}
}

// node returns the node that a command line names.
func (s *session) node(ctx context.Context, name string) (clusterfile.Node, error) {
	if n, ok := s.file.Node(name); ok {
		return n, nil
	}
	if name != theLeader {
		return clusterfile.Node{}, unknownNode(s.path, s.file, name)
	}
	r := s.report(ctx)
	if r.Leader == nil {
		return clusterfile.Node{}, fmt.Errorf("no node leads now; see %s", s.command("status --wide"))
	}
	n, ok := s.file.Node(*r.Leader)
	if !ok {
		return clusterfile.Node{}, fmt.Errorf("the leader, %s, is not in %s", *r.Leader, s.path)
	}
	return n, nil
}

// nodes returns the nodes that a command line names.
func (s *session) nodes(ctx context.Context, names []string) ([]clusterfile.Node, error) {
	var nodes []clusterfile.Node
	for _, name := range names {
		n, err := s.node(ctx, name)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// client returns a client of the nodes, or, unless node is empty, one that knows
// only that node. The caller closes it.
func (s *session) client(ctx context.Context, node string, timeout time.Duration) (*client.Client, error) {
	endpoints := httpAddresses(s.awake())
	if node != "" {
		n, err := s.node(ctx, node)
		if err != nil {
			return nil, err
		}
		endpoints = []string{n.HTTPAddress}
	}
	return client.New(endpoints, client.Options{Timeout: timeout})
}

// awake returns all nodes but the paused ones: those take a request in and then say
// nothing, which leaves a write's outcome unknown. It returns all if all are paused.
func (s *session) awake() []clusterfile.Node {
	awake := slices.DeleteFunc(slices.Clone(s.file.Nodes), func(n clusterfile.Node) bool {
		state, err := s.cluster.Inspect(n.Alias)
		return err == nil && state.Paused
	})
	if len(awake) == 0 {
		return s.file.Nodes
	}
	return awake
}

func unknownNode(path string, f *clusterfile.File, name string) error {
	known, hint := aliases(f.Nodes), ""
	if near := conf.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return cli.Usagef("there is no node %q in %s, only %s%s", name, path, strings.Join(known, ", "), hint)
}

func httpAddresses(nodes []clusterfile.Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.HTTPAddress)
	}
	return all
}

func aliases(nodes []clusterfile.Node) []string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Alias)
	}
	return names
}

// completeNodes completes aliases; most is how many the command takes, -1: any
// number.
func (m *manager) completeNodes(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		f, err := m.read()
		if err != nil || (most >= 0 && len(args) >= most) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		left := slices.DeleteFunc(append(aliases(f.Nodes), theLeader), func(name string) bool { return slices.Contains(args, name) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

// narrator tells what happens to the nodes, and, while some are not ready yet,
// which ones: on a terminal in one line that is rewritten, elsewhere now and then.
type narrator struct {
	stdout io.Writer
	stderr io.Writer
	log    *log.Logger // stdout with the time in front
	live   bool        // stderr is a terminal

	mu      sync.Mutex
	led     bool     // another node leads, so what starts is a follower
	waiting []string // started and not ready yet
	drawn   bool     // the line stands on the terminal
}

func newNarrator(stdout, stderr io.Writer) *narrator {
	return &narrator{stdout: stdout, stderr: stderr, log: log.New(stdout, "", log.LstdFlags), live: prompt.Terminal(stderr)}
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
			role = "" // not known yet
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
	case process.Killed, process.Paused, process.Resumed:
		fmt.Fprintf(n.stdout, "%s%s %s (pid %d)\n", strings.ToUpper(string(e.Kind[:1])), e.Kind[1:], alias, e.PID)
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
	ctx, cancel := context.WithCancel(context.Background())
	var drawing sync.WaitGroup
	begun := time.Now()
	drawing.Go(func() {
		_ = poll.Until(ctx, every, func() (bool, error) {
			n.draw(time.Since(begun))
			return false, nil
		})
	})
	return func() {
		cancel()
		drawing.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.erase()
		n.waiting = nil
	}
}

// await says who is being waited for, in place of those before.
func (n *narrator) await(whom string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = []string{whom}
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
		text = fmt.Sprintf("Waiting for %s (%.0f s)", cli.Count(len(n.waiting), "node"), since.Seconds())
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
