package checked_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/backends/checked"
	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

func wrap(t *testing.T, store core.LogStore) *checked.Store {
	t.Helper()
	s, err := checked.Wrap(store, "memory")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(t *testing.T, _ string) core.LogStore { return wrap(t, inmem.New()) })
	t.Run("adapted", func(t *testing.T) { // a store of the library, which has numbers and values apart
		s := wrap(t, adapted())
		if err := errors.Join(s.SetUint64([]byte("k"), 7), s.Set([]byte("l"), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		number, err := s.GetUint64([]byte("k"))
		if err != nil || number != 7 {
			t.Errorf("number: %d, %v", number, err)
		}
	})
}

func adapted() core.LogStore {
	m := raft.NewInmemStore()
	return core.AdaptStore(m, m, nil, core.StoreInfo{Name: "library", Durability: core.DurableNothing})
}

func TestAbilitiesAreKept(t *testing.T) {
	s := wrap(t, inmem.New())
	if _, ok := core.As[core.SyncCounter](s); !ok {
		t.Error("flushes are not counted any more")
	}
	if _, ok := core.As[core.SyncCounter](wrap(t, adapted())); ok {
		t.Error("flushes are counted where the store below does not know of them")
	}
	if core.IsMonotonic(s) {
		t.Error("monotonic although the store below is not")
	}
}

// entry draws an entry with all that a log can hold.
func entry(t *rapid.T, index uint64) *raft.Log {
	e := &raft.Log{
		Index:      index,
		Term:       rapid.Uint64().Draw(t, "term"),
		Type:       raft.LogType(rapid.IntRange(0, 5).Draw(t, "type")),
		Data:       rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		Extensions: rapid.SliceOf(rapid.Byte()).Draw(t, "extensions"),
	}
	if rapid.Bool().Draw(t, "appended") {
		e.AppendedAt = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), 5)
	}
	return e
}

// TestEveryFieldIsCovered: an entry of which anything has changed below is refused
// with its index, and one that has not comes back as it was handed in.
func TestEveryFieldIsCovered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		below := inmem.New()
		s, err := checked.Wrap(below, "memory")
		if err != nil {
			rt.Fatal(err)
		}
		want := entry(rt, 3)
		kept := *want
		if err := s.StoreLog(want); err != nil {
			rt.Fatal(err)
		}
		if fmt.Sprint(*want) != fmt.Sprint(kept) {
			rt.Fatalf("the caller's entry was changed: %v, was %v", *want, kept)
		}
		var got raft.Log
		if err := s.GetLog(3, &got); err != nil || string(got.Data) != string(want.Data) || got.Term != want.Term ||
			got.Type != want.Type || string(got.Extensions) != string(want.Extensions) || !got.AppendedAt.Equal(want.AppendedAt) {
			rt.Fatalf("read back: %v, %v; want %v", got, err, *want)
		}
		var raw raft.Log
		if err := below.GetLog(3, &raw); err != nil {
			rt.Fatal(err)
		}
		spoilt := raw
		flip := func(b []byte) []byte {
			b = append([]byte(nil), b...)
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			return b
		}
		switch field := rapid.IntRange(0, 5).Draw(rt, "field"); {
		case field == 0:
			spoilt.Term ^= 1 << rapid.IntRange(0, 63).Draw(rt, "bit")
		case field == 1:
			spoilt.Type ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		case field == 2 && len(raw.Data) > 0:
			spoilt.Data = flip(raw.Data)
		case field == 3:
			spoilt.AppendedAt = raw.AppendedAt.Add(time.Nanosecond)
		case field == 4:
			spoilt.Data = append(append([]byte(nil), raw.Data...), 0)
		default:
			spoilt.Extensions = flip(raw.Extensions)
		}
		if err := below.StoreLog(&spoilt); err != nil {
			rt.Fatal(err)
		}
		err = s.GetLog(3, &got)
		if !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), "memory") || !strings.Contains(err.Error(), "log entry 3") {
			rt.Fatalf("damaged: %v", err)
		}
	})
}

