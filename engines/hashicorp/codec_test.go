package hashicorp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// fataler is a testing.TB or a rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// streamConn is a connection from which a test's bytes come.
type streamConn struct {
	net.Conn // nil: nothing else is asked of it
	io.Reader
}

// Read implements net.Conn.
func (c streamConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// sinkConn takes what is sent.
type sinkConn struct {
	net.Conn
	bytes.Buffer
}

// Write implements net.Conn.
func (c *sinkConn) Write(p []byte) (int, error) { return c.Buffer.Write(p) }

func (*sinkConn) Read([]byte) (int, error) { return 0, io.EOF }

// sourceOf reads from r, through a buffer of the smallest size that there may be.
func sourceOf(r io.Reader, limit int) *source {
	s := newSource(streamConn{Reader: r}, maxName, 0)
	s.begin(limit)
	return s
}

// ours writes a message as this package does.
func ours(t fataler, message any) []byte {
	t.Helper()
	var to sinkConn
	d := drain{conn: &to}
	d.message(message)
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

// libraryHandle is what raft.NetworkTransport writes with, in the format of times that
// it has by default, or in the new one.
func libraryHandle(newTimes bool) *codec.MsgpackHandle {
	return &codec.MsgpackHandle{BasicHandle: codec.BasicHandle{TimeNotBuiltin: !newTimes}}
}

func theirs(t fataler, h *codec.MsgpackHandle, message any) []byte {
	t.Helper()
	var out []byte
	if err := codec.NewEncoderBytes(&out, h).Encode(message); err != nil {
		t.Fatal(err)
	}
	return out
}

// drawData draws a command; of the first entry it may be large.
func drawData(t *rapid.T, first bool) []byte {
	lengths := []int{-1, 0, 1, 31, 32, 255, 256, 300}
	if first {
		lengths = append(lengths, maxName, sendBytes/2+1, 65_535, 65_536, 3*sendBytes)
	}
	n := rapid.SampledFrom(lengths).Draw(t, "length of the data")
	if n < 0 {
		return nil
	}
	return bytes.Repeat([]byte{rapid.Byte().Draw(t, "data")}, n)
}

func drawShort(t *rapid.T, what string) []byte {
	return rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300)).Draw(t, what)
}

func drawNumber(t *rapid.T, what string) uint64 {
	return rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300), rapid.SampledFrom([]uint64{127, 128, 65_535, 65_536, 1<<32 - 1, 1 << 32})).Draw(t, what)
}

func drawTime(t *rapid.T) time.Time {
	zone := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 5*60*60+30*60), time.FixedZone("", -(60*60 + 1))}).Draw(t, "zone")
	return rapid.SampledFrom([]time.Time{
		{}, time.Unix(0, 0), time.Unix(1_790_000_000, 123_456_789), time.Unix(1<<34, 5), time.Unix(-7, 1), time.Unix(1_790_000_000, 0),
	}).Draw(t, "time").In(zone)
}

func drawHeader(t *rapid.T) raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersion(rapid.OneOf(rapid.Int(), rapid.IntRange(-200, 200)).Draw(t, "version")),
		ID:              drawShort(t, "id"), Addr: drawShort(t, "address"),
	}
}

func drawRequest(t *rapid.T) *raft.AppendEntriesRequest {
	req := &raft.AppendEntriesRequest{
		RPCHeader: drawHeader(t), Term: drawNumber(t, "term"), Leader: drawShort(t, "leader"),
		PrevLogEntry: drawNumber(t, "previous"), PrevLogTerm: drawNumber(t, "its term"), LeaderCommitIndex: drawNumber(t, "commit index"),
	}
	n := rapid.SampledFrom([]int{-1, 0, 1, 2, 15, 16, 40}).Draw(t, "entries")
	if n >= 0 {
		req.Entries = []*raft.Log{}
	}
	for i := range n {
		req.Entries = append(req.Entries, &raft.Log{
			Index: drawNumber(t, "index"), Term: drawNumber(t, "term"), Type: raft.LogType(rapid.Byte().Draw(t, "type")),
			Data: drawData(t, i == 0), Extensions: drawShort(t, "extensions"), AppendedAt: drawTime(t),
		})
	}
	return req
}

