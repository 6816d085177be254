package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// attempt is a node that is to become ready: one just started, or one that ran
// before.
type attempt struct {
	node     clusterfile.Node
	process  *handle
	ours     bool  // started by this call
	logBegin int64 // size of the log before the start; 0: it ran before
	seen     progress
	moved    time.Time // when it last made progress, or was started
}

// launch starts the process of a node that does not run, and writes it down.
// The flags tell it how to find the others.
func (c *Cluster) launch(n clusterfile.Node, flags []string) (*attempt, error) {
	a := &attempt{node: n, ours: true, moved: time.Now()}
	c.tell(Event{Kind: Starting, Node: n, Leader: n.Alias == c.file.Leader})
	if err := c.spawn(a, flags); err != nil {
		return nil, c.startError(a, err)
	}
	c.tell(Event{Kind: Started, Node: n, Leader: n.Alias == c.file.Leader, PID: a.process.id.pid})
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
	ch, err := c.children.start(alias, cmd, c.opts.Foreground)
	if err != nil {
		return c.explain(err)
	}
	return c.register(a, ch)
}

// register gets hold of a new process and writes it down. A process that
// cannot be written down is not left behind.
func (c *Cluster) register(a *attempt, ch *child) error {
	alias := a.node.Alias
	id := identity{pid: ch.pid, start: ch.start, program: c.opts.Binary}
	p, err := open(id)
	if err == nil && p == nil {
		return c.ending(alias, ch.pid)
	}
	if err == nil {
		if err = c.record(alias, id); err == nil {
			a.process = p
			return nil
		}
		p.close()
	}
	_, endErr := c.children.end(alias)
	return errors.Join(err, endErr)
}

// ending says how a node's process has ended, and forgets the process.
func (c *Cluster) ending(alias string, pid int) error {
	err := c.children.reap(alias, pid)
	if removeErr := c.unrecord(alias); removeErr != nil {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		return fmt.Errorf("the process ended: %w", err)
	}
	return errors.New("the process ended")
}

// explain adds the mend to the error of a program that cannot be run.
func (c *Cluster) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: build kvnode to %s, or set bin_path in the cluster file, which is relative to the folder of that file", err, c.opts.Binary)
	}
	return err
}

// arguments is the command line of a node. It writes the settings file that it
// names.
func (c *Cluster) arguments(n clusterfile.Node, flags []string) ([]string, error) {
	args := append([]string{"-id", n.Alias, "-haddr", n.HTTPAddress, "-raddr", n.RPCAddress}, c.peers()...)
	args = append(args, flags...)
	path := c.configPath(n.Alias)
	settings := c.file.Settings(n)
	if len(settings) == 0 {
		if err := removeFile(path); err != nil {
			return nil, err
		}
	} else {
		var text bytes.Buffer
		text.WriteString("# Written at every start, from the cluster file.\n")
		if err := toml.NewEncoder(&text).Encode(settings); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			return nil, err
		}
		args = append(args, "-config", path)
	}
	return append(args, c.Dir(n.Alias)), nil
}

// peers returns the flag by which nodes that do not gossip find each other where the
// file has given many of them other addresses.
func (c *Cluster) peers() []string {
	if c.file.Gossips() || len(c.file.Nodes) < 2 {
		return nil
	}
	var all []string
	for _, n := range c.file.Nodes {
		all = append(all, n.Alias+"="+n.RPCAddress)
	}
	return []string{"-peers", strings.Join(all, ",")}
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
	from := max(begin, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return lines[max(0, len(lines)-tailLines):]
}
