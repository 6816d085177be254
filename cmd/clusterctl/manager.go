package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv/client"
)

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
		return nil, usage(fmt.Errorf("there is no cluster file %s: write one with 'clusterctl init', or name another with -c", m.config))
	}
	if err == nil {
		err = misplaced(f)
	}
	if err != nil {
		return nil, usage(err)
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
func (m *manager) open(c *cobra.Command) (*session, error) { return m.openWith(c, process.Options{}) }

// openToStart is open for a command that waits until nodes are ready.
func (m *manager) openToStart(c *cobra.Command, o process.Options) (*session, error) {
	if err := checkReadyTimeout(o.ReadyTimeout); err != nil {
		return nil, err
	}
	return m.openWith(c, o)
}

func (m *manager) openWith(c *cobra.Command, o process.Options) (*session, error) {
	f, err := m.read()
	if err != nil {
		return nil, err
	}
	s := newSession(c, m.config, f, o)
	return s, s.cluster.Foreign()
}

func checkReadyTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return usage(fmt.Errorf("--ready-timeout %v: must be above 0", timeout))
	}
	return nil
}

func newSession(c *cobra.Command, path string, f *clusterfile.File, o process.Options) *session {
	n := newNarrator(c.OutOrStdout(), c.ErrOrStderr())
	o.Events = n.event
	return &session{narrator: n, path: path, file: f, cluster: process.New(f, o)}
}

// command is the line to type for a command on the same cluster file.
func (s *session) command(args string) string { return s.cluster.Command(args) }

// addAgain says how a node becomes a member that was removed, or is of another group.
func (s *session) addAgain(alias string) string {
	return fmt.Sprintf("to add it as a new one: %s, which deletes its data, and then %s",
		s.command("members remove "+alias), s.command("members add "+alias))
}

// sayNonmembers tells of nodes that run to no purpose, and what to do.
func (s *session) sayNonmembers(r report) {
	for _, n := range r.nonmembers() {
		if *n.LastIndex == 0 {
			fmt.Fprintf(s.stderr, "%s is not a member yet; to have it ask again: %s\n", n.Alias, s.command("restart "+n.Alias))
			continue
		}
		fmt.Fprintf(s.stderr, "%s is not a member: it was removed, or its data are of another group; %s\n", n.Alias, s.addAgain(n.Alias))
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
	r := newReport(s.cluster.Status(ctx))
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
	endpoints := s.endpoints()
	if node != "" {
		n, err := s.node(ctx, node)
		if err != nil {
			return nil, err
		}
		endpoints = []string{n.HTTPAddress}
	}
	return client.New(endpoints, client.Options{Timeout: timeout})
}

// endpoints returns the HTTP addresses of all nodes but the paused ones: those take
// a request in and then say nothing, which leaves a write's outcome unknown.
func (s *session) endpoints() []string {
	var all, awake []string
	for _, n := range s.file.Nodes {
		all = append(all, n.HTTPAddress)
		if state, err := s.cluster.Inspect(n.Alias); err != nil || !state.Paused {
			awake = append(awake, n.HTTPAddress)
		}
	}
	if len(awake) == 0 {
		return all
	}
	return awake
}

func unknownNode(path string, f *clusterfile.File, name string) error {
	known := aliases(f.Nodes)
	hint := ""
	if near := conf.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return usage(fmt.Errorf("there is no node %q in %s, only %s%s", name, path, strings.Join(known, ", "), hint))
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
