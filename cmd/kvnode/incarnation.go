package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// A node's log holds for whom it has voted and what it has acknowledged. Without it
// the node must not go on under its old vote. So the log carries an incarnation, made
// with the folder: first the log gets it, then node.json, and then the replica starts.
// A crash in between leaves a log without data, which gets one at the next start.

// incarnate finds out whose the data in the log are, and gives new ones an
// incarnation. A log that should hold more than it does is refused.
func (n *node) incarnate() (err error) {
	if n.settings.inMemory {
		n.incarnation = core.NewIncarnation() // the vote of the last run is lost with it
		return nil
	}
	if n.hasState, err = raft.HasExistingState(n.logs, n.logs, raft.NewInmemSnapshotStore()); err != nil {
		_, term := n.logs.GetUint64([]byte("CurrentTerm")) // once more: the library makes text of what is wrong
		_, last := n.logs.LastIndex()
		return fmt.Errorf("look for state in %s: %w", filepath.Join(n.dir.path, logDir), cmp.Or(term, last, err))
	}
	stored, err := core.Imprint(n.logs, "", n.hasState)
	if err != nil {
		return err
	}
	known := n.dir.identity.Incarnation
	switch {
	case stored == "" && known != "", !n.hasState && n.joined():
		return n.logLost()
	case stored == "" && n.hasState:
		return nil // from before there were incarnations
	case stored != "" && stored == known:
		n.incarnation = known
		return nil
	case stored != "" && known != "":
		return fmt.Errorf("%w: %s is of incarnation %s and %s of %s: they are of two nodes, or of two times of one: bring back the one that belongs to the other",
			core.ErrInvalid, filepath.Join(n.dir.path, logDir), stored, filepath.Join(n.dir.path, identityName), known)
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
func (n *node) joined() bool {
	if n.settings.inMemory {
		return false
	}
	left, err := os.ReadDir(filepath.Join(n.dir.path, snapshotsName))
	return n.dir.nodes != nil || err == nil && len(left) > 0
}

// logLost says what has happened and what to type next.
func (n *node) logLost() error {
	path := n.dir.path
	what := fmt.Sprintf("%s is empty, but %s has been a member and has voted: its vote, and what it has acknowledged since its last snapshot, are lost",
		filepath.Join(path, logDir), n.id)
	again := "start the node again as now: the group takes the old vote away and gives it a new one"
	if n.settings.gossip == nil {
		again = "start the node again with the same flags and --join " + n.others() + ": the group takes the old vote away and gives it a new one"
	}
	return fmt.Errorf("%w: %s. Bring the log back; or move the folder away (mv %s %s.lost) and %s", core.ErrLogLost, what, path, filepath.Clean(path), again)
}

// others returns the HTTP addresses of the other members, as --join takes them.
func (n *node) others() string {
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
