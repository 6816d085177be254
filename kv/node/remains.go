package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/ctxio"
	"github.com/themilchenko/raftlab/kv"
)

// What a node that does not run has left is read without a change to its folder. A log store
// may write when it is opened, so it is opened on a copy of its folder.

// Parts finds what the state in a folder was written by.
type Parts struct {
	Engine func(name string) (core.Engine, error)
	// Open opens a log store by its name, making it where missing, as the node does.
	Open func(backend, dir string) (core.LogStore, error)
}

// offline returns an engine that can read what is left.
func (p Parts) offline(name string) (core.Offline, error) {
	engine, err := p.Engine(name)
	if err != nil {
		return nil, err
	}
	reader, ok := engine.(core.Offline)
	if !ok {
		return nil, fmt.Errorf("%w: engine %s cannot read what is left of a node that does not run", core.ErrUnsupported, name)
	}
	return reader, nil
}

// remains are what a node that does not run has left.
type remains struct {
	*core.Remains // nil: the log is not open
	dir           *dataDir
	identity      *identity // that the next start would find
	engine        core.Offline
	logs          core.LogStore
	copied        string // folder that logs is open in
}

// logUnreadable is an error of a folder the log of which is lost, or cannot even be opened.
type logUnreadable struct{ error }

func (e *logUnreadable) Unwrap() error { return e.error }

// lockRemains locks the folder of a node; open reads what is in it.
func lockRemains(data string) (r *remains, err error) {
	r = new(remains)
	if r.dir, err = readDataDir(data); err != nil {
		return nil, err
	}
	if r.identity, err = r.dir.effective(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// openRemains locks the folder of a node and opens what is in it. withLog says whether its
// log is read, or an empty one in its place.
func openRemains(ctx context.Context, data string, parts Parts, withLog bool) (*remains, error) {
	r, err := lockRemains(data)
	if err != nil {
		return nil, err
	}
	if err := r.open(ctx, parts, withLog); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", data, err), r.Close())
	}
	return r, nil
}

// open opens what is in the folder; the end of ctx ends all reading.
func (r *remains) open(ctx context.Context, parts Parts, withLog bool) (err error) {
	if r.engine, err = parts.offline(r.identity.Engine); err != nil {
		return err
	}
	if r.copied, err = os.MkdirTemp("", "kvnode-log-"); err != nil {
		return fmt.Errorf("make a folder for a copy of the log, in $TMPDIR: %w", err)
	}
	if withLog {
		if err := r.copyLog(ctx); err != nil {
			return err
		}
	}
	if r.logs, err = parts.Open(r.identity.Backend, r.copied); err != nil {
		return &logUnreadable{r.ofLog(err)}
	}
	if r.Remains, err = r.engine.Remains(ctx, r.logs, filepath.Join(r.dir.path, r.identity.State)); err != nil {
		return r.ofLog(err)
	}
	r.Entries = r.ofLogs(r.Entries)
	return nil
}

// logPath is the folder of the log.
func (r *remains) logPath() string { return filepath.Join(r.dir.path, r.identity.log()) }

func (r *remains) copyLog(ctx context.Context) error {
	if err := mustHaveLog(r.logPath()); err != nil {
		return &logUnreadable{err}
	}
	err := copyFolder(ctx, r.copied, r.logPath())
	switch {
	case err == nil, context.Cause(ctx) != nil:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("there is no room for a copy of the log, which is read: have $TMPDIR name a folder with room: %w", err)
	}
	return &logUnreadable{fmt.Errorf("copy the log: %w", err)}
}

// mustHaveLog refuses a folder of a log that is not there: to open it would make an empty one.
func mustHaveLog(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("the log is lost: %w", err)
	}
	return nil
}

// copyFolder copies all files below a folder, which may be a link to it, into another that is
// there.
func copyFolder(ctx context.Context, to, from string) error {
	return filepath.WalkDir(from+"/.", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		source, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(copyFile(ctx, target, source), source.Close())
	})
}

func copyFile(ctx context.Context, to string, source io.Reader) error {
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, ctxio.Reader(ctx, source))
	return errors.Join(err, target.Close())
}

// ofCopy is an error of the copy of a log, said of the log: the copy is gone when it is read.
type ofCopy struct {
	error
	copied, log string
}

// Error implements error.
func (e *ofCopy) Error() string { return strings.ReplaceAll(e.error.Error(), e.copied, e.log) }

func (e *ofCopy) Unwrap() error { return e.error }

func (r *remains) ofLog(err error) error {
	if err == nil {
		return nil
	}
	return &ofCopy{err, r.copied, r.logPath()}
}

func (r *remains) ofLogs(entries iter.Seq2[core.Remnant, error]) iter.Seq2[core.Remnant, error] {
	return func(yield func(core.Remnant, error) bool) {
		for e, err := range entries {
			if !yield(e, r.ofLog(err)) {
				return
			}
		}
	}
}

// settle is that of the folder, which was only read until now.
func (r *remains) settle(step steps) error {
	if err := r.dir.own(); err != nil {
		return err
	}
	return r.dir.settle(step)
}

// closeLog ends the reading; the folder stays locked. Idempotent.
func (r *remains) closeLog() (err error) {
	if r.logs != nil {
		err = r.logs.Close()
	}
	if r.copied != "" {
		err = errors.Join(err, os.RemoveAll(r.copied))
	}
	return err
}

// Close unlocks the folder too.
func (r *remains) Close() error { return errors.Join(r.closeLog(), r.dir.Close()) }

// restore returns the map as of the snapshot.
func (r *remains) restore() (*kv.Store, error) {
	store := kv.New()
	if r.Snapshot == nil {
		return store, nil
	}
	from, err := r.Snapshot()
	if err == nil {
		err = errors.Join(store.Restore(from), from.Close())
	}
	return store, err
}

// replay is the map as of the last entry.
func (r *remains) replay() (*kv.Store, error) {
	store, err := r.restore()
	if err != nil {
		return nil, err
	}
	for e, err := range r.Entries {
		if err != nil {
			return nil, err
		}
		if e.Command != nil {
			store.Apply(e.Index, e.Command)
		}
	}
	return store, nil
}
