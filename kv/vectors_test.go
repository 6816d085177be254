package kv_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/kv"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsPath = "testdata/vectors.json"

// vectors are what another implementation of the map is held to: docs/engine-programs.md.
// Bytes are in hexadecimal digits. Each sequence begins with an empty map.
type vectors struct {
	About     []string   `json:"about"`
	Sequences []sequence `json:"sequences"`
	// Refused are snapshots that are damaged: to restore one is an error, and leaves the map
	// as it was.
	Refused []snapshotVector `json:"refused_snapshots"`
}

type sequence struct {
	Name     string  `json:"name"`
	Steps    []step  `json:"steps"`
	Keys     int     `json:"keys"`
	Commands uint64  `json:"commands"`
	Entries  []entry `json:"entries"`  // in the map's order
	Snapshot string  `json:"snapshot"` // of the map then; to restore it gives the same digest
	Digest   string  `json:"digest"`   // SHA-256
}

// step is a command at an index of the log, and its result. Error is empty, condition or
// refused; ErrorIndex is what the error of a condition says of the key: the index of its last
// change, 0 where it is not there.
type step struct {
	About      string `json:"about,omitempty"`
	Index      uint64 `json:"index"`
	Command    string `json:"command"`
	Changed    int    `json:"changed"`
	Missing    []int  `json:"missing"`
	Error      string `json:"error"`
	ErrorIndex uint64 `json:"error_index"`
}

type entry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Index uint64 `json:"index"`
}

type snapshotVector struct {
	Name     string `json:"name"`
	Snapshot string `json:"snapshot"`
}

// TestVectors: the file is what this package does; -update writes it.
func TestVectors(t *testing.T) {
	v := vectors{
		About: []string{
			"Written by 'go test ./kv -run TestVectors -update'. Bytes are hexadecimal; each sequence begins with an empty map.",
			"A step applies command at index and has the result that stands there: error is empty, condition or refused.",
			"After the steps the map has these entries, snapshot and digest; snapshot, restored, has that digest too.",
			"To restore one of refused_snapshots is an error and leaves the map as it was.",
		},
		Sequences: sequences(t),
		Refused:   refusedSnapshots(t),
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorsPath, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, b.Bytes()) {
		t.Errorf("%s is not what this package does: if a command or a snapshot is to mean something else from now on, "+
			"write it anew with -update, and change docs/engine-programs.md", vectorsPath)
	}
}

// given is a command with what it is about.
type given struct {
	about   string
	command []byte
}

// run applies commands, the first at index and each next one at the following.
func run(t *testing.T, name string, index uint64, commands ...given) sequence {
	t.Helper()
	s := kv.New()
	q := sequence{Name: name, Steps: []step{}, Entries: []entry{}}
	for _, g := range commands {
		r := s.Apply(index, g.command).(kv.Result)
		st := step{About: g.about, Index: index, Command: hex.EncodeToString(g.command), Changed: r.Changed, Missing: r.Missing}
		if st.Missing == nil {
			st.Missing = []int{}
		}
		if c := new(kv.ConditionError); errors.As(r.Err, &c) {
			st.Error, st.ErrorIndex = "condition", c.Index
		} else if errors.Is(r.Err, kv.ErrRefused) {
			st.Error = "refused"
		} else if r.Err != nil {
			t.Fatal(r.Err)
		}
		if refused := strings.HasPrefix(g.about, "refused: "); refused != (st.Error == "refused") {
			t.Errorf("%s: %s: %v", name, g.about, r.Err)
		}
		q.Steps = append(q.Steps, st)
		index++
	}
	for _, p := range s.Scan("", "", 0) {
		q.Entries = append(q.Entries, entry{hex.EncodeToString([]byte(p.Key)), hex.EncodeToString(p.Value), p.Index})
	}
	_, digest := s.Digest()
	q.Keys, q.Commands, q.Digest, q.Snapshot = s.Len(), s.Applied(), hex.EncodeToString(digest[:]), hex.EncodeToString(written(t, s))
	restored := kv.New()
	if err := restored.Restore(bytes.NewReader(written(t, s))); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if _, again := restored.Digest(); again != digest {
		t.Errorf("%s: its snapshot has another digest", name)
	}
	return q
}

