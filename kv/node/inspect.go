package node

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Inspection is what the folder of a node that does not run says of itself.
type Inspection struct {
	Dir         string    `json:"dir"`
	ID          string    `json:"id"`
	Incarnation string    `json:"incarnation,omitempty"` // of its data; empty: none yet, or from before there were any
	Engine      string    `json:"engine"`
	Store       string    `json:"store"`
	Format      int       `json:"format"` // of node.json
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by,omitempty"` // programs; empty: not known
	WrittenBy   string    `json:"written_by,omitempty"`

	// Folders, as seen from Dir: what the next start uses, what it removes, and what is left
	// of a migration or of before a recovery.
	Log       string   `json:"log"`
	Snapshots string   `json:"snapshots"`
	Discard   string   `json:"discard,omitempty"`
	Kept      []string `json:"kept,omitempty"`

	Recovered []Recovered       `json:"recovered,omitempty"`
	Nodes     map[string]string `json:"nodes,omitempty"` // HTTP addresses of the members as last known, by id
	Raft      *InspectedLog     `json:"raft,omitempty"`  // nil: see Damage
	// Damage is why the log could not be read, or not to its end; empty: it was.
	Damage string `json:"damage,omitempty"`
}

// InspectedLog is what log and snapshots hold. Indexes are 0 where there is nothing.
type InspectedLog struct {
	Group          string            `json:"group,omitempty"`
	Term           uint64            `json:"term"`
	First          uint64            `json:"first_index"` // of the entries in the log
	Last           uint64            `json:"last_index"`
	LastTerm       uint64            `json:"last_term"`
	CommittedIndex uint64            `json:"committed_index"` // as far as the disk knows
	SnapshotIndex  uint64            `json:"snapshot_index"`
	SnapshotTerm   uint64            `json:"snapshot_term"`
	Members        []InspectedMember `json:"members"`
	MembersIndex   uint64            `json:"members_index"` // of the entry that made them members
}

// InspectedMember is one of the newest configuration in the folder, which may not be committed.
type InspectedMember struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation,omitempty"`
	Address     string `json:"address"` // Raft
	Voter       bool   `json:"voter"`
}

// Inspect reads the folder of a node that does not run. It writes nothing there, not even what
// a log store writes when it is opened: that happens to a copy of the log in a temporary
// folder, which takes as much room. A folder without data of a node is a core.ErrInvalid.
func Inspect(ctx context.Context, data string, parts Parts) (found Inspection, err error) {
	r, err := lockRemains(data)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	i := r.identity
	found = Inspection{
		Dir: data, ID: i.ID, Incarnation: i.Incarnation, Engine: i.Engine, Store: i.Backend, Format: i.Format,
		Created: i.Created, CreatedBy: i.CreatedBy, WrittenBy: i.WrittenBy,
		Log: i.log(), Snapshots: i.snapshots(), Discard: i.Discard, Recovered: i.Recovered, Nodes: r.dir.nodes,
	}
	if found.Kept, err = i.unused(data); err != nil {
		return found, err
	}
	if damage := found.readLog(ctx, r, parts); damage != nil {
		found.Damage = damage.Error()
	}
	return found, context.Cause(ctx)
}

// unused returns the folders of state that the identity does not name, and that stay.
func (i *identity) unused(data string) (names []string, err error) {
	for _, in := range slices.Compact([]string{".", cmp.Or(i.State, ".")}) {
		list, err := os.ReadDir(filepath.Join(data, in))
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			name := filepath.Join(in, f.Name())
			ours := isLog(f.Name()) || f.Name() == snapshotsName || in == "." && isState(f.Name())
			used := name == i.log() || name == i.snapshots() || name == i.State || name == i.Discard
			if f.IsDir() && ours && !used {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// readLog reads the log to its end, and returns what is wrong with it.
func (found *Inspection) readLog(ctx context.Context, r *remains, parts Parts) error {
	if err := r.open(ctx, parts, true); err != nil {
		return err
	}
	found.Raft = &InspectedLog{
		Group: r.Identity.Group, Term: r.Term, First: r.FirstIndex, Last: r.LastIndex, LastTerm: r.LastTerm,
		CommittedIndex: r.CommittedIndex, SnapshotIndex: r.SnapshotIndex, SnapshotTerm: r.SnapshotTerm,
		MembersIndex: r.MembersIndex, Members: []InspectedMember{},
	}
	for _, m := range r.Members {
		found.Raft.Members = append(found.Raft.Members, InspectedMember{m.ID, m.Incarnation, m.Address, m.Voter})
	}
	for _, err := range r.Entries {
		if err != nil {
			return err
		}
	}
	return nil
}
