package kv

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/themilchenko/raftlab/core"
)

// A snapshot is, in this order, numbers being uvarints:
//
//	"raftlab-kv" version
//	index commands refused lastRefused
//	count { id(length, bytes) address(length, bytes) }, ids ascending
//	count { index key(length, bytes) value(length, bytes) }, keys ascending
//	in version 2: restored(length, bytes) given up(length, bytes) staged(length, bytes) and,
//	    unless that is empty,
//	    parts count { index key(length, bytes) value(length, bytes) }, keys ascending
//	CRC-32C of all of the above, 4 bytes, little endian
//
// Version 2 is written from the beginning of the first restore on, and only then.
const (
	snapshotMagic     = "raftlab-kv"
	snapshotVersion   = 1
	snapshotRestoring = 2
	snapshotBuffer    = 256 << 10
)

// ErrSnapshot is the kind of every error that a damaged snapshot gives.
var ErrSnapshot = errors.New("damaged snapshot")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Snapshot implements core.FSM. It takes constant time.
func (s *Store) Snapshot() (core.Snapshot, error) {
	return &snapshot{state: s.capture()}, nil
}

type snapshot struct {
	state state // without entries once released
}

// Release implements core.Snapshot.
func (s *snapshot) Release() { s.state.entries = nil }

// WriteTo implements core.Snapshot.
func (s *snapshot) WriteTo(to io.Writer) (int64, error) {
	if s.state.entries == nil { // an empty map would be written as if it were the state
		return 0, fmt.Errorf("write snapshot at index %d: released: %w", s.state.index, core.ErrClosed)
	}
	sum := crc32.New(castagnoli())
	counted := &countingWriter{to: to}
	e := newEncoder(io.MultiWriter(counted, sum))
	e.bytes([]byte(snapshotMagic))
	e.number(s.state.version())
	e.state(&s.state)
	e.flush()
	if e.err == nil {
		_, e.err = counted.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	}
	if e.err != nil {
		return counted.n, fmt.Errorf("write snapshot at index %d: %w", s.state.index, e.err)
	}
	return counted.n, nil
}

// countingWriter counts what has left the buffer, as io.WriterTo asks.
type countingWriter struct {
	to io.Writer
	n  int64
}

// Write implements io.Writer.
func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}

// encoder writes the state; after an error it does nothing more. It buffers, so that a
// checksum below it sees large pieces: millions of keys are a few bytes each.
type encoder struct {
	w       *bufio.Writer
	err     error
	scratch [binary.MaxVarintLen64]byte
}

func newEncoder(to io.Writer) *encoder { return &encoder{w: bufio.NewWriterSize(to, snapshotBuffer)} }

func (e *encoder) bytes(b []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

func (e *encoder) number(n uint64) {
	e.bytes(e.scratch[:binary.PutUvarint(e.scratch[:], n)])
}

func (e *encoder) sized(b []byte) {
	e.number(uint64(len(b)))
	e.bytes(b)
}

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	if e.err == nil {
		_, e.err = e.w.WriteString(s)
	}
}

func (e *encoder) flush() {
	if e.err == nil {
		e.err = e.w.Flush()
	}
}

func (e *encoder) state(s *state) {
	for _, n := range []uint64{s.index, s.commands, s.refused, s.lastRefused} {
		e.number(n)
	}
	e.number(uint64(len(s.nodes)))
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		e.text(id)
		e.text(s.nodes[id])
	}
	e.entries(s.entries)
	if s.version() == snapshotRestoring {
		e.text(s.restored)
		e.text(s.givenUp)
		e.staging(s.staged)
	}
}

func (e *encoder) entries(of *btree.Map[string, entry]) {
	e.number(uint64(of.Len()))
	of.Scan(func(key string, v entry) bool {
		e.number(v.index)
		e.text(key)
		e.sized(v.value)
		return e.err == nil
	})
}

// Restore implements core.FSM. On an error, which is an ErrSnapshot or one of
// the reader's, the map is as it was.
func (s *Store) Restore(from io.Reader) error {
	d := snapshotReader{from: bufio.NewReaderSize(from, snapshotBuffer)}
	restored, err := d.state()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = restored
	return nil
}

// snapshotReader takes a snapshot apart without trusting any length in it.
type snapshotReader struct {
	from *bufio.Reader
	sum  uint32 // CRC-32C of what was taken
	err  error
}

func (d *snapshotReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrSnapshot}, args...)...)
	}
}

func (d *snapshotReader) state() (state, error) {
	s := state{entries: new(btree.Map[string, entry])}
	version := d.head(&s)
	d.entries(s.index, loadInto(s.entries))
	if version == snapshotRestoring {
		s.restored = d.text(maxRestoreBytes, "restore")
		s.givenUp = d.text(maxRestoreBytes, "restore")
		s.staged = d.staging(s.index)
		if d.err == nil && s.version() != version {
			d.fail("version %d without a restore", version)
		}
	}
	d.trailer()
	return s, d.err
}