func drawResponse(t *rapid.T) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{
		RPCHeader: drawHeader(t), Term: drawNumber(t, "term"), LastLog: drawNumber(t, "last"),
		Success: rapid.Bool().Draw(t, "success"), NoRetryBackoff: rapid.Bool().Draw(t, "no backoff"),
	}
}

// TestCodecWritesAsTheLibrary: to the byte.
func TestCodecWritesAsTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, message := range []any{drawRequest(t), drawResponse(t), &raft.RequestVoteRequest{RPCHeader: drawHeader(t)}, nil} {
			if got, want := ours(t, message), theirs(t, libraryHandle(false), message); !bytes.Equal(got, want) {
				t.Fatalf("%T is written as\n%q, by the library as\n%q", message, got, want)
			}
		}
	})
}

// pieces are ways in which a stream may come in.
var pieces = []func(io.Reader) io.Reader{
	func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
}

// readRequest reads one request, and says what comes behind it.
func readRequest(stream []byte, in func(io.Reader) io.Reader) (*raft.AppendEntriesRequest, error) {
	s := sourceOf(in(io.MultiReader(bytes.NewReader(stream), strings.NewReader("next"))), 1<<30)
	req := new(raft.AppendEntriesRequest)
	s.appendEntries(req)
	if s.err == nil {
		if rest := string(s.take(4)); rest != "next" {
			return nil, errors.New("the stream goes on with " + rest)
		}
	}
	return req, s.err
}

// TestCodecReadsTheLibrary reads what the library writes, in both of its formats of
// times, and in pieces.
func TestCodecReadsTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := libraryHandle(rapid.Bool().Draw(t, "new times"))
		h.WriteExt = rapid.Bool().Draw(t, "bytes apart from text")
		h.PositiveIntUnsigned = rapid.Bool().Draw(t, "unsigned")
		h.NoFixedNum = rapid.Bool().Draw(t, "no small numbers")
		in := rapid.SampledFrom(pieces).Draw(t, "pieces")
		req := drawRequest(t)
		stream := theirs(t, h, req)
		var want raft.AppendEntriesRequest
		if err := codec.NewDecoderBytes(stream, &codec.MsgpackHandle{}).Decode(&want); err != nil {
			t.Skip("the library cannot read it: ", err)
		}
		got, err := readRequest(stream, in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours(t, &want), ours(t, got)) {
			t.Fatalf("read as\n%+v, by the library as\n%+v", got, want)
		}

		resp := drawResponse(t)
		s := sourceOf(in(bytes.NewReader(theirs(t, h, resp))), 1<<20)
		var answer raft.AppendEntriesResponse
		if s.appendEntriesAnswer(&answer); s.err != nil {
			t.Fatal(s.err)
		}
		if diff := cmp.Diff(resp, &answer); diff != "" {
			t.Fatalf("not what was written:\n%s", diff)
		}
	})
}

