package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

func set(t *testing.T, s *kv.Store, index uint64, key, value string) {
	t.Helper()
	if r := s.Apply(index, kv.EncodeSet(key, []byte(value))).(kv.Result); r.Err != nil || r.Changed != 1 {
		t.Fatalf("set %q: %+v", key, r)
	}
}

func TestSetGetDelete(t *testing.T) {
	s := kv.New()
	set(t, s, 7, "a", "1")
	if v, index, ok := s.Get("a"); !ok || string(v) != "1" || index != 7 {
		t.Fatalf("get: %q %d %v", v, index, ok)
	}
	if r := s.Apply(8, kv.EncodeDelete("a")).(kv.Result); r.Changed != 1 || r.Err != nil {
		t.Fatalf("delete: %+v", r)
	}
	if r := s.Apply(9, kv.EncodeDelete("a")).(kv.Result); r.Changed != 0 || r.Err != nil {
		t.Fatalf("second delete: %+v", r)
	}
	if _, _, ok := s.Get("a"); ok || s.Len() != 0 || s.Applied() != 3 {
		t.Fatalf("after delete: %v, %d keys, %d applied", ok, s.Len(), s.Applied())
	}
}

func TestApplyCopiesTheCommand(t *testing.T) {
	s := kv.New()
	command := kv.EncodeSet("key", []byte("value"))
	s.Apply(1, command)
	clear(command)
	if v, _, ok := s.Get("key"); !ok || string(v) != "value" {
		t.Fatalf("the map shares the command's bytes: %q", v)
	}
}

