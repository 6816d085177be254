package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
)

func newBuffer(t testing.TB, capacity int) *Buffer {
	t.Helper()
	b, err := NewBuffer(capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestBuffer: what is recorded from many goroutines is all there, and what has no room
// is counted.
func TestBuffer(t *testing.T) {
	const each, goroutines, room = 1000, 8, 6000
	b := newBuffer(t, room)
	begin := time.Now()
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range uint64(each) {
				b.Record(core.Span{Kind: core.SpanSend, Peer: fmt.Sprint("n", g), Term: 3, First: i, Last: i + 1, Begin: begin, End: begin.Add(5)})
			}
		})
	}
	_ = b.Log("n1") // also while others record
	all.Wait()
	l := b.Log("n1")
	if len(l.Events) != room || l.Dropped != each*goroutines-room || len(l.Peers) != goroutines || l.Member != "n1" {
		t.Fatalf("%d events, %d dropped, peers %v", len(l.Events), l.Dropped, l.Peers)
	}
	for _, e := range l.Events {
		if e.Kind != core.SpanSend || e.Term != 3 || e.Last != e.First+1 || e.End-e.Begin != 5 || int(e.Peer) >= goroutines {
			t.Fatalf("%+v", e)
		}
	}
}

func TestBufferKnowsCommands(t *testing.T) {
	b := newBuffer(t, 2)
	now := time.Now()
	b.Record(core.Span{Kind: core.SpanPropose, Begin: now, End: now, Command: []byte("a")})
	b.Record(core.Span{Kind: core.SpanAppend, Begin: now, End: now, Commit: 7})
	l := b.Log("")
	if l.Events[0].Note != Checksum([]byte("a")) || l.Events[1].Note != 7 {
		t.Errorf("%+v", l.Events)
	}
}

// TestBufferBoundsPeers: a span to one peer too many is counted and not mixed up.
func TestBufferBoundsPeers(t *testing.T) {
	b := newBuffer(t, 2*maxPeers)
	for i := range maxPeers + 2 {
		b.Record(core.Span{Kind: core.SpanSend, Peer: fmt.Sprint(i)})
	}
	if l := b.Log(""); len(l.Peers) != maxPeers || len(l.Events) != maxPeers || l.Dropped != 2 {
		t.Errorf("%d peers, %d events, %d dropped", len(l.Peers), len(l.Events), l.Dropped)
	}
}

// TestClock: two clocks of a machine agree far better than any stage is long.
func TestClock(t *testing.T) {
	now, one, other := time.Now(), NewClock(), NewClock()
	if off := one.At(now) - other.At(now); off > int64(10*time.Millisecond) || -off > int64(10*time.Millisecond) {
		t.Errorf("two clocks are %d ns apart", off)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	b := newBuffer(t, 1<<12)
	s := core.Span{Kind: core.SpanSend, Peer: "n2", Begin: time.Now(), End: time.Now()}
	b.Record(s)
	if n := testing.AllocsPerRun(1000, func() { b.Record(s) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(bench *testing.B) {
	b := newBuffer(bench, 1<<20)
	s := core.Span{Kind: core.SpanPropose, Command: make([]byte, 280), Begin: time.Now()}
	bench.ReportAllocs()
	for bench.Loop() {
		s.End = time.Now()
		b.Record(s)
	}
}

func logs(t *rapid.T) Log {
	l := Log{Member: rapid.String().Draw(t, "member"), Dropped: rapid.Uint64().Draw(t, "dropped"),
		Peers: rapid.SliceOfN(rapid.StringN(0, 20, -1), 1, 4).Draw(t, "peers")}
	l.Events = rapid.SliceOf(rapid.Custom(func(t *rapid.T) Event {
		return Event{
			Kind: core.SpanKind(rapid.Byte().Draw(t, "kind")), Peer: uint8(rapid.IntRange(0, len(l.Peers)-1).Draw(t, "peer")),
			Term: rapid.Uint64().Draw(t, "term"), First: rapid.Uint64().Draw(t, "first"), Last: rapid.Uint64().Draw(t, "last"),
			Begin: rapid.Int64().Draw(t, "begin"), End: rapid.Int64().Draw(t, "end"), Note: rapid.Uint64().Draw(t, "note"),
		}
	})).Draw(t, "events")
	return l
}

// TestCodec: a log reads back as it was, and a file of which a byte is wrong or missing
// is refused.
func TestCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := logs(t)
		got, err := Parse(want.Append(nil))
		if err != nil || got.Member != want.Member || got.Dropped != want.Dropped || !reflect.DeepEqual(got.Peers, want.Peers) || len(got.Events) != len(want.Events) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		for i := range want.Events {
			if got.Events[i] != want.Events[i] {
				t.Fatalf("event %d: %+v, want %+v", i, got.Events[i], want.Events[i])
			}
		}
		text := want.Append(nil)
		if rapid.Bool().Draw(t, "cut") {
			text = text[:rapid.IntRange(0, len(text)-1).Draw(t, "at")]
		} else {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		}
		if _, err := Parse(text); !errors.Is(err, ErrMalformed) {
			t.Fatalf("damaged, and read: %v", err)
		}
	})
}

// TestParseKnowsPeers: a span to a peer that the log does not name is damage.
func TestParseKnowsPeers(t *testing.T) {
	l := Log{Peers: []string{"n2"}, Events: []Event{{Kind: core.SpanSend, Peer: 1}}}
	if _, err := Parse(l.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if _, err := ReadFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, Log{Member: "n1"}.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := ReadFile(path); err != nil || l.Member != "n1" {
		t.Errorf("%+v, %v", l, err)
	}
}

// resealed gives data a checksum that is right.
func resealed(data []byte) []byte {
	body := data[:len(data)-4]
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
}

// FuzzParse: whatever the bytes, there is an error or a log that reads back the same.
func FuzzParse(f *testing.F) {
	f.Add(Log{Member: "n1", Peers: []string{"n2"}, Dropped: 3, Events: []Event{{Kind: core.SpanSend, First: 5, Last: 7, Begin: 100, End: 90, Note: 1}}}.Append(nil))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= len(magic)+4 { // past the checksum, which no fuzzer guesses
			data = resealed(data)
		}
		l, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(l.Append(nil))
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Fatalf("%+v reads back as %+v, %v", l, again, err)
		}
	})
}
