package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// Recovering says how [Cluster.Recover] runs kvnode recover.
type Recovering struct {
	Args           []string // further arguments of kvnode recover
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Survivors returns the nodes whose folders hold data.
func (c *Cluster) Survivors() ([]clusterfile.Node, error) {
	var left []clusterfile.Node
	for _, n := range c.file.Nodes {
		there, err := exists(filepath.Join(c.Dir(n.Alias), "node.json"))
		if err != nil {
			return nil, err
		}
		if there {
			left = append(left, n)
		}
	}
	return left, nil
}

// Recover makes a new group of the data of the nodes, of which none may run, by running
// kvnode recover. It returns that one's exit code.
func (c *Cluster) Recover(ctx context.Context, nodes []clusterfile.Node, r Recovering) (code int, err error) {
	err = c.Exclusively(ctx, func() error {
		var addresses, dirs, running []string
		for _, n := range nodes {
			p, err := c.running(n.Alias)
			if err != nil {
				return err
			}
			if p != nil {
				p.close()
				running = append(running, n.Alias)
			}
			addresses = append(addresses, n.Alias+"="+n.RPCAddress)
			dirs = append(dirs, c.Dir(n.Alias))
		}
		if len(running) > 0 {
			return fmt.Errorf("recover: %w: %s: first %s", ErrRunning, strings.Join(running, ", "), c.Command("stop"))
		}
		args := slices.Concat([]string{"recover", "--members", strings.Join(addresses, ",")}, c.storeOptions(nodes), r.Args)
		cmd := c.kvnode(ctx, append(args, dirs...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, r.Stdout, r.Stderr
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
			code = exit.ExitCode()
			return nil
		}
		return c.unstartable(err)
	})
	return code, err
}

// storeOptions are the options with which the nodes open their log stores, as flags.
func (c *Cluster) storeOptions(nodes []clusterfile.Node) (flags []string) {
	all := map[string]any{}
	for _, n := range nodes {
		options, _ := c.file.Settings(n)["backend-options"].(map[string]any)
		maps.Copy(all, options)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		flags = append(flags, "--backend-option", fmt.Sprint(key, "=", all[key]))
	}
	return flags
}

// kvnode is a run of kvnode that works on folders, and tidies up once ctx ends.
func (c *Cluster) kvnode(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.opts.Binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// unstartable adds to the error of a program that cannot be run where it has to be.
func (c *Cluster) unstartable(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: build kvnode to %s, or set bin_path in the cluster file, which is relative to the folder of that file", err, c.opts.Binary)
	}
	return err
}
