package clusterfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/themilchenko/raftlab/internal/atomicfile"
)

// DefaultPath is the file that clusterctl reads where none is named.
const DefaultPath = "config.yaml"

// File is a cluster file. It is a value to read: nothing in it changes on its
// own, and several goroutines may read it at once.
type File struct {
	Path        string `toml:"-" yaml:"-"`                                           // as read; empty after Generate
	DataDir     string `toml:"data_dir" yaml:"data_dir" default:"var"`               // see Resolve; holds a folder per node, named by alias
	BinPath     string `toml:"bin_path" yaml:"bin_path" default:"bin"`               // see Resolve; the folder that the program kvnode is in
	Leader      string `toml:"leader,omitempty" yaml:"leader,omitempty"`             // alias of the founder; empty: they find each other by gossip
	ClusterName string `toml:"cluster_name,omitempty" yaml:"cluster_name,omitempty"` // of those that gossip; empty beside a leader
	GossipKey   string `toml:"gossip_key,omitempty" yaml:"gossip_key,omitempty"`     // see Resolve; path of a file of keys; may be empty
	Nodes       []Node `key:"-" toml:"cluster" yaml:"cluster"`                       // in the order of the file, never empty after Parse
	// Kvnode holds settings of every node by the keys of kvnode --config; nil if
	// there are none. Values are bool, int64, float64, string, []any and
	// map[string]any of these.
	Kvnode map[string]any `key:"-" toml:"kvnode,omitempty" yaml:"kvnode,omitempty"`
}

// Node is one kvnode process.
type Node struct {
	Alias         string         `toml:"alias" yaml:"alias"`                                       // id in the cluster; safe as the name of a folder
	HTTPAddress   string         `toml:"http_address" yaml:"http_address"`                         // host:port
	RPCAddress    string         `toml:"rpc_address" yaml:"rpc_address"`                           // host:port, of Raft
	GossipAddress string         `toml:"gossip_address,omitempty" yaml:"gossip_address,omitempty"` // host:port; empty beside a leader
	RESPAddress   string         `toml:"resp_address,omitempty" yaml:"resp_address,omitempty"`     // host:port of the Redis protocol; empty: it is not served
	Kvnode        map[string]any `key:"-" toml:"kvnode,omitempty" yaml:"kvnode,omitempty"`         // as File.Kvnode, of this node only
}

// Gossips reports whether the nodes find each other by gossip. If not, the leader
// founds the cluster and the others join it.
func (f *File) Gossips() bool {
	return f.Leader == "" && len(f.Nodes) > 0 && f.Nodes[0].GossipAddress != ""
}

// Node returns the node called alias.
func (f *File) Node(alias string) (Node, bool) {
	for _, n := range f.Nodes {
		if n.Alias == alias {
			return n, true
		}
	}
	return Node{}, false
}

// Resolve returns where a path of the file is, seen from the current folder. A
// relative one is relative to the folder of the file, so that the file means the same
// from wherever it is read, and may be moved together with what it names.
func (f *File) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.Path), path)
}

// Settings returns the kvnode settings of n: those of the file with those of
// the node put over them, table by table. The caller owns the result's tables.
func (f *File) Settings(n Node) map[string]any { return overlay(f.Kvnode, n.Kvnode) }

func overlay(base, over map[string]any) map[string]any {
	merged := make(map[string]any, len(base)+len(over))
	for key, v := range base {
		if t, ok := v.(map[string]any); ok {
			v = overlay(t, nil)
		}
		merged[key] = v
	}
	for key, v := range over {
		if t, ok := v.(map[string]any); ok {
			below, _ := merged[key].(map[string]any)
			v = overlay(below, t)
		}
		merged[key] = v
	}
	return merged
}

// Read reads and checks the file at path. An error that is not [ErrInvalid]
// says that the file could not be read.
func Read(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	return Parse(path, data)
}

// Save writes the file to path, in the format of its extension, whole or not at
// all. Comments of a file that was there are lost.
func (f *File) Save(path string) error {
	data, err := f.Encode(path)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, data); err != nil {
		return fmt.Errorf("cluster file: %w", err)
	}
	return nil
}
