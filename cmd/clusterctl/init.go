package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
)

type initFlags struct {
	out     string
	host    string
	leader  string
	backend string
	dataDir string
	binPath string
	force   bool
	resp    bool
}

func newInit(m *manager) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init [N]",
		Short: "Write a cluster file of N nodes",
		Long: `Write a cluster file of N nodes (3 without it) on ports that are free now. It
starts nothing. A file that is there is kept, and data of nodes are not taken
over, unless --force is given.

The nodes find each other by gossip and found the cluster together. With
--leader that node founds it, and the others join: they need no gossip then.

Paths inside the current folder are written relative to the file, so that the
folder may be moved whole; all others are written in full. See
'clusterctl help config' for what the file says.`,
		Args: cli.Wants(0, 1, "at most the number of nodes"),
	}
	flags := c.Flags()
	flags.StringVar(&f.out, "out", "", "the file to write (default: that of --config)")
	flags.StringVar(&f.host, "host", "127.0.0.1", "address that the nodes listen on and are reached at")
	flags.StringVar(&f.leader, "leader", "", "no gossip: this node, such as node1, founds the cluster")
	flags.StringVar(&f.backend, "backend", "", "log store of the nodes (default: kvnode's own)")
	flags.StringVar(&f.dataDir, "data-dir", "var", "folder for the state and logs of the nodes")
	flags.StringVar(&f.binPath, "bin-path", "", "folder that kvnode is in (default: that of clusterctl, or bin)")
	flags.BoolVar(&f.resp, "resp", false, "have the nodes serve the Redis protocol too")
	flags.BoolVar(&f.force, "force", false, "overwrite a file that is there, and take over data")
	c.RunE = func(c *cobra.Command, args []string) error {
		f.out = cmp.Or(f.out, m.config)
		return writeClusterFile(c, args, f)
	}
	return c
}

func writeClusterFile(c *cobra.Command, args []string, f initFlags) error {
	nodes := 3
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return cli.Usagef("init wants the number of nodes, not %q", args[0])
		}
		nodes = n
	}
	switch _, err := os.Stat(f.out); {
	case err == nil && !f.force:
		return cli.Usagef("there is a file %s already: --force overwrites it, --out writes another", f.out)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return cli.Usage(err)
	}
	if !f.force {
		if err := unused(f.dataDir); err != nil {
			return cli.Usage(err)
		}
	}
	generate := clusterfile.GenerateGossip
	if f.leader != "" {
		generate = clusterfile.Generate
	}
	file, err := generate(nodes, f.host)
	if err != nil {
		return cli.Usage(err)
	}
	file.Leader = f.leader
	if f.resp {
		if err := file.ServeRESP(f.host); err != nil {
			return cli.Usage(err)
		}
	}
	if file.DataDir, err = portable(f.out, f.dataDir); err != nil {
		return cli.Usagef("--data-dir: %w", err)
	}
	if file.BinPath, err = portable(f.out, cmp.Or(f.binPath, likelyBin())); err != nil {
		return cli.Usagef("--bin-path: %w", err)
	}
	if f.backend != "" {
		if _, err := backends.Builtin().Lookup(f.backend); err != nil {
			return cli.Usagef("--backend: %w", err)
		}
		file.Kvnode = map[string]any{"backend": f.backend}
	}
	if err := file.Save(f.out); err != nil {
		return cli.Usage(err)
	}
	if f.force {
		file.Path = f.out
		if err := process.New(file, process.Options{}).Disown(); err != nil {
			return fmt.Errorf("take over the data: %w", err)
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "Wrote %s: %s on %s\n", f.out, cli.Count(nodes, "node"), f.host)
	return nil
}

// portable returns what to write for a path into the cluster file at out: relative to
// the file where both are inside the current folder, since they move together.
func portable(out, path string) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Dir(out))
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if inside(here, dir) && inside(here, path) {
		return filepath.Rel(dir, path)
	}
	return path, nil
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// likelyBin returns the folder that kvnode is most likely in.
func likelyBin() string {
	const byDefault = "bin"
	self, err := os.Executable()
	if err != nil {
		return byDefault
	}
	dir := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(dir, "kvnode")); err != nil {
		return byDefault
	}
	return dir
}

// unused returns an error if the folder holds what a node of another cluster left.
func unused(dataDir string) error {
	node := filepath.Join(dataDir, "node1")
	if _, err := os.Lstat(node); err == nil {
		return fmt.Errorf("%s is there already: choose another --data-dir, remove it, or give --force to go on with its data", node)
	}
	return nil
}
