package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// ErrHasData says that a node has data, so that a cluster cannot begin anew.
var ErrHasData = errors.New("the cluster is not new")

// Seed has the cluster begin with a backup: it has kvnode make the data of the node that
// is to found it, which [Cluster.Start] then goes on with. It returns what kvnode says. No
// node may run or have data: that is an [ErrHasData].
func (c *Cluster) Seed(ctx context.Context, backup string) (said string, err error) {
	if err := os.MkdirAll(c.dataDir(), 0o755); err != nil {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	err = c.Exclusively(ctx, func() error {
		first, err := c.first()
		if err != nil {
			return err
		}
		for _, n := range c.file.Nodes {
			name := "node.json"
			if n.Alias == first.Alias {
				name = "nodes.json" // the other one is also there where this was ended before: kvnode looks what it says
			}
			there, err := exists(filepath.Join(c.Dir(n.Alias), name))
			if err != nil {
				return err
			}
			if there {
				return fmt.Errorf("%w: %s has data in %s", ErrHasData, n.Alias, c.Dir(n.Alias))
			}
		}
		said, err = c.seed(ctx, first, backup)
		return err
	})
	return said, err
}

// first is the node that the cluster begins with.
func (c *Cluster) first() (clusterfile.Node, error) {
	if !c.file.Gossips() {
		return c.founder()
	}
	for _, n := range c.file.Nodes {
		if votes(c.file, n) {
			return n, nil
		}
	}
	return c.file.Nodes[0], nil // kvnode refuses it
}

func (c *Cluster) seed(ctx context.Context, n clusterfile.Node, backup string) (string, error) {
	if err := os.MkdirAll(c.Dir(n.Alias), 0o755); err != nil {
		return "", err
	}
	args, err := c.arguments(n, nil)
	if err != nil {
		return "", err
	}
	cmd := c.kvnode(ctx, append([]string{"restore", backup}, args...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil && problem.Len() > 0:
		return "", errors.New(strings.TrimSpace(problem.String()))
	case err != nil:
		return "", fmt.Errorf("%s restore: %w", c.opts.Binary, c.unstartable(err))
	}
	return string(out), nil
}
