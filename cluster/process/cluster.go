package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// Options says how a Cluster runs its nodes. The zero value is usable.
type Options struct {
	Binary       string        // path of kvnode [BinPath/kvnode]
	Events       func(Event)   // told of progress, one call at a time; nil: nobody is
	ReadyTimeout time.Duration // how long a node that is not ready may make no progress [30s]
	StopTimeout  time.Duration // from SIGTERM to SIGKILL [15s]
	TakeOver     bool          // start on the nodes' data also where another cluster owns the data directory
	// Foreground ties the nodes to this process: Close kills those still running,
	// a failed Start leaves none running, and on Linux they are killed too when
	// this process ends, however it does. Otherwise they live on.
	Foreground bool
}

// lockTimeout is how long an operation waits for one of another process.
const lockTimeout = 5 * time.Second

// Cluster is the processes of one cluster file. Its methods may be called from
// several goroutines; those that start or end nodes wait for each other.
type Cluster struct {
	file        *clusterfile.File
	opts        Options
	lockTimeout time.Duration

	telling  sync.Mutex    // held during a call of opts.Events
	turn     chan struct{} // holds a token while no operation is under way
	children children
}

// New returns the cluster of f. It starts nothing and looks at nothing. f must
// not change any more.
func New(f *clusterfile.File, o Options) *Cluster {
	o.Binary = cmp.Or(o.Binary, filepath.Join(f.Resolve(f.BinPath), "kvnode"))
	if !strings.ContainsRune(o.Binary, filepath.Separator) {
		o.Binary = "." + string(filepath.Separator) + o.Binary // never one from $PATH
	}
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, 30*time.Second)
	o.StopTimeout = cmp.Or(o.StopTimeout, 15*time.Second)
	c := &Cluster{file: f, opts: o, lockTimeout: lockTimeout, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Dir returns the folder of a node: its state, its log, its pid file.
func (c *Cluster) Dir(alias string) string { return filepath.Join(c.dataDir(), alias) }

func (c *Cluster) dataDir() string { return c.file.Resolve(c.file.DataDir) }

// LogPath returns where the node's output goes.
func (c *Cluster) LogPath(alias string) string { return filepath.Join(c.Dir(alias), "node.log") }

// PIDPath returns where the id of the node's process is written down.
func (c *Cluster) PIDPath(alias string) string { return filepath.Join(c.Dir(alias), pidName) }

// Command returns the line to type for a command of clusterctl on this cluster, in
// quotes: errors tell it to who can go on with it.
func (c *Cluster) Command(args string) string {
	if path := c.file.Path; path != "" && path != clusterfile.DefaultPath {
		args = "-c " + path + " " + args
	}
	return "'clusterctl " + args + "'"
}

func (c *Cluster) configPath(alias string) string {
	return filepath.Join(c.Dir(alias), "kvnode.toml")
}

// statePath is a file of kvnode that is there if the node may belong to a cluster.
// One with a leader to join does from its first start on, when it writes down who
// it is. One that gossips waits for others first, and then notes where they are.
func (c *Cluster) statePath(alias string) string {
	name := "node.json"
	if c.file.Gossips() {
		name = "nodes.json"
	}
	return filepath.Join(c.Dir(alias), name)
}

func (c *Cluster) node(alias string) (clusterfile.Node, error) {
	if n, ok := c.file.Node(alias); ok {
		return n, nil
	}
	return clusterfile.Node{}, fmt.Errorf("%w: %q", ErrUnknownNode, alias)
}

// Close kills the nodes that a Foreground cluster has started and that still
// run, and waits for their ends; the nodes of others live on. Nothing is to be
// called after it.
func (c *Cluster) Close() error {
	if !c.opts.Foreground {
		return nil
	}
	return c.exclusively(context.Background(), func() error {
		var errs []error
		for _, alias := range c.children.all() {
			errs = append(errs, c.end(alias))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		c.children.waiting.Wait()
		return nil
	})
}

// end kills a child and cleans up after it.
func (c *Cluster) end(alias string) error {
	c.children.sweep(alias)
	pid, err := c.children.end(alias)
	if pid == 0 || err != nil {
		return err
	}
	n, _ := c.file.Node(alias)
	c.tell(Event{Kind: Killed, Node: n, PID: pid})
	return c.unrecord(alias)
}
