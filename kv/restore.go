package kv

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"

	"github.com/tidwall/btree"
)

// A restore replaces the whole map by what it brings, through the log, so that all members
// do so at the same entry whatever happens to any of them meanwhile. Its parts, numbered
// from 0, are gathered beside the map; the commit puts them in its place, all at once, if
// they are what the commit says. Part 0 of another restore drops what was gathered. Every
// one of these commands may be given again, or come late: the second time it changes
// nothing. So the map remembers the last restore that is done and the last one given up.
//
// A restored key was last changed at the index of the entry that brought it.

// maxRestoreBytes bounds the id of a restore.
const maxRestoreBytes = 64

// RestoreError says that a command of a restore does not follow on what the map has of it,
// so that nothing has changed. Every member finds so alike.
type RestoreError struct {
	ID     string
	Reason string
}

// Error implements error.
func (e *RestoreError) Error() string { return fmt.Sprintf("restore %s: %s", e.ID, e.Reason) }

// ErrRestore is the kind of every RestoreError.
var ErrRestore = errors.New("restore out of order")

// Is reports that a RestoreError is an ErrRestore.
func (e *RestoreError) Is(target error) bool { return target == ErrRestore }

// AppendPair appends a pair to the pairs of a part. They have to be in order of their
// keys, within a part and from one to the next.
func AppendPair(pairs []byte, key string, value []byte) []byte {
	pairs = binary.AppendUvarint(pairs, uint64(len(key)))
	pairs = append(pairs, key...)
	pairs = binary.AppendUvarint(pairs, uint64(len(value)))
	return append(pairs, value...)
}

// EncodeStage returns the command that brings a part of a restore: pairs as AppendPair makes
// them. It refuses what a decoder would.
func EncodeStage(restore string, part uint64, pairs []byte) ([]byte, error) {
	dst := binary.AppendUvarint(restoreCommand(opStage, restore), part)
	dst = append(dst, pairs...)
	return dst, walk(dst, nil)
}

// EncodeCommit returns the command that puts a restore in the map's place: so many keys
// with that [Image.Content].
func EncodeCommit(restore string, keys uint64, content [sha256.Size]byte) ([]byte, error) {
	dst := binary.AppendUvarint(restoreCommand(opCommit, restore), keys)
	dst = append(dst, content[:]...)
	return dst, walk(dst, nil)
}

// EncodeForget returns the command that gives up a restore, and drops what it has brought:
// nothing of it is taken any more. It never changes the map, nor a restore that is done.
func EncodeForget(restore string) ([]byte, error) {
	dst := restoreCommand(opForget, restore)
	return dst, walk(dst, nil)
}

func restoreCommand(kind OpKind, restore string) []byte {
	dst := binary.AppendUvarint([]byte{commandVersion, byte(kind)}, uint64(len(restore)))
	return append(dst, restore...)
}

func (d *decoder) restore(kind OpKind, each func(change)) {
	c := change{kind: kind, key: d.bytes(maxRestoreBytes, "bytes of a restore's id")}
	if d.err == nil && len(c.key) == 0 {
		d.fail("a restore without an id")
	}
	switch kind {
	case opStage:
		c.number = d.uvarint(math.MaxUint64, "part")
		c.value = d.rest
		var last []byte
		for d.err == nil && len(d.rest) > 0 {
			key, _ := d.pair()
			if d.err == nil && bytes.Compare(key, last) <= 0 { // an empty key too
				d.fail("key %.40q after %.40q", key, last)
			}
			last = key
		}
	case opCommit:
		c.number = d.uvarint(math.MaxUint64, "keys")
		if len(d.rest) < sha256.Size {
			d.fail("content cut off")
			return
		}
		c.value, d.rest = d.rest[:sha256.Size], d.rest[sha256.Size:]
	}
	d.give(c, each)
}

// pair takes one of the pairs of a part.
func (d *decoder) pair() (key, value []byte) {
	key = d.bytes(MaxKeyBytes, "key bytes")
	return key, d.bytes(MaxValueBytes, "value bytes")
}

// staging is what a restore has brought.
type staging struct {
	id      string
	next    uint64 // part that is missing first
	last    string // key
	entries *btree.Map[string, entry]
	sum     hash.Hash // of the content
}

