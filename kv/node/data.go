package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/lockfile"
)

// What a node keeps in its folder. Other files may be kept there under other
// names.
const (
	lockName      = "LOCK"        // locked while a process uses the folder; holds its id
	identityName  = "node.json"   // identity of the data
	nodesName     = "nodes.json"  // HTTP addresses of the group's members, once the node is one
	promiseName   = "gossip.json" // founders that the node has promised to found a group with, and where others were
	logDir        = "log"         // the log store's, unless node.json names another
	snapshotsName = "snapshots"   // the engine's
	statePrefix   = "data-"       // of a folder that both are in, once the group was recovered
)

// Versions of node.json: plain; with a log of another name or a folder to be removed; with
// a recovery. Older programs would not heed what is new.
const (
	plainFormat    = 1
	movedFormat    = 2
	identityFormat = 3
)

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
	// CreatedBy and WrittenBy are the programs that made the folder and that have written to
	// it last. Empty: one from before they did so.
	CreatedBy string `json:"created_by,omitempty"`
	WrittenBy string `json:"written_by,omitempty"`
	// State is the folder that log and snapshots are in; empty: that of the node.
	State string `json:"state,omitempty"`
	// Log is the folder of the log store; empty: logDir.
	Log string `json:"log,omitempty"`
	// Discard is a folder of state, or of a log store, that is not the node's any more, or
	// not yet: a migration or a recovery was ended by a crash. It is removed by who opens
	// the folder next.
	Discard string `json:"discard,omitempty"`
	// Pending is a recovery of the group that was not finished here.
	Pending *pending `json:"pending,omitempty"`
	// Recovered are the recoveries that have made the state what it is, oldest first.
	Recovered []Recovered `json:"recovered,omitempty"`
}

// Names of folders as seen from that of the node.

func (i *identity) log() string       { return filepath.Join(i.State, cmp.Or(i.Log, logDir)) }
func (i *identity) snapshots() string { return filepath.Join(i.State, snapshotsName) }

// dataDir is a node's folder, locked.
type dataDir struct {
	path     string
	lock     *lockfile.Lock // nil: the folder is only read, and cannot be locked
	identity *identity      // nil: the folder is new
	isNew    bool           // when it was opened there was no identity
	// nodes are the members' HTTP addresses as last remembered, by id; nil: the
	// node has never been a member.
	nodes map[string]string
}

// openDataDir makes the folder where it is missing, locks it and reads its
// identity.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("data path: %w", err)
	}
	d := &dataDir{path: path}
	if err := d.own(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("data path: %w", errors.Join(err, d.Close()))
	}
	return d, nil
}

// openUsed is openDataDir of a folder that holds data: any other is a core.ErrInvalid.
func openUsed(path string) (*dataDir, error) {
	if err := mustHoldData(path); err != nil {
		return nil, err
	}
	return openDataDir(path)
}