// TestCodecIsTolerant: fields in any order, some missing, some nil, and such as another
// version may have.
func TestCodecIsTolerant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shuffled := func(fields map[string]any) []byte {
			fields["Unknown"] = map[string]any{"a": []any{1, -1, 1.5, float32(2), "text", []byte{1}, nil, true, map[int]int{1: 2}, time.Unix(5, 5)}}
			fields["Zz"] = rapid.SampledFrom([]any{nil, make([]int, 70_000), strings.Repeat("x", 70_000), int64(-1 << 40), -100, -1000, -100_000}).Draw(t, "unknown")
			names := rapid.Permutation(sortedKeys(fields)).Draw(t, "order")
			names = names[:rapid.IntRange(0, len(names)).Draw(t, "fields")]
			out := binary.BigEndian.AppendUint16([]byte{map16}, uint16(len(names)))
			h := libraryHandle(true)
			h.Raw = true
			h.WriteExt = rapid.Bool().Draw(t, "bytes apart from text")
			for _, name := range names {
				out = append(append(out, theirs(t, h, name)...), theirs(t, h, fields[name])...)
			}
			return out
		}
		entry := shuffled(map[string]any{
			"Index": int8(5), "Term": uint32(7), "Type": 1, "Data": "as text", "Extensions": nil, "AppendedAt": nil,
		})
		stream := shuffled(map[string]any{
			"Term": int64(1 << 40), "Leader": nil, "PrevLogEntry": nil, "Entries": codec.Raw(append([]byte{fixArray | 1}, entry...)),
			"ProtocolVersion": uint16(3), "ID": "n1", "Addr": []byte("here"),
		})
		var want raft.AppendEntriesRequest
		if err := codec.NewDecoderBytes(stream, &codec.MsgpackHandle{}).Decode(&want); err != nil {
			t.Fatal("the library cannot read it: ", err)
		}
		got, err := readRequest(stream, pieces[0])
		if err != nil {
			t.Fatalf("%v\n%q", err, stream)
		}
		if !bytes.Equal(ours(t, &want), ours(t, got)) {
			t.Fatalf("read as\n%+v, by the library as\n%+v", got, want)
		}
	})
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// TestCodecRefuses: what is no request, or one that the library takes and panics of.
func TestCodecRefuses(t *testing.T) {
	for name, stream := range map[string]string{
		"nil for an entry":     "\x81\xa7Entries\x91\xc0",
		"a negative term":      "\x81\xa4Term\xff",
		"a type out of range":  "\x81\xa7Entries\x91\x81\xa4Type\xcd\x01\x00",
		"a list":               "\x90",
		"a name without end":   "\x81\xdb\xff\xff\xff\xff",
		"a byte of no meaning": "\xc1",
		"no more":              "\x81\xa4Term",
		"no time":              "\x81\xa7Entries\x91\x81\xaaAppendedAt\xa3abc",
	} {
		if req, err := readRequest([]byte(stream), pieces[0]); err == nil {
			t.Errorf("%s is read as %+v", name, req)
		}
	}
}

// TestCodecIsBounded: lengths that are not true cost nothing, and a request pays for
// all that is made of it.
func TestCodecIsBounded(t *testing.T) {
	const limit = 8 << 20
	entries := "\x81\xa7Entries\xdd\xff\xff\xff\xff"
	for name, stream := range map[string]io.Reader{
		"many entries":         strings.NewReader(entries),
		"many empty entries":   io.MultiReader(strings.NewReader(entries), strings.NewReader(strings.Repeat("\x80", limit))),
		"much data":            strings.NewReader("\x81\xa7Entries\x91\x81\xa4Data\xc6\x7f\xff\xff\xff"),
		"some of much data":    strings.NewReader("\x81\xa7Entries\x91\x81\xa4Data\xc6\x00\x7f\x00\x00" + strings.Repeat("x", 1000)),
		"a large header":       strings.NewReader("\x81\xa2ID\xc6\x7f\xff\xff\xff"),
		"an unknown list":      io.MultiReader(strings.NewReader("\x81\xa1x\xdd\xff\xff\xff\xff"), strings.NewReader(strings.Repeat("\x91", limit))),
		"lists in lists":       io.MultiReader(strings.NewReader("\x81\xa1x"), strings.NewReader(strings.Repeat("\x91", limit))),
		"text that is unknown": strings.NewReader("\x81\xa1x\xdb\xff\xff\xff\xff"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := sourceOf(stream, limit)
		req := new(raft.AppendEntriesRequest)
		s.appendEntries(req)
		runtime.ReadMemStats(&after)
		if s.err == nil {
			t.Errorf("%s is read as %+v", name, req)
		}
		most := uint64(1 << 20)
		if name == "many empty entries" {
			most = 3 * limit
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d bytes were allocated", name, took)
		}
	}
}

// FuzzAppendEntries: whatever comes, reading it ends; and what both this package and the
// library read, they read alike.
func FuzzAppendEntries(f *testing.F) {
	full := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("here")}, Term: 70_000, Leader: []byte{}, PrevLogEntry: 200,
		Entries: []*raft.Log{{Index: 1 << 40, Data: []byte("data"), AppendedAt: time.Unix(1, 2)}, {Type: raft.LogNoop, Extensions: make([]byte, 40)}},
	}
	f.Add(ours(f, full))
	f.Add(theirs(f, libraryHandle(true), full))
	f.Add([]byte("\x82\xa1x\x91\xc7\x01\xff\x00\xa4Term\xd3\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := sourceOf(bytes.NewReader(stream), 1<<20)
		got := new(raft.AppendEntriesRequest)
		s.appendEntries(got)
		if s.err != nil || bytes.Count(stream, []byte("Entries")) > 1 {
			return // of two lists the library makes one
		}
		var want raft.AppendEntriesRequest
		if err := codec.NewDecoderBytes(stream, &codec.MsgpackHandle{}).Decode(&want); err != nil {
			return
		}
		if !bytes.Equal(ours(t, &want), ours(t, got)) {
			t.Errorf("%q is\n%+v, and to the library\n%+v", stream, got, want)
		}
	})
}

