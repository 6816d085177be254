package core

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Identity says who a node is. An id alone does not: a node whose data are lost
// comes back under its id without the votes and entries that the group counts on,
// and two groups may use the same ids and ports.
type Identity struct {
	ID string
	// Incarnation is made together with the node's data, so one that lost them has
	// another. Empty: data from before there were incarnations.
	Incarnation string
	// Group is made when a group is founded: see [GroupID]. Empty: the node is in no
	// group yet.
	Group string
	// Former is the group that Group was recovered from. Its members are told so when they
	// come back. Empty: none, or not known here.
	Former string
	// Service is where the node serves its clients, as host:port; empty: nowhere.
	// It may change from one start to the next and tells no two nodes apart.
	Service string
}

// incarnationDigits is how many hexadecimal digits an incarnation and a group id have.
const incarnationDigits = 16

// UnnamedGroup stands for the id of every group from before groups had ids: what
// tells two of those apart is not known.
const UnnamedGroup = "0000000000000000"

// NewIncarnation returns an incarnation that no other node has.
func NewIncarnation() string {
	var b [incarnationDigits / 2]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// GroupID returns the id of the group that begins with the configuration first. It
// follows from the incarnations of the members, so that each of several founders
// finds the same, and no other group has it. It is [UnnamedGroup] where a member has
// no incarnation.
func GroupID(first []Member) string {
	members := slices.SortedFunc(slices.Values(first), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	h := sha256.New()
	for _, m := range members {
		if m.Incarnation == "" {
			return UnnamedGroup
		}
		fmt.Fprintf(h, "%q %s\n", m.ID, m.Incarnation)
	}
	return hex.EncodeToString(h.Sum(nil))[:incarnationDigits]
}

// IsIncarnation reports whether s has the form of an incarnation.
func IsIncarnation(s string) bool {
	return len(s) == incarnationDigits && strings.Trim(s, "0123456789abcdef") == ""
}

// String names the node as logs and errors do.
func (i Identity) String() string {
	if i.Incarnation == "" {
		return i.ID
	}
	return i.ID + "#" + i.Incarnation
}

// Where a log store keeps the identity of its data.
var (
	incarnationKey = []byte("raftlab.incarnation")
	groupKey       = []byte("raftlab.group")
)

// Imprint writes the incarnation into a log store without data, and checks it in
// one that has been imprinted: a log belongs to one incarnation for good. It returns
// the incarnation of the data, which is the given one unless that is empty.
//
// A store that holds data and no incarnation is from before there were any; it is
// never given one. Whether it holds data is the engine's to say.
func Imprint(logs LogStore, incarnation string, holdsData bool) (string, error) {
	stored, err := stableText(logs, incarnationKey)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the incarnation of the log: %w", err)
	case stored == incarnation || incarnation == "":
		return stored, nil
	case stored != "":
		return "", fmt.Errorf("%w: the log is of incarnation %s and the node of %s: it is another node's. "+
			"Bring back the log that belongs here, or start the node in a new directory with --join", ErrInvalid, stored, incarnation)
	case holdsData:
		return "", fmt.Errorf("%w: the log holds data without an incarnation and the node is of %s: it is another node's. "+
			"Bring back the log that belongs here, or start the node in a new directory with --join", ErrInvalid, incarnation)
	}
	if err := logs.Set(incarnationKey, []byte(incarnation)); err != nil {
		return "", fmt.Errorf("write the incarnation of the log: %w", err)
	}
	return incarnation, nil
}

// ImprintedGroup returns the group that the data of a log store are of, or "".
func ImprintedGroup(logs LogStore) (string, error) {
	group, err := stableText(logs, groupKey)
	if err != nil {
		return "", fmt.Errorf("read the group of the log: %w", err)
	}
	return group, nil
}

// ImprintGroup writes down the group that the data of a log store are of.
func ImprintGroup(logs LogStore, group string) error {
	if err := logs.Set(groupKey, []byte(group)); err != nil {
		return fmt.Errorf("write the group of the log: %w", err)
	}
	return nil
}

func stableText(logs LogStore, key []byte) (string, error) {
	value, err := logs.Get(key)
	if err != nil && err.Error() != "not found" {
		return "", err
	}
	return string(value), nil
}
