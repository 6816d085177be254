package node

import (
	"iter"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// Left is what the folder of a node that does not run holds, whatever has become of its
// group. The folder is not changed, and nobody else can use it until Close.
type Left struct {
	ID, Group, Engine string
	CommittedIndex    uint64 // up to here the node knew that entries are committed
	Term              uint64 // of the last entry
	remains           *remains
}

// OpenLeft opens the folder.
func OpenLeft(data string, parts Parts) (*Left, error) {
	r, err := openRemains(data, parts)
	if err != nil {
		return nil, err
	}
	return &Left{ID: r.identity.ID, Group: r.Identity.Group, Engine: r.identity.Engine, CommittedIndex: r.CommittedIndex, Term: r.LastTerm, remains: r}, nil
}

// Close implements io.Closer.
func (l *Left) Close() error { return l.remains.Close() }

// Committed returns the map as of CommittedIndex, and, where the log is damaged before
// that, the map as of the last entry that could be read together with the error.
func (l *Left) Committed() (*kv.Store, error) {
	store, err := l.remains.restore()
	if err != nil {
		return nil, err
	}
	for e, err := range l.remains.Entries {
		switch {
		case err != nil:
			return store, err
		case e.Index > l.CommittedIndex:
			return store, nil
		case e.Command != nil:
			store.Apply(e.Index, e.Command)
		}
	}
	return store, nil
}

// Doubtful are the entries after CommittedIndex, in order, up to the first error.
func (l *Left) Doubtful() iter.Seq2[core.Remnant, error] {
	return func(yield func(core.Remnant, error) bool) {
		for e, err := range l.remains.Entries {
			if (err != nil || e.Index > l.CommittedIndex) && !yield(e, err) {
				return
			}
		}
	}
}
