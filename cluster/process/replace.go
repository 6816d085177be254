package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/lockfile"
)

// Replacement is a node that gets new data, as data_dir/ALIAS.replacing says from before the
// first change until all is done. Who finds that file goes on with what it says.
type Replacement struct {
	Begun time.Time `json:"begun"`
	// Kept is the name of the folder, in data_dir, that the node's old one becomes.
	Kept string `json:"kept"`
	// Aside: the old folder was moved there, or there was none. What the node has now is new.
	Aside bool `json:"aside"`
}

func (c *Cluster) replacementPath(alias string) string { return c.Dir(alias) + ".replacing" }

// Votes reports whether the node is to have a vote.
func (c *Cluster) Votes(n clusterfile.Node) bool { return votes(c.file, n) }

// Wiped reports whether a node that runs has lost its folder, or what was in it.
func (c *Cluster) Wiped(alias string) (bool, error) {
	there, err := exists(filepath.Join(c.Dir(alias), lockName))
	return !there && err == nil, err
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WhileNoneReplaces calls f while no other call of it is under way, here or in another
// process, on the same data directory; where one is, it returns an ErrReplacing at once. Of two
// replacements each would take the other's new node for the old one, or end a node that the
// other counts on.
func (c *Cluster) WhileNoneReplaces(f func() error) error {
	lock, err := lockfile.Take(filepath.Join(c.dataDir(), "replace.lock"))
	switch {
	case errors.Is(err, lockfile.ErrLocked):
		return ErrReplacing
	case err == nil:
		defer lock.Close() // and with it the lock
	case !errors.Is(err, fs.ErrNotExist): // without a data directory there is nothing to guard
		return err
	}
	return f()
}

// Replacing returns the replacement of a node that is under way; false: none is.
func (c *Cluster) Replacing(alias string) (r Replacement, underWay bool, err error) {
	path := c.replacementPath(alias)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && r.Kept != filepath.Base(r.Kept) {
		err = fmt.Errorf("%q is no folder beside the nodes", r.Kept)
	}
	if err != nil {
		return r, false, fmt.Errorf("%s: %w: remove it to begin anew", path, err)
	}
	if !r.Aside { // a crash may have come before that was noted
		r.Aside, err = exists(filepath.Join(c.dataDir(), r.Kept))
	}
	return r, true, err
}

// BeginReplacing notes that the data of a node are to be replaced.
func (c *Cluster) BeginReplacing(alias string) (Replacement, error) {
	now := time.Now().UTC()
	name := alias + ".replaced-" + now.Format("20060102T150405")
	r := Replacement{Begun: now, Kept: name}
	for n := 2; ; n++ {
		taken, err := exists(filepath.Join(c.dataDir(), r.Kept))
		if err != nil {
			return r, err
		}
		if !taken {
			return r, c.noteReplacement(alias, r)
		}
		r.Kept = fmt.Sprintf("%s-%d", name, n)
	}
}

func (c *Cluster) noteReplacement(alias string, r Replacement) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(c.replacementPath(alias), append(text, '\n'))
}

// SetAside moves the folder of a node that does not run to where r says, and returns that
// path, or "" if there was no folder, or one that a disk without data is mounted at.
func (c *Cluster) SetAside(ctx context.Context, alias string, r Replacement) (kept string, err error) {
	err = c.Exclusively(ctx, func() error {
		p, err := c.running(alias)
		if p != nil {
			p.close()
			err = fmt.Errorf("process %d uses %s", p.pid, c.Dir(alias))
		}
		if err != nil {
			return err
		}
		kept = filepath.Join(c.dataDir(), r.Kept)
		switch err := os.Rename(c.Dir(alias), kept); {
		case errors.Is(err, fs.ErrNotExist):
			kept = ""
		case errors.Is(err, syscall.EBUSY):
			if holds, err := exists(filepath.Join(c.Dir(alias), "node.json")); holds || err != nil {
				return errors.Join(err, fmt.Errorf("a disk is mounted at %s, so it stays there: move all that is in it elsewhere, and give the command again", c.Dir(alias)))
			}
			kept = ""
		case err != nil:
			return err
		}
		if err := atomicfile.SyncDir(c.dataDir()); err != nil {
			return err
		}
		r.Aside = true
		return c.noteReplacement(alias, r)
	})
	if err != nil {
		return "", fmt.Errorf("set the folder of %s aside: %w", alias, err)
	}
	return kept, nil
}

// EndReplacing forgets a replacement, which is done. Without one it does nothing.
func (c *Cluster) EndReplacing(alias string) error { return removeFile(c.replacementPath(alias)) }