func newStaging(id string) *staging {
	return &staging{id: id, entries: new(btree.Map[string, entry]), sum: sha256.New()}
}

func (g *staging) copy() *staging {
	if g == nil {
		return nil
	}
	c := *g
	c.entries = g.entries.Copy()
	c.sum, _ = g.sum.(hash.Cloner).Clone() // that of SHA-256 never fails
	return &c
}

// add takes in a pair whose key comes after all that are there.
func (g *staging) add(key string, e entry) {
	addContent(g.sum, key, e.value)
	g.entries.Load(key, e)
	g.last = key
}

// restore carries out a command of a restore and returns how many keys it has put into
// the map.
func (s *state) restore(c change) (changed int, err error) {
	id := string(c.key)
	under := s.staged != nil && s.staged.id == id // way
	begins := c.kind == opStage && c.number == 0
	switch {
	case s.restored == id:
		return 0, nil // said again
	case c.kind == opForget:
		if s.givenUp = id; under {
			s.staged = nil
		}
		return 0, nil
	case !under && begins && s.givenUp != id:
		s.staged = newStaging(id)
	case !under:
		return 0, &RestoreError{id, "it is not under way: another restore has begun since, or it was given up"}
	}
	if c.kind == opStage {
		return 0, s.stage(c)
	}
	return s.commit(c)
}

func (s *state) stage(c change) error {
	g := s.staged
	switch {
	case c.number < g.next:
		return nil // said again
	case c.number > g.next:
		return &RestoreError{g.id, fmt.Sprintf("part %d came, and part %d did not", c.number, g.next)}
	}
	d := decoder{rest: c.value}
	for first := true; len(d.rest) > 0; first = false {
		key, value := d.pair()
		if first && string(key) <= g.last {
			return &RestoreError{g.id, fmt.Sprintf("part %d begins with %.40q, which does not come after %.40q", c.number, key, g.last)}
		}
		g.add(string(key), entry{slices.Clone(value), s.index})
	}
	g.next++
	return nil
}

func (s *state) commit(c change) (changed int, err error) {
	g := s.staged
	switch keys := uint64(g.entries.Len()); {
	case keys != c.number:
		return 0, &RestoreError{g.id, fmt.Sprintf("%d keys have come, not %d", keys, c.number)}
	case string(g.sum.Sum(nil)) != string(c.value):
		return 0, &RestoreError{g.id, "what has come has another digest"}
	}
	s.entries, s.restored, s.staged = g.entries, g.id, nil
	return s.entries.Len(), nil
}

// addContent adds a pair to a digest of the content.
func addContent(h hash.Hash, key string, value []byte) {
	var length [binary.MaxVarintLen64]byte
	h.Write(length[:binary.PutUvarint(length[:], uint64(len(key)))])
	h.Write([]byte(key))
	h.Write(length[:binary.PutUvarint(length[:], uint64(len(value)))])
	h.Write(value)
}

// version is that of the snapshot which holds the state.
func (s *state) version() uint64 {
	if s.staged != nil || s.restored != "" || s.givenUp != "" {
		return snapshotRestoring
	}
	return snapshotVersion
}

func (e *encoder) staging(g *staging) {
	if g == nil {
		e.text("")
		return
	}
	e.text(g.id)
	e.number(g.next)
	e.entries(g.entries)
}

// staging reads what a restore had brought by the entry newest; nil: none was under way.
func (d *snapshotReader) staging(newest uint64) *staging {
	id := d.text(maxRestoreBytes, "restore")
	if d.err != nil || id == "" {
		return nil
	}
	g := newStaging(id)
	if g.next = d.number(); d.err == nil && g.next == 0 {
		d.fail("restore %q without a part", id)
	}
	d.entries(newest, func(p Pair) error {
		g.add(p.Key, entry{p.Value, p.Index})
		return nil
	})
	return g
}

// Restoring returns the id of the restore that is under way, and how many keys it has
// brought; empty: none is.
func (s *Store) Restoring() (restore string, keys int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g := s.state.staged; g != nil {
		return g.id, g.entries.Len()
	}
	return "", 0
}