// head reads all that comes before the keys, and returns the version.
func (d *snapshotReader) head(s *state) uint64 {
	if magic := d.take(len(snapshotMagic)); d.err == nil && string(magic) != snapshotMagic {
		d.fail("it does not begin with %q", snapshotMagic)
	}
	version := d.number()
	if d.err == nil && version != snapshotVersion && version != snapshotRestoring {
		d.fail("version %d, this program knows %d and %d", version, snapshotVersion, snapshotRestoring)
	}
	s.index, s.commands, s.refused, s.lastRefused = d.number(), d.number(), d.number(), d.number()
	d.nodes(s)
	return version
}

// loadInto has pairs that come in order put into a tree. Load is quick for those.
func loadInto(entries *btree.Map[string, entry]) func(Pair) error {
	return func(p Pair) error {
		entries.Load(p.Key, entry{p.Value, p.Index})
		return nil
	}
}

func (d *snapshotReader) nodes(s *state) {
	last := ""
	for i, n := uint64(0), d.number(); i < n && d.err == nil; i++ {
		id := d.text(MaxNodeBytes, "id")
		address := d.text(MaxNodeBytes, "address")
		switch {
		case d.err != nil:
			return
		case id <= last, address == "":
			d.fail("member %q at %q after %q", id, address, last)
			return
		case s.nodes == nil:
			s.nodes = map[string]string{}
		}
		s.nodes[id] = address
		last = id
	}
}

// entries reads pairs, none of them changed after newest, and gives them to each.
func (d *snapshotReader) entries(newest uint64, each func(Pair) error) (count uint64) {
	last := ""
	count = d.number()
	for i := uint64(0); i < count && d.err == nil; i++ {
		index := d.number()
		key := d.text(MaxKeyBytes, "key")
		value := d.sized(MaxValueBytes, "value")
		switch {
		case d.err != nil:
		case key <= last: // an empty key too
			d.fail("key %q after %q", key, last)
		case index > newest:
			d.fail("key %q was changed at index %d, after index %d of the snapshot", key, index, newest)
		default:
			d.err = each(Pair{key, value, index})
		}
		last = key
	}
	return count
}

func (d *snapshotReader) trailer() {
	want := d.sum
	got := d.take(4)
	if d.err == nil && binary.LittleEndian.Uint32(got) != want {
		d.fail("checksum %08x, computed %08x", got, want)
	}
	if d.err != nil {
		return
	}
	if _, err := d.from.ReadByte(); err == nil {
		d.fail("bytes after its end")
	} else if !errors.Is(err, io.EOF) {
		d.err = err
	}
}

// take reads n bytes. It allocates as they come in, so that a length that lies
// costs no more than the bytes that are there.
func (d *snapshotReader) take(n int) []byte {
	const step = 1 << 20
	var b []byte
	for d.err == nil && len(b) < n {
		part := make([]byte, min(n-len(b), step))
		if _, err := io.ReadFull(d.from, part); err != nil {
			d.readError(err)
			break
		}
		if b == nil {
			b = part
		} else {
			b = append(b, part...)
		}
	}
	if d.err != nil {
		return nil
	}
	d.took(b)
	return b
}

func (d *snapshotReader) took(b []byte) { d.sum = crc32.Update(d.sum, castagnoli(), b) }

func (d *snapshotReader) readError(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		d.fail("cut off")
		return
	}
	d.err = err
}

func (d *snapshotReader) number() uint64 {
	if d.err != nil {
		return 0
	}
	b, err := d.from.Peek(binary.MaxVarintLen64)
	n, length := binary.Uvarint(b)
	switch {
	case length > 0:
		d.took(b[:length])
		_, _ = d.from.Discard(length) // which is buffered
		return n
	case length == 0 && err != nil:
		d.readError(err)
	default:
		d.fail("bad number: more than 64 bits")
	}
	return 0
}

// length reads how long what follows is.
func (d *snapshotReader) length(limit int, what string) int {
	n := d.number()
	if n > uint64(limit) {
		d.fail("%s of %d bytes: at most %d are allowed", what, n, limit)
		return 0
	}
	return int(n)
}

func (d *snapshotReader) sized(limit int, what string) []byte { return d.take(d.length(limit, what)) }

// text reads what is shorter than the buffer, with no copy in between.
func (d *snapshotReader) text(limit int, what string) string {
	b, err := d.from.Peek(d.length(limit, what))
	if err != nil {
		d.readError(err)
	}
	if d.err != nil {
		return ""
	}
	d.took(b)
	s := string(b)
	_, _ = d.from.Discard(len(b)) // which is buffered
	return s
}

// Digest returns the log index of the last command and a SHA-256 over all that
// is replicated. Members that have applied the same commands return the same.
// It reads the whole map, without holding up Apply.
func (s *Store) Digest() (index uint64, sum [sha256.Size]byte) {
	state := s.capture()
	h := sha256.New()
	w := newEncoder(h)
	w.state(&state)
	w.flush() // a hash takes all that it is given
	return state.index, [sha256.Size]byte(h.Sum(nil))
}
