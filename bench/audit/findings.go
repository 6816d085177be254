package audit

import (
	"fmt"
	"slices"
)

// Kind is what is wrong with a key on a node.
type Kind string

// The kinds.
const (
	Lost     Kind = "lost"     // an acknowledged write is not there, nor is an older one
	Stale    Kind = "stale"    // what is there was replaced or deleted by an acknowledged write
	Refused  Kind = "refused"  // a write that was refused has taken effect
	Foreign  Kind = "foreign"  // what is there was never written to this key
	Corrupt  Kind = "corrupt"  // what is there is no whole value
	Torn     Kind = "torn"     // a part of a batch has taken effect
	Diverged Kind = "diverged" // the node's map is not that of the others; there is no key
)

// maxFindings is how many findings are listed.
const maxFindings = 1000

// Finding is one thing that no outcome of the unknown writes explains.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Node   string `json:"node"` // endpoint; "group" for the linearizable read
	Key    string `json:"key,omitempty"`
	Wanted string `json:"wanted"`
	Got    string `json:"got"`
}

// String returns the finding as one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s on %s: wanted %s, got %s", f.Kind, f.Key, f.Node, f.Wanted, f.Got)
}

// Findings is the outcome of a check.
type Findings struct {
	Nodes []string `json:"nodes"` // that were read, and "group"
	Keys  int      `json:"keys"`  // of the load, on each of Nodes

	// Unknown is how many keys have a write of unknown outcome; UnknownTaken how
	// many of these the linearizable read has seen take effect.
	Unknown      int `json:"unknown"`
	UnknownTaken int `json:"unknown_taken"`

	Total int       `json:"total"` // findings
	List  []Finding `json:"list"`  // the first 1000 of them
}

// OK reports whether nothing is wrong.
func (f Findings) OK() bool { return f.Total == 0 }

func (f *Findings) add(list ...Finding) {
	f.Total += len(list)
	f.List = append(f.List, list[:min(len(list), maxFindings-len(f.List))]...)
}

// judge compares what a node holds under key, nil if nothing, with the key's
// fate. It returns the number of the write that is there, 0 if none or not known,
// and what is wrong, if anything is.
func (f *fate) judge(key string, value []byte) (uint64, *Finding) {
	wrong := func(kind Kind, got string) *Finding {
		return &Finding{Kind: kind, Key: key, Wanted: f.wanted(), Got: got}
	}
	if value == nil {
		if f.acknowledged == nil || f.acknowledged.deletes || f.unknown != nil && f.unknown.deletes {
			return 0, nil
		}
		return 0, wrong(Lost, "no key")
	}
	whose, seq, err := decodeValue(value)
	got := fmt.Sprintf("write %d", seq)
	switch {
	case err != nil:
		return 0, wrong(Corrupt, err.Error())
	case whose != key:
		return 0, wrong(Foreign, fmt.Sprintf("%s of key %s", got, whose))
	case f.acknowledged.sets(seq), f.unknown.sets(seq):
		return seq, nil
	case slices.Contains(f.refused, seq):
		return seq, wrong(Refused, got)
	case f.acknowledged != nil && seq < f.acknowledged.seq:
		return seq, wrong(Stale, got)
	}
	return seq, wrong(Foreign, got+", which nobody sent")
}

// sets reports whether w is the write seq and leaves a value.
func (w *write) sets(seq uint64) bool { return w != nil && !w.deletes && w.seq == seq }

// removes reports whether w deletes the key that before has left there.
func (w *write) removes(before *write) bool {
	return w != nil && w.deletes && before != nil && !before.deletes
}

func (w *write) String() string {
	if w.deletes {
		return fmt.Sprintf("no key (deleted by write %d)", w.seq)
	}
	return fmt.Sprintf("write %d", w.seq)
}

// wanted says what may be there.
func (f *fate) wanted() string {
	s := "no key (no write was acknowledged)"
	if f.acknowledged != nil {
		s = f.acknowledged.String()
		if f.acknowledged.index != 0 {
			s += fmt.Sprintf(" acknowledged at index %d", f.acknowledged.index)
		}
	}
	if f.unknown != nil {
		s += fmt.Sprintf(", or %s whose outcome is unknown", f.unknown)
	}
	return s
}
