package node

import (
	"context"
	"errors"
	"iter"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// Left is what the folder of a node that does not run holds, whatever has become of its
// group. The folder is not changed, and nobody else can use it until Close.
type Left struct {
	ID, Engine     string
	Group          string // empty: it has none yet, or the log that knows is lost
	CommittedIndex uint64 // up to here the node knew that entries are committed
	Term           uint64 // of the last entry
	remains        *remains
	damage         error // why there is but a snapshot; nil: the log was opened
}

// OpenLeft opens the folder. Where its log is lost, or cannot be opened, but a snapshot is
// there, that is what is left: Committed returns it with the reason. The end of ctx ends all
// reading.
func OpenLeft(ctx context.Context, data string, parts Parts) (*Left, error) {
	r, err := openRemains(ctx, data, parts, true)
	if _, ok := errors.AsType[*logUnreadable](err); ok {
		return openSnapshot(ctx, data, parts, err)
	}
	if err != nil {
		return nil, err
	}
	return newLeft(r), nil
}

func newLeft(r *remains) *Left {
	return &Left{ID: r.identity.ID, Group: r.Identity.Group, Engine: r.identity.Engine, CommittedIndex: r.CommittedIndex, Term: r.LastTerm, remains: r}
}

// openSnapshot opens a folder without its log, an empty one being in its place.
func openSnapshot(ctx context.Context, data string, parts Parts, damage error) (*Left, error) {
	r, err := openRemains(ctx, data, parts, false)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	l := newLeft(r)
	if l.damage, l.Group = damage, ""; r.Snapshot == nil {
		return nil, errors.Join(damage, l.Close())
	}
	return l, nil
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
	if l.damage != nil {
		return store, l.damage
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
