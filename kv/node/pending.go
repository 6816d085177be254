package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// A recovery gives several folders a new state, all of them or none. It makes the new state
// beside the old one in each, noted in node.json as pending; then one folder, the deciding
// one, is switched over by writing its node.json, and after that the others. Whoever opens
// a folder where a recovery is pending asks the deciding one: if that was switched over, so
// is this; if not, it never will be, for the process that would have done it has ended.

// pending is a recovery that is not finished in a folder.
type pending struct {
	State       string    `json:"state"` // folder that the new state is made in
	Incarnation string    `json:"incarnation"`
	Becomes     Recovered `json:"becomes"`
	Decider     *decider  `json:"decider,omitempty"` // nil: this folder
}

// decider names the folder that decides, so that no other is taken for it.
type decider struct {
	Path    string    `json:"path"` // from the folder that this is written in
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Recovered says what a recovery has made of a group.
type Recovered struct {
	Group string    `json:"group"` // that was made
	From  string    `json:"from"`  // the group that was lost
	At    time.Time `json:"at"`
	// Index and Term are of the last entry that was kept.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// Kept are the folders of the state before: log and snapshots.
	Kept []string `json:"kept"`
}

// switched is the identity once the recovery that is pending has been decided.
func (i *identity) switched() *identity {
	next, p := *i, i.Pending
	next.State, next.Log, next.Incarnation, next.Pending = p.State, "", p.Incarnation, nil
	next.Recovered = append(slices.Clip(i.Recovered), p.Becomes)
	return &next
}

// abandoned is the identity once it is known that the recovery never will be decided.
func (i *identity) abandoned() *identity {
	next := *i
	next.Discard, next.Pending = i.Pending.State, nil
	return &next
}

// effective is the identity that settle gives the folder. It changes nothing.
func (d *dataDir) effective() (*identity, error) {
	p := d.identity.Pending
	if p == nil {
		return d.identity, nil
	}
	if p.Decider == nil {
		return d.identity.abandoned(), nil // to switch it over would have been the decision
	}
	path := filepath.Join(d.path, p.Decider.Path)
	switch other, err := readIdentity(path); {
	case err != nil:
		return nil, d.undecided(path, err)
	case other.ID != p.Decider.ID || !other.Created.Equal(p.Decider.Created):
		return nil, d.undecided(path, fmt.Errorf("it is not the folder of then: it holds the data of %s, made %s", other.ID, other.Created.Format(time.RFC3339)))
	case slices.ContainsFunc(other.Recovered, func(r Recovered) bool { return r.Group == p.Becomes.Group }):
		return d.identity.switched(), nil
	}
	return d.identity.abandoned(), nil
}

// undecided is where nobody can tell whether the recovery counts.
func (d *dataDir) undecided(path string, err error) error {
	name := filepath.Join(d.path, identityName)
	return fmt.Errorf("a recovery of the group of %s has not ended, and whether it counts is written in %s, which cannot be read: %w\n"+
		"Bring that folder back to where it was, or put a link there. If it is lost for good, take \"pending\" out of %s: then this node is as before the recovery",
		d.identity.ID, path, err, name)
}
