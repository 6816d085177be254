package founding

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/themilchenko/raftlab/core"
)

// Set stands for a configuration: the sorted fingerprints of its members.
type Set []uint64

// Fingerprint returns what a member is called in a [Set].
func Fingerprint(m core.Member) uint64 {
	b := make([]byte, 0, 96)
	for _, s := range []string{m.ID, m.Incarnation} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	h := fnv.New64a()
	h.Write(append(b, m.Address...))
	return h.Sum64()
}

// SetOf returns the set of members.
func SetOf(members []core.Member) Set {
	if len(members) == 0 {
		return nil
	}
	s := make(Set, 0, len(members))
	for _, m := range members {
		s = append(s, Fingerprint(m))
	}
	slices.Sort(s)
	return s
}

// Equal says whether both stand for the same configuration.
func (s Set) Equal(other Set) bool { return slices.Equal(s, other) }

func (s Set) has(fingerprint uint64) bool {
	_, found := slices.BinarySearch(s, fingerprint)
	return found
}

// before says whether configuration a comes before b: by ids, then incarnations,
// then addresses.
func before(a, b []core.Member) bool {
	return slices.CompareFunc(a, b, compareMembers) < 0
}

func compareMembers(a, b core.Member) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Address, b.Address))
}
