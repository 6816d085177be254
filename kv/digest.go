package kv

import (
	"crypto/sha256"
	"hash"
)

// Digest returns the log index of the last command and a SHA-256 over all that
// is replicated. Members that have applied the same commands return the same.
// It reads the whole map, without holding up Apply.
func (s *Store) Digest() (index uint64, sum [sha256.Size]byte) {
	state := s.capture()
	h := sha256.New()
	w := encoder{w: h}
	w.state(&state)
	return state.index, [sha256.Size]byte(sumOf(h))
}

func sumOf(h hash.Hash) []byte { return h.Sum(nil) }
