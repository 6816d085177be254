package kv_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
)

// contentOf is the naive second version of Image.Content.
func contentOf(values map[string]string) [sha256.Size]byte {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
		b = append(binary.AppendUvarint(b, uint64(len(values[key]))), values[key]...)
	}
	return sha256.Sum256(b)
}

func partOf(values map[string]string) []byte {
	var pairs []byte
	for _, key := range slices.Sorted(maps.Keys(values)) {
		pairs = kv.AppendPair(pairs, key, []byte(values[key]))
	}
	return pairs
}

// restoring is the model of a map with restores.
type restoring struct {
	model
	staged model // of id; nil maps: none is under way
	id     string
	next   uint64
	done   string
	left   string // given up
}

func newRestoring() *restoring {
	return &restoring{model: model{values: map[string]string{}, indexes: map[string]uint64{}, nodes: map[string]string{}}}
}

// stage draws a part of a restore, and tells whether the map has to refuse it.
func (m *restoring) stage(t *rapid.T, index uint64) (command []byte, refused bool) {
	id, part := drawRestore(t), uint64(rapid.IntRange(0, 3).Draw(t, "part"))
	pairs := rapid.MapOfN(rapid.StringN(1, 2, 4), rapid.StringN(0, 2, 4), 0, 4).Draw(t, "pairs")
	command, err := kv.EncodeStage(id, part, partOf(pairs))
	if err != nil {
		t.Fatal(err)
	}
	if id == m.done {
		return command, false
	}
	if m.id != id {
		if part > 0 || m.left == id {
			return command, true
		}
		m.id, m.next, m.staged = id, 0, model{values: map[string]string{}, indexes: map[string]uint64{}}
	}
	if part != m.next {
		return command, part > m.next
	}
	has := slices.Sorted(maps.Keys(m.staged.values))
	if keys := slices.Sorted(maps.Keys(pairs)); len(has) > 0 && len(keys) > 0 && keys[0] <= has[len(has)-1] {
		return command, true
	}
	for key, value := range pairs {
		m.staged.values[key], m.staged.indexes[key] = value, index
	}
	m.next++
	return command, false
}

// commit draws the end of a restore, which now and then is not of what was brought.
func (m *restoring) commit(t *rapid.T) (command []byte, refused bool) {
	id, keys, content := drawRestore(t), uint64(len(m.staged.values)), contentOf(m.staged.values)
	wrong := false
	switch rapid.IntRange(0, 4).Draw(t, "wrong") {
	case 0:
		keys, wrong = keys+1, true
	case 1:
		content[3], wrong = content[3]^1, true
	}
	command, err := kv.EncodeCommit(id, keys, content)
	if err != nil {
		t.Fatal(err)
	}
	if id == m.done {
		return command, false
	}
	if id != m.id || wrong {
		return command, true
	}
	m.values, m.indexes = m.staged.values, m.staged.indexes
	m.done, m.id = id, ""
	return command, false
}

func (m *restoring) forget(t *rapid.T) []byte {
	id := drawRestore(t)
	command, err := kv.EncodeForget(id)
	if err != nil {
		t.Fatal(err)
	}
	if m.done == id {
		return command
	}
	if m.left = id; m.id == id {
		m.id = ""
	}
	return command
}

func drawRestore(t *rapid.T) string {
	return rapid.SampledFrom([]string{"r1", "r2", "r3", "r4"}).Draw(t, "restore")
}