func TestScan(t *testing.T) {
	s := kv.New()
	for i, key := range []string{"a", "a/1", "a/2", "a/3", "b"} {
		set(t, s, uint64(i+1), key, "v")
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 0, "a,a/1,a/2,a/3,b"},
		{"", "", 1, "a"},
		{"a/", "", 0, "a/1,a/2,a/3"},
		{"a/", "", 2, "a/1,a/2"},
		{"a/", "a/1", 2, "a/2,a/3"},
		{"a/", "a/3", 2, ""},
		{"a/", "a", 1, "a/1"},
		{"a/", "z", 0, ""},
		{"c", "", 0, ""},
	} {
		var got []string
		for _, p := range s.Scan(c.prefix, c.after, c.limit) {
			got = append(got, p.Key)
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("prefix %q after %q limit %d: %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
}

func TestBadCommandIsRefusedAndChangesNothing(t *testing.T) {
	s := kv.New()
	set(t, s, 1, "a", "1")
	good, err := kv.EncodeBatch([]kv.Op{{Kind: kv.OpSet, Key: "a", Value: []byte("2")}, {Kind: kv.OpDelete, Key: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, command := range [][]byte{nil, {}, {0}, {2, 1, 0, 0}, {1, 9}, {1, 3, 1, 3, 0}, {1, 1, 0, 0}, good[:len(good)-1], append(good, 0)} {
		index := uint64(i + 2)
		r := s.Apply(index, command).(kv.Result)
		var refused *kv.RefusedError
		if !errors.As(r.Err, &refused) || !errors.Is(r.Err, kv.ErrRefused) || refused.Index != index || r.Changed != 0 {
			t.Errorf("%x: %+v", command, r)
		}
		if n, last := s.Refused(); n != uint64(i+1) || last != index {
			t.Errorf("%x: %d refused, the last at %d", command, n, last)
		}
	}
	if v, _, _ := s.Get("a"); string(v) != "1" {
		t.Errorf("a refused batch changed the map: %q", v)
	}
}

func TestEncodeBatchRefuses(t *testing.T) {
	for name, ops := range map[string][]kv.Op{
		"nested":   {{Kind: 3, Key: "k"}},
		"no key":   {{Kind: kv.OpSet}},
		"long key": {{Kind: kv.OpSet, Key: strings.Repeat("k", kv.MaxKeyBytes+1)}},
		"too many": make([]kv.Op, kv.MaxBatchOps+1),
	} {
		if _, err := kv.EncodeBatch(ops); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEncodeIfRefuses(t *testing.T) {
	good := kv.Op{Kind: kv.OpSet, Key: "k"}
	if _, err := kv.EncodeIf(kv.Condition{Kind: 9}, good); err == nil {
		t.Error("an unknown condition was accepted")
	}
	if _, err := kv.EncodeIf(kv.Condition{Kind: kv.IfAbsent}, kv.Op{Kind: kv.OpSet}); err == nil {
		t.Error("an empty key was accepted")
	}
	if _, err := kv.EncodeAnnounce("", "h:1"); err == nil {
		t.Error("a member without an id was accepted")
	}
	if _, err := kv.EncodeAnnounce("n", strings.Repeat("h", kv.MaxNodeBytes+1)); err == nil {
		t.Error("a long address was accepted")
	}
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		cond    kv.Condition
		key     string // "there" was set at index 7
		refused uint64 // index that the error tells
		ok      bool
	}{
		{kv.Condition{}, "there", 0, true},
		{kv.Condition{Kind: kv.IfIndex, Index: 7}, "there", 0, true},
		{kv.Condition{Kind: kv.IfIndex, Index: 6}, "there", 7, false},
		{kv.Condition{Kind: kv.IfIndex, Index: 0}, "gone", 0, false},
		{kv.Condition{Kind: kv.IfPresent}, "there", 0, true},
		{kv.Condition{Kind: kv.IfPresent}, "gone", 0, false},
		{kv.Condition{Kind: kv.IfAbsent}, "there", 7, false},
		{kv.Condition{Kind: kv.IfAbsent}, "gone", 0, true},
	} {
		s := kv.New()
		set(t, s, 7, "there", "1")
		command, err := kv.EncodeIf(c.cond, kv.Op{Kind: kv.OpSet, Key: c.key, Value: []byte("2")})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Apply(8, command).(kv.Result)
		v, _, _ := s.Get(c.key)
		if got := string(v) == "2"; got != c.ok || (r.Err == nil) != c.ok {
			t.Errorf("%+v on %q: value %q, %+v", c.cond, c.key, v, r)
		}
		var failed *kv.ConditionError
		if !c.ok && (!errors.Is(r.Err, kv.ErrCondition) || !errors.As(r.Err, &failed) || failed.Index != c.refused || failed.Key != c.key) {
			t.Errorf("%+v on %q: error %v", c.cond, c.key, r.Err)
		}
	}
}

func TestDirectory(t *testing.T) {
	s := kv.New()
	announce := func(index uint64, id, address string) {
		t.Helper()
		command, err := kv.EncodeAnnounce(id, address)
		if err != nil {
			t.Fatal(err)
		}
		if r := s.Apply(index, command).(kv.Result); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	announce(1, "n1", "h:1")
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	announce(2, "n2", "h:2")
	announce(3, "n1", "h:3")
	announce(4, "n3", "")
	if want := map[string]string{"n1": "h:3", "n2": "h:2"}; !maps.Equal(s.Nodes(), want) {
		t.Fatalf("directory %v, want %v", s.Nodes(), want)
	}
	announce(5, "n2", "")
	if _, ok := s.HTTPAddress("n2"); ok || s.Len() != 0 {
		t.Fatal("n2 was taken out and is there, or is a key")
	}
	var file bytes.Buffer
	if _, err := snap.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"n1": "h:1"}; !maps.Equal(s.Nodes(), want) {
		t.Fatalf("the snapshot's directory is %v, want %v", s.Nodes(), want)
	}
}

// model is the naive second version: a plain map.
type model struct {
	values  map[string]string
	indexes map[string]uint64
	nodes   map[string]string
}

// conditional draws a condition that may hold or not, and applies op if it does.
func (m *model) conditional(t *rapid.T, index uint64, op kv.Op) []byte {
	cond := kv.Condition{Kind: kv.ConditionKind(rapid.IntRange(0, 3).Draw(t, "condition"))}
	if cond.Kind == kv.IfIndex {
		cond.Index = rapid.Uint64Range(0, index).Draw(t, "if index")
	}
	at, present := m.indexes[op.Key]
	if cond.Kind == kv.Always || cond.Kind == kv.IfIndex && present && at == cond.Index ||
		cond.Kind == kv.IfPresent && present || cond.Kind == kv.IfAbsent && !present {
		m.apply(index, []kv.Op{op})
	}
	command, err := kv.EncodeIf(cond, op)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func (m *model) announce(t *rapid.T) []byte {
	id := rapid.StringN(1, 2, 4).Draw(t, "id")
	address := rapid.StringN(0, 2, 4).Draw(t, "address")
	delete(m.nodes, id)
	if address != "" {
		m.nodes[id] = address
	}
	command, err := kv.EncodeAnnounce(id, address)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func (m *model) apply(index uint64, ops []kv.Op) {
	for _, op := range ops {
		delete(m.values, op.Key)
		delete(m.indexes, op.Key)
		if op.Kind == kv.OpSet {
			m.values[op.Key] = string(op.Value)
			m.indexes[op.Key] = index
		}
	}
}

func drawOp(t *rapid.T) kv.Op {
	op := kv.Op{Kind: kv.OpDelete, Key: rapid.StringN(1, 3, 6).Draw(t, "key")}
	if rapid.Bool().Draw(t, "set") {
		op.Kind = kv.OpSet
		op.Value = rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "value")
	}
	return op
}

func encode(t *rapid.T, ops []kv.Op) []byte {
	if len(ops) == 1 && ops[0].Kind == kv.OpSet {
		return kv.EncodeSet(ops[0].Key, ops[0].Value)
	}
	if len(ops) == 1 {
		return kv.EncodeDelete(ops[0].Key)
	}
	command, err := kv.EncodeBatch(ops)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

// TestModel applies random commands, good and bad, to three stores (one by one,
// in batches, and through a snapshot now and then) and to a plain map.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		single, batched, restored := kv.New(), kv.New(), kv.New()
		m := model{values: map[string]string{}, indexes: map[string]uint64{}, nodes: map[string]string{}}
		var batch []core.BatchEntry
		for i := range rapid.IntRange(0, 30).Draw(t, "commands") {
			index := uint64(i + 1)
			var command []byte
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				command = append([]byte{9}, rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "garbage")...)
			case 1, 2:
				command = m.conditional(t, index, drawOp(t))
			case 3:
				command = m.announce(t)
			default:
				ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 4).Draw(t, "ops")
				command = encode(t, ops)
				m.apply(index, ops)
			}
			single.Apply(index, command)
			restored.Apply(index, command)
			batch = append(batch, core.BatchEntry{Index: index, Command: command})
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				restored = reload(t, restored)
			}
		}
		batched.ApplyBatch(batch)
		compare(t, single, m)
		_, want := single.Digest()
		for name, s := range map[string]*kv.Store{"batched": batched, "restored": restored} {
			if _, got := s.Digest(); got != want || s.Applied() != single.Applied() {
				t.Fatalf("%s differs from one by one", name)
			}
		}
	})
}

func reload(t *rapid.T, from *kv.Store) *kv.Store {
	var file bytes.Buffer
	snap, err := from.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	if n, err := snap.WriteTo(&file); err != nil || n != int64(file.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, file.Len(), err)
	}
	s := kv.New()
	s.Apply(99, kv.EncodeSet("to be replaced", nil))
	if err := s.Restore(&file); err != nil {
		t.Fatal(err)
	}
	return s
}

