package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/ctxio"
)

// foundation is where a member of a new group, which begins with a state, gets it.
type foundation struct {
	path   string // folder, not there yet
	engine core.Offline
	open   func(dir string) (core.LogStore, error)
	step   steps
}

// lay makes the state, and looks whether it is the same once it was closed and opened again.
func (b foundation) lay(ctx context.Context, f core.Founding) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the state of %s in %s: %w", f.ID, filepath.Dir(b.path), err)
		}
	}()
	if err := b.step.at("make the folder of " + f.ID); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(b.path, 0o755), atomicfile.SyncDir(filepath.Dir(b.path))); err != nil {
		return err
	}
	logs, err := b.open(filepath.Join(b.path, logDir))
	if err != nil {
		return err
	}
	written := summed{ctx, f.State, sha256.New()}
	f.State = written
	if err = b.step.at("found " + f.ID); err == nil {
		err = b.engine.Found(logs, b.path, f)
	}
	if err = errors.Join(err, logs.Close(), atomicfile.SyncDir(b.path)); err != nil {
		return err
	}
	if err := b.step.at("compare " + f.ID); err != nil {
		return err
	}
	return b.compare(ctx, f, written.sum)
}

// compare reads the state back, as a stream: no second map is made of it.
func (b foundation) compare(ctx context.Context, f core.Founding, written hash.Hash) (err error) {
	logs, err := b.open(filepath.Join(b.path, logDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	made, err := b.engine.Remains(ctx, logs, b.path)
	if err != nil {
		return err
	}
	group := core.GroupID(f.Members)
	if made.Identity.ID != f.ID || made.Identity.Group != group || made.SnapshotIndex != f.Index || made.LastIndex != f.Index {
		return fmt.Errorf("%w: it was read back as that of %s in group %s, from entry %d to %d, where %s, %s and %d were written",
			core.ErrDamaged, made.Identity.ID, made.Identity.Group, made.SnapshotIndex, made.LastIndex, f.ID, group, f.Index)
	}
	state, err := made.Snapshot()
	if err != nil {
		return err
	}
	read := sha256.New()
	if _, err := io.Copy(read, state); err != nil {
		return errors.Join(err, state.Close())
	}
	if string(read.Sum(nil)) != string(written.Sum(nil)) {
		err = fmt.Errorf("%w: the state that was read back is not the one that was written", core.ErrDamaged)
	}
	return errors.Join(err, state.Close())
}

// summed is a state that takes the digest of what is written of it, until ctx ends.
type summed struct {
	ctx   context.Context
	state io.WriterTo
	sum   hash.Hash
}

// WriteTo implements io.WriterTo.
func (s summed) WriteTo(to io.Writer) (int64, error) {
	return s.state.WriteTo(ctxio.Writer(s.ctx, io.MultiWriter(to, s.sum)))
}
