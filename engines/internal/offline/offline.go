// Package offline is core.Offline, whichever engine: it reads what replicas have left and
// writes what a group with a state begins with. What differs is a [Format]. It runs no
// replica, and decides neither what was committed nor which replica's data are to count.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// Format is what an engine has its own way of storing.
type Format struct {
	Engine string // its name
	// Stored reads what is in a log store beside entries and identity.
	Stored func(logs core.LogStore) (Stored, error)
	// Entry reads an entry, the configuration before which has the members before.
	Entry func(entry *raft.Log, before []core.Member) (core.Remnant, error)
	// Begin has an empty log go on behind the snapshot of a founding. The term comes last:
	// without one nothing counts.
	Begin func(logs core.LogStore, f core.Founding) error
	// Write returns what a snapshot of a state holds; Read reads as far as the state.
	Write func(index uint64, state io.WriterTo) io.WriterTo
	Read  func(from io.Reader) error
}

// Stored is what a log store holds beside entries and identity.
type Stored struct {
	Term      uint64
	Committed uint64
	// Members is a configuration that is kept beside the log; nil: none is.
	Members      []core.Member
	MembersIndex uint64
	// Void: what is in the log does not count, as a founding was not finished.
	Void bool
}

var committedKey = []byte("raftlab.committed")

// KeepCommitted has a replica that ends well leave behind that the entries up to index are
// committed. One that fails or is killed leaves what was known before. Nothing depends on
// it but how much is called sure, so where it cannot be written warn is told and no more.
func KeepCommitted(logs core.LogStore, index uint64, warn func(msg string, args ...any)) {
	kept, err := committed(logs)
	if err == nil && kept < index {
		err = logs.Set(committedKey, strconv.AppendUint(nil, index, 10))
	}
	if err != nil {
		warn("what is known to be committed could not be kept", "index", index, "error", err)
	}
}

// committed is what KeepCommitted has left.
func committed(logs core.LogStore) (index uint64, err error) {
	value, err := identity.Text(logs, committedKey, "commit index")
	if err != nil || value == "" {
		return 0, err
	}
	if index, err = strconv.ParseUint(value, 10, 64); err != nil {
		return 0, fmt.Errorf("the log store is %w: its commit index is %q", core.ErrDamaged, value)
	}
	return index, nil
}

// Remains implements core.Offline.
func (f Format) Remains(ctx context.Context, logs core.LogStore, dir string) (*core.Remains, error) {
	r, err := f.remains(ctx, logs, dir)
	if err != nil {
		return nil, fmt.Errorf("read what a replica has left: %w", err)
	}
	return r, nil
}