func compare(t *rapid.T, s *kv.Store, m model) {
	if s.Len() != len(m.values) {
		t.Fatalf("%d keys, want %d", s.Len(), len(m.values))
	}
	var keys []string
	for _, p := range s.Scan("", "", 0) {
		keys = append(keys, p.Key)
		if m.values[p.Key] != string(p.Value) || m.indexes[p.Key] != p.Index {
			t.Fatalf("%q = %q at %d, want %q at %d", p.Key, p.Value, p.Index, m.values[p.Key], m.indexes[p.Key])
		}
	}
	if !slices.Equal(keys, slices.Sorted(maps.Keys(m.values))) {
		t.Fatalf("keys %q", keys)
	}
	if !maps.Equal(s.Nodes(), m.nodes) {
		t.Fatalf("directory %v, want %v", s.Nodes(), m.nodes)
	}
}

// TestSnapshotStays sees that a snapshot holds the state of its moment while
// writes and reads go on.
func TestSnapshotStays(t *testing.T) {
	s := kv.New()
	const keys = 500
	for i := range keys {
		set(t, s, uint64(i+1), fmt.Sprint(i), "old")
	}
	_, want := s.Digest()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range keys {
			s.Apply(uint64(keys+i+1), kv.EncodeSet(fmt.Sprint(i), []byte("new")))
		}
	})
	writers.Go(func() {
		for i := range keys {
			s.Get(fmt.Sprint(i))
			s.Scan("1", "", 10)
		}
	})
	var file bytes.Buffer
	_, errWrite := snap.WriteTo(&file)
	writers.Wait()
	if errWrite != nil {
		t.Fatal(errWrite)
	}
	restored := kv.New()
	if err := restored.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if _, got := restored.Digest(); got != want {
		t.Fatal("the snapshot took in later writes")
	}
}

