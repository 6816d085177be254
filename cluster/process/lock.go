package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/internal/lockfile"
)

// Exclusively calls f while no other operation that starts or ends nodes is under
// way, of this Cluster or of another process on the same data directory. f must not
// call one.
func (c *Cluster) Exclusively(ctx context.Context, f func() error) error {
	return c.exclusively(ctx, f)
}

// exclusively runs an operation that starts or ends nodes, alone among those of
// this Cluster and of other processes on the same data directory.
func (c *Cluster) exclusively(ctx context.Context, operation func() error) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	defer func() { c.turn <- struct{}{} }()
	lock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Close() // and with it the lock
	}
	return operation()
}

// lock returns nil if there is no data directory: then there is nothing to
// guard. It ends with the process that holds it, so none is ever left behind.
func (c *Cluster) lock(ctx context.Context) (*os.File, error) {
	path := filepath.Join(c.dataDir(), "clusterctl.lock")
	ctx, cancel := context.WithTimeoutCause(ctx, c.lockTimeout, fmt.Errorf("waited %v", c.lockTimeout))
	defer cancel()
	for {
		f, err := lockfile.Take(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case !errors.Is(err, lockfile.ErrLocked):
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%s is locked; %w): try again when it is done", ErrBusy, path, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}
