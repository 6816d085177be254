// Package checked adds checksums to any log store: a CRC-32C (Castagnoli) over each
// entry and each stable value, written with it and checked whenever it is read. A
// disk or a file system that gives back other bytes than were written is so found
// out before they reach the state machine. What does not match is an error that is
// core.ErrDamaged; it is never repaired here, and never served.
//
// The checksum of an entry is at the end of its Extensions, which raft keeps for
// middleware; that of a stable value at the end of the value, and numbers are stored
// as values. Readers through the store see neither.
//
// A folder that was written without checksums opens as before: the store notes once
// from which index on entries have one, and which stable values do. Below, what has
// none is taken as it is. What the note says has a checksum and comes without is
// damaged, so a folder that an older program has written to since is refused.
//
// It cannot tell that a write never reached the disk although the disk said so
// (older bytes with a checksum of their own), except for a stable value or an
// uncompacted entry that is gone altogether.
package checked

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
)

// sinceKey is the stable key of the store's note. It is written before anything
// that it speaks of, except for the names of stable values: right after those.
const sinceKey = "raftlab.checked"

// legacyTerm is a stable key that every member has set.
const legacyTerm = "CurrentTerm"

var _ core.LogStore = (*Store)(nil)

// Store is a log store whose contents are checked. Make one with [Wrap].
// Durability, concurrency and ownership are those of the store below; an entry
// handed in is not changed and its Data is not copied.
type Store struct {
	core.LogStore
	path  string
	index atomic.Uint64 // entries from here on are sealed
	heads sync.Pool     // *[headBytes]byte, for entrySum

	mu   sync.RWMutex
	keys []string // stable values that are sealed
}

// Wrap returns store with checksums; closing it closes store. at names the store in
// errors where it does not know its file by itself. A store that is seen for the
// first time is written to. On an error store stays the caller's.
func Wrap(store core.LogStore, at string) (*Store, error) {
	if l, ok := core.As[core.Located](store); ok {
		at = l.Path()
	}
	s := &Store{LogStore: store, path: at}
	raw, err := store.Get([]byte(sinceKey))
	if err != nil && !notFound(err) {
		return nil, err
	}
	if len(raw) == 0 {
		if err := s.begin(); err != nil {
			return nil, err
		}
		return s, nil
	}
	body, sealed, err := s.unseal([]byte(sinceKey), raw)
	if err != nil {
		return nil, err
	}
	note, ok := decodeSince(body)
	if !sealed || !ok {
		return nil, s.damaged("the note of what has a checksum is unreadable")
	}
	s.index.Store(note.index)
	s.keys = note.keys
	return s, nil
}

// begin notes what the store holds from before it was checked. A store without the
// note that holds sealed values has lost it.
func (s *Store) begin() error {
	last, err := s.LogStore.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 {
		var entry raft.Log
		if err := s.LogStore.GetLog(last, &entry); err != nil {
			return err
		}
		if _, _, sealed := cutSeal(entry.Extensions); sealed {
			return s.damaged("the note of what has a checksum is gone")
		}
	}
	term, err := s.LogStore.Get([]byte(legacyTerm))
	if err != nil && !notFound(err) {
		return err
	}
	if _, _, sealed := cutSeal(term); sealed {
		return s.damaged("the note of what has a checksum is gone")
	}
	s.index.Store(last + 1)
	return s.note()
}

// note writes down what is sealed. Only one goroutine may be in it.
func (s *Store) note() error {
	body := since{s.index.Load(), s.keys}.encode()
	return s.LogStore.Set([]byte(sinceKey), s.seal([]byte(sinceKey), body))
}

// Unwrap makes the abilities of the store below known: see core.As.
func (s *Store) Unwrap() core.LogStore { return s.LogStore }

// Keys returns the names of the stable values that were set since the store is checked.
func (s *Store) Keys() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.keys)
}

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	if err := s.LogStore.GetLog(index, out); err != nil {
		return err
	}
	ext, sum, sealed := cutSeal(out.Extensions)
	switch {
	case !sealed && index >= s.index.Load():
		return s.damagedEntry(index, "it has no checksum")
	case out.Index != index:
		return s.damagedEntry(index, fmt.Sprintf("it says that it is entry %d", out.Index))
	case sealed && s.entrySum(out, ext) != sum:
		return s.damagedEntry(index, "its checksum does not match")
	}
	if len(ext) == 0 {
		ext = nil
	}
	out.Extensions = ext
	return nil
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	size := 0
	for _, e := range entries {
		size += len(e.Extensions) + sealSize
	}
	copies, refs, room := make([]raft.Log, len(entries)), make([]*raft.Log, len(entries)), make([]byte, 0, size)
	for i, e := range entries {
		begin := len(room)
		room = append(room, e.Extensions...)
		room = appendSeal(room, s.entrySum(e, e.Extensions))
		copies[i] = *e
		copies[i].Extensions = room[begin:len(room):len(room)]
		refs[i] = &copies[i]
	}
	return s.LogStore.StoreLogs(refs)
}

