package wal

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends/storedir"
)

func FuzzCodec(f *testing.F) {
	c := &codec{}
	for _, e := range []raft.Log{
		{Index: 1, Term: 2, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("more"), AppendedAt: time.Unix(1_700_000_000, 5).UTC()},
		{Index: math.MaxUint64, Extensions: []byte{1}},
		{},
	} {
		var b bytes.Buffer
		if err := c.Encode(&e, &b); err != nil {
			f.Fatal(err)
		}
		var got raft.Log
		if err := c.Decode(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, e) {
			f.Errorf("%+v was read as %+v, %v", e, got, err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e raft.Log
		if (&codec{}).Decode(b, &e) != nil {
			return
		}
		var again bytes.Buffer
		if err := (&codec{}).Encode(&e, &again); err != nil {
			t.Fatal(err)
		}
		var same raft.Log
		if err := c.Decode(again.Bytes(), &same); err != nil || !reflect.DeepEqual(e, same) {
			t.Errorf("%+v was read as %+v, %v", e, same, err)
		}
	})
}

// TestEntrySizes: entries are read whole where their length or that of an append is one
// that reads go by.
func TestEntrySizes(t *testing.T) {
	d, s := stored(t)
	fixedBytes := indexBytes + storedir.EntryBytes(&raft.Log{})
	last := uint64(10)
	for _, whole := range []int{shortBytes, readBytes, readBytes + frameBytes} {
		for less := range 2*frameBytes + fixedBytes + 2 {
			for _, encoded := range []int{whole - less, whole + less} {
				last++
				if err := s.StoreLog(&raft.Log{Index: last, Data: bytes.Repeat([]byte{byte(last)}, encoded-fixedBytes)}); err != nil {
					t.Fatal(err)
				}
			}
			if less%8 > 0 { // appends are padded to eight
				continue
			}
			kill(t, s)
			var err error
			if s, err = openOn(d); err != nil {
				t.Fatalf("after an append of some %d bytes: %v", whole+less, err)
			}
		}
	}
	o, err := observe(s)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(11); i <= last; i++ {
		if len(bytes.Trim([]byte(o.entries[i]), string([]byte{byte(i)}))) > 0 || o.last != last {
			t.Errorf("entry %d is another; %v", i, o)
		}
	}
	kill(t, s)
}
