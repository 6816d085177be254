package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/themilchenko/raftlab/internal/atomicfile"
)

// Where the process of a node is written down. Only the id is in the file that people
// and their scripts read, so that kill $(cat node.pid) reaches no other process.
const (
	pidName     = "node.pid"     // the id, and nothing more
	processName = "node.process" // id, start, program, a line each
	lockName    = "LOCK"         // kvnode's own: locked while it runs, with its id in it
)

// record writes down which process runs a node, and whose the node is.
func (c *Cluster) record(alias string, p *handle) error {
	text := fmt.Sprintf("%d\n%d\n%s\n", p.pid, p.start.UnixMilli(), c.opts.Binary)
	if err := atomicfile.WriteUnflushed(filepath.Join(c.Dir(alias), processName), []byte(text)); err != nil {
		return err
	}
	if err := atomicfile.WriteUnflushed(c.PIDPath(alias), []byte(strconv.Itoa(p.pid)+"\n")); err != nil {
		return err
	}
	return c.own()
}

// unrecord forgets the process of a node, which has ended.
func (c *Cluster) unrecord(alias string) error {
	return errors.Join(removeFile(c.PIDPath(alias)), removeFile(filepath.Join(c.Dir(alias), processName)))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readProcess reads what a file says of a process: its id, 0 if there is none, and
// its start, if that is there.
func readProcess(path string) (pid int, start string, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	id, err := strconv.ParseInt(strings.TrimSpace(lines[0]), 10, 32)
	if err != nil || id < 1 || len(lines) > 3 {
		return 0, "", nil
	}
	if len(lines) > 1 {
		start = lines[1]
	}
	return int(id), start, nil
}

// running returns the process of a node, nil if there is none. The caller closes it.
//
// Of the files that tell its id two can be lost while the node runs; the third cannot.
// The start tells a process for good, but for a clock that is set meanwhile; then, or
// where somebody else wrote the id, the command line does.
func (c *Cluster) running(alias string) (*handle, error) {
	c.children.sweep(alias)
	for _, name := range []string{processName, pidName, lockName} {
		pid, start, err := readProcess(filepath.Join(c.Dir(alias), name))
		if err != nil {
			return nil, err
		}
		if pid == 0 {
			continue
		}
		p, err := open(pid)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if strconv.FormatInt(p.start.UnixMilli(), 10) == start || c.runs(pid, alias) {
			return p, nil
		}
		p.close()
	}
	return nil, nil
}

// answering returns the process that answers for a node, nil if it cannot be known: the files
// that told its id may be gone with the node's folder. The caller closes it.
func (c *Cluster) answering(alias string, pid int) (*handle, error) {
	p, err := open(pid)
	if p == nil || err != nil {
		return nil, err
	}
	if c.runs(pid, alias) {
		return p, nil
	}
	p.close()
	return nil, nil
}

// runs reports whether a process is a kvnode that was given the node's data path.
func (c *Cluster) runs(pid int, alias string) bool {
	args := commandLine(pid)
	if len(args) < 2 || filepath.Base(args[0]) != filepath.Base(c.opts.Binary) {
		return false
	}
	dir, err := filepath.Abs(c.Dir(alias))
	if err != nil {
		return false
	}
	folder, err := (&process.Process{Pid: int32(pid)}).Cwd()
	return slices.ContainsFunc(args[1:], func(arg string) bool {
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(folder, arg)
		}
		return err == nil && filepath.Clean(arg) == dir
	})
}

// ownerName is a file in the data directory that says whose it is.
const ownerName = "clusterctl.json"

// owner is the cluster whose nodes have been started in a data directory.
type owner struct {
	File  string            `json:"file"`                   // whole path
	Name  string            `json:"cluster_name,omitempty"` // of nodes that gossip
	Nodes map[string]string `json:"nodes"`                  // Raft address by alias
}

// self returns the owner that this cluster is. A cluster that is in no file owns
// nothing.
func (c *Cluster) self() (owner, error) {
	path, err := filepath.Abs(c.file.Path)
	o := owner{File: path, Name: c.file.ClusterName, Nodes: make(map[string]string)}
	for _, n := range c.file.Nodes {
		o.Nodes[n.Alias] = n.RPCAddress
	}
	return o, err
}

// is reports whether two owners are one cluster. The name is for good. Without one
// the file may have moved, or its addresses may have changed, but not both.
func (o owner) is(other owner) bool {
	if o.Name != "" && other.Name != "" {
		return o.Name == other.Name
	}
	for alias, address := range o.Nodes {
		if other.Nodes[alias] == address {
			return true
		}
	}
	return o.File == other.File
}

func (c *Cluster) ownerPath() string { return filepath.Join(c.dataDir(), ownerName) }

// Foreign returns an [ErrForeign] if the data directory holds the nodes of another
// cluster than this one: those have its aliases, so they would be taken for its own.
func (c *Cluster) Foreign() error {
	if c.file.Path == "" || c.opts.TakeOver {
		return nil
	}
	text, err := os.ReadFile(c.ownerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var has owner
	if err == nil {
		err = json.Unmarshal(text, &has)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: remove it if the nodes there are those of %s", c.ownerPath(), err, c.file.Path)
	}
	self, err := c.self()
	if err != nil || has.is(self) {
		return err
	}
	left := slices.DeleteFunc(slices.Sorted(maps.Keys(has.Nodes)), func(alias string) bool {
		_, err := os.Lstat(c.Dir(alias))
		return err != nil
	})
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w, that of %s (%s): set another data_dir in %s; or stop that one with 'clusterctl -c %[3]s stop' and move %[1]s away; if they are the nodes of this one at new addresses, type %[6]s",
		c.dataDir(), ErrForeign, has.File, strings.Join(left, ", "), c.file.Path, c.Command("start --take-over"))
}

// own writes down that the data directory is this cluster's.
func (c *Cluster) own() error {
	if c.file.Path == "" {
		return nil
	}
	self, err := c.self()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(self, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if has, err := os.ReadFile(c.ownerPath()); err == nil && bytes.Equal(has, text) {
		return nil
	}
	return atomicfile.Write(c.ownerPath(), text)
}

// Disown forgets whose the data directory is, so that the next cluster that starts
// nodes in it takes those over that are there.
func (c *Cluster) Disown() error { return removeFile(c.ownerPath()) }