// DeleteRange implements raft.LogStore. Where the end of a log from before it was
// checked goes, what is stored there next has a checksum.
func (s *Store) DeleteRange(low, high uint64) error {
	if err := s.LogStore.DeleteRange(low, high); err != nil {
		return err
	}
	if low >= s.index.Load() {
		return nil
	}
	last, err := s.LogStore.LastIndex()
	if err != nil || last+1 >= s.index.Load() {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.Store(last + 1)
	return s.note()
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	if err := s.LogStore.Set(key, s.seal(key, value)); err != nil {
		return err
	}
	if s.isSealed(key) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.keys, string(key)) {
		s.keys = append(s.keys, string(key))
	}
	return s.note()
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// Get implements raft.StableStore.
func (s *Store) Get(key []byte) ([]byte, error) {
	value, _, err := s.value(key)
	return value, err
}

// GetUint64 implements raft.StableStore. What was set before the store was checked
// may be in a place of its own for numbers.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	value, sealed, err := s.value(key)
	switch {
	case err != nil && !notFound(err):
		return 0, err
	case !sealed:
		return s.LogStore.GetUint64(key)
	case len(value) != 8:
		return 0, fmt.Errorf("%s: get %q: %w: %d bytes are no number", s.path, key, core.ErrInvalid, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// value returns what is stored under key, without its seal; what is missing, as the
// store below says it.
func (s *Store) value(key []byte) (value []byte, sealed bool, err error) {
	expected := s.isSealed(key) // first: a value that is set meanwhile is sealed
	raw, err := s.LogStore.Get(key)
	switch {
	case err != nil && !notFound(err):
		return nil, false, err
	case len(raw) == 0 && expected:
		return nil, false, s.damaged(fmt.Sprintf("the value of %q is gone", key))
	case len(raw) == 0:
		return nil, false, err
	}
	value, sealed, err = s.unseal(key, raw)
	if err == nil && expected && !sealed {
		err = s.damaged(fmt.Sprintf("the value of %q has no checksum", key))
	}
	return value, sealed, err
}

func (s *Store) isSealed(key []byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.keys, string(key))
}

func (s *Store) seal(key, value []byte) []byte {
	return appendSeal(bytes.Clone(value), valueSum(key, value))
}

func (s *Store) unseal(key, raw []byte) (value []byte, sealed bool, err error) {
	value, sum, sealed := cutSeal(raw)
	if sealed && valueSum(key, value) != sum {
		return nil, true, s.damaged(fmt.Sprintf("the checksum of the value of %q does not match", key))
	}
	return value, sealed, nil
}

func (s *Store) damagedEntry(index uint64, what string) error {
	return s.damaged(fmt.Sprintf("log entry %d: %s", index, what))
}

func (s *Store) damaged(what string) error {
	return fmt.Errorf("%s is %w: %s", s.path, core.ErrDamaged, what)
}

// notFound says whether err is how a missing key is told: hashicorp/raft knows it by
// its text.
func notFound(err error) bool {
	return err != nil && errors.Unwrap(err) == nil && err.Error() == "not found"
}

// A seal is a CRC-32C, big endian, and a mark that tells a sealed value from one
// that was written without: eight bytes at the end.
const (
	mark     = "rlC1"
	sealSize = crc32.Size + len(mark)
)

func appendSeal(to []byte, sum uint32) []byte {
	return append(binary.BigEndian.AppendUint32(to, sum), mark...)
}

// cutSeal returns what is before the seal, and its checksum; ok is false where
// there is none.
func cutSeal(b []byte) (body []byte, sum uint32, ok bool) {
	end := len(b) - sealSize
	if end < 0 || string(b[len(b)-len(mark):]) != mark {
		return b, 0, false
	}
	return b[:end:end], binary.BigEndian.Uint32(b[end:]), true
}

// headBytes is the length of what entrySum covers beside the data and the extensions.
const headBytes = 8 + 8 + 1 + 8 + 4 + 8

// entrySum is the checksum of an entry whose extensions are ext.
func (s *Store) entrySum(e *raft.Log, ext []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	head, ok := s.heads.Get().(*[headBytes]byte)
	if !ok {
		head = new([headBytes]byte)
	}
	defer s.heads.Put(head)
	b := binary.BigEndian.AppendUint64(head[:0], e.Index)
	b = binary.BigEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(e.AppendedAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.AppendedAt.Nanosecond()))
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Data)))
	sum := crc32.Update(0, table, b)
	sum = crc32.Update(sum, table, e.Data)
	return crc32.Update(sum, table, ext)
}

// valueSum is the checksum of a stable value: a value that has come under another
// key is damage too.
func valueSum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	sum = crc32.Update(sum, table, key)
	return crc32.Update(sum, table, value)
}

// since is what the store says of itself: from which index on every entry is
// sealed, and which stable values are.
type since struct {
	index uint64
	keys  []string
}

func (s since) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.index)
	for _, k := range s.keys {
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
	}
	return b
}

func decodeSince(b []byte) (s since, ok bool) {
	if len(b) < 8 {
		return s, false
	}
	s.index, b = binary.BigEndian.Uint64(b), b[8:]
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > math.MaxInt32 || uint64(len(b)-n) < size {
			return s, false
		}
		s.keys, b = append(s.keys, string(b[n:n+int(size)])), b[n+int(size):]
	}
	return s, true
}
