package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

func (c *Cluster) configPath(alias string) string {
	return filepath.Join(c.Dir(alias), "kvnode.toml")
}

// statePath is a file of kvnode that is there if the node may belong to a cluster.
// One with a leader to join does from its first start on, when it writes down whose
// data this is. One that gossips waits for others first, and then notes where they are.
func (c *Cluster) statePath(alias string) string {
	name := "node.json"
	if c.file.Gossips() {
		name = "nodes.json"
	}
	return filepath.Join(c.Dir(alias), name)
}

// startEvent is an event of the start of a node whose process there is.
func (c *Cluster) startEvent(kind EventKind, a *attempt) Event {
	return Event{Kind: kind, Node: a.node, Leader: a.node.Alias == c.file.Leader, PID: a.process.pid}
}

// launch starts the process of a node that does not run, and writes it down.
// The flags tell it how to find the others.
func (c *Cluster) launch(n clusterfile.Node, flags []string) (*attempt, error) {
	a := &attempt{node: n, ours: true, moved: time.Now()}
	c.tell(Event{Kind: Starting, Node: n, Leader: n.Alias == c.file.Leader})
	if err := c.spawn(a, flags); err != nil {
		return nil, c.startError(a, err)
	}
	c.tell(c.startEvent(Started, a))
	return a, nil
}

func (c *Cluster) spawn(a *attempt, flags []string) error {
	alias := a.node.Alias
	if err := os.MkdirAll(c.Dir(alias), 0o755); err != nil {
		return err
	}
	args, err := c.arguments(a.node, flags)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.LogPath(alias), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	if a.logBegin, err = log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	cmd := exec.Command(c.opts.Binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(c.opts.Foreground)
	err = c.children.start(alias, cmd, c.opts.Foreground)
	if err != nil {
		return c.unstartable(err)
	}
	return c.register(a, cmd.Process.Pid)
}

// register gets hold of a new process and writes it down. A process that
// cannot be written down is not left behind.
func (c *Cluster) register(a *attempt, pid int) error {
	p, err := open(pid)
	if err == nil && p == nil {
		return c.ending(a.node.Alias, pid)
	}
	if err == nil {
		if err = c.record(a.node.Alias, p); err == nil {
			a.process = p
			return nil
		}
		p.close()
	}
	_, endErr := c.children.end(a.node.Alias)
	return errors.Join(err, endErr)
}

// ending says how a node's process has ended, and forgets the process.
func (c *Cluster) ending(alias string, pid int) error {
	if err := errors.Join(c.children.reap(alias, pid), c.unrecord(alias)); err != nil {
		return fmt.Errorf("the process ended: %w", err)
	}
	return errors.New("the process ended")
}

// arguments is the command line of a node. It writes the settings file that it
// names.
func (c *Cluster) arguments(n clusterfile.Node, flags []string) ([]string, error) {
	args := append([]string{"-id", n.Alias, "-haddr", n.HTTPAddress, "-raddr", n.RPCAddress, "-log-file", c.LogPath(n.Alias)}, c.profile(n)...)
	if n.RESPAddress != "" {
		args = append(args, "-resp", n.RESPAddress)
	}
	if !c.file.Gossips() && len(c.file.Nodes) > 1 { // the file may have given many of them other addresses
		var peers []string
		for _, n := range c.file.Nodes {
			peers = append(peers, n.Alias+"="+n.RPCAddress)
		}
		args = append(args, "-peers", strings.Join(peers, ","))
	}
	args = append(args, flags...)
	path := c.configPath(n.Alias)
	settings := c.file.Settings(n)
	if len(settings) == 0 {
		return append(args, c.Dir(n.Alias)), removeFile(path)
	}
	text := bytes.NewBufferString("# Written at every start, from the cluster file.\n")
	if err := toml.NewEncoder(text).Encode(settings); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return append(args, "-config", path, c.Dir(n.Alias)), os.WriteFile(path, text.Bytes(), 0o644)
}

// startError says why an attempt failed, with the end of the log.
func (c *Cluster) startError(a *attempt, err error) *StartError {
	path := c.LogPath(a.node.Alias)
	return &StartError{Alias: a.node.Alias, LogPath: path, Tail: tail(path, a.logBegin), Err: err}
}

const (
	tailLines = 20
	tailBytes = 16 << 10
)

// tail returns the last lines of a file from offset begin on; none if it cannot
// be read: it goes with an error that matters more.
func tail(path string, begin int64) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	if begin > info.Size() { // the log was rotated since
		begin = 0
	}
	from := max(begin, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return lines[max(0, len(lines)-tailLines):]
}