// TestEntryInAnothersPlace: an entry that is whole, but not the one that was asked for.
func TestEntryInAnothersPlace(t *testing.T) {
	below := &misplaced{LogStore: inmem.New()}
	s := wrap(t, below)
	if err := s.StoreLogs([]*raft.Log{{Index: 1, Term: 1}, {Index: 2, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	below.by = 1
	if err := s.GetLog(1, new(raft.Log)); !errors.Is(err, core.ErrDamaged) {
		t.Fatalf("entry 2 for entry 1: %v", err)
	}
	below.by = 0
	if err := s.GetLog(9, new(raft.Log)); err != raft.ErrLogNotFound {
		t.Fatalf("missing: %v", err)
	}
}

type misplaced struct {
	core.LogStore
	by uint64
}

func (m *misplaced) GetLog(index uint64, out *raft.Log) error {
	return m.LogStore.GetLog(index+m.by, out)
}

func TestDamagedValues(t *testing.T) {
	below := inmem.New()
	s := wrap(t, below)
	if err := errors.Join(s.SetUint64([]byte("CurrentTerm"), 7), s.Set([]byte("LastVoteCand"), []byte("n1"))); err != nil {
		t.Fatal(err)
	}
	raw := map[string][]byte{}
	for _, key := range []string{"CurrentTerm", "LastVoteCand"} {
		raw[key], _ = below.Get([]byte(key))
	}
	read := func(key string) error {
		if key == "CurrentTerm" {
			_, err := s.GetUint64([]byte(key))
			return err
		}
		_, err := s.Get([]byte(key))
		return err
	}
	for key, good := range raw {
		other := raw["CurrentTerm"]
		if key == "CurrentTerm" {
			other = raw["LastVoteCand"]
		}
		bad := map[string][]byte{"no checksum": good[:len(good)-8], "gone": nil, "another key's": other}
		for i := range good {
			flipped := append([]byte(nil), good...)
			flipped[i] ^= 1 << rand.IntN(8)
			bad[fmt.Sprint("byte ", i)] = flipped
		}
		for what, value := range bad {
			if err := below.Set([]byte(key), value); err != nil {
				t.Fatal(err)
			}
			if err := read(key); !errors.Is(err, core.ErrDamaged) {
				t.Errorf("%s, %s: %v", key, what, err)
			}
			if _, err := checked.Wrap(below, "memory"); err != nil {
				t.Errorf("opening reads more than it needs: %v", err)
			}
		}
		if err := below.Set([]byte(key), good); err != nil {
			t.Fatal(err)
		}
		if err := read(key); err != nil {
			t.Errorf("%s, put back: %v", key, err)
		}
	}
}

// TestOldFolder: what was written without checksums is read, what comes after has
// them, and neither passes for the other.
func TestOldFolder(t *testing.T) {
	below := inmem.New()
	old := func(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: []byte("old")} }
	mustDo(t, below.StoreLogs([]*raft.Log{old(1), old(2), old(3), old(4)}),
		below.SetUint64([]byte("CurrentTerm"), 5), below.Set([]byte("LastVoteCand"), []byte("n1")))
	s := wrap(t, below)
	for i := uint64(1); i <= 4; i++ {
		mustDo(t, s.GetLog(i, new(raft.Log)))
	}
	if term, err := s.GetUint64([]byte("CurrentTerm")); term != 5 || err != nil {
		t.Errorf("term: %d, %v", term, err)
	}
	if vote, err := s.Get([]byte("LastVoteCand")); string(vote) != "n1" || err != nil {
		t.Errorf("vote: %q, %v", vote, err)
	}
	// A new leader replaces the end of the log: there, old entries end.
	mustDo(t, s.DeleteRange(3, 4), s.StoreLogs([]*raft.Log{{Index: 3, Term: 2}, {Index: 4, Term: 2}}),
		s.SetUint64([]byte("CurrentTerm"), 6))
	for range 2 { // as it is, and opened again
		mustDo(t, s.GetLog(2, new(raft.Log)), s.GetLog(4, new(raft.Log)))
		mustDo(t, below.StoreLog(old(3)))
		if err := s.GetLog(3, new(raft.Log)); !errors.Is(err, core.ErrDamaged) {
			t.Errorf("an entry without a checksum, where all have one: %v", err)
		}
		if term, err := s.GetUint64([]byte("CurrentTerm")); term != 6 || err != nil {
			t.Errorf("term: %d, %v", term, err)
		}
		s = wrap(t, below)
	}
}

// TestLostNote: a store that has checksums, but not the note that says so, is not
// taken for an old one.
func TestLostNote(t *testing.T) {
	for name, write := range map[string]func(core.LogStore) error{
		"entries": func(s core.LogStore) error { return s.StoreLog(&raft.Log{Index: 1}) },
		"term":    func(s core.LogStore) error { return s.SetUint64([]byte("CurrentTerm"), 1) },
	} {
		below := inmem.New()
		mustDo(t, write(wrap(t, below)), below.Set([]byte("raftlab.checked"), nil))
		if _, err := checked.Wrap(below, "memory"); !errors.Is(err, core.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterruptedUpgrade: the store is opened anew with every number of writes done,
// of those of a first start on an old folder.
func TestInterruptedUpgrade(t *testing.T) {
	crash := errors.New("crash")
	for allowed := 0; ; allowed++ {
		below := inmem.New()
		mustDo(t, below.StoreLogs([]*raft.Log{{Index: 1, Term: 1}, {Index: 2, Term: 1}}), below.SetUint64([]byte("CurrentTerm"), 1))
		left := allowed
		err := upgrade(&dying{below, func() error {
			if left--; left < 0 {
				return crash
			}
			return nil
		}})
		s := wrap(t, below)
		last, errLast := s.LastIndex()
		mustDo(t, errLast, s.GetLog(1, new(raft.Log)), s.GetLog(last, new(raft.Log)))
		term, errTerm := s.GetUint64([]byte("CurrentTerm"))
		if errTerm != nil || term != 1 && term != 2 {
			t.Fatalf("after %d writes: term %d, %v", allowed, term, errTerm)
		}
		mustDo(t, upgrade(below))
		if err == nil {
			return
		}
	}
}

func upgrade(below core.LogStore) error {
	s, err := checked.Wrap(below, "memory")
	if err != nil {
		return err
	}
	return errors.Join(s.SetUint64([]byte("CurrentTerm"), 2), s.DeleteRange(2, 2), s.StoreLog(&raft.Log{Index: 2, Term: 2}))
}

// dying writes as long as it may.
type dying struct {
	core.LogStore
	may func() error
}

func (d *dying) StoreLogs(entries []*raft.Log) error {
	if err := d.may(); err != nil {
		return err
	}
	return d.LogStore.StoreLogs(entries)
}

func (d *dying) DeleteRange(low, high uint64) error {
	if err := d.may(); err != nil {
		return err
	}
	return d.LogStore.DeleteRange(low, high)
}

func (d *dying) Set(key, value []byte) error {
	if err := d.may(); err != nil {
		return err
	}
	return d.LogStore.Set(key, value)
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