// TestRestoreModel applies writes and restores, in and out of order, to three stores (one
// by one, in batches, and through a snapshot at any moment) and to plain maps.
func TestRestoreModel(t *testing.T) {
	swapped := 0
	rapid.Check(t, func(t *rapid.T) {
		single, batched, reloaded := kv.New(), kv.New(), kv.New()
		m := newRestoring()
		var batch []core.BatchEntry
		for i := range rapid.IntRange(0, 40).Draw(t, "commands") {
			index, refused := uint64(i+1), false
			var command []byte
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0, 1, 2:
				command, refused = m.stage(t, index)
			case 3, 4:
				was := m.done
				if command, refused = m.commit(t); m.done != was {
					swapped++
				}
			case 5:
				command = m.forget(t)
			default:
				ops := []kv.Op{drawOp(t)}
				command = encode(t, ops)
				m.apply(index, ops)
			}
			r := single.Apply(index, command).(kv.Result)
			if errors.Is(r.Err, kv.ErrRestore) != refused || !refused && r.Err != nil {
				t.Fatalf("command %d: %+v, want it refused: %v", i, r, refused)
			}
			reloaded.Apply(index, command)
			batch = append(batch, core.BatchEntry{Index: index, Command: command})
			switch rapid.IntRange(0, 5).Draw(t, "restart") {
			case 0:
				reloaded = reload(t, reloaded)
			case 1: // what another copy takes in is not for this one
				other := reloaded.Clone()
				for part := range uint64(4) {
					other.Apply(index+1+part, must(kv.EncodeStage(cmp.Or(m.id, "r1"), part, partOf(map[string]string{"\U0010ffff": ""}))))
				}
				reloaded = reloaded.Clone()
			}
		}
		batched.ApplyBatch(batch)
		compare(t, single, m.model)
		if id, _ := single.Restoring(); id != m.id {
			t.Fatalf("restore %q is under way, want %q", id, m.id)
		}
		if got := single.Image().Content(); got != contentOf(m.values) {
			t.Fatalf("content %x, want %x", got, contentOf(m.values))
		}
		_, want := single.Digest()
		for name, s := range map[string]*kv.Store{"batched": batched, "reloaded": reloaded} {
			if _, got := s.Digest(); got != want {
				t.Fatalf("%s differs from one by one", name)
			}
		}
	})
	if swapped == 0 {
		t.Error("no restore came to its end: the test has lost its subject")
	}
}

// TestRestoreLate: of a restore that is done or given up nothing is gathered that comes late,
// also once another has begun, or a client that has done its part forgets it.
func TestRestoreLate(t *testing.T) {
	s := kv.New()
	pairs := map[string]string{"k": "v"}
	part := func(id string) []byte { return must(kv.EncodeStage(id, 0, partOf(pairs))) }
	done := func(id string) []byte { return must(kv.EncodeCommit(id, 1, contentOf(pairs))) }
	for i, c := range []struct {
		command []byte
		refused bool
		under   string // way then
	}{
		{part("a"), false, "a"},
		{done("a"), false, ""},
		{must(kv.EncodeForget("a")), false, ""},
		{part("a"), false, ""},
		{done("a"), false, ""},
		{part("b"), false, "b"},
		{part("a"), false, "b"},
		{must(kv.EncodeForget("b")), false, ""},
		{part("b"), true, ""},
		{done("b"), true, ""},
		{part("a"), false, ""},
		{must(kv.EncodeForget("c")), false, ""}, // before its part comes
		{part("c"), true, ""},
		{part("d"), false, "d"},
	} {
		r := s.Apply(uint64(i+1), c.command).(kv.Result)
		if under, _ := s.Restoring(); errors.Is(r.Err, kv.ErrRestore) != c.refused || under != c.under {
			t.Errorf("command %d: %v, and %q is under way, want %q", i, r.Err, under, c.under)
		}
	}
	if _, index, _ := s.Get("k"); index != 1 {
		t.Errorf("the map was replaced at index %d", index)
	}
}