func sequences(t *testing.T) []sequence {
	set := func(key, value string) given { return given{"", kv.EncodeSet(key, []byte(value))} }
	del := func(key string) given { return given{"", kv.EncodeDelete(key)} }
	batch := func(about string, ops ...kv.Op) given { return given{about, must(kv.EncodeBatch(ops))} }
	setOp := func(key, value string) kv.Op { return kv.Op{Kind: kv.OpSet, Key: key, Value: []byte(value)} }
	delOp := func(key string) kv.Op { return kv.Op{Kind: kv.OpDelete, Key: key} }
	when := func(about string, c kv.Condition, op kv.Op) given { return given{about, must(kv.EncodeIf(c, op))} }
	announce := func(about, id, address string) given { return given{about, must(kv.EncodeAnnounce(id, address))} }
	absent, present := kv.Condition{Kind: kv.IfAbsent}, kv.Condition{Kind: kv.IfPresent}
	at := func(index uint64) kv.Condition { return kv.Condition{Kind: kv.IfIndex, Index: index} }

	var keys []given // UTF-16 and signed bytes have other orders
	for _, key := range []string{"\xff", "\x80", "\x7f", "z", "a\x00", "a", "ab", "Z", "é", "е", "\ufffd", "\U0001f600", "\x00", "\xff\x00", "\r\n", "$-1"} {
		keys = append(keys, set(key, "of "+key))
	}
	long := strings.Repeat("n", kv.MaxNodeBytes)
	return []sequence{
		run(t, "nothing", 1),
		run(t, "set and delete", 1, set("a", "1"), set("b", "2"), set("a", "3"), del("b"), del("b"), set("empty", ""), set("c", "\x00\xff\r\n")),
		run(t, "order of keys: by their bytes, unsigned", 127, keys...),
		run(t, "large indexes, which need not follow each other", 1<<53-3, set("a", "1"), set("b", strings.Repeat("v", 300)), when("", at(1<<53-3), setOp("a", "2"))),
		run(t, "batches", 10,
			batch("none", []kv.Op{}...), batch("", setOp("a", "1"), setOp("b", "2")),
			batch("one key twice: in order", setOp("a", "3"), setOp("a", "4")),
			batch("missing are places within the batch", delOp("x"), setOp("x", "1"), delOp("y"), delOp("x"), delOp("x")),
			batch("one that is there and then is not", delOp("b"), delOp("b"))),
		run(t, "conditions", 5,
			when("", absent, setOp("a", "1")), when("it is there", absent, setOp("a", "2")), when("", present, setOp("a", "3")),
			when("it is not there", present, setOp("b", "1")), when("", at(7), setOp("a", "4")), when("of before", at(7), setOp("a", "5")),
			when("it is not there", at(7), setOp("c", "5")), when("0 is no index", at(0), setOp("c", "5")), when("", at(math.MaxUint64), setOp("a", "6")),
			when("", absent, delOp("b")), when("", absent, delOp("a")), when("", present, delOp("b")), when("", at(9), delOp("a")),
			when("of one that was deleted", at(9), setOp("a", "1"))),
		run(t, "directory of the members", 1,
			announce("", "n2", "127.0.0.1:2"), announce("", "n10", "127.0.0.1:10"), announce("", "n1", "127.0.0.1:1"),
			announce("another address", "n2", "127.0.0.1:3"), announce("taken out", "n1", ""), announce("one that is not in it", "n4", ""),
			announce("the longest", long, long), set("n2", "no member")),
		run(t, "refused commands change nothing, and count", 1, append([]given{set("a", "1")}, refusedCommands(t)...)...),
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func refusedCommands(t *testing.T) (list []given) {
	add := func(about string, command ...byte) { list = append(list, given{"refused: " + about, command}) }
	add("nothing")
	add("version only", 1)
	add("version 0", 0, 1, 1, 'a', 1, 'b')
	add("version 2", 2, 1, 1, 'a', 1, 'b')
	add("operation 0", 1, 0)
	add("operation 6", 1, 6, 1, 'a')
	set := kv.EncodeSet("a", []byte("bc"))
	for n := 2; n < len(set); n++ {
		add("a set, cut off", set[:n]...)
	}
	add("a byte after a set", append(bytes.Clone(set), 0)...)
	add("a byte after a delete", 1, 2, 1, 'a', 0)
	add("an empty key, set", 1, 1, 0, 1, 'b')
	add("an empty key, deleted", 1, 2, 0)
	add("a length that is not in its shortest form", 1, 2, 0x81, 0, 'a')
	add("a length of 0 that is not", 1, 1, 1, 'a', 0x80, 0)
	add("a length of more than 64 bits", 1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 'a')
	add("a length that never ends", 1, 2, 0x80)
	add("a key of more than 65536 bytes", append([]byte{1, 2, 0x81, 0x80, 4}, "aaa"...)...)
	add("a key as long as 2^63", append(binary.AppendUvarint([]byte{1, 2}, 1<<63), 'a')...)
	add("a key as long as 2^64-1", append(binary.AppendUvarint([]byte{1, 2}, math.MaxUint64), 'a')...)
	add("a value of more than 64 MiB", binary.AppendUvarint([]byte{1, 1, 1, 'a'}, kv.MaxValueBytes+1)...)
	add("a batch without its number", 1, 3)
	add("a batch that is cut off: none of it happens", 1, 3, 2, 1, 1, 'a', 1, '2', 1, 1, 'b')
	add("a batch of fewer operations than it says", 1, 3, 2, 2, 1, 'a')
	add("a batch of more operations than it says", 1, 3, 1, 2, 1, 'a', 2, 1, 'a')
	add("a batch of more than 65536", append(binary.AppendUvarint([]byte{1, 3}, kv.MaxBatchOps+1), 2, 1, 'a')...)
	add("a batch whose last key is empty: none of it happens", 1, 3, 2, 2, 1, 'a', 2, 0)
	add("a batch in a batch", 1, 3, 1, 3, 0)
	add("a condition in a batch", 1, 3, 1, 4, 2, 2, 1, 'a')
	add("a member in a batch", 1, 3, 1, 5, 1, 'n', 1, 'h')
	add("a condition that is none", 1, 4)
	add("condition 0", 1, 4, 0, 2, 1, 'a')
	add("condition 4", 1, 4, 4, 2, 1, 'a')
	add("a condition without an operation", 1, 4, 2)
	add("a condition of an index that is not in its shortest form", 1, 4, 1, 0x87, 0, 2, 1, 'a')
	add("a condition of a batch", 1, 4, 2, 3, 0)
	add("a condition of a member", 1, 4, 2, 5, 1, 'n', 1, 'h')
	add("a condition of an empty key", 1, 4, 3, 2, 0)
	add("a byte after a condition", 1, 4, 2, 2, 1, 'a', 0)
	add("a member without an id", 1, 5, 0, 1, 'h')
	add("a member without an address", 1, 5, 1, 'n')
	add("a byte after a member", 1, 5, 1, 'n', 1, 'h', 0)
	id := strings.Repeat("n", kv.MaxNodeBytes+1)
	add("an id of 1025 bytes", append(append(binary.AppendUvarint([]byte{1, 5}, uint64(len(id))), id...), 0)...)
	return list
}

// refusedSnapshots are all refused by this package, each for what its name says.
func refusedSnapshots(t *testing.T) (list []snapshotVector) {
	s := kv.New()
	for i, command := range [][]byte{must(kv.EncodeAnnounce("n1", "h:1")), kv.EncodeSet("a", []byte("1")), kv.EncodeSet("b", []byte("22"))} {
		s.Apply(uint64(i+1), command)
	}
	whole := written(t, s)
	add := func(name string, snapshot []byte) {
		if err := s.Restore(bytes.NewReader(snapshot)); !errors.Is(err, kv.ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		list = append(list, snapshotVector{name, hex.EncodeToString(snapshot)})
	}
	for _, n := range []int{0, 1, len(whole) / 2, len(whole) - 4, len(whole) - 1} {
		add("cut off", whole[:n])
	}
	add("a byte after it", append(bytes.Clone(whole), 0))
	for at := range whole {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << (at % 8)
		add("a flipped bit", flipped)
	}
	sealed := func(name string, parts ...string) {
		b := []byte("raftlab-kv" + strings.Join(parts, ""))
		add(name+", with the right checksum", binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
	}
	const head = "\x01\x03\x03\x00\x00" // version, index, commands, refused, lastRefused
	sealed("of version 2", "\x02\x03\x03\x00\x00", "\x00", "\x00")
	sealed("keys that descend", head, "\x00", "\x02\x01\x01b\x00\x02\x01a\x00")
	sealed("a key that stands twice", head, "\x00", "\x02\x01\x01a\x00\x02\x01a\x00")
	sealed("keys ordered as signed bytes", head, "\x00", "\x02\x01\x01\x80\x00\x02\x01\x7f\x00")
	sealed("an empty key", head, "\x00", "\x01\x01\x00\x00")
	sealed("a key of an index after the snapshot's", head, "\x00", "\x01\x04\x01a\x00")
	sealed("members that descend", head, "\x02\x02n2\x01h\x02n1\x01h", "\x00")
	sealed("a member without an id", head, "\x01\x00\x01h", "\x00")
	sealed("a member without an address", head, "\x01\x02n1\x00", "\x00")
	sealed("more keys than it has", head, "\x00", "\x02\x01\x01a\x00")
	sealed("fewer keys than it has", head, "\x00", "\x00\x01\x01a\x00")
	sealed("a value as long as 2^63", head, "\x00", "\x01\x01\x01a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
	sealed("a number of more than 64 bits", head, "\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")
	if !bytes.Equal(written(t, s), whole) {
		t.Error("a snapshot that was refused has changed the map")
	}
	return list
}
