package etcd

import (
	"context"
	"io"

	hraft "github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/offline"
)

var _ core.Offline = Engine{}

// Remains implements core.Offline. Durably known to be committed is what the snapshot
// covers, or was when the configuration last changed or the replica was last closed.
func (Engine) Remains(ctx context.Context, logs core.LogStore, dir string) (*core.Remains, error) {
	return format().Remains(ctx, logs, dir)
}

// Found implements core.Offline.
func (Engine) Found(logs core.LogStore, dir string, f core.Founding) error {
	return format().Found(logs, dir, f)
}

func format() offline.Format {
	return offline.Format{
		Engine: Name,
		Stored: stable,
		Entry:  remnant,
		Begin:  begin,
		Write:  func(_ uint64, state io.WriterTo) io.WriterTo { return state },
		Read:   func(io.Reader) error { return nil },
	}
}

// stable reads what a log store holds beside entries.
func stable(logs core.LogStore) (s offline.Stored, err error) {
	if s.Term, s.Void, err = began(logs); err != nil || s.Void {
		return s, err
	}
	commit, c, err := readMembers(logs)
	return offline.Stored{Term: s.Term, Committed: commit, Members: c.members, MembersIndex: c.index}, err
}

// remnant reads an entry. A configuration follows from the one before.
func remnant(e *hraft.Log, before []core.Member) (r core.Remnant, err error) {
	entry := fromStore(e)
	switch {
	case entry.GetType() == pb.EntryConfChangeV2:
		var c *configuration
		if c, _, err = (&configuration{members: before}).next(entry); err == nil {
			r.Members = c.members
		}
	case len(e.Data) > 0:
		r.Command = unmarked(e.Data)
	}
	return r, err
}

// begin writes what Start wants to find beside a snapshot.
func begin(logs core.LogStore, f core.Founding) error {
	c := &configuration{index: f.Index}
	for _, m := range f.Members {
		if err := c.distinct(m, number); err != nil {
			return err
		}
		c.members = append(c.members, m)
	}
	raw, err := encodeMembers(f.Index, c.sorted())
	if err != nil {
		return err
	}
	if err := logs.Set(membersKey, raw); err != nil {
		return err
	}
	return logs.Set(voteKey, encodeVote(f.Term, 0))
}
