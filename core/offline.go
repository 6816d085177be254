package core

import (
	"context"
	"io"
	"iter"
)

// Offline is optional for an [Engine]: what replicas have left can be read, and the
// beginning of a group be written, while no replica runs on them. That is how an operator
// gets at data whose group has lost its majority. What it reads may be more than the group
// ever committed, and less: it never guesses which.
type Offline interface {
	// Remains reads what a replica has left in logs and dir, its ReplicaConfig.SnapshotDir.
	// Nothing is changed, both stay the caller's, and the result is valid until logs is
	// closed or ctx ends: that ends all reading, with its cause. A log that another engine
	// wrote is refused as ErrInvalid.
	Remains(ctx context.Context, logs LogStore, dir string) (*Remains, error)

	// Found writes into an empty log store and a dir without snapshots, which is made where
	// missing, what one member of a group begins with, so that Start goes on from there. It
	// is durable when it returns nil; after an error or a crash both are to be thrown away.
	// A store or dir that has been used is refused as ErrInvalid. Each member of f.Members is
	// founded with the same f but for f.ID.
	Found(logs LogStore, dir string, f Founding) error
}

// Remains is what a replica has left: a snapshot of its state machine, and log entries
// behind it.
type Remains struct {
	// Identity has no Service, and no ID where no configuration names the incarnation.
	Identity Identity

	// Members is the newest configuration that is there, whether or not it was
	// committed, as of MembersIndex. Nil: there is none.
	Members      []Member
	MembersIndex uint64

	Term          uint64 // newest that the replica has stored
	SnapshotIndex uint64 // last entry that the snapshot covers; 0: there is no snapshot
	SnapshotTerm  uint64
	FirstIndex    uint64 // of the entries that are in the log; 0: none are
	LastIndex     uint64 // last entry of snapshot and log that can be read, with all before it
	LastTerm      uint64
	// CommittedIndex is up to where the replica knew, durably, that entries are committed:
	// all that it knew where it was closed, and may be less where it failed or was killed.
	CommittedIndex uint64

	// Snapshot opens that of the state machine, compared with its checksum; nil where there
	// is none. It is the newest that is whole; where none is, this is an ErrDamaged. The
	// caller closes it.
	Snapshot func() (io.ReadCloser, error)
	// Entries are those from SnapshotIndex+1 to LastIndex, in order. Where the log goes on
	// behind LastIndex, an error follows that says why it cannot be read: an ErrDamaged,
	// also for a gap.
	Entries iter.Seq2[Remnant, error]
}

// Remnant is an entry of a log whose replica does not run.
type Remnant struct {
	Index, Term uint64
	Command     []byte   // for the state machine; nil: it is the engine's own
	Members     []Member // the configuration that it makes; nil: none
}

// Founding is the beginning of a group that has a state already.
type Founding struct {
	ID string // which of Members this is
	// Members is the first configuration; each has an incarnation that was never used
	// before, from which the group's id follows ([GroupID]).
	Members []Member
	// Former is the group that this one takes the place of, since it has lost its majority:
	// its members are refused with that reason. Empty: none.
	Former string
	// The state is as of the entry Index of the term Term: the log goes on after Index,
	// in later terms. Both are 1 at least.
	Index, Term uint64
	State       io.WriterTo // a snapshot of the state machine; written once
}
