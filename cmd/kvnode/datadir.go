package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What a node keeps in its folder. Whoever starts it may keep files of other
// names there.
const (
	lockName      = "LOCK"        // locked while a process uses the folder; holds its id
	identityName  = "node.json"   // whose data this is
	nodesName     = "nodes.json"  // HTTP addresses of the group's members, once the node is one
	promiseName   = "gossip.json" // whom the node has promised to found a group with, and where others were
	logDir        = "log"         // the log store's
	snapshotsName = "snapshots"   // the engine's
)

// identityFormat is the version of node.json.
const identityFormat = 1

// identity is what node.json says: what must not change from one start to the
// next.
type identity struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`
	Backend string `json:"backend"`
	Engine  string `json:"engine"`
	// Join is what --join said last before the node became a member; empty: it
	// was to found a group.
	Join []string `json:"join,omitempty"`
	// Gossip is true once the node was started with --gossip: before it had state
	// it may have promised others to found a group with them.
	Gossip bool `json:"gossip,omitempty"`
	// Incarnation is that of the data in the log, which holds it too: once it stands
	// here, a log without it is not the one that the node has voted with. Empty: the
	// log is not made yet, or it is from before there were incarnations.
	Incarnation string    `json:"incarnation,omitempty"`
	Created     time.Time `json:"created"`
}

var errLocked = errors.New("locked by another process")

// dataDir is a node's folder, locked.
type dataDir struct {
	path     string
	lock     *os.File
	identity *identity // nil: the folder is new
	// nodes are the members' HTTP addresses as last remembered, by id; nil: the
	// node has never been a member.
	nodes map[string]string
}

// openDataDir makes the folder where it is missing, locks it and reads whose it
// is.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("data path: %w", err)
	}
	lockPath := filepath.Join(path, lockName)
	lock, err := lockFile(lockPath)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s is in use by another kvnode%s", path, holder(lockPath))
	}
	if err != nil {
		return nil, fmt.Errorf("data path: %w", err)
	}
	d := &dataDir{path: path, lock: lock}
	if err := d.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// holder names the process that wrote its id into the lock, if it has yet.
func holder(lockPath string) string {
	data, err := os.ReadFile(lockPath)
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

func (d *dataDir) load() error {
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	path := filepath.Join(d.path, identityName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.mustBeNew()
	}
	if err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	if d.identity, err = parseIdentity(path, data); err != nil {
		return err
	}
	return d.loadNodes()
}

// mustBeNew refuses a folder with data of which nobody says whose it is.
func (d *dataDir) mustBeNew() error {
	for _, name := range []string{logDir, snapshotsName} {
		list, err := os.ReadDir(filepath.Join(d.path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("data path: %w", err)
		}
		if len(list) > 0 {
			return fmt.Errorf("%s is there but no %s that says whose it is: bring that file back, or give another directory",
				filepath.Join(d.path, name), filepath.Join(d.path, identityName))
		}
	}
	return nil
}

func (d *dataDir) loadNodes() error {
	path := filepath.Join(d.path, nodesName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	if err := json.Unmarshal(data, &d.nodes); err != nil || d.nodes == nil {
		return fmt.Errorf("%s is damaged: write {} into it; if the node has moved, start it with --join", path)
	}
	return nil
}

// remember writes down where the members are, so that a node that has moved finds
// them at its next start.
func (d *dataDir) remember(nodes map[string]string) error {
	if d.identity == nil || d.nodes != nil && maps.Equal(nodes, d.nodes) {
		return nil
	}
	if err := writeJSON(filepath.Join(d.path, nodesName), nodes); err != nil {
		return fmt.Errorf("remember the members: %w", err)
	}
	d.nodes = nodes
	return nil
}

func parseIdentity(path string, data []byte) (*identity, error) {
	var i identity
	if err := json.Unmarshal(data, &i); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: bring it back from a copy, or give another directory", path, err)
	}
	if i.Format > identityFormat {
		return nil, fmt.Errorf("%s has format %d, and this kvnode knows %d: use a newer one", path, i.Format, identityFormat)
	}
	if i.Format < 1 || i.ID == "" || i.Backend == "" || i.Engine == "" {
		return nil, fmt.Errorf("%s is damaged: format, id, backend or engine is missing: bring it back from a copy, or give another directory", path)
	}
	return &i, nil
}

// check compares what the folder holds with what the node is to be. An empty
// want.ID is any.
func (d *dataDir) check(want identity, inMemory bool) error {
	have := d.identity
	switch {
	case have == nil:
		return nil
	case inMemory:
		return fmt.Errorf("%s holds data on disk (%s of %s), which a node in memory would not read: give another directory, or leave --inmem out", d.path, have.Backend, have.ID)
	case want.ID != "" && want.ID != have.ID:
		return fmt.Errorf("%s holds the data of %s, not of %s: give --id %s or another directory", d.path, have.ID, want.ID, have.ID)
	case want.Backend != have.Backend:
		return fmt.Errorf("%s was written with --backend %s, not %s: give --backend %s or another directory", d.path, have.Backend, want.Backend, have.Backend)
	case want.Engine != have.Engine:
		return fmt.Errorf("%s was written with --engine %s, not %s: give --engine %s or another directory", d.path, have.Engine, want.Engine, have.Engine)
	}
	return nil
}

// claim writes down whose folder it is.
func (d *dataDir) claim(i identity) error {
	i.Format = identityFormat
	if err := writeJSON(filepath.Join(d.path, identityName), i); err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	d.identity = &i
	return nil
}

// writeJSON makes the file appear under its name whole and flushed, or not at all.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temporary := path + ".tmp"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close unlocks the folder.
func (d *dataDir) Close() error { return d.lock.Close() }