// FuzzAppendEntriesAnswer is the same of answers.
func FuzzAppendEntriesAnswer(f *testing.F) {
	f.Add(ours(f, &raft.AppendEntriesResponse{RPCHeader: raft.RPCHeader{ID: []byte("n1")}, Term: 300, Success: true}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := sourceOf(bytes.NewReader(stream), 1<<20)
		var got, want raft.AppendEntriesResponse
		s.appendEntriesAnswer(&got)
		if s.err != nil || codec.NewDecoderBytes(stream, &codec.MsgpackHandle{}).Decode(&want) != nil {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: not what the library reads:\n%s", stream, diff)
		}
	})
}

// BenchmarkCodec writes and reads requests of entries of 280 bytes, as this package and
// as the library does.
func BenchmarkCodec(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		req := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1#0123456789abcdef"), Addr: bytes.Repeat([]byte("a"), 80)},
			Term:      3, Leader: bytes.Repeat([]byte("a"), 80), PrevLogEntry: 100_000, PrevLogTerm: 3, LeaderCommitIndex: 100_000,
		}
		for i := range n {
			req.Entries = append(req.Entries, &raft.Log{Index: 100_001 + uint64(i), Term: 3, Data: make([]byte, 280), AppendedAt: time.Now()})
		}
		stream := ours(b, req)
		run := func(op, codec string, do func()) {
			b.Run(fmt.Sprintf("op=%s/entries=%d/codec=%s", op, n, codec), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(stream)))
				for b.Loop() {
					do()
				}
			})
		}
		d := drain{conn: discardConn{}}
		run("write", "ours", func() { d.message(req); d.flush() })
		w := bufio.NewWriterSize(io.Discard, 256<<10)
		enc := codec.NewEncoder(w, libraryHandle(false))
		run("write", "library", func() { enc.Encode(req); w.Flush() })

		again := bytes.NewReader(stream)
		s := newSource(streamConn{Reader: again}, requestBuffer, 0)
		run("read", "ours", func() {
			again.Reset(stream)
			s.begin(1 << 30)
			if s.appendEntries(new(raft.AppendEntriesRequest)); s.err != nil {
				b.Fatal(s.err)
			}
		})
		r := bufio.NewReaderSize(nil, 256<<10)
		dec := codec.NewDecoder(r, &codec.MsgpackHandle{})
		run("read", "library", func() {
			again.Reset(stream)
			r.Reset(again)
			if err := dec.Decode(new(raft.AppendEntriesRequest)); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// discardConn takes what is sent and forgets it.
type discardConn struct{ net.Conn }

// Write implements net.Conn.
func (discardConn) Write(p []byte) (int, error) { return len(p), nil }
