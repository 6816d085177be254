package etcd

import (
	"errors"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/failstop"
)

// stored returns a log store of term 2 with entries first to last of term 1.
func storeOf(t *testing.T, first, last uint64) *failstop.Store {
	t.Helper()
	s := failstop.Wrap(inmem.New(), failstop.NewWatch(time.Minute, time.Minute), func(error) {})
	l := &log{store: s}
	err := l.save(2, 0, nil)
	for i := first; i <= last && err == nil; i++ {
		err = s.StoreLog(&hraft.Log{Index: i, Term: 1, Type: hraft.LogCommand, Data: []byte("x")})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func snapshotOf(index, term uint64) *hraft.SnapshotMeta {
	return &hraft.SnapshotMeta{Index: index, Term: term, ConfigurationIndex: 1}
}

// TestWhereTheLogBegins: as a compaction, a snapshot of the leader's, or a crash in the middle
// of either leaves log and snapshots.
func TestWhereTheLogBegins(t *testing.T) {
	for name, c := range map[string]struct {
		low, high   uint64
		snapshot    *hraft.SnapshotMeta
		first, last uint64
		firstTerm   uint64
		damaged     bool
	}{
		"whole":                        {low: 1, high: 9, first: 1, last: 9},
		"a snapshot, nothing deleted":  {low: 1, high: 9, snapshot: snapshotOf(5, 1), first: 1, last: 9},
		"compacted":                    {low: 3, high: 9, snapshot: snapshotOf(5, 1), first: 4, last: 9, firstTerm: 1},
		"compacted to the snapshot":    {low: 5, high: 9, snapshot: snapshotOf(5, 1), first: 6, last: 9, firstTerm: 1},
		"behind a snapshot":            {low: 6, high: 9, snapshot: snapshotOf(5, 1), first: 6, last: 9, firstTerm: 1},
		"nothing behind a snapshot":    {snapshot: snapshotOf(5, 2), first: 6, last: 5, firstTerm: 2},
		"installed, not emptied":       {low: 1, high: 9, snapshot: snapshotOf(20, 2), first: 21, last: 20, firstTerm: 2},
		"installed over other entries": {low: 1, high: 9, snapshot: snapshotOf(5, 2), first: 6, last: 5, firstTerm: 2},
		"without a beginning":          {low: 3, high: 9, damaged: true},
		"a hole":                       {low: 8, high: 9, snapshot: snapshotOf(5, 1), damaged: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := openLog(storeOf(t, c.low, c.high), c.snapshot, 4)
			if c.damaged {
				if !errors.Is(err, core.ErrDamaged) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			first, _ := l.FirstIndex()
			last, _ := l.LastIndex()
			term, err := l.Term(c.first - 1)
			if first != c.first || last != c.last || term != c.firstTerm || err != nil {
				t.Errorf("entries %d to %d, term before %d, %v", first, last, term, err)
			}
			if last >= first {
				entries, err := l.Entries(first, last+1, 1<<20)
				if err != nil || len(entries) != int(last+1-first) || entries[0].GetIndex() != first {
					t.Errorf("%d entries, %v", len(entries), err)
				}
			}
		})
	}
}

// meddling is a store that has something happen right after entries were deleted.
type meddling struct {
	core.LogStore
	deleted func()
}

func (m meddling) DeleteRange(low, high uint64) error {
	err := m.LogStore.DeleteRange(low, high)
	m.deleted()
	return err
}

// TestCompactedMeanwhile: a snapshot of the replica's own is done while the leader's takes the
// place of the log: the entries that it would look at are gone, and that is no damage.
func TestCompactedMeanwhile(t *testing.T) {
	s := storeOf(t, 1, 20)
	var l *log
	met := 0
	s.LogStore = meddling{s.LogStore, func() {
		met++
		if err := l.compacted(snapshotOf(15, 1), 10); err != nil {
			t.Error(err)
		}
	}}
	l, err := openLog(s, snapshotOf(5, 1), 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.restart(snapshotOf(30, 2)); err != nil || met != 1 {
		t.Fatal(met, err)
	}
	if err := errors.Join(s.Failed(), l.drop()); err != nil {
		t.Error(err)
	}
	first, _ := l.FirstIndex()
	term, err := l.Term(30)
	if first != 31 || term != 2 || err != nil || l.snapshotIndex() != 30 {
		t.Errorf("begins with %d after term %d and snapshot %d, %v", first, term, l.snapshotIndex(), err)
	}
}

// TestUnfinishedFounding: a crash before the term is stored leaves nothing that counts.
func TestUnfinishedFounding(t *testing.T) {
	s := failstop.Wrap(inmem.New(), failstop.NewWatch(time.Minute, time.Minute), func(error) {})
	if err := s.StoreLog(&hraft.Log{Index: 1, Term: 1, Type: hraft.LogConfiguration, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(s, nil, 4)
	if err != nil {
		t.Fatal(err)
	}
	members := &configuration{index: 1, members: []core.Member{{ID: "a"}, {ID: "n1", Voter: true}}}
	if err := l.found(members); err != nil {
		t.Fatal(err)
	}
	l, err = openLog(s, nil, 4)
	if err != nil || l.commit != 1 || l.last != 1 || len(l.members.members) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	c, steps, err := (&configuration{}).next(mustRead(t, l, 1))
	if err != nil || len(c.members) != 2 || steps[0].GetChanges()[0].GetType() != pb.ConfChangeAddNode {
		t.Errorf("%+v, %v, %v: want the voter first", c, steps, err)
	}
}

func mustRead(t *testing.T, l *log, index uint64) *pb.Entry {
	t.Helper()
	e, err := l.read(index)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestNumbersAreTaken: a member that the library could not tell from another is refused.
func TestNumbersAreTaken(t *testing.T) {
	a, b := core.Member{ID: "a", Voter: true}, core.Member{ID: "b"}
	c := &configuration{members: []core.Member{a}}
	alike := func(core.Member) uint64 { return 7 }
	if err := c.distinct(b, number); err != nil {
		t.Error(err)
	}
	if err := c.distinct(a, alike); err != nil {
		t.Errorf("itself: %v", err)
	}
	if err := c.distinct(b, alike); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("another: %v", err)
	}
}
