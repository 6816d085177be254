package offline_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/identity"
	"github.com/themilchenko/raftlab/engines/internal/offline"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// plain is how the simplest of engines stores what it has.
func plain() offline.Format {
	return offline.Format{
		Engine: identity.Unmarked,
		Stored: func(logs core.LogStore) (s offline.Stored, err error) {
			s.Term, err = logs.GetUint64([]byte("term"))
			return s, err
		},
		Entry: func(e *raft.Log, _ []core.Member) (core.Remnant, error) { return core.Remnant{Command: e.Data}, nil },
		Begin: func(logs core.LogStore, f core.Founding) error { return logs.SetUint64([]byte("term"), f.Term) },
		Write: func(_ uint64, state io.WriterTo) io.WriterTo { return state },
		Read:  func(io.Reader) error { return nil },
	}
}

// text is a state.
type text string

// WriteTo implements io.WriterTo.
func (s text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

// left is what a test has a replica leave.
type left struct {
	terms           map[uint64]uint64 // of the entries in the log, by index
	damaged         uint64            // an entry that cannot be read
	snapshot, taken uint64            // entry and term that a snapshot covers; 0: there is none
}

// spoilt is a log store with an entry that cannot be read.
type spoilt struct {
	core.LogStore
	damaged uint64
}

// GetLog implements raft.LogStore.
func (s *spoilt) GetLog(index uint64, out *raft.Log) error {
	if index == s.damaged {
		return core.ErrDamaged
	}
	return s.LogStore.GetLog(index, out)
}

// read returns the remains, and the index and the error that the entries end with.
func (l left) read(t interface{ Fatal(...any) }, root string) (r *core.Remains, last uint64, end error) {
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		t.Fatal(err)
	}
	logs := &spoilt{inmem.New(), l.damaged}
	for index, term := range l.terms {
		if err := logs.StoreLog(&raft.Log{Index: index, Term: term, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if l.snapshot > 0 {
		members := identity.Servers([]core.Member{{ID: "n1", Address: "a:1", Voter: true}})
		if err := snapshots.Found(dir, l.snapshot, l.taken, members, text("state")); err != nil {
			t.Fatal(err)
		}
	}
	r, err = plain().Remains(context.Background(), logs, dir)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Entries {
		if end = err; err == nil {
			last = e.Index
		}
	}
	return r, last, end
}

// TestWhereTheLogGoesOn: behind a snapshot is only what follows it.
func TestWhereTheLogGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		left
		last, term uint64
		damaged    bool
	}{
		"nothing":                       {},
		"a log":                         {left: left{terms: map[uint64]uint64{1: 1, 2: 1, 3: 4}}, last: 3, term: 4},
		"a snapshot":                    {left: left{snapshot: 5, taken: 2}, last: 5, term: 2},
		"a log behind it":               {left: left{terms: map[uint64]uint64{6: 2, 7: 3}, snapshot: 5, taken: 2}, last: 7, term: 3},
		"a log from before it":          {left: left{terms: map[uint64]uint64{4: 1, 5: 2, 6: 2}, snapshot: 5, taken: 2}, last: 6, term: 2},
		"a log that ends before it":     {left: left{terms: map[uint64]uint64{1: 1, 2: 1}, snapshot: 5, taken: 2}, last: 5, term: 2},
		"a gap that it covers":          {left: left{terms: map[uint64]uint64{1: 1, 2: 1, 6: 2}, snapshot: 5, taken: 2}, last: 6, term: 2},
		"installed over other entries":  {left: left{terms: map[uint64]uint64{4: 1, 5: 1, 6: 3}, snapshot: 5, taken: 2}, last: 5, term: 2},
		"installed before older ones":   {left: left{terms: map[uint64]uint64{6: 1, 7: 1}, snapshot: 5, taken: 2}, last: 5, term: 2},
		"without a beginning":           {left: left{terms: map[uint64]uint64{3: 1, 4: 1}}, damaged: true},
		"a gap behind it":               {left: left{terms: map[uint64]uint64{7: 2}, snapshot: 5, taken: 2}, last: 5, term: 2, damaged: true},
		"a gap":                         {left: left{terms: map[uint64]uint64{1: 1, 3: 1}}, last: 1, term: 1, damaged: true},
		"an entry that is damaged":      {left: left{terms: map[uint64]uint64{1: 1, 2: 1, 3: 1}, damaged: 3}, last: 2, term: 1, damaged: true},
		"the snapshot's own is damaged": {left: left{terms: map[uint64]uint64{5: 2, 6: 2}, damaged: 5, snapshot: 5, taken: 2}, last: 6, term: 2},
		"a term that falls":             {left: left{terms: map[uint64]uint64{1: 2, 2: 1}}, last: 1, term: 2, damaged: true},
		"no term":                       {left: left{terms: map[uint64]uint64{1: 0}}, damaged: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, last, end := c.read(t, t.TempDir())
			if r.LastIndex != c.last || r.LastTerm != c.term || max(last, r.SnapshotIndex) != c.last {
				t.Errorf("the log ends with %d of term %d, and the entries with %d, want %d of term %d", r.LastIndex, r.LastTerm, last, c.last, c.term)
			}
			if errors.Is(end, core.ErrDamaged) != c.damaged || !c.damaged && end != nil {
				t.Errorf("the entries end with %v", end)
			}
		})
	}
}