func (f Format) remains(ctx context.Context, logs core.LogStore, dir string) (*core.Remains, error) {
	stored, err := f.Stored(logs)
	if err != nil {
		return nil, err
	}
	kept, err := committed(logs)
	if err != nil {
		return nil, err
	}
	r := &core.Remains{Term: stored.Term, CommittedIndex: max(stored.Committed, kept)}
	l := log{logs: logs, format: f}
	if !stored.Void {
		if r.FirstIndex, l.last, err = bounds(logs); err != nil {
			return nil, err
		}
	}
	found := identity.State{Term: stored.Term, Last: l.last}
	if dir != "" {
		s, err := snapshots.Newest(ctx, dir)
		if err != nil {
			return nil, err
		}
		if s != nil {
			found.Snapshots = true
			f.take(ctx, r, s)
		}
	}
	if r.Identity, err = identity.Left(logs, f.Engine, found); err != nil {
		return nil, err
	}
	l.after, l.term, l.members = r.SnapshotIndex, r.SnapshotTerm, r.Members
	r.LastIndex, r.LastTerm = l.after, l.term
	r.Entries = l.entries(ctx)
	meet(r, r.Members)
	for e, err := range r.Entries {
		if err != nil {
			break // who reads the entries is told
		}
		r.LastIndex, r.LastTerm = e.Index, e.Term
		if e.Members != nil {
			r.Members, r.MembersIndex = e.Members, e.Index
			meet(r, e.Members)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if stored.MembersIndex > r.MembersIndex {
		r.Members, r.MembersIndex = stored.Members, stored.MembersIndex
		meet(r, stored.Members)
	}
	return r, nil
}

func bounds(logs core.LogStore) (first, last uint64, err error) {
	if last, err = logs.LastIndex(); err != nil || last == 0 {
		return 0, 0, err
	}
	first, err = logs.FirstIndex()
	return first, last, err
}

// take puts a snapshot into what is left.
func (f Format) take(ctx context.Context, r *core.Remains, s *snapshots.Left) {
	r.SnapshotIndex, r.SnapshotTerm = s.Index, s.Term
	r.CommittedIndex = max(r.CommittedIndex, s.Index)
	r.Members, r.MembersIndex = identity.Members(s.Configuration), s.ConfigurationIndex
	r.Snapshot = func() (io.ReadCloser, error) {
		data, err := s.Open(ctx)
		if err != nil {
			return nil, err
		}
		if err := f.Read(data); err != nil {
			return nil, errors.Join(fmt.Errorf("snapshot %s: %w: %w", s.ID, core.ErrDamaged, err), data.Close())
		}
		return data, nil
	}
}

// meet looks for the id of the data: a log does not keep it, and configurations do.
func meet(r *core.Remains, members []core.Member) {
	for _, m := range members {
		if m.Incarnation != "" && m.Incarnation == r.Identity.Incarnation {
			r.Identity.ID = m.ID
		}
	}
}

// log is what a log store holds behind a snapshot.
type log struct {
	logs    core.LogStore
	format  Format
	after   uint64 // the snapshot's index, or 0
	term    uint64 // and its term
	members []core.Member
	last    uint64 // in the log store
}

// entries implements core.Remains.Entries.
func (l log) entries(ctx context.Context) iter.Seq2[core.Remnant, error] {
	return func(yield func(core.Remnant, error) bool) {
		if l.last <= l.after || l.replaced() {
			return
		}
		term, members := l.term, l.members
		for index := l.after + 1; index <= l.last; index++ {
			e, err := core.Remnant{}, context.Cause(ctx)
			if err == nil {
				e, err = l.entry(index, term, members)
			}
			if !yield(e, err) || err != nil {
				return
			}
			term = e.Term
			if e.Members != nil {
				members = e.Members
			}
		}
	}
}

// replaced says whether the snapshot is a leader's that was installed over other entries:
// what follows them in the log does not follow it. They may be there until the leader's
// next entries come.
func (l log) replaced() bool {
	var e raft.Log
	if l.after > 0 && l.logs.GetLog(l.after, &e) == nil {
		return e.Term != l.term
	}
	return l.logs.GetLog(l.after+1, &e) == nil && e.Term < l.term
}

// entry reads one that comes after those of a term, whose configuration has the members before.
func (l log) entry(index, term uint64, before []core.Member) (core.Remnant, error) {
	var e raft.Log
	switch err := l.logs.GetLog(index, &e); {
	case err == raft.ErrLogNotFound:
		return core.Remnant{}, fmt.Errorf("the log store is %w: log entry %d is missing", core.ErrDamaged, index)
	case err != nil:
		return core.Remnant{}, fmt.Errorf("log entry %d: %w", index, err)
	case e.Index != index || e.Term < term || e.Term == 0:
		return core.Remnant{}, fmt.Errorf("log entry %d is %w: it says that it is entry %d of term %d, behind one of term %d", index, core.ErrDamaged, e.Index, e.Term, term)
	}
	r, err := l.format.Entry(&e, before)
	if err != nil {
		return core.Remnant{}, fmt.Errorf("log entry %d: %w", index, err)
	}
	r.Index, r.Term = e.Index, e.Term
	return r, nil
}

// Found implements core.Offline.
func (f Format) Found(logs core.LogStore, dir string, g core.Founding) error {
	err := check(g, dir)
	if err == nil {
		err = f.unused(logs, dir)
	}
	if err == nil {
		err = snapshots.Found(dir, g.Index, g.Term, identity.Servers(g.Members), f.Write(g.Index, g.State))
	}
	if err == nil {
		err = identity.Found(logs, f.Engine, self(g))
	}
	if err == nil {
		err = f.Begin(logs, g)
	}
	if err != nil {
		return fmt.Errorf("found the group that begins behind entry %d, as %s: %w", g.Index, g.ID, err)
	}
	return nil
}

// unused refuses a log store or folder that has something in it.
func (f Format) unused(logs core.LogStore, dir string) error {
	used, err := identity.Used(logs)
	if err != nil {
		return err
	}
	stored, err := f.Stored(logs)
	if err != nil {
		return err
	}
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	if used || stored.Term > 0 || stored.Committed > 0 || last > 0 {
		return fmt.Errorf("%w: the log store has been used: take an empty one", core.ErrInvalid)
	}
	s, err := snapshots.Newest(context.Background(), dir) // where there is one it is refused
	if s != nil || errors.Is(err, core.ErrDamaged) {
		return fmt.Errorf("%w: there is a snapshot in %s already: take an empty folder", core.ErrInvalid, dir)
	}
	return err
}

// self returns who the member is that a founding is for.
func self(g core.Founding) core.Identity {
	who := core.Identity{ID: g.ID, Group: core.GroupID(g.Members), Former: g.Former}
	for _, m := range g.Members {
		if m.ID == g.ID {
			who.Incarnation = m.Incarnation
		}
	}
	return who
}

// check refuses a founding from which no group can begin.
func check(g core.Founding, dir string) error {
	seen, voters := map[string]bool{}, 0
	for _, m := range g.Members {
		if err := identity.CheckID(m.ID); err != nil {
			return err
		}
		switch {
		case m.ID == "" || m.Address == "":
			return fmt.Errorf("%w: the member %q at %q has no id or no address", core.ErrInvalid, m.ID, m.Address)
		case !core.IsIncarnation(m.Incarnation):
			return fmt.Errorf("%w: the member %s has no new incarnation but %q", core.ErrInvalid, m.ID, m.Incarnation)
		}
		for _, key := range []string{"id " + m.ID, "address " + m.Address, "incarnation " + m.Incarnation} {
			if seen[key] {
				return fmt.Errorf("%w: two members have the %s", core.ErrInvalid, key)
			}
			seen[key] = true
		}
		if m.Voter {
			voters++
		}
	}
	switch {
	case voters == 0:
		return fmt.Errorf("%w: none of the members has a vote", core.ErrInvalid)
	case !seen["id "+g.ID]:
		return fmt.Errorf("%w: %q is none of the members", core.ErrInvalid, g.ID)
	case g.Index == 0 || g.Term == 0:
		return fmt.Errorf("%w: a state as of entry %d of term %d: both begin with 1", core.ErrInvalid, g.Index, g.Term)
	case g.State == nil || dir == "":
		return fmt.Errorf("%w: a group that begins with a state needs that, and a folder for it", core.ErrInvalid)
	}
	return nil
}
