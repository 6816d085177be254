package node

import (
	"errors"
	"fmt"

	"github.com/themilchenko/raftlab/kv"
)

// Left is what the folder of a node that does not run holds, whatever has become of its
// group.
type Left struct {
	ID, Group      string
	CommittedIndex uint64 // up to here the node knew that entries are committed
	LastIndex      uint64 // of the entries that All is made of
	Committed, All *kv.Store
	// Damage ended the reading at LastIndex; nil: the log was read to its end.
	Damage error
}

// ReadLeft reads the folder, of which it changes nothing, and which nobody else may use
// meanwhile. What of the log is damaged, and all behind it, is left out.
func ReadLeft(data string, parts Parts) (left *Left, err error) {
	r, err := openRemains(data, parts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	left = &Left{ID: r.identity.ID, Group: r.Identity.Group, CommittedIndex: r.CommittedIndex, LastIndex: r.SnapshotIndex}
	if left.All, err = r.restore(); err != nil {
		return nil, fmt.Errorf("%s: %w", data, err)
	}
	for e, err := range r.Entries {
		if err != nil {
			left.Damage = err
			break
		}
		if left.Committed == nil && e.Index > r.CommittedIndex {
			left.Committed = left.All.Clone()
		}
		if left.LastIndex = e.Index; e.Command != nil {
			left.All.Apply(e.Index, e.Command)
		}
	}
	if left.Committed == nil {
		left.Committed = left.All
	}
	return left, nil
}
