package node

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/themilchenko/raftlab/core"
)

// Span is entries of one term, one after the other.
type Span struct{ First, Last, Term uint64 }

// Survivor is what a recovery finds in a folder.
type Survivor struct {
	Dir, ID             string
	Voter               bool
	LastIndex, LastTerm uint64 // of its log
	SnapshotIndex       uint64 // 0: there is no snapshot
	CommittedIndex      uint64 // up to here it knew that entries are committed
	Dropped             []Span // entries that contradict the newest log, so were never committed
	// Kept are the folders of log and snapshots, as seen from Dir, which stay.
	Kept []string

	remains *remains
	spans   []Span // of its snapshot's last entry and the log
}

func newSurvivor(r *remains) (*Survivor, error) {
	s := &Survivor{
		Dir: r.dir.path, ID: r.identity.ID, LastIndex: r.LastIndex, LastTerm: r.LastTerm,
		SnapshotIndex: r.SnapshotIndex, CommittedIndex: r.CommittedIndex,
		Kept: []string{r.identity.log(), r.identity.snapshots()}, remains: r,
	}
	switch {
	case r.LastIndex == 0:
		return nil, fmt.Errorf("%w: %s holds neither entries nor a snapshot: %s has not been in a group yet: leave it out", core.ErrInvalid, s.Dir, s.ID)
	case different(r.Identity.ID, s.ID):
		return nil, fmt.Errorf("%w: %s: the log is that of %s, not of %s: bring the right one back", core.ErrInvalid, s.Dir, r.Identity.ID, s.ID)
	}
	if r.SnapshotIndex > 0 {
		s.spans = []Span{{r.SnapshotIndex, r.SnapshotIndex, r.SnapshotTerm}}
	}
	for e, err := range r.Entries {
		if err != nil {
			return nil, leaveOut(s.Dir, fmt.Errorf("%s: %w", s.Dir, err))
		}
		if n := len(s.spans); n > 0 && s.spans[n-1].Term == e.Term {
			s.spans[n-1].Last = e.Index
		} else {
			s.spans = append(s.spans, Span{e.Index, e.Index, e.Term})
		}
	}
	return s, nil
}

// leaveOut says what to do about a folder the log of which is lost or damaged.
func leaveOut(dir string, err error) error {
	return fmt.Errorf("%w\nLeave this folder out if another has a newer log; what is readable of it: kvnode dump %s", err, dir)
}

// term is that of an entry, 0 where it is not known: it is covered by the snapshot.
func (s *Survivor) term(index uint64) uint64 {
	for _, span := range s.spans {
		if span.First <= index && index <= span.Last {
			return span.Term
		}
	}
	return 0
}

// after returns the entries behind index.
func (s *Survivor) after(index uint64) (spans []Span) {
	for _, span := range s.spans {
		if span.First = max(span.First, index+1); span.First <= span.Last {
			spans = append(spans, span)
		}
	}
	return spans
}

// contradicts returns the entries that differ from those of the newest log. From the first
// that does all do: two logs with an entry of one term at an index are the same up to it.
func (s *Survivor) contradicts(newest *Survivor) []Span {
	agreed := max(s.SnapshotIndex, newest.SnapshotIndex)
	if s.LastIndex < agreed {
		return nil // the newest has a snapshot in place of them
	}
	n := sort.Search(int(s.LastIndex-agreed), func(i int) bool {
		index := agreed + 1 + uint64(i)
		return s.term(index) != newest.term(index)
	})
	if n == 0 && s.SnapshotIndex < agreed && s.term(agreed) != newest.term(agreed) {
		agreed-- // and, may be, some before that, which the snapshot covers
	}
	return s.after(agreed + uint64(n))
}

// isKept refuses a newest log that is without what another one knows to be committed: a log
// that Raft calls newer has all of that, unless a disk has lost what was flushed to it.
func (s *Survivor) isKept(newest *Survivor) error {
	index := s.CommittedIndex
	switch mine, its := s.term(index), newest.term(index); {
	case index > newest.LastIndex:
	case mine != 0 && its != 0 && mine != its:
	default:
		return nil
	}
	return fmt.Errorf("%w: entry %d is committed, as %s says, and the log in %s, which is the newest, is without it: the disk of one of them has lost what it had kept: leave that folder out; what each holds: kvnode dump",
		core.ErrDamaged, index, s.Dir, newest.Dir)
}

// newer orders survivors as Raft compares logs, the newest first.
func newer(a, b *Survivor) int {
	return cmp.Or(cmp.Compare(b.LastTerm, a.LastTerm), cmp.Compare(b.LastIndex, a.LastIndex), cmp.Compare(a.ID, b.ID))
}

// survivorsOf reads the folders, and returns them with the newest log first.
func survivorsOf(all []*remains) ([]*Survivor, error) {
	var survivors []*Survivor
	for _, r := range all {
		s, err := newSurvivor(r)
		if err != nil {
			return nil, err
		}
		survivors = append(survivors, s)
	}
	slices.SortFunc(survivors, newer)
	newest := survivors[0]
	for i, s := range survivors {
		for _, other := range survivors[:i] {
			if s.ID == other.ID {
				return nil, fmt.Errorf("%w: %s and %s are both of %s: give the one that it has used last", core.ErrInvalid, other.Dir, s.Dir, s.ID)
			}
		}
		if err := s.belongs(newest); err != nil {
			return nil, err
		}
		if err := s.isKept(newest); err != nil {
			return nil, err
		}
		s.Dropped = s.contradicts(newest)
	}
	return survivors, nil
}

// belongs refuses a folder that is not of a member of the group that the newest log is of.
// Groups from before they had ids all have the same; there only the members tell.
func (s *Survivor) belongs(newest *Survivor) error {
	mine, group := s.remains.Identity, newest.remains.Identity.Group
	if mine.Group != group || s.remains.identity.Engine != newest.remains.identity.Engine {
		return fmt.Errorf("%w: %s is of group %s on engine %s, and %s of group %s on engine %s: they have nothing in common: recover each on its own",
			core.ErrInvalid, s.Dir, mine.Group, s.remains.identity.Engine, newest.Dir, group, newest.remains.identity.Engine)
	}
	i := slices.IndexFunc(newest.remains.Members, func(m core.Member) bool { return m.ID == s.ID })
	if i < 0 || different(newest.remains.Members[i].Incarnation, mine.Incarnation) {
		return fmt.Errorf("%w: %s is no member any more: %s was removed, or came back with other data, as the log in %s says (entry %d): leave that folder out",
			core.ErrInvalid, s.Dir, s.ID, newest.Dir, newest.remains.MembersIndex)
	}
	s.Voter = newest.remains.Members[i].Voter
	return nil
}

// different says whether two ids are known and not the same.
func different(a, b string) bool { return a != "" && b != "" && a != b }
