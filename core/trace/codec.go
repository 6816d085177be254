package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/themilchenko/raftlab/core"
)

// FileName is that of the log which a node leaves in its folder.
const FileName = "trace.bin"

// magic begins what Write makes; its last byte is the version of the form.
//
//	log   = magic member count peers { peer } dropped count events { event } crc
//	event = kind peer  term  first  last-first  begin  end-begin  note
//	member, peer = uvarint length, bytes
//	crc   = CRC-32C of all before it, 4 bytes, little endian
//
// Numbers are uvarints. term, first and begin are differences to the event before, as
// zigzag varints; kind and peer are bytes.
const magic = "rltrace\x01"

// Bounds of what a log may claim, so that a damaged file cannot make the reader allocate
// at will.
const (
	maxName       = 1 << 10
	leastPerEvent = 8 // bytes
)

// ErrMalformed: the bytes are no log, or not all of one.
var ErrMalformed = errors.New("not a trace of raftlab, or a damaged one")

// Append appends the log in its written form.
func (l Log) Append(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, magic...)
	name := func(s string) {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	name(l.Member)
	dst = binary.AppendUvarint(dst, uint64(len(l.Peers)))
	for _, p := range l.Peers {
		name(p)
	}
	dst = binary.AppendUvarint(dst, l.Dropped)
	dst = binary.AppendUvarint(dst, uint64(len(l.Events)))
	var last Event
	for _, e := range l.Events {
		dst = append(dst, byte(e.Kind), e.Peer)
		dst = binary.AppendVarint(dst, int64(e.Term-last.Term))
		dst = binary.AppendVarint(dst, int64(e.First-last.First))
		dst = binary.AppendUvarint(dst, e.Last-e.First)
		dst = binary.AppendVarint(dst, e.Begin-last.Begin)
		dst = binary.AppendUvarint(dst, uint64(e.End-e.Begin))
		dst = binary.AppendUvarint(dst, e.Note)
		last = e
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// Write writes the log to w.
func (l Log) Write(w io.Writer) error {
	_, err := w.Write(l.Append(nil))
	return err
}

// ReadFile reads a log that a member wrote.
func ReadFile(path string) (Log, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Log{}, fmt.Errorf("trace: %w", err)
	}
	l, err := Parse(data)
	if err != nil {
		return l, fmt.Errorf("trace: %s: %w", path, err)
	}
	return l, nil
}

// Parse reads a log. The error is an ErrMalformed.
func Parse(data []byte) (Log, error) {
	if len(data) < len(magic)+4 || string(data[:len(magic)]) != magic {
		return Log{}, ErrMalformed
	}
	body := data[:len(data)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[len(body):]) {
		return Log{}, fmt.Errorf("%w: its checksum is wrong", ErrMalformed)
	}
	p := parser{rest: body[len(magic):]}
	l := Log{Member: p.name()}
	for range p.count(maxPeers, 1) {
		l.Peers = append(l.Peers, p.name())
	}
	l.Dropped = p.uvarint()
	n := p.count(math.MaxInt32, leastPerEvent)
	l.Events = make([]Event, 0, n)
	var last Event
	for i := 0; i < n && !p.bad; i++ {
		e := Event{Kind: core.SpanKind(p.byte()), Peer: p.byte()}
		e.Term = last.Term + uint64(p.varint())
		e.First = last.First + uint64(p.varint())
		e.Last = e.First + p.uvarint()
		e.Begin = last.Begin + p.varint()
		e.End = e.Begin + int64(p.uvarint())
		e.Note = p.uvarint()
		if e.Kind == core.SpanSend && int(e.Peer) >= len(l.Peers) {
			p.bad = true
		}
		l.Events = append(l.Events, e)
		last = e
	}
	if p.bad || len(p.rest) > 0 {
		return Log{}, ErrMalformed
	}
	return l, nil
}

// parser takes a log apart. Once it is bad all that it returns is zero.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) take(n int) []byte {
	if p.bad || n < 0 || n > len(p.rest) {
		p.bad, p.rest = true, nil
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parser) byte() byte {
	if b := p.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	p.takeNumber(n)
	return v
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.rest)
	p.takeNumber(n)
	return v
}

// takeNumber takes n bytes; 0 or less says that there is no number.
func (p *parser) takeNumber(n int) {
	if n == 0 {
		n = -1
	}
	p.take(n)
}

// count takes a number of things of at least that many bytes each.
func (p *parser) count(most, bytes int) int {
	n := p.uvarint()
	if n > uint64(most) || n > uint64(len(p.rest)/bytes) {
		p.bad, p.rest = true, nil
		return 0
	}
	return int(n)
}

func (p *parser) name() string {
	n := p.uvarint()
	if n > maxName {
		p.bad = true
		return ""
	}
	return string(p.take(int(n)))
}