func TestDamagedSnapshotChangesNothing(t *testing.T) {
	s := kv.New()
	set(t, s, 1, "a", "1")
	set(t, s, 2, "b", "2")
	s.Apply(3, nil) // refused
	var file bytes.Buffer
	snap, _ := s.Snapshot()
	if _, err := snap.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	_, want := s.Digest()
	for i := range whole {
		flipped := slices.Clone(whole)
		flipped[i] ^= 0x40
		for name, bad := range map[string][]byte{"flipped": flipped, "cut": whole[:i]} {
			if err := s.Restore(bytes.NewReader(bad)); !errors.Is(err, kv.ErrSnapshot) {
				t.Fatalf("%s at byte %d: %v", name, i, err)
			}
		}
	}
	if err := s.Restore(bytes.NewReader(append(slices.Clone(whole), 0))); !errors.Is(err, kv.ErrSnapshot) {
		t.Fatalf("with a byte after the end: %v", err)
	}
	if _, got := s.Digest(); got != want {
		t.Fatal("a failed restore changed the map")
	}
}

func FuzzApply(f *testing.F) {
	batch, err := kv.EncodeBatch([]kv.Op{{Kind: kv.OpSet, Key: "k", Value: []byte("v")}, {Kind: kv.OpDelete, Key: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	conditional, err := kv.EncodeIf(kv.Condition{Kind: kv.IfIndex, Index: 1}, kv.Op{Kind: kv.OpDelete, Key: "k"})
	if err != nil {
		f.Fatal(err)
	}
	announce, err := kv.EncodeAnnounce("n1", "h:1")
	if err != nil {
		f.Fatal(err)
	}
	stage := must(kv.EncodeStage("r", 0, kv.AppendPair(nil, "k", []byte("v"))))
	for _, seed := range [][]byte{nil, kv.EncodeSet("k", []byte("v")), kv.EncodeDelete("k"), batch, conditional, announce, stage} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, command []byte) {
		a, b := kv.New(), kv.New()
		ra := a.Apply(1, command).(kv.Result)
		batch := []core.BatchEntry{{Index: 1, Command: command}}
		b.ApplyBatch(batch)
		rb := batch[0].Result.(kv.Result)
		if ra.Changed != rb.Changed || (ra.Err == nil) != (rb.Err == nil) {
			t.Fatalf("%+v and %+v", ra, rb)
		}
		_, da := a.Digest()
		_, db := b.Digest()
		if da != db {
			t.Fatal("two members differ")
		}
		if ra.Err != nil && a.Len() > 0 {
			t.Fatal("a refused command changed the map")
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := kv.New()
	s.Apply(1, kv.EncodeSet("k", []byte("v")))
	s.Apply(2, nil)
	s.Apply(3, []byte("\x01\x05\x02n1\x03h:1"))
	var file bytes.Buffer
	snap, _ := s.Snapshot()
	if _, err := snap.WriteTo(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	s.Apply(4, must(kv.EncodeStage("r", 0, kv.AppendPair(nil, "k", []byte("v")))))
	f.Add(written(f, s))
	f.Add([]byte("raftlab-kv"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := kv.New()
		if s.Restore(bytes.NewReader(data)) != nil {
			return
		}
		var again bytes.Buffer
		snap, _ := s.Snapshot()
		if _, err := snap.WriteTo(&again); err != nil {
			t.Fatal(err)
		}
		if err := kv.New().Restore(&again); err != nil {
			t.Fatalf("what was restored cannot be restored again: %v", err)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	s := kv.New()
	command := kv.EncodeSet("key-000000000001", make([]byte, 256))
	b.SetBytes(256)
	b.ReportAllocs()
	for index := uint64(1); b.Loop(); index++ {
		s.Apply(index, command)
	}
}

func BenchmarkGet(b *testing.B) {
	s := kv.New()
	for i := range 10000 {
		s.Apply(uint64(i+1), kv.EncodeSet(fmt.Sprintf("key-%012d", i), make([]byte, 256)))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Get("key-000000005000")
	}
}

// BenchmarkState measures what is done to the state as a whole, of 100 000 keys with
// values of 100 B: bytes are those of the snapshot.
// BenchmarkScan is what a page costs, during which nothing is applied.
func BenchmarkScan(b *testing.B) {
	s := kv.New()
	const keys = 100_000
	for i := range keys {
		s.Apply(uint64(i+1), kv.EncodeSet(fmt.Sprintf("key-%012d", i), make([]byte, 256)))
	}
	for _, limit := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("keys=%d", limit), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if page := s.Scan("", fmt.Sprintf("key-%012d", i*7919%(keys-1000)), limit); len(page) != limit {
					b.Fatal(len(page))
				}
			}
		})
	}
}

func BenchmarkState(b *testing.B) {
	s := kv.New()
	for i := range 100_000 {
		s.Apply(uint64(i+1), kv.EncodeSet(fmt.Sprintf("key-%012d", i), make([]byte, 100)))
	}
	write := func(b *testing.B, to *bytes.Buffer) {
		to.Reset()
		snapshot, err := s.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		defer snapshot.Release()
		if _, err := snapshot.WriteTo(to); err != nil {
			b.Fatal(err)
		}
	}
	var written bytes.Buffer
	write(b, &written)
	for _, x := range []struct {
		name string
		do   func(*testing.B)
	}{
		{"snapshot", func(b *testing.B) { write(b, &written) }},
		{"restore", func(b *testing.B) {
			if err := kv.New().Restore(bytes.NewReader(written.Bytes())); err != nil {
				b.Fatal(err)
			}
		}},
		{"digest", func(*testing.B) { s.Digest() }},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.SetBytes(int64(written.Len()))
			b.ReportAllocs()
			for b.Loop() {
				x.do(b)
			}
		})
	}
}

// BenchmarkApplyBatch applies 64 commands at a time; time is that of all.
func BenchmarkApplyBatch(b *testing.B) {
	s, batch := kv.New(), make([]core.BatchEntry, 64)
	for i := range batch {
		batch[i].Command = kv.EncodeSet(fmt.Sprintf("key-%012d", i), make([]byte, 256))
	}
	b.ReportAllocs()
	for index := uint64(1); b.Loop(); {
		for i := range batch {
			batch[i].Index = index
			index++
		}
		s.ApplyBatch(batch)
	}
}