// readDataDir opens a folder that holds data, any other being a core.ErrInvalid, and writes
// nothing in it. Others are kept out if a node has ever used it, and this process may write
// to it. Before it is written to it has to be owned.
func readDataDir(path string) (*dataDir, error) {
	if err := mustHoldData(path); err != nil {
		return nil, err
	}
	d := &dataDir{path: path}
	_, err := os.Stat(filepath.Join(path, lockName))
	if err == nil {
		err = d.take()
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = nil
	}
	if err == nil {
		err = d.load()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func mustHoldData(path string) error {
	_, err := os.Stat(filepath.Join(path, identityName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %s holds no data of a node: there is no %s in it", core.ErrInvalid, path, identityName)
	}
	return err
}

// take locks the folder.
func (d *dataDir) take() (err error) {
	path := filepath.Join(d.path, lockName)
	if d.lock, err = lockfile.Take(path); errors.Is(err, lockfile.ErrLocked) {
		return fmt.Errorf("%s is in use by another kvnode%s: stop it first", d.path, holder(path))
	}
	if err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	return nil
}

// own has the folder be locked for writing, and says by whom.
func (d *dataDir) own() error {
	if d.lock == nil {
		if err := d.take(); err != nil {
			return err
		}
		used, err := d.lock.Stat()
		if err == nil && d.identity != nil && used.Size() > 0 { // since it was read without a lock
			err = fmt.Errorf("%s was used by another kvnode meanwhile: try again", d.path)
		}
		if err != nil {
			return err
		}
	}
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	_, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder names the process that wrote its id into the lock, if it has and still runs: who
// only reads the folder does not.
func holder(lockPath string) string {
	data, err := os.ReadFile(lockPath)
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || syscall.Kill(pid, 0) == syscall.ESRCH {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

func (d *dataDir) load() error {
	i, err := readIdentity(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		d.isNew = true
		return d.mustBeNew()
	}
	if err != nil {
		return err
	}
	d.identity = i
	return d.loadNodes()
}

// mustBeNew refuses a folder with data but without an identity.
func (d *dataDir) mustBeNew() error {
	there, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	names := []string{snapshotsName}
	for _, f := range there {
		if (isLog(f.Name()) || isState(f.Name())) && f.IsDir() {
			names = append(names, f.Name())
		}
	}
	for _, name := range names {
		list, err := os.ReadDir(filepath.Join(d.path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(list) > 0 {
			return d.withoutIdentity(filepath.Join(d.path, name))
		}
	}
	return nil
}

func (d *dataDir) withoutIdentity(what string) error {
	return fmt.Errorf("%s is there but no %s that says whose it is: bring that file back, or give another directory",
		what, filepath.Join(d.path, identityName))
}

func (d *dataDir) loadNodes() error {
	path := filepath.Join(d.path, nodesName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case json.Unmarshal(data, &d.nodes) != nil || d.nodes == nil:
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

// readIdentity reads the node.json of a folder that may be in use.
func readIdentity(dir string) (*identity, error) {
	path := filepath.Join(dir, identityName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseIdentity(path, data)
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
	if name, ok := i.folders(); !ok {
		return nil, fmt.Errorf("%s is damaged: %q is no folder that kvnode makes: bring it back from a copy", path, name)
	}
	return &i, nil
}

func isLog(name string) bool {
	return name == filepath.Base(name) && (name == logDir || strings.HasPrefix(name, logDir+"-"))
}

func isState(name string) bool {
	return name == filepath.Base(name) && strings.HasPrefix(name, statePrefix)
}

// folders checks the names of folders, of which some may be removed, and returns one that
// cannot be.
func (i *identity) folders() (wrong string, ok bool) {
	if i.State != "" && !isState(i.State) {
		return i.State, false
	}
	if i.Log != "" && !isLog(i.Log) {
		return i.Log, false
	}
	if p := i.Pending; p != nil && (!isState(p.State) || p.State == i.State) {
		return p.State, false
	}
	aLog := filepath.Dir(i.Discard) == filepath.Dir(i.log()) && isLog(filepath.Base(i.Discard)) && i.Discard != i.log()
	aState := isState(i.Discard) && i.Discard != i.State
	return i.Discard, i.Discard == "" || aLog || aState
}

// logPath is the folder of the log store.
func (d *dataDir) logPath() string {
	if d.identity == nil {
		return filepath.Join(d.path, logDir)
	}
	return filepath.Join(d.path, d.identity.log())
}

// statePath is the folder that the engine keeps its snapshots in.
func (d *dataDir) statePath() string {
	if d.identity == nil {
		return d.path
	}
	return filepath.Join(d.path, d.identity.State)
}

// settle brings the folder to where a migration or a recovery that has not ended was to
// leave it, and removes what that has left. What is to be removed is forgotten last: whatever
// ends the removal, the next opening goes on with it.
func (d *dataDir) settle(step steps) error {
	if d.identity == nil {
		return nil
	}
	next, err := d.effective()
	if err != nil {
		return err
	}
	if d.identity.Pending != nil {
		if err := d.claimAt(step, "settle "+next.ID, *next); err != nil {
			return err
		}
	}
	name := d.identity.Discard
	if name == "" {
		return nil
	}
	if err := step.at("remove " + name); err != nil {
		return err
	}
	left := filepath.Join(d.path, name)
	err = os.RemoveAll(left)
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(left))
	}
	if err != nil {
		return fmt.Errorf("remove what was left: %w", err)
	}
	rest := *d.identity
	rest.Discard = ""
	return d.claimAt(step, "forget "+name, rest)
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
		return fmt.Errorf("%s keeps its log in %s, not in %s: leave --backend out to go on with that, or move the log first: kvnode migrate --to %s %s",
			d.path, have.Backend, want.Backend, want.Backend, d.path)
	case want.Engine != have.Engine:
		return fmt.Errorf("%s was written with --engine %s, not %s: give --engine %s or another directory", d.path, have.Engine, want.Engine, have.Engine)
	}
	return nil
}

// claim writes down the identity of the folder's data.
func (d *dataDir) claim(i identity) error {
	switch i.Format = plainFormat; {
	case i.State != "" || i.Pending != nil || isState(i.Discard):
		i.Format = identityFormat
	case i.Log != "" || i.Discard != "":
		i.Format = movedFormat
	}
	if i.WrittenBy = program(); d.identity == nil {
		i.CreatedBy = i.WrittenBy
	}
	if err := writeJSON(filepath.Join(d.path, identityName), i); err != nil {
		return fmt.Errorf("data path: %w", err)
	}
	d.identity = &i
	return nil
}

// sign notes that this program writes to the folder.
func (d *dataDir) sign() error {
	if d.identity.WrittenBy == program() {
		return nil
	}
	return d.claim(*d.identity)
}

// program names this one in a folder.
func program() string {
	version, commit := core.Program()
	return version + " " + commit
}

// claimAt is claim as a step that tests can end before.
func (d *dataDir) claimAt(step steps, name string, i identity) error {
	if err := step.at(name); err != nil {
		return err
	}
	return d.claim(i)
}

// writeJSON makes the file appear under its name whole and flushed, or not at all.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'))
}

// Close unlocks the folder.
func (d *dataDir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// A node's log holds how it has voted and what it has acknowledged. Without it
// the node must not go on under its old vote. So the log carries an incarnation, made
// with the folder: first the log gets it, then node.json, and then the replica starts.
// A crash in between leaves a log without data, which gets one at the next start.

// incarnate finds out which incarnation the data in the log are of, and gives new ones an
// incarnation. A log that should hold more than it does is refused.
func (n *Node) incarnate() (err error) {
	if n.cfg.InMemory {
		n.incarnation = core.NewIncarnation() // the vote of the last run is lost with it
		return nil
	}
	if n.hasState, err = n.cfg.Engine.HasState(n.logs, n.dir.statePath()); err != nil {
		return fmt.Errorf("look for state in %s: %w", n.dir.logPath(), err)
	}
	if n.hasState && n.dir.isNew { // the engine keeps it where mustBeNew does not look
		err := n.dir.withoutIdentity("state of engine " + n.cfg.Engine.Describe().Name)
		return errors.Join(err, os.Remove(filepath.Join(n.dir.path, identityName)))
	}
	stored, err := core.Imprint(n.logs, "", n.hasState)
	if err != nil {
		return err
	}
	known := n.dir.identity.Incarnation
	switch {
	case stored == "" && known != "", !n.hasState && n.joined():
		return n.missingLog()
	case stored == "" && n.hasState:
		return nil // from before there were incarnations
	case stored != "" && stored == known:
		n.incarnation = known
		return nil
	case stored != "" && known != "":
		return fmt.Errorf("%w: %s is of incarnation %s and %s of %s: they are of two nodes, or of two times of one: bring back the one that belongs to the other; or begin with an empty folder and --join %s",
			core.ErrInvalid, n.dir.logPath(), stored, filepath.Join(n.dir.path, identityName), known, byManager(n.id))
	}
	if n.incarnation = stored; stored == "" {
		n.incarnation = core.NewIncarnation()
	}
	if _, err := core.Imprint(n.logs, n.incarnation, n.hasState); err != nil {
		return err
	}
	begin := *n.dir.identity
	begin.Incarnation = n.incarnation
	return n.dir.claim(begin)
}

// joined says whether something beside the log knows that the node has been a member.
func (n *Node) joined() bool {
	if n.cfg.InMemory {
		return false
	}
	left, err := os.ReadDir(filepath.Join(n.dir.statePath(), snapshotsName))
	return n.dir.nodes != nil || err == nil && len(left) > 0
}

// missingLog says what has happened and what to type next.
func (n *Node) missingLog() error {
	path := n.dir.path
	what := fmt.Sprintf("%s is empty, but %s has been a member and has voted: its vote, and what it has acknowledged since its last snapshot, are lost",
		n.dir.logPath(), n.id)
	again := "start the node again as now: the group takes the old vote away and gives it a new one"
	if n.cfg.Gossip == nil {
		again = "start the node again with the same flags and --join " + n.others() + ": the group takes the old vote away and gives it a new one"
	}
	return fmt.Errorf("%w: %s. Bring the log back; or move the folder away (mv %s %s.lost) and %s", core.ErrLogLost, what, path, filepath.Clean(path), again)
}

// others returns the HTTP addresses of the other members, as --join takes them.
func (n *Node) others() string {
	var others []string
	for _, id := range slices.Sorted(maps.Keys(n.dir.nodes)) {
		if id != n.id {
			others = append(others, n.dir.nodes[id])
		}
	}
	if len(others) == 0 {
		return "HOST:PORT of a member"
	}
	return strings.Join(others, ",")
}