// stagedStore is a map with two keys, and a restore of which a part has come.
func stagedStore(t *testing.T) *kv.Store {
	t.Helper()
	s := kv.New()
	set(t, s, 1, "a", "1")
	set(t, s, 2, "b", "2")
	for i, part := range []map[string]string{{"c": "3"}, {"d": "4", "e": "5"}} {
		if r := s.Apply(uint64(3+i), must(kv.EncodeStage("r", uint64(i), partOf(part)))).(kv.Result); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return s
}

// TestSnapshotWhileRestoring: version 2 is from the first part on, each flip and cut of it is found, and what comes of it goes on.
func TestSnapshotWhileRestoring(t *testing.T) {
	s := stagedStore(t)
	whole := written(t, s)
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
	if _, got := s.Digest(); got != want {
		t.Fatal("a refused snapshot has changed the map")
	}
	const version = len("raftlab-kv")
	other := kv.New()
	if err := other.Restore(bytes.NewReader(whole)); err != nil || whole[version] != 2 {
		t.Fatalf("version %d: %v", whole[version], err)
	}
	content := contentOf(map[string]string{"c": "3", "d": "4", "e": "5"})
	for i, c := range []struct {
		command []byte
		keys    int
	}{
		{must(kv.EncodeForget("other")), 2},
		{must(kv.EncodeCommit("r", 3, content)), 3},
		{must(kv.EncodeCommit("r", 3, content)), 3},
		{must(kv.EncodeForget("r")), 3},
	} {
		if r := other.Apply(uint64(5+i), c.command).(kv.Result); r.Err != nil {
			t.Fatal(r.Err)
		}
		if got := written(t, other)[version]; got != 2 || other.Len() != c.keys {
			t.Errorf("command %d: version %d, %d keys", i, got, other.Len())
		}
	}
	if _, index, _ := other.Get("d"); index != 4 {
		t.Errorf("d was changed at index %d, not at that of its part, 4", index)
	}
}

// TestImage: it has what was in the map, not what the map's group alone can use.
func TestImage(t *testing.T) {
	s := stagedStore(t)
	s.Apply(5, must(kv.EncodeAnnounce("n1", "h:1")))
	i := s.Image()
	defer i.Release()
	set(t, s, 6, "later", "x")
	var file bytes.Buffer
	if _, err := i.WriteTo(&file); err != nil || i.Index() != 5 || i.Keys() != 2 {
		t.Fatalf("index %d, %d keys: %v", i.Index(), i.Keys(), err)
	}
	got := map[string]string{}
	info, err := kv.ScanImage(bytes.NewReader(file.Bytes()), func(p kv.Pair) error {
		got[p.Key] = string(p.Value)
		return nil
	})
	want := kv.ImageInfo{Index: 5, Keys: 2, Content: contentOf(map[string]string{"a": "1", "b": "2"})}
	if err != nil || info != want || !maps.Equal(got, map[string]string{"a": "1", "b": "2"}) || info.Content != i.Content() {
		t.Errorf("%+v %v %v", info, got, err)
	}
	other := kv.New()
	if err := other.Restore(bytes.NewReader(file.Bytes())); err != nil || len(other.Nodes()) > 0 {
		t.Errorf("%v, members %v", err, other.Nodes())
	}
	if _, err := kv.ScanImage(bytes.NewReader(written(t, s)), func(kv.Pair) error { return nil }); !errors.Is(err, kv.ErrSnapshot) {
		t.Errorf("a snapshot of a group was taken for an image: %v", err)
	}
	if _, err := kv.ScanImage(bytes.NewReader(file.Bytes()), func(kv.Pair) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the caller's error is %v", err)
	}
}

// TestEncodeStageRefuses what members would.
func TestEncodeStageRefuses(t *testing.T) {
	for name, bad := range map[string][]byte{
		"descending": kv.AppendPair(kv.AppendPair(nil, "b", nil), "a", nil),
		"twice":      kv.AppendPair(kv.AppendPair(nil, "a", nil), "a", nil),
		"empty key":  kv.AppendPair(nil, "", nil),
		"cut off":    kv.AppendPair(nil, "a", []byte("value"))[:4],
	} {
		if _, err := kv.EncodeStage("r", 0, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := kv.EncodeStage("", 0, nil); err == nil {
		t.Error("without an id: accepted")
	}
	if err := kv.CheckChange(must(kv.EncodeForget("r"))); err == nil {
		t.Error("a client's command can forget a restore")
	}
}
