//go:build cgo

package mdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	gomdb "github.com/armon/gomdb"
	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/mdb"
	"github.com/themilchenko/raftlab/core"
)

// oldDelete is an entry as raft-mdb wrote it with go-msgpack v0.5.5, with its time as a string of
// 15 bytes. It is entry 25 of kv/node/testdata/old/801ca8c6ff/hashicorp-mdb.tar.gz.
const (
	oldDelete = "\x86\xaaAppendedAt\xaf\x01\x00\x00\x00\x0e\xe2\x9a\xe1\x9c\x04\xae\xe3\x01\x00\x00" +
		"\xa4Data\xa8\x01\x02\x05key18\xaaExtensions\xc0\xa5Index\x19\xa4Term\x02\xa4Type\x00"
	oldDeleteIndex = 25
)

// oldForm writes an entry as go-msgpack v0.5.5 did.
func oldForm(t *testing.T, e *raft.Log) []byte {
	t.Helper()
	var b []byte
	h := codec.MsgpackHandle{BasicHandle: codec.BasicHandle{TimeNotBuiltin: true}}
	if err := codec.NewEncoderBytes(&b, &h).Encode(e); err != nil {
		t.Fatal(err)
	}
	return b
}

// putRaw stores values as they are into the logs of a store that is closed.
func putRaw(t *testing.T, dir string, values map[uint64][]byte) {
	t.Helper()
	env, err := gomdb.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	if err := errors.Join(env.SetMaxDBs(2), env.SetMapSize(mdb.DefaultMapSizeBytes), env.Open(filepath.Join(dir, "mdb"), 0, 0o755)); err != nil {
		t.Fatal(err)
	}
	tx, err := env.BeginTxn(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := tx.DBIOpen("logs", 0)
	for index, value := range values {
		err = errors.Join(err, tx.Put(logs, binary.BigEndian.AppendUint64(nil, index), value, 0))
	}
	if err != nil {
		tx.Abort()
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func checkLog(t *testing.T, s core.LogStore, want *raft.Log) {
	t.Helper()
	var got raft.Log
	err := s.GetLog(want.Index, &got)
	if err != nil || got.Index != want.Index || got.Term != want.Term || got.Type != want.Type ||
		!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) || !got.AppendedAt.Equal(want.AppendedAt) {
		t.Errorf("entry %d: %+v, %v; want %+v", want.Index, got, err, want)
	}
}

// TestOldEntries reads a log whose times have the form of go-msgpack v0.5, and in which an
// entry was stored since.
func TestOldEntries(t *testing.T) {
	at := time.Unix(1_700_000_000, 5)
	want := []*raft.Log{
		{Index: oldDeleteIndex, Term: 2, Data: []byte("\x01\x02\x05key18"), AppendedAt: time.Date(2026, 11, 27, 2, 27, 40, 0, time.UTC)},
		{Index: 26, Term: 3, Type: raft.LogNoop},
		{Index: 27, Term: 3, Data: bytes.Repeat([]byte{1}, 70<<10), Extensions: []byte("more"), AppendedAt: at.In(time.FixedZone("", 90*60+1))},
		{Index: 30, Term: 3, Data: make([]byte, 40), AppendedAt: at}, // behind a snapshot
		{Index: 31, Term: 4, Data: []byte("new"), AppendedAt: at},
	}
	if err := want[0].AppendedAt.UnmarshalBinary([]byte(oldDelete[13:28])); err != nil {
		t.Fatal(err)
	}
	if got := oldForm(t, want[0]); string(got) != oldDelete {
		t.Fatalf("the old form is %q, want %q", got, oldDelete)
	}
	dir := t.TempDir()
	s := open(t, dir, mdb.Options{})
	if err := errors.Join(s.StoreLog(want[4]), s.SetUint64([]byte("CurrentTerm"), 4), s.Close()); err != nil {
		t.Fatal(err)
	}
	old := map[uint64][]byte{}
	for _, e := range want[:4] {
		old[e.Index] = oldForm(t, e)
	}
	putRaw(t, dir, old)
	for range 2 {
		s = open(t, dir, mdb.Options{})
		for _, e := range want {
			checkLog(t, s, e)
		}
		if term, err := s.GetUint64([]byte("CurrentTerm")); err != nil || term != 4 {
			t.Errorf("term %d, %v", term, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldEntriesDamaged refuses a log with an entry whose time is spoilt.
func TestOldEntriesDamaged(t *testing.T) {
	for name, value := range map[string]string{"version": oldDelete[:13] + "\x09" + oldDelete[14:], "end": oldDelete[:20]} {
		dir := t.TempDir()
		if err := open(t, dir, mdb.Options{}).Close(); err != nil {
			t.Fatal(err)
		}
		putRaw(t, dir, map[uint64][]byte{oldDeleteIndex: []byte(value)})
		s, err := mdb.Open(dir, mdb.Options{})
		if !errors.Is(err, core.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

// TestManyOldEntries sees that a map with little room left is enough, and that what an
// entry without room has stopped is gone on with in a larger one.
func TestManyOldEntries(t *testing.T) {
	const count, entryBytes = 256, 64 << 10 // 16 MiB, four batches
	for name, test := range map[string]struct {
		firstBytes int
		want       error
	}{"all": {entryBytes, nil}, "up to a large one": {32 << 20, core.ErrFull}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, dir, mdb.Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			entry := func(index uint64) *raft.Log {
				e := &raft.Log{Index: index, Term: 1, Data: bytes.Repeat([]byte{byte(index)}, entryBytes), AppendedAt: time.Unix(int64(index), 5)}
				if index == 1 {
					e.Data = make([]byte, test.firstBytes)
				}
				return e
			}
			old := map[uint64][]byte{}
			for index := uint64(1); index <= count; index++ {
				old[index] = oldForm(t, entry(index))
			}
			putRaw(t, dir, old)
			s, err := mdb.Open(dir, mdb.Options{MapSizeBytes: uint64(test.firstBytes) + 28<<20})
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err != nil {
				s = open(t, dir, mdb.Options{})
			}
			defer s.Close()
			for index := uint64(1); index <= count; index++ {
				checkLog(t, s, entry(index))
			}
		})
	}
}
