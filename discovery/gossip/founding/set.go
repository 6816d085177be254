package founding

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/themilchenko/raftlab/core"
)

// Set stands for a configuration: the sorted fingerprints of its members.
type Set []uint64

// Fingerprint returns what a member is called in a [Set].
func Fingerprint(id, address string) uint64 {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint32(b, uint32(len(id)))
	b = append(append(b, id...), address...)
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// SetOf returns the set of members.
func SetOf(members []core.Member) Set {
	if len(members) == 0 {
		return nil
	}
	s := make(Set, 0, len(members))
	for _, m := range members {
		s = append(s, Fingerprint(m.ID, m.Address))
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

// Group names the group that was founded with a configuration; 0 is none.
type Group uint64

// Group returns the name of the group that is founded with s.
func (s Set) Group() Group {
	if len(s) == 0 {
		return 0
	}
	h := fnv.New64a()
	for _, f := range s {
		h.Write(binary.BigEndian.AppendUint64(nil, f))
	}
	return Group(h.Sum64())
}

// String returns the name as people see it; empty for none.
func (g Group) String() string {
	if g == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(g))
}

// before says whether configuration a comes before b: by ids, then addresses.
func before(a, b []core.Member) bool {
	return slices.CompareFunc(a, b, compareMembers) < 0
}

func compareMembers(a, b core.Member) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Address, b.Address))
}
