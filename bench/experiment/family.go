package experiment

import (
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/internal/conf"
)

// Families of settings in which engines are set against each other, never mixed in one
// experiment: what they can do alike, and what each is recommended to be run with, are two
// questions.
const (
	// FamilyAligned: all engines run with the same settings of [raft].
	FamilyAligned = "aligned"
	// FamilyRecommended: each engine runs with what its library recommends, which is what it
	// takes where [raft] says nothing.
	FamilyRecommended = "recommended"
)

const keyFamily = "cluster.family"

// aligned is what [raft] is in that family where the file does not say it: what engines
// differ in most by default. No snapshot is due within what a load writes. A vote before
// the vote all engines ask for by default.
func aligned(at conf.Origin) []conf.Setting {
	return []conf.Setting{
		{Key: "raft.heartbeat_timeout", Data: "1s", At: at},
		{Key: "raft.max_append_entries", Data: int64(1024), At: at},
		{Key: "raft.max_in_flight", Data: int64(64), At: at},
		{Key: "raft.snapshot_threshold", Data: int64(1e12), At: at},
	}
}

// spreadFamily puts what a family stands for in its place.
func (d *draft) spreadFamily() {
	for _, f := range d.factors {
		if s := f.setting(keyFamily); s != nil {
			d.AddAt(s.At, keyFamily, `matrix.%s sets %s: families are never set against each other in one experiment: give it in [cluster], and each family an experiment of its own`, f.name, keyFamily)
		}
	}
	family := d.setting(keyFamily)
	if family == nil {
		return
	}
	switch family.Data {
	case FamilyAligned:
		said := keysOf(d.settings)
		for _, f := range d.factors {
			said = append(said, keysOf(f.settings())...)
		}
		d.settings = append(d.settings, slices.DeleteFunc(aligned(family.At), func(s conf.Setting) bool { return slices.Contains(said, s.Key) })...)
	case FamilyRecommended:
		all := slices.Clone(d.settings)
		for _, f := range d.factors {
			all = append(all, f.settings()...)
		}
		for _, s := range all {
			if strings.HasPrefix(s.Key, "raft.") {
				d.AddAt(s.At, s.Key, `%s beside family = %q: there each engine runs with what its library recommends: remove it, or set family = %q`, s.Key, FamilyRecommended, FamilyAligned)
			}
		}
	}
}

// checkFamily complains of an aligned experiment one of whose engines has settings of [raft]
// that another has not.
func (d *draft) checkFamily(cells []Cell) {
	by := map[string]map[Raft]bool{}
	for _, c := range cells {
		if by[c.Cluster.Engine] == nil {
			by[c.Cluster.Engine] = map[Raft]bool{}
		}
		by[c.Cluster.Engine][c.Raft] = true
	}
	for _, c := range cells {
		for _, other := range slices.Sorted(maps.Keys(by)) {
			if c.Cluster.Family == FamilyAligned && !by[other][c.Raft] {
				d.complain(keyFamily, "family = %q, and the engine %s has settings of [raft] with which %s is not measured%s: give all engines the same, or remove family",
					FamilyAligned, c.Cluster.Engine, other, c.describe())
				return
			}
		}
	}
}