// ending is a log store whose reader gives up while it waits for an entry.
type ending struct {
	core.LogStore
	at     uint64
	giveUp func()
}

// GetLog implements raft.LogStore.
func (s *ending) GetLog(index uint64, out *raft.Log) error {
	if index == s.at {
		s.giveUp()
	}
	return s.LogStore.GetLog(index, out)
}

// TestReadingEnds: the end of ctx ends Remains, and what it has returned, with its cause.
func TestReadingEnds(t *testing.T) {
	dir, cause := t.TempDir(), errors.New("given up")
	members := identity.Servers([]core.Member{{ID: "n1", Address: "a:1", Voter: true}})
	if err := snapshots.Found(dir, 5, 2, members, text("state")); err != nil {
		t.Fatal(err)
	}
	memory := inmem.New()
	for index := range uint64(4) {
		if err := memory.StoreLog(&raft.Log{Index: 6 + index, Term: 2, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	logs := &ending{memory, 8, func() { cancel(cause) }}
	if r, err := plain().Remains(ctx, logs, dir); !errors.Is(err, cause) {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := plain().Remains(ctx, inmem.New(), dir); !errors.Is(err, cause) {
		t.Errorf("of a snapshot: %+v, %v", r, err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	r, err := plain().Remains(ctx, memory, dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for e, err := range r.Entries {
		if err != nil && !errors.Is(err, cause) {
			t.Error(err)
		}
		if last = e.Index; last == 7 {
			cancel(cause)
		}
	}
	if last != 0 {
		t.Errorf("the entries end with %d", last)
	}
	if _, err := data.Read(make([]byte, 1)); !errors.Is(err, cause) {
		t.Errorf("the snapshot goes on: %v", err)
	}
	if _, err := r.Snapshot(); !errors.Is(err, cause) {
		t.Errorf("it can be opened: %v", err)
	}
	if err := data.Close(); err != nil {
		t.Error(err)
	}
}

// TestAnyLog: whatever is missing or damaged, what is read is all that follows the snapshot
// up to the first of it.
func TestAnyLog(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		l := left{terms: map[uint64]uint64{}}
		n, term := rapid.Uint64Range(0, 12).Draw(t, "entries"), uint64(1)
		terms := map[uint64]uint64{0: 0}
		for i := uint64(1); i <= 2*n; i++ {
			term += rapid.Uint64Range(0, 1).Draw(t, "later")
			terms[i] = term
		}
		if n > 0 && rapid.Bool().Draw(t, "a snapshot") {
			l.snapshot = rapid.Uint64Range(1, 2*n).Draw(t, "covers")
			l.taken = terms[l.snapshot]
		}
		first := rapid.Uint64Range(1, n+1).Draw(t, "first")
		for i := first; i <= n; i++ {
			if rapid.IntRange(0, 5).Draw(t, "not 0: it is there") > 0 {
				l.terms[i] = terms[i]
			}
		}
		l.damaged = rapid.Uint64Range(0, 2*n).Draw(t, "damaged")
		want, top := l.snapshot, uint64(0)
		for i := range l.terms {
			top = max(top, i)
		}
		for l.terms[want+1] > 0 && want+1 != l.damaged {
			want++
		}
		r, last, end := l.read(t, root)
		if r.LastIndex != want || r.LastTerm != terms[want] || max(last, l.snapshot) != want {
			t.Fatalf("%+v: ends with %d of term %d, and %d, want %d of term %d", l, r.LastIndex, r.LastTerm, last, want, terms[want])
		}
		if (end != nil) != (want < top) || end != nil && !errors.Is(end, core.ErrDamaged) {
			t.Fatalf("%+v: what cannot be read is told as %v", l, end)
		}
	})
}
