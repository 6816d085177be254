package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrForeign is the error for a data directory that holds the nodes of another
// cluster.
var ErrForeign = errors.New("holds the nodes of another cluster")

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
	if o.File == other.File {
		return true
	}
	for alias, address := range o.Nodes {
		if other.Nodes[alias] == address {
			return true
		}
	}
	return false
}

// Foreign returns an [ErrForeign] if the data directory holds the nodes of another
// cluster than this one: those have its aliases, so they would be taken for its own.
func (c *Cluster) Foreign() error {
	if c.file.Path == "" || c.opts.TakeOver {
		return nil
	}
	path := filepath.Join(c.dataDir(), ownerName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var has owner
	if err == nil {
		err = json.Unmarshal(text, &has)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: remove it if the nodes there are those of %s", path, err, c.file.Path)
	}
	self, err := c.self()
	if err != nil || has.is(self) {
		return err
	}
	var left []string
	for _, alias := range slices.Sorted(maps.Keys(has.Nodes)) {
		if _, err := os.Lstat(c.Dir(alias)); err == nil {
			left = append(left, alias)
		}
	}
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
	return replaceFile(filepath.Join(c.dataDir(), ownerName), string(text)+"\n")
}

// Disown forgets whose the data directory is, so that the next cluster that starts
// nodes in it takes those over that are there.
func (c *Cluster) Disown() error { return removeFile(filepath.Join(c.dataDir(), ownerName)) }
