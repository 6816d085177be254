package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/kv"
)

// foundation is where a member of a new group, which begins with a map, gets its state.
type foundation struct {
	path   string // folder, not there yet
	engine core.Offline
	open   func(dir string) (core.LogStore, error)
	step   steps
}

// lay makes the state, and looks whether it is the same once it was closed and opened again.
func (b foundation) lay(f core.Founding, same func(*kv.Store) bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the state of %s in %s: %w", f.ID, b.path, err)
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
	if err = b.step.at("found " + f.ID); err == nil {
		err = b.engine.Found(logs, b.path, f)
	}
	if err = errors.Join(err, logs.Close(), atomicfile.SyncDir(b.path)); err != nil {
		return err
	}
	if err := b.step.at("compare " + f.ID); err != nil {
		return err
	}
	return b.compare(f, same)
}

func (b foundation) compare(f core.Founding, same func(*kv.Store) bool) (err error) {
	logs, err := b.open(filepath.Join(b.path, logDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	made := &remains{}
	if made.Remains, err = b.engine.Remains(logs, b.path); err != nil {
		return err
	}
	store, err := made.replay()
	if err != nil {
		return err
	}
	group := core.GroupID(f.Members)
	if made.Identity.ID != f.ID || made.Identity.Group != group || made.LastIndex != f.Index {
		return fmt.Errorf("%w: it was read back as that of %s in group %s up to entry %d, where %s, %s and %d were written",
			core.ErrDamaged, made.Identity.ID, made.Identity.Group, made.LastIndex, f.ID, group, f.Index)
	}
	if !same(store) {
		return fmt.Errorf("%w: the map that was read back is not the one that was written", core.ErrDamaged)
	}
	return nil
}
