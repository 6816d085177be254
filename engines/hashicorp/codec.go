package hashicorp

import (
	"fmt"
	"math"
	"net"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// The messages that a group lives on, AppendEntries and their answers, are written and
// read here: the library's codec, which looks up each field of each entry by reflection,
// takes longer for them than the rest of their way. What is written is the same to
// the byte, fields in the order of their names. The rare messages are left to it.

const (
	// sendBytes is how much is gathered before it is sent; a larger command is sent
	// from where it is.
	sendBytes = 64 << 10
	// entryCost is what an entry takes beside its bytes. A request pays for its
	// entries, since a few bytes are enough to name one.
	entryCost = 128
	// leastEntry is how many bytes an entry has at least in a message that is none
	// of a spoiler.
	leastEntry = 16
	// rareBytes bounds messages that the library's codec reads, whose time grows with
	// the square of a value's length.
	rareBytes = 1 << 20
)

// Where source.again keeps the bytes that messages have in common.
const (
	keptAddr = iota
	keptID
	keptLeader
)

// appendEntries reads an AppendEntriesRequest.
func (s *source) appendEntries(req *raft.AppendEntriesRequest) {
	for n := s.mapLen(); n > 0 && s.err == nil; n-- {
		switch string(s.name()) {
		case "Addr":
			req.Addr = s.again(keptAddr)
		case "Entries":
			req.Entries = s.entries()
		case "ID":
			req.ID = s.again(keptID)
		case "Leader":
			req.Leader = s.again(keptLeader)
		case "LeaderCommitIndex":
			req.LeaderCommitIndex = s.uint64()
		case "PrevLogEntry":
			req.PrevLogEntry = s.uint64()
		case "PrevLogTerm":
			req.PrevLogTerm = s.uint64()
		case "ProtocolVersion":
			req.ProtocolVersion = raft.ProtocolVersion(s.int64())
		case "Term":
			req.Term = s.uint64()
		default:
			s.skip()
		}
	}
}

// entries reads log entries. They share allocations: they are kept, in the cache of the
// log, and dropped together too.
func (s *source) entries() []*raft.Log {
	n := s.arrayLen()
	if n < 0 || s.err != nil {
		return nil
	}
	list := make([]*raft.Log, 0, min(n, s.expected()))
	var block []raft.Log
	for ; n > 0 && s.charge(entryCost); n-- {
		if len(block) == 0 {
			block = make([]raft.Log, min(n, s.expected()))
		}
		s.entry(&block[0], n-1)
		list = append(list, &block[0])
		block = block[1:]
	}
	if s.err != nil {
		return nil
	}
	return list
}

// expected is for how many entries room is made at once: as many as what has come may hold.
func (s *source) expected() int { return (s.w-s.r)/leastEntry + 1 }

// entry reads a log entry behind which more are to come.
func (s *source) entry(e *raft.Log, more int) {
	n := s.mapLen()
	if n < 0 {
		s.failf("nil where a log entry is") // the library would take it, and panic
	}
	for ; n > 0 && s.err == nil; n-- {
		switch string(s.name()) {
		case "AppendedAt":
			e.AppendedAt = s.time()
		case "Data":
			e.Data = s.bytes(more)
		case "Extensions":
			e.Extensions = s.bytes(more)
		case "Index":
			e.Index = s.uint64()
		case "Term":
			e.Term = s.uint64()
		case "Type":
			t := s.uint64()
			if t > math.MaxUint8 {
				s.failf("a log entry of type %d", t)
			}
			e.Type = raft.LogType(t)
		default:
			s.skip()
		}
	}
}

// appendEntriesAnswer reads an AppendEntriesResponse.
func (s *source) appendEntriesAnswer(resp *raft.AppendEntriesResponse) {
	for n := s.mapLen(); n > 0 && s.err == nil; n-- {
		switch string(s.name()) {
		case "Addr":
			resp.Addr = s.again(keptAddr)
		case "ID":
			resp.ID = s.again(keptID)
		case "LastLog":
			resp.LastLog = s.uint64()
		case "NoRetryBackoff":
			resp.NoRetryBackoff = s.bool()
		case "ProtocolVersion":
			resp.ProtocolVersion = raft.ProtocolVersion(s.int64())
		case "Success":
			resp.Success = s.bool()
		case "Term":
			resp.Term = s.uint64()
		default:
			s.skip()
		}
	}
}

// rare reads any other message.
func (s *source) rare(message any) {
	rest := max(s.left-rareBytes, 0)
	s.left, s.limit = s.left-rest, s.limit-rest
	if err := codec.NewDecoder(s, &codec.MsgpackHandle{}).Decode(message); err != nil {
		s.fail(fmt.Errorf("%w: %w", core.ErrInvalid, err))
		return
	}
	s.left, s.limit = s.left+rest, s.limit+rest
}

// drain gathers what goes out on a connection, and sends it. After the first error it
// does nothing, and err is set.
type drain struct {
	conn net.Conn
	buf  []byte
	err  error
}

// flush sends what has been gathered.
func (d *drain) flush() error {
	if d.err == nil && len(d.buf) > 0 {
		_, d.err = d.conn.Write(d.buf)
	}
	d.buf = d.buf[:0]
	return d.err
}

// bytes writes bytes, those that are many from where they are.
func (d *drain) bytes(value []byte) {
	d.buf = appendBytesHead(d.buf, value)
	if len(d.buf)+len(value) <= sendBytes {
		d.buf = append(d.buf, value...)
		return
	}
	if d.flush() == nil && len(value) > sendBytes/2 {
		_, d.err = d.conn.Write(value)
		return
	}
	d.buf = append(d.buf, value...)
}

// message writes what is sent as one: a request, or an answer.
func (d *drain) message(message any) {
	switch m := message.(type) {
	case *raft.AppendEntriesRequest:
		d.appendEntries(m)
	case *raft.AppendEntriesResponse:
		d.buf = appendEntriesAnswer(d.buf, m)
	case nil:
		d.buf = append(d.buf, nilValue)
	default:
		var rare []byte
		if err := codec.NewEncoderBytes(&rare, &codec.MsgpackHandle{}).Encode(message); err != nil && d.err == nil {
			d.err = err
		}
		d.buf = append(d.buf, rare...)
	}
}

func (d *drain) appendEntries(req *raft.AppendEntriesRequest) {
	b := append(d.buf, "\x89\xa4Addr"...)
	b = appendBytes(b, req.Addr)
	b = append(b, "\xa7Entries"...)
	if req.Entries == nil {
		b = append(b, nilValue)
	} else {
		b = appendLength(b, len(req.Entries), fixArray, 15, array16, array32)
	}
	d.buf = b
	for _, e := range req.Entries {
		d.entry(e)
	}
	b = append(d.buf, "\xa2ID"...)
	b = appendBytes(b, req.ID)
	b = append(b, "\xa6Leader"...)
	b = appendBytes(b, req.Leader)
	b = append(b, "\xb1LeaderCommitIndex"...)
	b = appendUint(b, req.LeaderCommitIndex)
	b = append(b, "\xacPrevLogEntry"...)
	b = appendUint(b, req.PrevLogEntry)
	b = append(b, "\xabPrevLogTerm"...)
	b = appendUint(b, req.PrevLogTerm)
	b = append(b, "\xafProtocolVersion"...)
	b = appendInt(b, int64(req.ProtocolVersion))
	b = append(b, "\xa4Term"...)
	d.buf = appendUint(b, req.Term)
}

func (d *drain) entry(e *raft.Log) {
	if e == nil {
		d.buf = append(d.buf, nilValue)
		return
	}
	d.buf = append(d.buf, "\x86\xaaAppendedAt"...)
	d.buf = appendTime(d.buf, e.AppendedAt)
	d.buf = append(d.buf, "\xa4Data"...)
	d.bytes(e.Data)
	d.buf = append(d.buf, "\xaaExtensions"...)
	d.bytes(e.Extensions)
	b := append(d.buf, "\xa5Index"...)
	b = appendUint(b, e.Index)
	b = append(b, "\xa4Term"...)
	b = appendUint(b, e.Term)
	b = append(b, "\xa4Type"...)
	d.buf = appendUint(b, uint64(e.Type))
}

func appendEntriesAnswer(b []byte, resp *raft.AppendEntriesResponse) []byte {
	b = append(b, "\x87\xa4Addr"...)
	b = appendBytes(b, resp.Addr)
	b = append(b, "\xa2ID"...)
	b = appendBytes(b, resp.ID)
	b = append(b, "\xa7LastLog"...)
	b = appendUint(b, resp.LastLog)
	b = append(b, "\xaeNoRetryBackoff"...)
	b = appendBool(b, resp.NoRetryBackoff)
	b = append(b, "\xafProtocolVersion"...)
	b = appendInt(b, int64(resp.ProtocolVersion))
	b = append(b, "\xa7Success"...)
	b = appendBool(b, resp.Success)
	b = append(b, "\xa4Term"...)
	return appendUint(b, resp.Term)
}
